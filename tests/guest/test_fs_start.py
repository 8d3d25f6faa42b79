"""A folder of the host when a machine starts: daemons that are not there or are none, and shared memory."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guest import tiny
from tests.guest.starts import flags, start
from tests.guest.test_fs import served
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kvm

WHO = "the daemon of fs 'home'"


def device(path: Path) -> list[str]:
    return ["-chardev", f"id=home,path={path}", "-device", "vhost-user-fs-device,chardev=home,tag=home"]


def refused(folder: Path) -> str:
    """Start a machine with a folder whose socket is there; return what it says before it ends."""
    status, errors = start(*flags(folder, tiny.build("hello"), *device(folder / "fs.sock")))

    assert status == 1
    assert "hint: " in errors
    assert not (folder / "qmp").exists()
    return errors


def test_a_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    errors = refused(tmp_path)

    assert f"connect to {WHO} at {tmp_path}/fs.sock: No such file or directory" in errors
    assert "start virtiofsd first" in errors


def test_a_socket_that_nobody_serves_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(tmp_path / "fs.sock"))

    assert f"{tmp_path}/fs.sock: Connection refused" in refused(tmp_path)


def hangs_up(connection: socket.socket) -> None:
    connection.recv(4096)


def talks(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize(("answer", "reason"), [(hangs_up, "Broken pipe"), (talks, "Protocol error")])
def test_somebody_else_who_listens_there_is_told_apart(
    answer: Callable[[socket.socket], None], reason: str, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "fs.sock"))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        errors = refused(tmp_path)
        thread.join()

    assert f"agree with {WHO}: {reason}" in errors


def test_memory_is_shared_with_the_daemon_without_being_asked_for(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    line = flags(tmp_path, tiny.build("spin"), *device(tmp_path / "fs.sock"))
    with served(share, tmp_path / "fs.sock"), Vmm(*line) as vmm:
        with closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
            qmp.call("qmp_capabilities")
            files = [os.readlink(fd) for fd in Path(f"/proc/{vmm.process.pid}/fd").iterdir()]
            qmp.call("quit")
        status, _, errors = vmm.finish()

    assert (status, errors) == (0, "")
    assert any("stratovirt-ram" in name for name in files)
