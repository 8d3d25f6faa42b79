"""compat/qmp.json is what the code declares, and covers what the guidebook names for this version."""

from __future__ import annotations

import json
from pathlib import Path

from stratovirt.control.qmp.contracts import projections

ROOT = Path(__file__).parents[2]


def test_the_committed_contract_is_the_present_one() -> None:
    for path, text in projections().items():
        assert (ROOT / path).read_text() == text, "run: make contracts"


def test_every_command_and_event_says_what_it_is() -> None:
    contract = json.loads(projections()["compat/qmp.json"])
    entries = [*contract["commands"].values(), *contract["events"].values()]

    assert [entry for entry in entries if not entry["doc"].endswith(".")] == []


def test_the_commands_of_the_guidebook_are_there() -> None:
    contract = json.loads(projections()["compat/qmp.json"])

    assert {"qmp_capabilities", "stop", "cont", "quit", "query-status"} <= set(contract["commands"])
    assert {"STOP", "RESUME", "SHUTDOWN"} <= set(contract["events"])
