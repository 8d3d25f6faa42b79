"""python -m tests.bench [startup|core|boot|disks|cards|idle]...: prints a table, writes build/bench.json."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Row = dict[str, object]

OUTPUT = Path("build/bench.json")


# What SPECIFICATION.md promises of the ratios, by the beginning of a figure's name; a goal not reached
# is not promised.
PROMISES = {
    "exec to first serial byte, beside": 2.0,
    "exec to first serial byte, modules in a group": 1.0,
    "exec to first serial byte, from a profile": 1.15,
    "exec to first serial byte": 0.45,
    "check of a profile": 30.0,
    "private memory": 0.35,
    "resident memory": 0.5,
    "blk, 4 KiB reads of a file": 1.5,
    "net, frames": 1.5,
    "boot": 1.25,
    "disk": 1.1,
    "net": 1.1,
    "CPU of an idle guest": 1.0,
}


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
    rounds = measured.rounds(runs)
    return [
        figure(
            "exec to first serial byte", "ms", [(e.ours.milliseconds, e.qemu.milliseconds) for e in rounds]
        ),
        figure(
            "private memory without guest RAM",
            "MiB",
            [(e.ours.private_mib, e.qemu.private_mib) for e in rounds],
        ),
        figure(
            "resident memory without guest RAM",
            "MiB",
            [(e.ours.resident_mib, e.qemu.resident_mib) for e in rounds],
        ),
        figure(
            "exec to first serial byte, beside a bare interpreter",
            "ms",
            [(e.ours.milliseconds, e.bare) for e in rounds],
        ),
        figure(
            "exec to first serial byte, from a profile, beside flags",
            "ms",
            [(e.profile.milliseconds, e.ours.milliseconds) for e in rounds],
        ),
        figure("check of a profile, beside a bare interpreter", "ms", [(e.check, e.bare) for e in rounds]),
        figure(
            "exec to first serial byte, modules in a group, beside one by one",
            "ms",
            [(e.grouped.milliseconds, e.one_by_one.milliseconds) for e in rounds],
        ),
    ]


def core(_runs: int) -> list[Row]:
    """Measure the core's queues against the bare system calls."""
    from tests.bench import core_queue

    rows = [figure(name, "ns", values) for name, values in core_queue.pairs().items()]
    core_queue.keep_trend(rows)
    return rows


def guest(part: str) -> Callable[[int], list[Row]]:
    """Return what measures Linux guests against QEMU's microvm; in the rig, or where Linux guests run."""

    def rows(runs: int) -> list[Row]:
        from tests.bench import guest as measured

        measure = {
            "boot": measured.boots,
            "disks": measured.disks,
            "cards": measured.cards,
            "idle": measured.idle,
        }
        found = measure[part](min(runs, measured.RUNS))
        return [figure(name, unit, values) for name, unit, values in found]

    return rows


# Each in a rig of its own: what one has measured is kept when another one's kernel dies of the emulation.
KINDS = {
    "startup": startup,
    "core": core,
    "boot": guest("boot"),
    "disks": guest("disks"),
    "cards": guest("cards"),
    "idle": guest("idle"),
}


def merged(rows: list[Row], kinds: Sequence[str]) -> list[Row]:
    """Return the rows behind those that earlier runs measured of other kinds."""
    known: list[Row] = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else []
    others = set(KINDS) - set(kinds)
    return [row for row in known if row.get("kind") in others] + rows


def broken(rows: list[Row]) -> list[str]:
    """Return a line for each row whose ratio is more than promised."""
    lines = []
    for row in rows:
        most = next((most for name, most in PROMISES.items() if str(row["name"]).startswith(name)), None)
        if most is not None and float(str(row["ratio"])) > most:
            lines.append(f"bench: {row['name']}: {row['ratio']}, promised is {most} at most")
    return lines


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
    """Measure and report; the exit status is 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description="Compare with QEMU's microvm and with bare system calls.")
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="default: startup and core")
    parser.add_argument("--runs", type=int, default=15, help="interleaved pairs (default 15)")
    options = parser.parse_args()
    kinds = options.kinds or ("startup", "core")
    rows = [{"kind": kind, **row} for kind in kinds for row in KINDS[kind](options.runs)]
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(merged(rows, kinds), indent=1) + "\n")
    show(rows)
    complaints = broken(rows)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
