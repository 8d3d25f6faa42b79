"""Tiny guests on any /dev/kvm: start, serial port, every end of a machine, run states."""

from __future__ import annotations

import signal
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.guest import tiny
from tests.guest.counts import sleeps
from tests.guest.machines import empty_image, obeying
from tests.guest.vmm import Qmp, Vmm

pytestmark = pytest.mark.kvm

READ_FAILED = 2**64 - 1  # what the obeying guest says then


def flags(guest: str, socket: Path, *more: str) -> list[str]:
    return [
        "-machine", "microvm", "-kernel", str(tiny.build(guest)),
        "-serial", "stdio", "-qmp", f"unix:{socket}", *more,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("guest", "said"),
    [
        ("hello", b"hello\n"),
        ("reset_acpi", b"reset\n"),
        ("reset_i8042", b"pulse\n"),
        ("triple_fault", b"fault\n"),
    ],
)
def test_every_way_a_guest_ends_itself_ends_the_process_well(guest: str, said: bytes, tmp_path: Path) -> None:
    socket = tmp_path / "qmp"
    with Vmm(*flags(guest, socket)) as vmm:
        status, output, errors = vmm.finish()

    assert (status, output, errors) == (0, said, "")
    assert not socket.exists()


def test_an_elf_image_without_a_note_is_entered_in_64_bit_mode(tmp_path: Path) -> None:
    with Vmm("-kernel", tiny.build_elf("hello"), "-serial", "stdio", "-qmp", f"unix:{tmp_path}/qmp") as vmm:
        assert vmm.finish() == (0, b"hello\n", "")


def test_a_guest_waits_for_nothing_that_is_not_there(tmp_path: Path) -> None:
    with Vmm(*flags("absent", tmp_path / "qmp")) as vmm:
        status, output, _ = vmm.finish()

    keyboard, clock = divmod(int(output, 16), 0x100)
    assert status == 0
    assert keyboard & 0b10 == 0, "a kernel that reboots would wait for the controller to take the pulse"
    assert keyboard & 0b01, "a kernel that probes would wait for an answer; this one is never empty"
    assert clock & 0x80 == 0, "a kernel that reads the clock would wait for the end of its update"


@pytest.mark.guidebook("3.6 events")
def test_the_end_of_a_guest_is_told_by_an_event(tmp_path: Path) -> None:
    socket = tmp_path / "qmp"
    with Vmm(*flags("hello", socket, "-S")) as vmm:
        qmp = Qmp(socket, vmm.deadline)
        assert qmp.call("query-status") == {"running": False, "singlestep": False, "status": "paused"}
        qmp.call("cont")
        event = qmp.wait_event("SHUTDOWN")
        qmp.close()
        status, output, _ = vmm.finish()

    assert event["data"] == {"guest": True, "reason": "guest-shutdown"}
    assert (status, output) == (0, b"hello\n")


@pytest.mark.guidebook("2.6 stdio")
def test_serial_input_reaches_the_guest_from_a_pipe(tmp_path: Path) -> None:
    with Vmm(*flags("echo", tmp_path / "qmp"), stdin=subprocess.PIPE) as vmm:
        vmm.read_until(b"ready\n")
        assert vmm.process.stdin is not None
        vmm.process.stdin.write(b"abc" * 1000 + b".")
        vmm.process.stdin.close()
        vmm.process.stdin = None
        status, output, _ = vmm.finish()

    assert (status, output) == (0, b"ready\n" + b"ABC" * 1000 + b".")


@pytest.mark.guidebook("3.3.1 stop", "3.3.2 cont")
def test_stop_and_cont_change_the_state_with_their_events_first(tmp_path: Path) -> None:
    socket = tmp_path / "qmp"
    with Vmm(*flags("spin", socket, "-smp", "2")) as vmm:
        vmm.read_until(b"spinning\n")
        qmp = Qmp(socket, vmm.deadline)
        qmp.call("stop")
        paused = qmp.call("query-status")
        with pytest.raises(RuntimeError):
            qmp.call("stop")
        qmp.call("cont")
        running = qmp.call("query-status")
        kinds = [message.get("event") for message in qmp.messages if "event" in message]
        qmp.close()

    assert paused["status"] == "paused"
    assert running["status"] == "running"
    assert kinds == ["STOP", "RESUME"]


