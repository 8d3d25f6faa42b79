"""Clients that people use: PyPI's qemu.qmp, and our own for one command."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from qemu.qmp import ExecuteError, QMPClient

from stratovirt.control.qmp.client import call
from stratovirt.errors import HostError, QmpError, StratovirtError
from tests.unit.control.served import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Return a machine whose socket listens."""
    with Served(tmp_path / "qmp", cpus=3) as running:
        running.connect().close()
        yield running


async def live(path: str) -> list[object]:
    """Stop, continue and quit a machine with qemu.qmp; return what it said."""
    client = QMPClient("test")
    said: list[object] = []
    with client.listener(("STOP", "RESUME", "SHUTDOWN")) as events:
        await client.connect(path)
        said.append(await client.execute("query-status"))
        await client.execute("stop")
        said.append((await events.get())["event"])
        said.append(await client.execute("query-status"))
        with pytest.raises(ExecuteError) as refused:
            await client.execute("stop")
        said.append(refused.value.error_class)
        await client.execute("cont")
        said.append((await events.get())["event"])
        said.append(len(await client.execute("query-cpus-fast")))  # type: ignore[arg-type]
        with pytest.raises(ExecuteError) as unknown:
            await client.execute("human-monitor-command", {"command-line": "info"})
        said.append(unknown.value.error_class)
        await client.execute("quit")
        said.append((await events.get())["data"])
        with suppress(EOFError):  # whoever hangs up first
            await client.disconnect()
    return said


def test_qemu_qmp_drives_a_machine(served: Served) -> None:
    said = asyncio.run(asyncio.wait_for(live(str(served.path)), 20))

    assert said == [
        {"running": True, "singlestep": False, "status": "running"},
        "STOP",
        {"running": False, "singlestep": False, "status": "paused"},
        "GenericError",
        "RESUME",
        3,
        "CommandNotFound",
        {"guest": False, "reason": "host-qmp-quit"},
    ]
    assert served.finish() == (0, "")


def test_our_client_returns_what_the_machine_returns(served: Served) -> None:
    assert call(str(served.path), "query-kvm") == {"enabled": True, "present": True}


def test_our_client_skips_events(served: Served) -> None:
    assert call(str(served.path), "stop") == {}
    assert call(str(served.path), "query-status") == {
        "running": False,
        "singlestep": False,
        "status": "paused",
    }


def test_our_client_raises_what_the_machine_refuses(served: Served) -> None:
    with pytest.raises(QmpError) as caught:
        call(str(served.path), "stop", {"hard": True})

    assert (caught.value.kind, caught.value.message) == (
        "GenericError",
        "stop has no argument 'hard'; it takes none",
    )


def test_our_client_says_that_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        call(str(tmp_path / "none"), "stop")

    assert str(tmp_path / "none") in caught.value.message
    assert caught.value.hint == "is the machine running, and is this its socket?"


def test_our_client_does_not_wait_for_ever_behind_others(served: Served) -> None:
    served.fill()
    with pytest.raises(StratovirtError) as caught:
        call(str(served.path), "query-status", timeout=0.05)

    assert "no answer" in caught.value.message
    assert "other clients" in caught.value.hint


@pytest.mark.parametrize("said", [b"220 mail ready\n", b"[]\n", b""])
def test_our_client_tells_what_is_no_qmp(said: bytes, tmp_path: Path) -> None:
    path = str(tmp_path / "other")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(StratovirtError, match="other"):
            _answer_one(other, path, said)


def _answer_one(other: socket.socket, path: str, said: bytes) -> None:
    def answer() -> None:
        accepted, _ = other.accept()
        with accepted:
            accepted.sendall(said)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        call(path, "query-status", timeout=10)
    finally:
        thread.join()
