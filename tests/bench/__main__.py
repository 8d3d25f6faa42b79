"""python -m tests.bench: print the table and write build/bench.json."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import startup

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUT = Path("build/bench.json")


def figure(name: str, unit: str, values: Sequence[tuple[float, float]]) -> dict[str, object]:
    """Return one row: medians of both, and the median of the ratios pair by pair."""
    return {
        "name": name,
        "ours": round(statistics.median(ours for ours, _ in values), 2),
        "peer": round(statistics.median(peer for _, peer in values), 2),
        "ratio": round(statistics.median(ours / peer for ours, peer in values), 3),
        "unit": unit,
        "runs": len(values),
    }


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="Compare start-up and memory with QEMU's microvm.")
    parser.add_argument("--runs", type=int, default=15, help="interleaved pairs (default 15)")
    options = parser.parse_args()
    if shutil.which("qemu-system-x86_64") is None:
        print("bench: qemu-system-x86_64 is not here; run `make packages`", file=sys.stderr)
        return 1
    pairs = startup.pairs(options.runs)
    rows = [
        figure("exec to first serial byte", "ms", [(ours[0], peer[0]) for ours, peer in pairs]),
        figure("private memory without guest RAM", "MiB", [(ours[1], peer[1]) for ours, peer in pairs]),
    ]
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{'figure':36} {'ours':>9} {'QEMU':>9} {'ratio':>7}  unit  runs")
    for row in rows:
        print(
            f"{row['name']:36} {row['ours']:>9} {row['peer']:>9} {row['ratio']:>7}  "
            f"{row['unit']:4}  {row['runs']}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