@pytest.mark.guidebook("3.3.3 quit", "3.1 creation")
def test_quit_ends_a_busy_guest_and_removes_the_socket(tmp_path: Path) -> None:
    socket = tmp_path / "qmp"
    with Vmm(*flags("spin", socket, "-smp", "4")) as vmm:
        vmm.read_until(b"spinning\n")
        qmp = Qmp(socket, vmm.deadline)
        qmp.call("quit")
        event = qmp.wait_event("SHUTDOWN")
        with pytest.raises(EOFError):
            qmp.receive()
        qmp.close()
        status, _, errors = vmm.finish()

    assert event["data"] == {"guest": False, "reason": "host-qmp-quit"}
    assert (status, errors, socket.exists()) == (0, "", False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_the_machine_and_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    socket = tmp_path / "qmp"
    with Vmm(*flags("spin", socket)) as vmm:
        vmm.read_until(b"spinning\n")
        vmm.process.send_signal(number)
        status, _, errors = vmm.finish()

    assert (status, errors, socket.exists()) == (0, "", False)


def test_a_vcpu_that_cannot_go_on_is_reported_with_its_place(tmp_path: Path) -> None:
    with Vmm(*flags("bad_instruction", tmp_path / "qmp")) as vmm:
        status, _, errors = vmm.finish()

    assert status == 1
    assert "vCPU 0 stopped at RIP 0x30000000" in errors
    assert "Traceback" not in errors


def test_254_vcpus_start(tmp_path: Path) -> None:
    socket = tmp_path / "qmp"
    with Vmm(*flags("spin", socket, "-smp", "254")) as vmm:
        vmm.read_until(b"spinning\n")
        qmp = Qmp(socket, vmm.deadline)
        threads = {cpu["thread-id"] for cpu in qmp.call("query-cpus-fast")}
        qmp.call("quit")
        qmp.close()
        status, _, _ = vmm.finish()

    assert (len(threads), status) == (254, 0)


def disk_flags(image: Path, *, more: str = "", device: str = "") -> list[str]:
    return ["-drive", f"id=d,file={image},direct=off{more}", "-device", f"virtio-blk-device,drive=d{device}"]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return a disk of 64 KiB whose first bytes can be told from zero."""
    path = tmp_path / "disk"
    path.write_bytes(b"SECTOR-0" + bytes(65536 - 8))
    return path


@pytest.mark.parametrize("where", ["main", "iothread"])
def test_a_bare_metal_driver_reads_and_writes_a_disk(where: str, image: Path, tmp_path: Path) -> None:
    threads = ["-iothread", "id=io1"] if where == "iothread" else []
    disk = disk_flags(image, device=",iothread=io1" if where == "iothread" else "")
    with Vmm(*flags("blk_io", tmp_path / "qmp", *threads, *disk)) as vmm:
        status, output, errors = vmm.finish()

    assert (status, errors) == (0, "")
    assert output.decode().splitlines() == [
        "write 0000000000000000",
        "read 0000000000000000 same",
        "SECTOR-0",
        "beyond 0000000000000001",
        "flush 0000000000000000",
    ]
    assert image.read_bytes()[3 * 512 : 4 * 512] == bytes(i * 7 & 0xFF for i in range(512))


def test_a_hostile_driver_only_breaks_its_own_device(image: Path, tmp_path: Path) -> None:
    with Vmm(*flags("blk_hostile", tmp_path / "qmp", *disk_flags(image))) as vmm:
        status, output, _ = vmm.finish()
    lines = output.decode().splitlines()

    assert status == 0
    assert len(lines) == 12
    assert lines[-1] == "done"
    assert [line for line in lines[:-1] if not line.endswith(": works again")] == []
    assert image.read_bytes()[:8] == b"SECTOR-0"


@pytest.mark.guidebook("2.2 drive_id")
def test_the_id_of_a_drive_is_what_device_and_device_del_take(image: Path, tmp_path: Path) -> None:
    disk = ["-drive", f"id=disk-a,file={image},direct=off", "-device", "virtio-blk-device,drive=disk-a"]
    with obeying(tmp_path, *disk) as vmm, closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
        before = vmm.ask("r0")
        qmp.call("device_del", id="disk-a")
        deleted = qmp.messages[-2]
        after = vmm.ask("r0")

    assert before == int.from_bytes(b"SECTOR-0", "little")
    assert (deleted["event"], deleted["data"]) == (
        "DEVICE_DELETED",
        {"device": "disk-a", "path": str(image)},
    )
    assert after == READ_FAILED


# Several I/O threads: two disks share one, another has one of its own, one thread has nothing to do.
THREADS = {"shared": ("a", "b"), "own": ("c",), "idle": (), "io-main": ("d",)}
REQUESTS = 50
SERVES = REQUESTS // 5  # times that a thread slept while it served so many; an idle one does not wake up


def disks_on_threads(folder: Path) -> Path:
    named = [name for name in THREADS if name != "io-main"]
    lines = ["version = 1", f'boot.kernel = "{tiny.build("obey")}"', 'qmp.socket = "qmp"', "[serial]"]
    lines += [f"[iothread.{name}]" for name in named]
    for disk in "abcd":
        empty_image(folder / disk)
        lines += [f"[drive.{disk}]", f'file = "{disk}"', "direct = false"]
        lines += [f'iothread = "{name}"' for name in named if disk in THREADS[name]]
    profile = folder / "vm.toml"
    profile.write_text("\n".join(lines))
    return profile


def threads_that_served(vmm: Vmm, number: int) -> set[str]:
    """Use the disk of this number; return which threads had turns meanwhile."""
    vmm.ask(f"s{number:x}")
    before = sleeps(vmm.process.pid)
    written = [vmm.ask(f"w{sector + 1:x}") for sector in range(REQUESTS)]
    after = sleeps(vmm.process.pid)
    assert written == [0] * REQUESTS
    return {name for name in THREADS if after[name] - before[name] >= SERVES}


@pytest.mark.guidebook("2.1 id", "2.2 iothread")
def test_the_thread_that_a_disk_names_serves_it_and_no_other_one_does(tmp_path: Path) -> None:
    with Vmm("run", disks_on_threads(tmp_path), stdin=subprocess.PIPE) as vmm:
        vmm.read_until(b"obeys\n")
        served = {disk: threads_that_served(vmm, number) for number, disk in enumerate("abcd")}
        with closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
            known = {thread["id"]: thread["thread-id"] for thread in qmp.call("query-iothreads")}
        names = {
            name: Path(f"/proc/{vmm.process.pid}/task/{task}/comm").read_text().strip()
            for name, task in known.items()
        }

    assert served == {disk: {name} for name, disks in THREADS.items() for disk in disks}
    assert names == {name: name for name in ("shared", "own", "idle")}
    assert [(tmp_path / disk).read_bytes()[512:520] for disk in "abcd"] == [(1).to_bytes(8, "little")] * 4


@pytest.mark.guidebook("2.1 id")
def test_eight_threads_have_their_names(tmp_path: Path) -> None:
    names = [f"thread{number}" for number in range(8)]
    flags = [word for name in names for word in ("-iothread", f"id={name}")]
    with obeying(tmp_path, *flags) as vmm, closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
        known = {thread["id"]: thread["thread-id"] for thread in qmp.call("query-iothreads")}
        tasks = Path(f"/proc/{vmm.process.pid}/task")
        held = {name: (tasks / str(task) / "comm").read_text().strip() for name, task in known.items()}

    assert held == {name: name for name in names}
