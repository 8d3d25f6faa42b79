"""A running machine: which of its threads are filtered, and that the ends of a machine still work."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.guest import tiny
from tests.guest.vmm import Qmp, Vmm

pytestmark = pytest.mark.kvm

FILTERED, BARE = ("2", "1"), ("0", "1")  # seccomp mode and no_new_privs (proc(5))


def states(pid: int) -> dict[str, tuple[str, str]]:
    """Return, for each thread of a process by its name, seccomp mode and no_new_privs."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        words = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        found[words["Name"]] = (words["Seccomp"], words["NoNewPrivs"])
    return found


def machine(folder: Path, *more: str) -> list[str]:
    image = folder / "disk"
    image.write_bytes(bytes(1 << 20))
    return [
        "-machine", "microvm", "-smp", "2", "-kernel", str(tiny.build("hello")), "-S",
        "-iothread", "id=io1",
        "-drive", f"id=d0,file={image},direct=off",
        "-device", "virtio-blk-device,id=b0,drive=d0,iothread=io1",
        "-serial", "stdio", "-qmp", f"unix:{folder}/qmp", *more,
    ]  # fmt: skip


def test_every_thread_is_filtered_before_qmp_answers(tmp_path: Path) -> None:
    with Vmm(*machine(tmp_path)) as vmm:
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        found = states(vmm.process.pid)
        qmp.close()

    assert {"CPU 0/KVM", "CPU 1/KVM", "io1", "io-main"} <= found.keys()
    assert len(found) == 5
    assert set(found.values()) == {FILTERED}


def test_without_seccomp_no_thread_is_filtered(tmp_path: Path) -> None:
    with Vmm(*machine(tmp_path, "-disable-seccomp")) as vmm:
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        found = states(vmm.process.pid)
        qmp.close()

    assert len(found) == 5
    assert set(found.values()) == {BARE}


def test_a_profile_can_ask_for_log_only_mode(tmp_path: Path) -> None:
    profile = tmp_path / "vm.toml"
    profile.write_text(
        f'version = 1\n[boot]\nkernel = "{tiny.build("hello")}"\n'
        f'[qmp]\nsocket = "{tmp_path}/qmp"\n[process]\nseccomp = "log"\nfreeze = true\n'
    )
    with Vmm("run", profile) as vmm:
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        found = states(vmm.process.pid)
        assert set(found.values()) == {FILTERED}
        qmp.call("cont")
        qmp.close()
        status, _, errors = vmm.finish()

    assert (status, errors) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_filtered_machine_ends_well_by_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    with Vmm(*machine(tmp_path)) as vmm:
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        vmm.process.send_signal(number)
        qmp.wait_event("SHUTDOWN")
        qmp.close()
        status, _, errors = vmm.finish()

    assert (status, errors) == (0, "")
    assert not os.path.exists(tmp_path / "qmp")


def rings(pid: int) -> int:
    folder = Path(f"/proc/{pid}/fd")
    return sum(os.readlink(link) == "anon_inode:[io_uring]" for link in folder.iterdir())


def test_the_rings_of_empty_slots_are_there_before_the_filters(tmp_path: Path) -> None:
    with Vmm(*machine(tmp_path)) as vmm:
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        before = rings(vmm.process.pid)
        drive = {"driver": "raw", "node-name": "n", "cache": {"direct": False}}
        (tmp_path / "more").write_bytes(bytes(512))
        qmp.call("blockdev-add", **drive, file={"driver": "file", "filename": str(tmp_path / "more")})
        qmp.call("device_add", driver="virtio-blk-mmio", id="n", drive="n", addr="0x1")
        after = rings(vmm.process.pid)
        qmp.close()

    if not before:
        pytest.skip("this host has no io_uring")
    assert before == after == 4  # one for each disk, with an image or without


def test_a_disk_is_plugged_and_unplugged_inside_the_filters(tmp_path: Path) -> None:
    image = tmp_path / "more"
    image.write_bytes(bytes(1 << 20))
    with Vmm(*machine(tmp_path)) as vmm:
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        for direct in (True, False):
            drive = {"driver": "raw", "node-name": "n", "cache": {"direct": direct}}
            qmp.call("blockdev-add", **drive, file={"driver": "file", "filename": str(image)})
            qmp.call("device_add", driver="virtio-blk-mmio", id="n", drive="n", addr="0x1")
            qmp.call("device_del", id="n")
            assert qmp.messages[-2]["event"] == "DEVICE_DELETED"
        qmp.call("quit")
        qmp.close()
        status, _, errors = vmm.finish()

    assert (status, errors) == (0, "")
