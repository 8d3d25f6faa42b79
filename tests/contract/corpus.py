"""Reads compat/corpus: command lines as users write them in a shell, and what each must become."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

ROOM = Path(__file__).parents[2] / "compat"
ACCEPTED = sorted((ROOM / "corpus").glob("*.argv"))
REFUSED = sorted((ROOM / "corpus" / "refused").glob("*.argv"))


def argv_of(case: Path) -> list[str]:
    """Return the words that a shell would pass."""
    return shlex.split(case.read_text().replace("\\\n", " "), comments=True)


def document_of(case: Path) -> dict[str, object]:
    """Return the document that an accepted case must become."""
    return tomllib.loads(case.with_suffix(".toml").read_text())


def reason_of(case: Path) -> str:
    """Return what the message of a refused case must contain."""
    return case.with_suffix(".reason").read_text().strip()
