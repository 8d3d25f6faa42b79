"""python -m tests.bench [startup|core|guest]...: print the table and write build/bench.json."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Row = dict[str, object]

OUTPUT = Path("build/bench.json")


def figure(name: str, unit: str, values: Sequence[tuple[float, float]]) -> Row:
    """Return one row: medians of both, and the median of the ratios pair by pair."""
    ratios = sorted(ours / peer for ours, peer in values)
    return {
        "name": name,
        "ours": round(statistics.median(ours for ours, _ in values), 2),
        "peer": round(statistics.median(peer for _, peer in values), 2),
        "ratio": round(statistics.median(ratios), 3),
        "range": [round(ratios[0], 3), round(ratios[-1], 3)],
        "unit": unit,
        "runs": len(values),
    }


def startup(runs: int) -> list[Row]:
    """Measure start-up and memory against QEMU's microvm, on this host's KVM."""
    from tests.bench import peers
    from tests.bench import startup as measured

    if shutil.which("qemu-system-x86_64") is None:
        raise SystemExit("bench: qemu-system-x86_64 is not here; run `make packages`")
    peers.install()
    pairs = measured.pairs(runs)
    return [
        figure("exec to first serial byte", "ms", [(ours[0], peer[0]) for ours, peer in pairs]),
        figure("private memory without guest RAM", "MiB", [(ours[1], peer[1]) for ours, peer in pairs]),
    ]


def core(_runs: int) -> list[Row]:
    """Measure the core's queues against the bare system calls."""
    from tests.bench import core_queue

    rows = [figure(name, "ns", values) for name, values in core_queue.pairs().items()]
    core_queue.keep_trend(rows)
    return rows


def guest(runs: int) -> list[Row]:
    """Measure Linux guests against QEMU's microvm; in the rig, or where Linux guests run."""
    from tests.bench import guest as measured

    return [figure(name, unit, values) for name, unit, values in measured.pairs(min(runs, measured.RUNS))]


KINDS = {"startup": startup, "core": core, "guest": guest}


def merged(rows: list[Row]) -> list[Row]:
    """Return the rows with those of earlier runs that were not measured now."""
    known: list[Row] = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else []
    fresh = {row["name"] for row in rows}
    return [row for row in known if row["name"] not in fresh] + rows


def show(rows: list[Row]) -> None:
    """Print a table."""
    print(f"{'figure':58} {'ours':>10} {'peer':>10} {'ratio':>7} {'range':>15}  unit  runs")
    for row in rows:
        span = row.get("range")
        low, high = span if isinstance(span, list) else ("", "")
        print(
            f"{row['name']:58} {row['ours']:>10} {row['peer']:>10} {row['ratio']:>7} {f'{low}-{high}':>15}  "
            f"{row['unit']:4}  {row['runs']}"
        )


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="Compare with QEMU's microvm and with bare system calls.")
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="default: startup and core")
    parser.add_argument("--runs", type=int, default=15, help="interleaved pairs (default 15)")
    options = parser.parse_args()
    rows: list[Row] = []
    for kind in options.kinds or ("startup", "core"):
        rows += KINDS[kind](options.runs)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(merged(rows), indent=1) + "\n")
    show(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
