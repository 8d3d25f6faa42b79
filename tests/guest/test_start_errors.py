"""Start failures: a message with object, reason and next step; status 1 (2 for usage); nothing left."""

from __future__ import annotations

import gzip
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guest import tiny
from tests.guest.starts import flags, start, write
from tests.guest.vmm import COMMAND, Vmm

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kvm

NOBODY = 65534


def bzimage_header() -> bytes:
    header = bytearray(1024)
    header[0x1F1] = 1
    header[0x1FE:0x200] = b"\x55\xaa"
    header[0x202:0x206] = b"HdrS"
    header[0x206:0x208] = (0x20F).to_bytes(2, "little")
    header[0x211] = 1
    header[0x214:0x218] = (0x100000).to_bytes(4, "little")
    return bytes(header)


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


KERNELS: dict[str, Callable[[Path], Path]] = {
    "missing": lambda folder: folder / "nothing",
    "a folder": lambda folder: folder,
    "a pipe that nobody writes": pipe,
    "a program": lambda _: Path(sys.executable).resolve(),
    "empty": lambda folder: write(folder / "kernel", b""),
    "compressed": lambda folder: write(folder / "kernel", gzip.compress(b"vmlinux" * 100)),
    "a truncated bzImage": lambda folder: write(folder / "kernel", bzimage_header()),
    "an ELF for another machine": lambda folder: write(
        folder / "kernel", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(200)
    ),
    "a truncated ELF": lambda folder: write(
        folder / "kernel", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00"
    ),
}


@pytest.mark.parametrize("kind", KERNELS)
def test_what_is_no_kernel_is_named(kind: str, tmp_path: Path) -> None:
    kernel = KERNELS[kind](tmp_path)
    status, errors = start(*flags(tmp_path, kernel))

    assert status == 1
    assert str(kernel) in errors
    assert "hint: " in errors
    assert not (tmp_path / "qmp").exists()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "No such file or directory"),
        ("a folder", "is not a regular file"),
        ("a pipe that nobody writes", "is not a regular file"),
    ],
)
def test_what_is_no_initrd_is_named(kind: str, reason: str, tmp_path: Path) -> None:
    initrd = KERNELS[kind](tmp_path)
    status, errors = start(*flags(tmp_path, tiny.build("hello"), "-initrd", initrd))

    assert status == 1
    assert f"initrd {initrd}" in errors
    assert reason in errors
    assert "hint: " in errors
    assert not (tmp_path / "qmp").exists()


FILES: dict[str, Callable[[str | Path], list[str | Path]]] = {
    "kernel": lambda path: ["-kernel", path],
    "initrd": lambda path: ["-kernel", tiny.build("hello"), "-initrd", path],
    "drive": lambda path: [
        "-kernel", tiny.build("hello"),
        "-drive", f"id=d,file={path},direct=off", "-device", "virtio-blk-device,drive=d",
    ],
}  # fmt: skip


