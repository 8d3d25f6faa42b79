"""Runs the fuzz targets for a while under sanitizers: `python -m tests.fuzz [seconds]`.

They are plain LLVMFuzzerTestOneInput: with clang, `-fsanitize=fuzzer` replaces standalone.c for a guided run.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.core.build import FUZZ, OUT, fuzz_target

DEFAULT_SECONDS = 60


def run(name: str, seconds: int, seed: int) -> bool:
    """Run one target; False when it found something, which is then said."""
    print(f"{name}: {seconds} s with seed {seed}", flush=True)
    room = OUT / f"{name}.run"
    room.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([fuzz_target(name), f"-seconds={seconds}", f"-seed={seed}"], cwd=room, check=False)
    if done.returncode != 0:
        print(
            f"{name}: failed with status {done.returncode}; the input is {room / 'crash-input'}",
            file=sys.stderr,
        )
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    """Share the time among the targets."""
    seconds = int(arguments[0]) if arguments else DEFAULT_SECONDS
    targets = sorted(path.stem for path in FUZZ.glob("fuzz_*.c"))
    seed = int.from_bytes(os.urandom(4), "little")
    results = [run(name, max(1, seconds // len(targets)), seed) for name in targets]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
