"""compat/qmp.json is what the code declares, and covers what the guidebook names for this version."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from stratovirt.control.qmp.contracts import projections
from tests.guest.vmm import Qmp

ROOT = Path(__file__).parents[2]


def test_the_committed_contract_is_the_present_one() -> None:
    for path, text in projections().items():
        assert (ROOT / path).read_text() == text, "run: make contracts"


def test_every_command_and_event_says_what_it_is() -> None:
    contract = json.loads(projections()["compat/qmp.json"])
    entries = [*contract["commands"].values(), *contract["events"].values()]

    assert [entry for entry in entries if not entry["doc"].endswith(".")] == []


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs QEMU")
def test_every_command_of_qemu_is_done_or_has_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    words = ["qemu-system-x86_64", "-M", "none", "-nodefaults", "-display", "none", "-qmp"]
    with (
        subprocess.Popen([*words, f"unix:{path},server=on,wait=off"]) as qemu,
        closing(Qmp(path, time.monotonic() + 30)) as client,
    ):
        client.call("qmp_capabilities")
        theirs = {entry["name"] for entry in client.call("query-commands")}
        client.call("quit")
        qemu.wait(30)

    assert theirs - set(json.loads(projections()["compat/qmp.json"])["commands"]) == set()


def test_the_commands_of_the_guidebook_are_there() -> None:
    contract = json.loads(projections()["compat/qmp.json"])

    assert {
        "qmp_capabilities", "stop", "cont", "quit", "query-status", "getfd", "blockdev-add", "device_add",
        "device_del", "netdev_add", "balloon", "query-balloon",
    } <= set(contract["commands"])  # fmt: skip
    assert {"STOP", "RESUME", "SHUTDOWN", "DEVICE_DELETED", "BALLOON_CHANGED"} <= set(contract["events"])
