"""The relay: bytes arrive whole, control lines are found, ends are told apart."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.rig.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator


class Machine:
    """A machine's ends of a control socket and an output socket, and the pipe the output lands in."""

    def __init__(self) -> None:
        ours, self.control = socket.socketpair()
        out, self.out = socket.socketpair()
        self.reader, self._writer = os.pipe()
        self._kept = (ours, out)
        self.relay = Relay(ours)
        self.relay.carry_out(out, self._writer)

    def close(self) -> None:
        for end in (self.control, self.out, *self._kept):
            end.close()
        os.close(self.reader)
        os.close(self._writer)


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


def soon() -> float:
    return time.monotonic() + 10


def test_output_is_carried_while_waiting_for_the_end(machine: Machine) -> None:
    machine.out.sendall(b"hello")
    machine.control.sendall(b"up\nex")
    assert machine.relay.wait(("up",), soon()) == "up"
    machine.control.sendall(b"it 7\n")

    assert machine.relay.wait(("exit",), soon()) == "exit 7"
    machine.out.close()
    machine.relay.drain()
    assert os.read(machine.reader, 100) == b"hello"


def test_what_was_sent_just_before_the_end_is_not_lost(machine: Machine) -> None:
    machine.control.sendall(b"exit 0\n")
    machine.relay.wait(("exit",), soon())
    machine.out.sendall(b"last words")
    machine.out.close()

    machine.relay.drain()

    assert os.read(machine.reader, 100) == b"last words"


def test_other_control_lines_are_only_signs_of_life(machine: Machine) -> None:
    machine.control.sendall(b"alive\nalive\nexit 3\n")

    assert machine.relay.wait(("exit",), soon()) == "exit 3"


def test_a_machine_that_ends_without_a_word_is_gone(machine: Machine) -> None:
    machine.control.close()

    assert machine.relay.wait(("exit",), soon()) == "gone"


def test_a_job_that_takes_too_long_is_late(machine: Machine) -> None:
    assert machine.relay.wait(("exit",), time.monotonic() + 0.01) == "late"


def test_a_machine_that_gives_no_sign_of_life_is_dead(machine: Machine) -> None:
    assert machine.relay.wait(("exit",), soon(), silence=0.01) == "dead"
