"""Runs the fuzz targets for a while under sanitizers: `python -m tests.fuzz [seconds]`.

They are plain LLVMFuzzerTestOneInput. With clang, libFuzzer guides the inputs and builds on the corpus in
tests/fuzz/corpus; without it standalone.c makes them at random. `python -m tests.fuzz corpus` adds to the
committed corpus what libFuzzer found in build/fuzz since, as few inputs as reach the same code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.core.build import CORPUS, FUZZ, OUT, corpus, fuzz_target, guided_fuzz_target

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_SECONDS = 60
FOUND = OUT.parent / "fuzz"  # what libFuzzer keeps from one run to the next
LONGEST_INPUT = 512  # bytes; longer ones only do more of the same
QUIET = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}  # a machine is used for many inputs


def targets() -> list[str]:
    """Return the names of all targets."""
    return sorted(path.stem for path in FUZZ.glob("fuzz_*.c"))


def run(name: str, seconds: int, seed: int) -> bool:
    """Run one target; False when it found something, which is then said."""
    room = OUT / f"{name}.run"
    room.mkdir(parents=True, exist_ok=True)
    guided = guided_fuzz_target(name)
    print(f"{name}: {seconds} s with seed {seed}{'' if guided else ', without libFuzzer'}", flush=True)
    if guided:
        words = _guided(name, guided, f"-max_total_time={seconds}", f"-seed={seed}")
    else:
        words = [str(fuzz_target(name)), f"-seconds={seconds}", f"-seed={seed}"]
    done = subprocess.run(words, cwd=room, check=False, env=QUIET)
    if done.returncode != 0:
        print(f"{name}: failed with status {done.returncode}; the input is in {room}", file=sys.stderr)
    return done.returncode == 0


def _guided(name: str, program: Path, *options: str) -> list[str]:
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_len={LONGEST_INPUT}", "-verbosity=0", "-print_final_stats=1"]
    return [str(program), *limits, *options, str(found), str(unpack(name, FOUND / f"{name}.committed"))]


def unpack(name: str, folder: Path) -> Path:
    """Write the committed inputs of a target into files of their own, as fuzzers want them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, data in enumerate(corpus(name)):
        (folder / f"{number:04}").write_bytes(data)
    return folder


def keep(name: str) -> bool:
    """Write the committed corpus anew: few inputs that reach all code that was reached."""
    guided = guided_fuzz_target(name)
    if guided is None:
        print("the corpus is chosen by libFuzzer: install clang", file=sys.stderr)
        return False
    chosen = FOUND / f"{name}.chosen"
    shutil.rmtree(chosen, ignore_errors=True)
    chosen.mkdir(parents=True)
    folders = [chosen, FOUND / name, unpack(name, FOUND / f"{name}.committed")]
    words = [str(guided), "-set_cover_merge=1", f"-max_len={LONGEST_INPUT}", *map(str, folders)]
    done = subprocess.run(words, cwd=FOUND, check=False, env=QUIET, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stderr[-2000:], file=sys.stderr)
        return False
    inputs = {path.read_bytes() for path in chosen.iterdir()} - {b""}
    lines = [f"{data.hex()}\n" for data in sorted(inputs, key=lambda data: (len(data), data))]
    (CORPUS / f"{name}.hex").write_text("".join(lines))
    print(f"{name}: {len(inputs)} inputs")
    return True


def main(arguments: list[str]) -> int:
    """Share the time among the targets, or keep what they found."""
    if arguments == ["corpus"]:
        results = [keep(name) for name in targets()]
        return 0 if all(results) else 1
    seconds = int(arguments[0]) if arguments else DEFAULT_SECONDS
    seed = int.from_bytes(os.urandom(4), "little")
    results = [run(name, max(1, seconds // len(targets())), seed) for name in targets()]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
