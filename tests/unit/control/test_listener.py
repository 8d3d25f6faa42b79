"""The socket file: who may have it, and that nothing is left of it."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from stratovirt.control.listener import Listener
from stratovirt.core.sockets import LONGEST_PATH
from stratovirt.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def refusal(path: Path | str) -> HostError:
    with pytest.raises(HostError) as caught:
        Listener.bind(str(path))
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


def path_of(folder: Path, size: int) -> Path:
    return folder / ("s" * (size - len(os.fsencode(folder)) - 1))


def test_the_file_is_for_its_owner_only_and_vanishes(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    before = os.umask(0)
    try:
        listener = Listener.bind(str(path))
    finally:
        os.umask(before)
    mode = path.stat().st_mode
    listener.close()

    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert not path.exists()


def test_a_path_of_107_bytes_works_and_one_of_108_is_refused(tmp_path: Path) -> None:
    Listener.bind(str(path_of(tmp_path, LONGEST_PATH))).close()

    assert "the path has 108 bytes and a socket's can have 107" in refusal(path_of(tmp_path, 108)).message


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none" / "qmp")

    assert "No such file or directory" in error.message
    assert error.hint == "make the folder first"


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "Not a directory" in refusal(tmp_path / "file" / "qmp").message


@pytest.fixture
def nobody() -> Iterator[None]:
    """Take root's power to write everywhere away."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, nobody: None) -> None:
    _ = nobody
    if os.geteuid() != 65534:
        tmp_path.chmod(0o500)

    assert "Permission denied" in refusal(tmp_path / "qmp").message


@pytest.mark.parametrize("kind", ["file", "folder", "link to nothing"])
def test_what_is_no_socket_is_refused_and_stays(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    make: dict[str, Callable[[], None]] = {
        "file": path.touch,
        "folder": path.mkdir,
        "link to nothing": lambda: path.symlink_to("nowhere"),
    }
    make[kind]()

    assert "there is a file that is no socket" in refusal(path).message
    assert os.path.lexists(path)


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    listener = Listener.bind(str(path))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        accepted = listener.accept()
    listener.close()

    assert accepted is not None
    accepted.close()


def test_a_live_socket_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    listener = Listener.bind(str(path))
    error = refusal(path)

    assert "a running program listens there" in error.message
    assert path.exists()
    listener.close()


def test_a_live_socket_with_a_full_queue_is_live(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as client:
        other.bind(str(path))
        other.listen(0)
        client.connect(str(path))

        assert "a running program listens there" in refusal(path).message


def test_a_socket_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))

        assert "wrong type" in refusal(path).message


def test_somebody_elses_file_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    listener = Listener.bind(str(path))
    path.unlink()
    path.touch()
    listener.close()

    assert path.exists()


def test_closing_twice_or_after_the_file_has_gone_is_harmless(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    listener = Listener.bind(str(path))
    path.unlink()
    listener.close()
    listener.close()


def test_nobody_waiting_is_no_client(tmp_path: Path) -> None:
    listener = Listener.bind(str(tmp_path / "qmp"))

    assert listener.accept() is None
    listener.close()


def test_a_refused_path_leaves_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    refusal(tmp_path / "none" / "qmp")

    assert len(os.listdir("/proc/self/fd")) == before
