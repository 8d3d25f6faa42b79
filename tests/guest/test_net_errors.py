"""Network cards that cannot be: each failure names the card, the reason and the next step."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stratovirt.errors import HostError
from stratovirt.virtio import tap as taps
from tests.guest import tiny
from tests.guest.vmm import COMMAND, Vmm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NOBODY = 65534

needs_taps = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists(taps.CLONE_DEVICE), reason="needs root and /dev/net/tun"
)
pytestmark = pytest.mark.kvm


@pytest.fixture
def name() -> Iterator[str]:
    """Yield the name of a tap that does not exist; it is gone afterwards."""
    name = f"svt{os.getpid()}"
    yield name
    subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)


def flags(folder: Path, netdev: str) -> list[str | Path]:
    card = netdev.split(",", maxsplit=1)[0].removeprefix("id=")
    return [
        "-kernel", tiny.build("hello"), "-serial", "stdio", "-qmp", f"unix:{folder}/qmp",
        "-netdev", netdev, "-device", f"virtio-net-device,netdev={card},id=eth0",
    ]  # fmt: skip


def start(folder: Path, netdev: str, *, fds: Sequence[int] = ()) -> tuple[int, bytes, str]:
    with Vmm(*flags(folder, netdev), fds=fds) as vmm:
        status, output, errors = vmm.finish()
    assert "Traceback" not in errors
    assert not (folder / "qmp").exists()
    return status, output, errors


def expect(result: tuple[int, bytes, str], reason: str, step: str) -> None:
    status, _, errors = result
    assert status == 1
    assert "net 'eth0'" in errors
    assert reason in errors
    assert step in errors.split("hint: ")[1]


@needs_taps
def test_a_tap_that_is_missing_is_made_and_goes_with_the_process(name: str, tmp_path: Path) -> None:
    assert start(tmp_path, f"id={name}")[:2] == (0, b"hello\n")
    assert not os.path.exists(f"/sys/class/net/{name}")


@needs_taps
def test_a_tap_that_is_taken_is_told(name: str, tmp_path: Path) -> None:
    opened = taps.open_named("test", name, 1)
    result = start(tmp_path, f"id={name}")
    taps.close(opened)

    expect(result, f"open tap '{name}': Device or resource busy", "another process")


@needs_taps
def test_a_tap_for_one_queue_gives_no_second_one(name: str, tmp_path: Path) -> None:
    subprocess.run(["ip", "tuntap", "add", name, "mode", "tap"], check=True)

    expect(start(tmp_path, f"id={name},queues=2"), "Invalid argument", "multi_queue")


@needs_taps
@pytest.mark.parametrize("more", ["", " multi_queue"], ids=["one queue", "several queues"])
def test_a_tap_of_either_kind_gives_one_queue(more: str, name: str, tmp_path: Path) -> None:
    subprocess.run(["ip", "tuntap", "add", name, "mode", "tap", *more.split()], check=True)

    assert start(tmp_path, f"id={name}")[0] == 0


@needs_taps
def test_what_is_no_tap_is_told(tmp_path: Path) -> None:
    expect(start(tmp_path, "id=lo"), "open tap 'lo': Invalid argument", "no tap")


def without_rights(name: str) -> str:
    """Return what opening the tap says to a user who owns nothing; the device itself anybody may open."""
    probe = (
        "import os, sys\n"
        "from stratovirt.errors import HostError\n"
        "from stratovirt.virtio import tap\n"
        "clone = os.open(tap.CLONE_DEVICE, os.O_RDWR)\n"
        f"os.setuid({NOBODY})\n"
        "tap.open_clone = lambda label: os.dup(clone)\n"
        "try:\n"
        f"    tap.open_named(\"net 'eth0'\", {name!r}, 1)\n"
        "except HostError as error:\n"
        "    print(error.message, error.hint, sep='\\n')\n"
    )
    command = [sys.executable, "-c", probe]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@needs_taps
def test_a_missing_tap_that_the_user_may_not_make_is_told(name: str) -> None:
    message, hint = without_rights(name).splitlines()

    assert message == f"net 'eth0': open tap '{name}': Operation not permitted"
    assert "does not exist" in hint
    assert f"ip tuntap add {name} mode tap user" in hint


@needs_taps
def test_a_tap_of_another_user_is_told(name: str) -> None:
    subprocess.run(["ip", "tuntap", "add", name, "mode", "tap", "user", "1"], check=True)
    message, hint = without_rights(name).splitlines()

    assert message == f"net 'eth0': open tap '{name}': Operation not permitted"
    assert "another user" in hint


@pytest.mark.skipif(not os.path.exists(taps.CLONE_DEVICE), reason="needs /dev/net/tun")
def test_a_clone_device_that_cannot_be_opened_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taps, "CLONE_DEVICE", "/dev/net/none")
    with pytest.raises(HostError) as caught:
        taps.open_named("net 'eth0'", "tap0", 1)

    assert caught.value.message == "net 'eth0': open /dev/net/none: No such file or directory"
    assert "modprobe tun" in caught.value.hint


def test_a_descriptor_that_is_not_open_is_told(tmp_path: Path) -> None:
    expect(start(tmp_path, "id=x,fds=77"), "take descriptor 77: Bad file descriptor", "leave it open")


def test_a_descriptor_that_is_no_tap_is_told(tmp_path: Path) -> None:
    with open("/dev/null", "rb") as file:
        number = file.fileno()
        result = start(tmp_path, f"id=x,fds={number}", fds=[number])

    expect(result, f"descriptor {number} is no tap", "IFF_TAP")


@needs_taps
@pytest.mark.skipif(os.path.exists("/dev/vhost-net"), reason="this host has vhost-net")
def test_vhost_that_is_missing_is_told(name: str, tmp_path: Path) -> None:
    result = start(tmp_path, f"id={name},vhost=on")

    expect(result, "open /dev/vhost-net: No such file or directory", "vhost=off")


@needs_taps
def test_a_vhost_descriptor_that_is_none_is_told(name: str, tmp_path: Path) -> None:
    with open("/dev/null", "rb") as file:
        number = file.fileno()
        result = start(tmp_path, f"id={name},vhost=on,vhostfds={number}", fds=[number])

    expect(result, "make the device with vhost: Inappropriate ioctl for device", "vhost = false")


@pytest.mark.parametrize(
    ("mac", "code", "reason"),
    [
        ("52:54:00:12:34", "SV107", "52:54:00:12:34"),
        ("52:54:00:12:34:zz", "SV107", "52:54:00:12:34:zz"),
        ("01:00:5e:00:00:01", "SV319", "address of a group"),
        ("00:00:00:00:00:00", "SV319", "or of nobody"),
    ],
)
def test_an_address_that_is_none_is_refused(mac: str, code: str, reason: str, tmp_path: Path) -> None:
    profile = tmp_path / "guest.toml"
    profile.write_text(f'version = 1\n[boot]\nkernel = "k"\n[net.eth0]\ntap = "tap0"\nmac = "{mac}"\n')
    run = subprocess.run([*COMMAND, "run", profile], capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert code in run.stderr
    assert reason in run.stderr
    assert "mac" in run.stderr