def without_rights() -> list[str]:
    """Return the command for a user whom the modes of files bind: root without its capabilities is one."""
    if os.geteuid() != 0:
        return COMMAND
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *COMMAND]


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_the_user_may_not_read_is_named(what: str, tmp_path: Path) -> None:
    path = write(tmp_path / "file", bytes(4096))
    path.chmod(0)
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    words = [*FILES[what](path), "-serial", "stdio", "-qmp", f"unix:{tmp_path}/qmp"]
    with Vmm(*words, command=without_rights()) as vmm:
        status, output, errors = vmm.finish()

    assert (status, output) == (1, b"")
    assert f"{path}: Permission denied" in errors
    assert what in errors
    assert "hint: " in errors
    assert not (tmp_path / "qmp").exists()


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize(
    ("length", "reason"), [(4096, "File name too long"), (4097, "has 4097 characters, at most 4096")]
)
def test_a_path_that_is_too_long_is_refused(what: str, length: int, reason: str, tmp_path: Path) -> None:
    path = "/tmp" + "/x" * ((length - 4) // 2) + "x" * (length % 2)
    status, errors = start(*FILES[what](path), "-serial", "stdio", "-qmp", f"unix:{tmp_path}/qmp")

    assert status == 1
    assert what in errors
    assert reason in errors
    assert "hint: " in errors
    assert not (tmp_path / "qmp").exists()


def test_an_initrd_that_does_not_fit_is_told_with_numbers(tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    with initrd.open("wb") as file:
        file.truncate(1 << 30)
    status, errors = start(*flags(tmp_path, tiny.build("hello"), "-initrd", initrd))

    assert status == 1
    assert str(initrd) in errors
    assert "1073741824" in errors or "1G" in errors or "1024" in errors


@pytest.mark.parametrize(
    ("size", "reason"), [(0, "0 bytes"), (1000, "1000 bytes")], ids=["an empty disk", "a disk of odd size"]
)
def test_a_disk_that_is_no_disk_is_refused(size: int, reason: str, tmp_path: Path) -> None:
    image = write(tmp_path / "disk", bytes(size))
    disk = ["-drive", f"id=d,file={image},direct=off", "-device", "virtio-blk-device,drive=d"]
    status, errors = start(*flags(tmp_path, tiny.build("hello"), *disk))

    assert status == 1
    assert f"drive 'd': {image}" in errors
    assert reason in errors


@pytest.mark.parametrize("target", ["missing", "folder"])
def test_a_disk_file_that_cannot_be_opened_is_named(target: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    disk = ["-drive", f"id=d,file={tmp_path / target},direct=off", "-device", "virtio-blk-device,drive=d"]
    status, errors = start(*flags(tmp_path, tiny.build("hello"), *disk))

    assert status == 1
    assert str(tmp_path / target) in errors


DISKS = [f"d{number}" for number in range(14)]
SEVENTEEN = sorted([*(f"drive.{name}" for name in DISKS), "console.c", "rng.rng", "balloon.balloon"])


def seventeen_in_flags(folder: Path) -> list[str | Path]:
    words = [
        word
        for name in DISKS
        for word in (
            "-drive", f"id={name},file={folder / name},direct=off",
            "-device", f"virtio-blk-device,drive={name}",
        )
    ]  # fmt: skip
    words += ["-chardev", f"id=c,path={folder / 'console'}", "-rng", "random_file=/dev/urandom"]
    return flags(folder, tiny.build("hello"), *words, "-device", "virtio-balloon-device")


def seventeen_in_a_profile(folder: Path) -> list[str | Path]:
    lines = ["version = 1", f'boot.kernel = "{tiny.build("hello")}"', f'qmp.socket = "{folder}/qmp"']
    lines += [f'drive.{name} = {{ file = "{name}", direct = false }}' for name in DISKS]
    lines += ['console.c.path = "console"', 'rng.file = "/dev/urandom"', "[balloon]", "[serial]"]
    return ["run", write(folder / "vm.toml", "\n".join(lines).encode())]


@pytest.mark.parametrize("way", [seventeen_in_flags, seventeen_in_a_profile], ids=["flags", "profile"])
def test_a_seventeenth_device_is_refused_with_the_names_of_all(
    way: Callable[[Path], list[str | Path]], tmp_path: Path
) -> None:
    for name in DISKS:
        write(tmp_path / name, bytes(512))
    status, errors = start(*way(tmp_path))
    (line,) = [line for line in errors.splitlines() if "slots are taken by " in line]

    assert status == 1
    assert "17 devices, and x86_64 has 16 virtio-mmio slots" in errors
    assert sorted(line.split("slots are taken by ")[1].split(", ")) == SEVENTEEN
    assert not (tmp_path / "qmp").exists()


def test_a_socket_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("s" * 120)
    status, errors = start("-kernel", tiny.build("hello"), "-qmp", f"unix:{path}")

    assert status == 1
    assert "107" in errors
    assert "hint: put it into a folder with a shorter path" in errors


def test_a_socket_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    status, errors = start("-kernel", tiny.build("hello"), "-qmp", f"unix:{tmp_path}/none/qmp")

    assert status == 1
    assert f"{tmp_path}/none" in errors


def test_a_live_socket_is_refused_and_stays(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "qmp"))
        other.listen()
        status, errors = start(*flags(tmp_path, tiny.build("hello")))

    assert status == 1
    assert str(tmp_path / "qmp") in errors
    assert (tmp_path / "qmp").exists()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "qmp"))
    with Vmm(*flags(tmp_path, tiny.build("hello"))) as vmm:
        status, output, _ = vmm.finish()

    assert (status, output) == (0, b"hello\n")


def test_a_flag_that_does_not_exist_is_a_usage_error() -> None:
    status, errors = start("--unsupport")

    assert status == 2
    assert "unsupport" in errors


def test_a_log_that_is_a_pipe_which_nobody_reads_is_refused(tmp_path: Path) -> None:
    status, errors = start(*flags(tmp_path, tiny.build("hello"), "-D", pipe(tmp_path)))

    assert (status, f"open log {tmp_path}/pipe: No such device" in errors) == (1, True), errors


@pytest.mark.parametrize("mib", range(280, 480, 20))
def test_a_process_that_is_short_of_memory_runs_or_says_what_it_lacks(mib: int, tmp_path: Path) -> None:
    limit = mib << 20
    run = subprocess.run(
        [*COMMAND, *map(str, flags(tmp_path, tiny.build("hello")))],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode in {0, 1}, run.stderr
    assert run.returncode == 0 or "hint: " in run.stderr, run.stderr
    assert "Traceback" not in run.stderr
    assert "seccomp" not in run.stderr
    assert not (tmp_path / "qmp").exists()


def test_more_memory_than_the_process_may_have_is_told(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    run = subprocess.run(
        [*COMMAND, *map(str, flags(tmp_path, tiny.build("hello"), "-m", "8G"))],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1
    assert "8G of guest memory" in run.stderr
    assert "Traceback" not in run.stderr
    assert not os.path.exists(f"{tmp_path}/qmp")
