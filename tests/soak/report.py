"""Writes docs/soak.md from what the tests of the long half left: `python -m tests.soak.report FILE...`."""

from __future__ import annotations

import datetime
import json
import os
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[2] / "docs" / "soak.md"
COMMANDS = {
    "soak-host.jsonl": 'pytest -m "soak and not linux" tests/soak',
    "soak-rig.jsonl": 'python3 -m tests.rig linux -- pytest -m "soak and linux" tests/soak',
}


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the last result of each test: a rig that froze leaves earlier ones."""
    found = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        found[row["test"]] = row
    return list(found.values())


def sentence(test: str) -> str:
    """Return what a test says, and with which parameters."""
    name, _, parameters = test.rpartition("::")[2].removeprefix("test_").partition("[")
    words = name.replace("_", " ")
    return f"{words} ({parameters.removesuffix(']')})" if parameters else words


def row_text(row: dict[str, Any]) -> str:
    """Return one row of the table."""
    figures = "; ".join(f"{name}: {value}" for name, value in row["figures"].items())
    cells = [
        f"{sentence(row['test'])} (`{row['test'].rpartition('::')[0]}`)",
        row["outcome"] if row["outcome"] != "skipped" else f"skipped: {row['reason']}",
        f"{row['seconds']:.0f} s",
        figures or "-",
    ]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def machine() -> str:
    """Return what kind of machine this is, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    release = ".".join(os.uname().release.split("-")[0].split(".")[:2])
    return f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, {os.uname().machine}, Linux {release}"


def main(paths: list[str]) -> None:
    """Write the report."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    lines = [
        "# The long half: `make soak`",
        "",
        "Written by `make soak` (tests/soak/report.py). The quick half is in `make unit` and `make guests`.",
        "",
        f"- Date: {today}",
        f"- Machine: {machine()}",
    ]
    for path in map(Path, paths):
        if not path.exists():
            continue
        found = rows(path)
        lines += ["", f"## {'In the rig' if 'rig' in path.name else 'On the host'}", ""]
        lines += [f"`{COMMANDS.get(path.name, path.name)}`", ""]
        lines += ["| what | outcome | time | figures |", "|---|---|---|---|", *map(row_text, found)]
    TARGET.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
