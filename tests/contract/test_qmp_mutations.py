"""Many random and mutated messages to one session: each is answered, and the next right one too."""

from __future__ import annotations

import gc
import json
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stratovirt.control.loop import Timer
from stratovirt.control.qmp import session as sessions
from stratovirt.control.qmp.descriptors import NAMED_AT_MOST
from stratovirt.control.qmp.registry import Target
from stratovirt.document.vm import Vm
from stratovirt.load import load
from tests.contract.mutations import Mutator
from tests.unit.control.fake_machine import FakeMachine

if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.control.qmp.events import Event

QUICK = 12_000  # messages; a million of them are in tests/soak
CHECKED_EACH = 500
GROWTH_KIB = 2048


class FakeLoop:
    """Remembers what would be called."""

    def __init__(self) -> None:
        self.reader: Callable[[], None] | None = None

    def add_reader(self, _fd: int, callback: Callable[[], None]) -> None:
        self.reader = callback

    def remove_reader(self, _fd: int) -> None:
        self.reader = None

    def add_writer(self, _fd: int, _callback: Callable[[], None]) -> None:
        raise AssertionError("everything can be sent at once")

    def remove_writer(self, _fd: int) -> None:
        pass

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return Timer(seconds, callback)


class FakeSocket:
    """Gives what a test sends, some of it with a descriptor, and takes everything."""

    def __init__(self) -> None:
        self.incoming = b""
        self.fds: list[int] = []
        self.sent = bytearray()

    def fileno(self) -> int:
        return 1 << 20

    def recvmsg(
        self, size: int, _space: int, _flags: int
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
        data, self.incoming = self.incoming[:size], self.incoming[size:]
        rights = [(1, 1, fd.to_bytes(4, "little")) for fd in self.fds]  # SOL_SOCKET, SCM_RIGHTS
        self.fds = []
        return data, rights, 0, None

    def send(self, data: bytes) -> int:
        self.sent += data
        return len(data)

    def recv(self, _size: int) -> bytes:
        return b""

    def close(self) -> None:
        pass


class Conversation:
    """A session of a machine that does nothing, at a clock that the test drives."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now = 0.0
        monkeypatch.setattr(sessions, "monotonic", lambda: self._now)
        document = load(Vm, {"version": 1, "cpu": {"count": 2}, "balloon": {}, "iothread": {"io1": {}}}, [])
        assert document is not None
        self.ends = 0
        self._socket = FakeSocket()
        self._loop = FakeLoop()
        target = Target(FakeMachine(document), self._tell, self._end)
        self.session = sessions.Session(self._loop, self._socket, target, lambda: None)  # type: ignore[arg-type]
        self.session.start()
        self.replies()

    def say(self, data: bytes, *, fd: int = -1) -> None:
        """Send bytes a hundredth of a second later, as fast as a client may go on for ever."""
        self._now += 0.01
        self._socket.incoming += data
        if fd >= 0:
            self._socket.fds.append(fd)
        while self._socket.incoming:
            assert self._loop.reader is not None, "the session is over"
            self._loop.reader()

    def replies(self) -> list[dict[str, object]]:
        """Return all that came back since."""
        lines = self._socket.sent.decode("ascii").splitlines()
        self._socket.sent.clear()
        return [json.loads(line) for line in lines]

    def _tell(self, event: Event) -> None:
        self.session.emit(event)

    def _end(self, _event: object) -> None:
        self.ends += 1


def resident_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def answers_a_right_one(talk: Conversation, number: int) -> bool:
    """Tell whether the next right request is answered; the newline ends what was left open."""
    talk.replies()
    talk.say(b"\n")
    talk.replies()
    talk.say(b'{"execute":"query-kvm","id":%d}\n' % number)
    return talk.replies()[-1] == {"return": {"enabled": True, "present": True}, "id": number}


def survive(talk: Conversation, seed: int, messages: int) -> dict[str, int]:
    """Send so many; return how many replies of each kind there were, and how many KiB the process grew."""
    mutator, chance = Mutator(seed), random.Random(~seed)
    found = {"messages": 0, "return": 0, "event": 0, "growth": 0}
    before = 0
    for number in range(messages):
        fd = os.open("/dev/null", os.O_RDONLY) if chance.random() < 0.01 else -1
        talk.say(mutator.message(), fd=fd)
        for reply in talk.replies():
            assert "internal error" not in str(reply.get("error"))
            kind = next(iter(reply.keys() & {"return", "event"}), "")
            kind = kind or reply["error"]["class"]  # type: ignore[index]
            found[kind] = found.get(kind, 0) + 1
        if number % CHECKED_EACH == 0:
            talk.say(b'"}]}\n')
            assert answers_a_right_one(talk, number)
        if number == messages // 10:
            gc.collect()
            before = resident_kib()
    gc.collect()
    found["growth"] = resident_kib() - before
    found["messages"] = messages
    return found


@pytest.mark.parametrize("seed", range(2))
def test_mutated_messages_are_answered_and_leave_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Conversation(monkeypatch)
    descriptors = len(os.listdir("/proc/self/fd"))

    found = survive(talk, seed, QUICK // 2)

    assert found["return"] > QUICK // 10
    assert {"GenericError", "CommandNotFound", "event"} <= found.keys()
    assert talk.ends > 0
    assert found["growth"] < GROWTH_KIB
    talk.session.close()
    assert len(os.listdir("/proc/self/fd")) - descriptors <= NAMED_AT_MOST
