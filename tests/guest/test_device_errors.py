"""Devices that cannot be made at a start: vsock, entropy source, console socket."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.guest import tiny
from tests.guest.starts import flags, start, write
from tests.guest.vmm import Vmm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kvm

VSOCK = ("-device", "vhost-vsock-device,id=v,guest-cid=3")


def vsock_profile(folder: Path, *lines: str) -> Path:
    text = [
        "version = 1",
        "[boot]",
        f'kernel = "{tiny.build("hello")}"',
        "[serial]",
        "[vsock]",
        "guest_cid = 3",
        *lines,
    ]
    return write(folder / "guest.toml", "\n".join(text).encode())


@pytest.mark.skipif(os.path.exists("/dev/vhost-vsock"), reason="needs a host without vhost-vsock")
def test_a_vsock_without_vhost_and_without_a_socket_tells_both_ways_out(tmp_path: Path) -> None:
    status, errors = start(*flags(tmp_path, tiny.build("hello"), *VSOCK))

    assert status == 1
    assert "vsock 'v': open /dev/vhost-vsock" in errors
    assert "modprobe vhost_vsock" in errors
    assert 'backend = "unix"' in errors


@pytest.mark.skipif(os.path.exists("/dev/vhost-vsock"), reason="needs a host without vhost-vsock")
def test_a_vsock_that_falls_back_to_a_socket_says_so_in_one_line(tmp_path: Path) -> None:
    with Vmm("run", vsock_profile(tmp_path, 'socket = "v.sock"')) as vmm:
        status, output, errors = vmm.finish()

    assert (status, output) == (0, b"hello\n")
    assert len(errors.splitlines()) == 1
    assert "/dev/vhost-vsock" in errors
    assert str(tmp_path / "v.sock") in errors
    assert not (tmp_path / "v.sock").exists()


def test_a_vsock_by_its_socket_starts_without_a_word_and_replaces_a_stale_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "v.sock"))
    with Vmm("run", vsock_profile(tmp_path, 'backend = "unix"', 'socket = "v.sock"')) as vmm:
        status, output, errors = vmm.finish()

    assert (status, output, errors) == (0, b"hello\n", "")
    assert not (tmp_path / "v.sock").exists()


def test_a_vsock_socket_that_somebody_serves_is_refused_and_stays(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "v.sock"))
        other.listen()
        status, errors = start("run", vsock_profile(tmp_path, 'backend = "unix"', 'socket = "v.sock"'))

    assert status == 1
    assert "vsock 'vsock'" in errors
    assert str(tmp_path / "v.sock") in errors
    assert (tmp_path / "v.sock").exists()


@pytest.mark.parametrize("fd", ["0", "99"], ids=["another file", "no descriptor"])
def test_a_vhostfd_that_is_none_is_named(fd: str, tmp_path: Path) -> None:
    device = ("-device", f"vhost-vsock-device,id=v,guest-cid=3,vhostfd={fd}")
    status, errors = start(*flags(tmp_path, tiny.build("hello"), *device))

    assert status == 1
    assert f"is descriptor {fd} an open /dev/vhost-vsock" in errors


@pytest.mark.parametrize("kind", ["missing", "folder", "regular file"])
def test_an_entropy_source_that_is_no_character_device_is_refused(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    if kind == "folder":
        source.mkdir()
    elif kind == "regular file":
        source.touch()
    status, errors = start(*flags(tmp_path, tiny.build("hello"), "-rng", f"random_file={source}"))

    assert status == 1
    assert f"rng 'rng': {'open ' if kind == 'missing' else ''}{source}" in errors
    assert ("No such file" if kind == "missing" else kind) in errors
    assert "hint: name a character device" in errors


@pytest.mark.parametrize(
    ("place", "reason"),
    [("c" * 120, "107"), ("none/console", "No such file"), ("live", "a running program listens there")],
    ids=["too long", "missing folder", "in use"],
)
def test_a_console_socket_that_cannot_be_had_is_refused(place: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / place
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "live"))
        other.listen()
        status, errors = start(*flags(tmp_path, tiny.build("hello"), "-chardev", f"id=c,path={path}"))

    assert status == 1
    assert str(tmp_path) in errors
    assert reason in errors
    assert (tmp_path / "live").exists()


def test_a_stale_console_socket_is_replaced_and_none_is_left(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "console"))
    with Vmm(*flags(tmp_path, tiny.build("hello"), "-chardev", f"id=c,path={tmp_path / 'console'}")) as vmm:
        status, output, _ = vmm.finish()

    assert (status, output) == (0, b"hello\n")
    assert not (tmp_path / "console").exists()


def test_a_start_that_fails_later_leaves_no_console_socket(tmp_path: Path) -> None:
    status, _ = start(*flags(tmp_path, tmp_path, "-chardev", f"id=c,path={tmp_path / 'console'}"))

    assert status == 1
    assert not (tmp_path / "console").exists()
