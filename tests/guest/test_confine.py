"""What a running process may still do: capabilities, privileges, open files; what its core file holds."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guest import tiny
from tests.guest.vmm import COMMAND, Qmp, Vmm
from tests.unit.control.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kvm

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
NONE = dict.fromkeys(SETS, 0)
OPENED_LATER = 2048
TAP = "svconfine"
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about a process that root starts")


def status(path: Path) -> dict[str, str]:
    lines = (path / "status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def threads(pid: int) -> dict[str, dict[str, str]]:
    """Return what proc(5) says of each thread of a process, by its name; the host kernel's own left out."""
    found = [status(task) for task in Path(f"/proc/{pid}/task").iterdir()]
    return {words["Name"]: words for words in found if not words["Name"].startswith(("vhost-", "iou-"))}


def capabilities(words: dict[str, str]) -> dict[str, int]:
    return {name: int(words[name], 16) for name in SETS}


def profile(folder: Path, *process: str) -> Path:
    image = folder / "disk"
    image.write_bytes(bytes(1 << 20))
    path = folder / "vm.toml"
    lines = [
        "version = 1", "[boot]", f'kernel = "{tiny.build("spin")}"', "[cpu]", "count = 2",
        "[qmp]", 'socket = "qmp"', "[iothread.io1]",
        "[drive.d]", 'file = "disk"', "direct = false", 'iothread = "io1"',
        "[process]", *process,
    ]  # fmt: skip
    path.write_text("\n".join(lines))
    return path


@as_root
@pytest.mark.parametrize("seccomp", ["true", "false"])
def test_no_thread_has_capabilities_before_qmp_answers(seccomp: str, tmp_path: Path) -> None:
    with Vmm("run", profile(tmp_path, f"seccomp = {seccomp}")) as vmm:
        Qmp(tmp_path / "qmp", vmm.deadline).close()
        found = threads(vmm.process.pid)

    assert {"CPU 0/KVM", "CPU 1/KVM", "io1", "io-main"} <= found.keys()
    assert {name: capabilities(words) for name, words in found.items()} == dict.fromkeys(found, NONE)
    assert {words["NoNewPrivs"] for words in found.values()} == {"1"}


@as_root
def test_ambient_capabilities_go_too(tmp_path: Path) -> None:
    """Those that a manager of services gives a process for a tap: nothing that is executed may get them."""
    as_service = ["setpriv", "--inh-caps=+net_admin", "--ambient-caps=+net_admin"]
    with Vmm("run", profile(tmp_path), command=[*as_service, *COMMAND]) as vmm:
        Qmp(tmp_path / "qmp", vmm.deadline).close()
        found = threads(vmm.process.pid)

    assert {name: capabilities(words) for name, words in found.items()} == dict.fromkeys(found, NONE)


@as_root
def test_a_profile_can_keep_the_capabilities(tmp_path: Path) -> None:
    with Vmm("run", profile(tmp_path, 'capabilities = "keep"')) as vmm:
        Qmp(tmp_path / "qmp", vmm.deadline).close()
        found = threads(vmm.process.pid)

    ours = capabilities(status(Path("/proc/self")))
    assert {name: capabilities(words) for name, words in found.items()} == dict.fromkeys(found, ours)
    assert {words["NoNewPrivs"] for words in found.values()} == {"1"}


@as_root
def test_the_shell_that_guards_the_terminal_has_none_either(tmp_path: Path) -> None:
    words: list[str | Path] = [
        "-kernel",
        tiny.build("spin"),
        "-serial",
        "stdio",
        "-qmp",
        f"unix:{tmp_path}/qmp",
    ]
    with closing(Screen()) as screen, Vmm(*words, stdin=screen.line) as vmm:
        Qmp(tmp_path / "qmp", vmm.deadline).close()
        (guard,) = children(vmm.process.pid)
        found = capabilities(status(Path(f"/proc/{guard}")))

    assert found == NONE


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_open_files_are_bounded_for_good(tmp_path: Path) -> None:
    with Vmm("run", profile(tmp_path)) as vmm:
        Qmp(tmp_path / "qmp", vmm.deadline).close()
        soft, hard = resource.prlimit(vmm.process.pid, resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir(f"/proc/{vmm.process.pid}/fd"))

    assert soft == hard
    assert highest < soft <= highest + 1 + OPENED_LATER


def test_a_lower_limit_of_open_files_stays(tmp_path: Path) -> None:
    low = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh", *COMMAND]
    with Vmm("run", profile(tmp_path), command=low) as vmm:
        Qmp(tmp_path / "qmp", vmm.deadline).close()

        assert resource.prlimit(vmm.process.pid, resource.RLIMIT_NOFILE) == (200, 200)


@pytest.fixture
def tap() -> Iterator[str]:
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("needs taps")
    subprocess.run(["ip", "tuntap", "add", TAP, "mode", "tap", "user", "root"], check=True)
    yield TAP
    subprocess.run(["ip", "link", "delete", TAP], check=True)


@as_root
def test_a_tap_of_the_same_user_is_plugged_in_without_capabilities(tap: str, tmp_path: Path) -> None:
    with Vmm("run", profile(tmp_path)) as vmm:
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        qmp.call("netdev_add", id="n", ifname=tap)
        qmp.call("device_add", driver="virtio-net-mmio", id="n", netdev="n", addr="0x0")
        qmp.call("quit")
        qmp.close()

        assert vmm.finish()[0::2] == (0, "")


@as_root
@pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="needs taps")
def test_a_tap_that_would_have_to_be_made_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with Vmm("run", profile(tmp_path)) as vmm:
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        qmp.call("netdev_add", id="n", ifname="svnone")
        with pytest.raises(RuntimeError, match=r"svnone.*ip tuntap add svnone.*getfd"):
            qmp.call("device_add", driver="virtio-net-mmio", id="n", netdev="n", addr="0x0")
        qmp.close()


def secret() -> bytes:
    """Return what tests/guest/tiny/secret.c keeps in the guest's memory."""
    state, made = 1, bytearray()
    for _ in range(256):
        state = (state * 1103515245 + 12345) & 0xFFFFFFFF
        made.append(state >> 16 & 0xFF)
    return bytes(made)


@pytest.mark.skipif(CORE_PATTERN.read_text().strip() != "core", reason="core files go elsewhere")
@pytest.mark.parametrize("share", ["off", "on"])
@pytest.mark.parametrize("dump", ["on", "off"])
def test_a_core_file_holds_guest_memory_only_when_asked(dump: str, share: str, tmp_path: Path) -> None:
    machine = f"microvm,mem-share={share},dump-guest-core={dump}"
    words: list[str | Path] = [
        "-machine",
        machine,
        "-kernel",
        tiny.build("secret"),
        "-serial",
        "stdio",
        "-qmp",
        "unix:qmp",
    ]
    with_core = ["sh", "-c", 'ulimit -c unlimited; cd "$0"; exec "$@"', str(tmp_path), *COMMAND]
    with Vmm(*words, command=with_core) as vmm:
        vmm.read_until(b"kept\n")
        vmm.process.send_signal(signal.SIGSEGV)
        assert vmm.finish()[0] == -signal.SIGSEGV

    (core,) = tmp_path.glob("core*")
    with core.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        assert content.find(b"stratovirt") >= 0
        assert (content.find(secret()) >= 0) == (dump == "on")
