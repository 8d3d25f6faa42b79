"""The event loop: descriptors, timers, files, failures."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from stratovirt.control.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def loop() -> Iterator[Loop]:
    """Return a loop that gives up after a while."""
    made = Loop()

    def give_up() -> None:
        raise TimeoutError("the test takes too long")

    made.call_later(20, give_up)
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return two connected sockets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        yield ours, theirs


def test_a_reader_is_called_until_nothing_is_left(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    seen = []

    def read() -> None:
        seen.append(ours.recv(1))
        if len(seen) == 3:
            loop.stop()

    loop.add_reader(ours.fileno(), read)
    theirs.send(b"abc")
    loop.run()

    assert b"".join(seen) == b"abc"


def test_a_writer_is_called_and_then_removed(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    calls = []

    def write() -> None:
        calls.append(1)
        loop.remove_writer(ours.fileno())
        loop.call_later(0, loop.stop)

    loop.add_writer(ours.fileno(), write)
    loop.run()

    assert calls == [1]


def test_reader_and_writer_of_one_descriptor_are_independent(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    fd = ours.fileno()
    calls = []

    def write() -> None:
        calls.append("write")
        loop.remove_writer(fd)
        theirs.send(b"x")

    def read() -> None:
        calls.append("read")
        loop.stop()

    loop.add_reader(fd, read)
    loop.add_writer(fd, write)
    loop.run()

    assert calls == ["write", "read"]


def test_a_hang_up_reaches_the_reader(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    seen = []

    def read() -> None:
        seen.append(ours.recv(10))
        loop.stop()

    loop.add_reader(ours.fileno(), read)
    theirs.close()
    loop.run()

    assert seen == [b""]


def test_a_hang_up_that_nobody_wants_to_know_of_does_not_keep_the_loop_busy(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    calls = []
    loop.add_reader(ours.fileno(), lambda: calls.append(1))
    loop.remove_reader(ours.fileno())
    theirs.close()
    loop.call_later(0.02, loop.stop)
    before = os.times().user
    loop.run()

    assert calls == []
    assert os.times().user - before < 0.02


def test_timers_fire_in_the_order_of_their_times(loop: Loop) -> None:
    order: list[str] = []
    loop.call_later(0.02, loop.stop)
    loop.call_later(0.01, lambda: order.append("second"))
    loop.call_later(0.001, lambda: order.append("first"))
    loop.call_later(0.005, lambda: order.append("never")).cancel()
    loop.run()

    assert order == ["first", "second"]


def test_a_regular_file_is_always_ready(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    fd = os.open(path, os.O_RDONLY)
    seen = []

    def read() -> None:
        data = os.read(fd, 4)
        seen.append(data)
        if not data:
            loop.remove_reader(fd)
            loop.stop()

    loop.add_reader(fd, read)
    loop.run()
    os.close(fd)

    assert seen == [b"xxxx", b"xxxx", b"xx", b""]


def test_a_file_and_a_socket_share_the_loop(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    fd = os.open(os.devnull, os.O_RDONLY)
    calls = []
    loop.add_reader(fd, lambda: calls.append("file"))
    loop.add_reader(ours.fileno(), loop.stop)
    theirs.send(b"x")
    loop.run()
    os.close(fd)

    assert len(calls) <= 1


def test_an_exception_leaves_the_loop(loop: Loop) -> None:
    def fail() -> None:
        raise KeyError("seen")

    loop.call_later(0, fail)

    with pytest.raises(KeyError, match="seen"):
        loop.run()


def test_stop_skips_what_else_is_ready(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    calls = []
    for sock in pair:
        sock.send(b"x")

    def first() -> None:
        calls.append(1)
        loop.stop()

    loop.add_reader(ours.fileno(), first)
    loop.add_reader(theirs.fileno(), first)
    loop.run()

    assert calls == [1]


def test_a_loop_can_be_run_again(loop: Loop) -> None:
    loop.call_later(0, loop.stop)
    loop.run()
    loop.call_later(0, loop.stop)
    loop.run()


def test_a_closed_descriptor_cannot_be_added(loop: Loop) -> None:
    fd = os.dup(0)
    os.close(fd)

    with pytest.raises(OSError, match="descriptor"):
        loop.add_reader(fd, loop.stop)
