"""A machine that is served, and its client; a module that asks for another machine says so itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.control.served import Client, Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Return a machine with two places for disks, one taken, and two for cards, the first with vhost."""
    with Served(tmp_path / "qmp") as running:
        running.has_started()
        yield running


@pytest.fixture
def client(served: Served) -> Client:
    """Return a client that has been greeted."""
    return served.connect()
