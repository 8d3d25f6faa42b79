"""What `python3 -m tests.rig linux` does before it runs anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rig import __main__ as rig
from tests.rig import debian, host

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


def test_a_host_that_cannot_run_linux_guests_gets_the_rigs_packages_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[object] = []

    def install(groups: Sequence[str]) -> None:
        steps.append(list(groups))

    def run(_job: object) -> int:
        steps.append("run")
        return 7

    monkeypatch.setattr(host, "runs_directly", lambda: False)
    monkeypatch.setattr(debian, "install", install)
    monkeypatch.setattr(rig, "run", run)

    assert (rig.main(["linux", "--", "true"]), steps) == (7, [["rig"], "run"])
