"""QMP clients side by side: what they share, and what one that does not read costs the next."""

from __future__ import annotations

import contextlib
import select
import socket
from typing import TYPE_CHECKING

import pytest

from stratovirt.control.listener import Listener
from stratovirt.control.loop import Loop
from stratovirt.control.qmp.events import BlockIoError
from stratovirt.control.qmp.registry import Target
from stratovirt.control.qmp.server import CLIENTS_AT_MOST, Server
from stratovirt.control.qmp.session import Session
from stratovirt.document.vm import Vm
from stratovirt.load import load
from tests.unit.control.fake_machine import FakeMachine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_S = 20
SOON_S = 0.05
EVENTS = 1200  # each of a good thousand bytes: more than a socket holds, and less than a session keeps
EVENT = BlockIoError(device="d", operation="read", action="report", nospace=False, reason="x" * 1000)
WORD = b"BLOCK_IO_ERROR"


class Stage:
    """A loop with a served machine that does nothing, and its clients."""

    def __init__(self, path: Path, stall_s: float) -> None:
        self.loop = Loop()
        self.loop.call_later(TIMEOUT_S, self._give_up)
        document = load(Vm, {"version": 1}, [])
        assert document is not None
        self.machine = FakeMachine(document)
        self._listener = Listener.bind(str(path))
        self.server = Server(self.loop, self._listener, self.machine, lambda _event: None, stall_s)
        self._clients: list[socket.socket] = []

    def close(self) -> None:
        self.server.close()
        self._listener.close()
        self.loop.close()
        for client in self._clients:
            client.close()

    def knock(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(self._listener.path)
        self._clients.append(client)
        return client

    def greet(self) -> socket.socket:
        """Return a client that has said nothing yet."""
        client = self.knock()
        assert self.read_until(client, b"\n").startswith(b'{"QMP"')
        return client

    def connect(self) -> socket.socket:
        """Return a client that has agreed on capabilities: it is told of events."""
        client = self.greet()
        client.sendall(b'{"execute":"qmp_capabilities"}')
        assert self.read_until(client, b"\n").startswith(b'{"return"')
        return client

    def read_until(self, client: socket.socket, word: bytes, times: int = 1) -> bytes:
        """Serve until a client has read a word so many times, or the end; return what it read."""
        data = b""

        def read() -> None:
            nonlocal data
            piece = client.recv(1 << 20)
            data += piece
            if not piece or data.count(word) >= times:
                self.loop.stop()

        self.loop.add_reader(client.fileno(), read)
        self.loop.run()
        self.loop.remove_reader(client.fileno())
        return data

    def fill(self) -> list[socket.socket]:
        """Return clients in every place that was free."""
        clients = []
        while len(self._clients) < CLIENTS_AT_MOST:
            clients.append(self.connect())
        return clients

    def serve(self, seconds: float) -> None:
        self.loop.call_later(seconds, self.loop.stop)
        self.loop.run()

    def tell_too_much(self) -> None:
        """Tell the client more than its socket takes."""
        for _ in range(EVENTS):
            self.server.emit(EVENT)

    @staticmethod
    def _give_up() -> None:
        raise TimeoutError("the test takes too long")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Return a machine whose clients have little time."""
    with contextlib.closing(Stage(tmp_path / "qmp", SOON_S)) as made:
        yield made


def test_clients_are_served_side_by_side_and_all_are_told_of_events(stage: Stage) -> None:
    clients = stage.fill()
    for client in reversed(clients):
        client.sendall(b'{"execute":"query-status"}')
        assert b'"return"' in stage.read_until(client, b"\n")
    stage.server.emit(EVENT)

    assert len(clients) == CLIENTS_AT_MOST
    for client in clients:
        assert WORD in stage.read_until(client, b"\n")


def test_events_wait_until_a_client_has_agreed_on_capabilities(stage: Stage) -> None:
    client = stage.greet()
    stage.server.emit(EVENT)
    client.sendall(b'{"execute":"qmp_capabilities"}')
    answer, event, _ = stage.read_until(client, b"\n", 2).split(b"\n")

    assert (answer, WORD in event) == (b'{"return":{}}', True)


def test_a_client_that_begins_with_another_command_hears_what_was_before_it(stage: Stage) -> None:
    client = stage.greet()
    stage.server.emit(EVENT)
    client.sendall(b'{"execute":"query-status"}')
    event, answer, _ = stage.read_until(client, b"\n", 2).split(b"\n")

    assert (WORD in event, answer.startswith(b'{"return"')) == (True, True)


def test_a_client_that_says_nothing_hears_of_events_too(stage: Stage) -> None:
    client = stage.greet()
    stage.server.emit(EVENT)

    assert WORD in stage.read_until(client, b"\n")


def test_clients_that_read_or_say_nothing_delay_nobody_while_there_is_a_place(tmp_path: Path) -> None:
    with contextlib.closing(Stage(tmp_path / "qmp", 2 * TIMEOUT_S)) as stage:
        stage.connect()
        stage.tell_too_much()
        for _ in range(CLIENTS_AT_MOST - 1):
            stage.connect()


def test_who_finds_no_place_waits_for_the_first_that_leaves(stage: Stage) -> None:
    clients = stage.fill()
    late = stage.knock()
    stage.serve(SOON_S)
    assert select.select([late], [], [], 0) == ([], [], [])
    clients[1].close()

    assert stage.read_until(late, b"\n").startswith(b'{"QMP"')


def test_a_descriptor_is_its_clients_until_it_has_a_name_and_then_everybodys(stage: Stage) -> None:
    first, second = stage.connect(), stage.connect()
    socket.send_fds(first, [b" "], [first.fileno()])
    stage.serve(SOON_S)
    second.sendall(b'{"execute":"getfd","arguments":{"fdname":"a"}}')
    assert b"No file descriptor supplied" in stage.read_until(second, b"\n")
    first.sendall(b'{"execute":"getfd","arguments":{"fdname":"a"}}')
    assert b'"return"' in stage.read_until(first, b"\n")
    second.sendall(b'{"execute":"closefd","arguments":{"fdname":"a"}}')

    assert b'"return"' in stage.read_until(second, b"\n")


def test_the_end_waits_for_the_slowest_client(stage: Stage) -> None:
    first, second = stage.connect(), stage.connect()
    stage.tell_too_much()
    stage.read_until(first, WORD, EVENTS)
    told: list[bool] = []
    assert not stage.server.finish(lambda: told.append(True))
    some = stage.read_until(second, WORD, EVENTS // 2)
    assert not told
    stage.read_until(second, WORD, EVENTS - some.count(WORD))

    assert told == [True]


def test_a_client_that_reads_nothing_makes_room_for_the_next(stage: Stage) -> None:
    first = stage.connect()
    stage.tell_too_much()
    stage.fill()
    second = stage.knock()
    greeting = stage.read_until(second, b"\n")
    rest = stage.read_until(first, b"never said")

    assert greeting.startswith(b'{"QMP"')
    assert 0 < rest.count(WORD) < EVENTS


def test_one_that_comes_later_finds_room_at_once(stage: Stage) -> None:
    stage.connect()
    stage.tell_too_much()
    stage.fill()
    stage.serve(2 * SOON_S)
    second = stage.knock()

    assert stage.read_until(second, b"\n").startswith(b'{"QMP"')


def test_a_client_that_reads_nothing_keeps_its_place_while_nobody_waits(stage: Stage) -> None:
    first = stage.connect()
    stage.tell_too_much()
    stage.fill()
    stage.serve(3 * SOON_S)

    assert stage.read_until(first, WORD, EVENTS).count(WORD) == EVENTS


def test_a_client_that_reads_all_is_not_sent_away_however_long_it_says_nothing(stage: Stage) -> None:
    first, *_others = stage.fill()
    stage.knock()
    stage.serve(3 * SOON_S)
    stage.server.emit(EVENT)

    assert WORD in stage.read_until(first, b"\n")


def test_a_client_that_reads_again_has_its_time_anew(tmp_path: Path) -> None:
    with contextlib.closing(Stage(tmp_path / "qmp", 0.5)) as stage:
        first = stage.connect()
        stage.tell_too_much()
        stage.fill()
        stage.serve(0.6)
        some = stage.read_until(first, WORD, EVENTS // 2)
        stage.knock()
        rest = stage.read_until(first, WORD, EVENTS - some.count(WORD))

    assert (some + rest).count(WORD) == EVENTS


@pytest.mark.parametrize("before", [False, True], ids=["after its time", "within its time"])
def test_a_client_that_half_closes_and_reads_nothing_is_not_waited_for(before: bool) -> None:  # noqa: FBT001
    loop = Loop()
    loop.call_later(TIMEOUT_S, Stage._give_up)
    document = load(Vm, {"version": 1}, [])
    assert document is not None
    target = Target(FakeMachine(document), lambda _event: None, lambda _event: None)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003
    with theirs:
        session = Session(loop, ours, target, loop.stop, None, SOON_S)
        session.start()
        theirs.sendall(b'{"execute":"qmp_capabilities"}')
        for _ in range(EVENTS):
            session.emit(EVENT)
        if before:
            theirs.shutdown(socket.SHUT_WR)
        else:
            loop.call_later(2 * SOON_S, lambda: theirs.shutdown(socket.SHUT_WR))
        loop.run()

        assert ours.fileno() == -1
    loop.close()
