"""Disk images: what can be one, and who may have it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stratovirt.devices.image import Image
from stratovirt.errors import HostError, StratovirtError

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Return an image of 1 MiB."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(MIB))
    return path


def opened(path: Path, *, readonly: bool = False, lock: str = "auto") -> Image:
    return Image("drive 'd'", str(path), readonly=readonly, direct=False, lock=lock)


def test_an_image_knows_its_size(disk: Path) -> None:
    with opened(disk) as image:
        assert (image.size, image.alignment, image.readonly) == (MIB, 1, False)


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StratovirtError, match="neither a regular file nor a block device"):
        opened(tmp_path / "pipe", readonly=True)


@pytest.mark.parametrize(("size", "more"), [(0, "-s 512 "), (511, "-s 512 "), (513, "-s 1024 ")])
def test_half_a_sector_is_refused_with_the_command_that_helps(size: int, more: str, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(size))
    with pytest.raises(StratovirtError) as caught:
        opened(path)

    assert more in caught.value.hint


def test_a_refused_image_leaves_no_descriptor(disk: Path, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"x")
    before = os.listdir("/proc/self/fd")
    with opened(disk):
        for path in (disk, short):
            with pytest.raises(StratovirtError):
                opened(path)

    assert os.listdir("/proc/self/fd") == before


def test_one_writer_or_many_readers(disk: Path) -> None:
    with opened(disk), pytest.raises(StratovirtError, match="is in use by this machine"):
        opened(disk, readonly=True)
    with opened(disk, readonly=True), opened(disk, readonly=True), pytest.raises(StratovirtError):
        opened(disk)
    with opened(disk), opened(disk, lock="off"):
        pass


def test_a_lock_goes_with_the_last_descriptor(disk: Path) -> None:
    with opened(disk) as image:
        core = os.dup(image.fd)
    with pytest.raises(StratovirtError):
        opened(disk)
    os.close(core)
    with opened(disk):
        pass


def test_a_lock_of_single_bytes_as_qemus_stands_against_ours(disk: Path) -> None:
    program = f"""
import fcntl, struct, sys
file = open({str(disk)!r}, "rb")
lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 100, 1, 0)
fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
print("locked", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(StratovirtError, match=f"in use by process {other.pid} \\("):
            opened(disk)


def test_a_file_system_without_locks_is_used_without(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with opened(disk) as image:
        assert image.size == MIB


def test_a_lock_that_fails_for_another_reason_is_told(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with pytest.raises(HostError, match=r"lock .*: Input/output error"):
        opened(disk)


def test_an_image_that_this_machine_has_already_says_so(disk: Path) -> None:
    with (
        opened(disk),
        pytest.raises(StratovirtError, match="is in use by this machine"),
        opened(disk),
    ):
        pass
