"""The core's queues away from any guest, against the bare system calls: CPU time of the I/O thread."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.core.build import ROOT, build

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = Path(__file__).with_name("core")
TREND = ROOT / "bench" / "trend.tsv"
HEAD = "date\tcommit\tfigure\tours\tpeer\tratio\n"


def pairs() -> dict[str, list[tuple[float, float]]]:
    """Return (ours, bare) in ns of CPU for a request, by the name of the case."""
    found: dict[str, list[tuple[float, float]]] = {}
    for source in sorted(PROGRAMS.glob("*.c")):
        program = build([source], "speed")
        said = subprocess.run(
            [program], cwd=program.parent, capture_output=True, text=True, check=True
        ).stdout
        for name, ours, bare, _rate in _lines(said):
            found.setdefault(name, []).append((float(ours), float(bare)))
    return found


def _lines(said: str) -> Iterator[list[str]]:
    return (line.split("\t") for line in said.splitlines())


def keep_trend(rows: list[dict[str, object]]) -> None:
    """Append the rows to the trend, with the commit that they were measured at."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    TREND.parent.mkdir(exist_ok=True)
    if not TREND.exists():
        TREND.write_text(HEAD)
    with TREND.open("a") as file:
        for row in rows:
            words = [
                time.strftime("%Y-%m-%d"),
                commit,
                *(str(row[k]) for k in ("name", "ours", "peer", "ratio")),
            ]
            file.write("\t".join(words) + "\n")
