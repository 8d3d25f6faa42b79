"""A machine that does nothing but remember, served by the real command in a process of its own.

Run as a module: the words are descriptor numbers and the document. What the machine is asked to do is written
to the log pipe, one line each; what its threads would tell is read from the events pipe, one line each. With
the word "held" it is built only when the events pipe says so.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import types
from typing import TYPE_CHECKING

from stratovirt.errors import StateError, StratovirtError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.document.vm import Vm

GO_ON = b"go on"
VCPU_THREADS = 1000  # the first vCPU's id; the others count up
CARD_MAC = "52:54:00:12:34:5a"


class FakeEvent:
    def __init__(self, kind: str, text: str = "", cause: str = "", **drive: str | int) -> None:
        self.kind = kind
        self.text = text
        self.cause = cause
        self.device = str(drive.get("device", ""))
        self.operation = str(drive.get("operation", ""))
        self.error = int(drive.get("error", 0))


class FakeSlot:
    """A disk or card; a backend whose path or tap is `bad` cannot be used."""

    def __init__(self, note: Callable[[str], None], held: str = "", mac: str | None = None) -> None:
        self.mac = mac
        self.pairs = 4 if mac else 1
        self.vhost = bool(mac)
        self._note = note
        self._held = held

    def info(self) -> dict[str, object] | None:
        return {"file": self._held} if self._held else None

    def plug(self, **backend: object) -> None:
        name = str(backend.get("path") or backend.get("tap") or backend.get("fds"))
        if name.endswith("bad"):
            raise StratovirtError(f"open {name}: it is bad", hint="name a better one")
        if name.endswith("one too many"):
            raise OSError(errno.EMFILE, "Too many open files")
        self._held = name
        self._note(f"plug {sorted(backend.items())}")

    def unplug(self) -> None:
        self._note(f"unplug {self._held}")
        self._held = ""


class FakeConsole:
    def __init__(self, name: str, note: Callable[[str], None]) -> None:
        self._name = name
        self._note = note

    def resize(self, cols: int, rows: int) -> None:
        self._note(f"window of {self._name}: {cols} by {rows}")


class FakeBalloon:
    """A balloon whose guest does what it is told by the test only."""

    def __init__(self, size: int, note: Callable[[str], None]) -> None:
        self.size: int | None = size
        self._note = note

    def actual(self) -> int | None:
        return self.size

    def set_target(self, size: int) -> None:
        self._note(f"target {size}")

    def stats(self) -> tuple[int, dict[str, int]]:
        return 1_700_000_000, {"free-memory": 2**64 - 1, "total-memory": 7}

    def ask_stats(self) -> None:
        self._note("ask stats")


class FakeMachine:
    """`log` and `events` are pipes; without them nothing is told and nothing is remembered."""

    def __init__(self, document: Vm, log: int = -1, events: int = -1) -> None:
        self.document = document
        self.status = "running"
        self.events_fd = events
        self.room = 1 << 20
        self.broken = ""
        self._log = log
        self.slots_of = {
            "drive": {"root": FakeSlot(self.note, "/root.img"), "slot 1": FakeSlot(self.note)},
            "net": {"slot 0": FakeSlot(self.note, mac=CARD_MAC), "slot 1": FakeSlot(self.note)},
        }
        # Tests of the registry have no document.
        described = getattr(document, "balloon", None) is not None
        self._balloon = FakeBalloon(document.memory.size, self.note) if described else None

    def note(self, text: str) -> None:
        if self._log >= 0:
            os.write(self._log, f"{text}\n".encode())

    def start(self) -> None:
        self.note("start")

    def pause(self) -> None:
        if self.broken == "bug":
            raise KeyError("nobody\nexpects this")
        if self.broken == "stuck":
            raise StratovirtError("a vCPU did not stop", hint="try again")
        if self.status != "running":
            raise StateError(f"the machine is {self.status}, not running", hint="it has to run first")
        self.status = "paused"
        self.note("pause")

    def resume(self) -> None:
        if self.status != "paused":
            raise StateError(f"the machine is {self.status}, not paused")
        self.status = "running"
        self.note("resume")

    def vcpu_threads(self) -> tuple[int, ...]:
        return tuple(VCPU_THREADS + index for index in range(self.document.cpu.count))

    def take_events(self) -> list[FakeEvent]:
        lines = os.read(self.events_fd, 65536).decode().splitlines()
        if not lines:
            os._exit(3)  # the test is over, and left us behind
        return [event for line in lines if (event := self._event(json.loads(line))) is not None]

    def _event(self, words: dict[str, str]) -> FakeEvent | None:
        """Return the event, or do what the test asks of the machine itself."""
        if words["kind"] == "room":
            self.room = int(words["text"])
            return FakeEvent("serial-room")
        if words["kind"] == "balloon":
            assert self._balloon is not None
            self._balloon.size = int(words["text"]) if words["text"] else None
            return FakeEvent("balloon")
        if words["kind"] == "forbidden":
            os.getppid()  # a system call that no thread needs
            self.note("forbidden")
            return None
        if words["kind"] == "bug":
            raise KeyError("nobody\nexpects this")
        if words["kind"] == "broken":
            self.broken = words["text"]
            return None
        return FakeEvent(**words)

    def live(self, table: str, name: str = "") -> object | None:
        if table == "console":
            return FakeConsole(name, self.note) if name in self.document.console else None
        return self._balloon if table == "balloon" else None

    def iothread_id(self, name: str) -> int:
        return len(name)

    def slots(self, table: str) -> dict[str, FakeSlot]:
        return self.slots_of[table]

    def feed_serial(self, data: bytes) -> int:
        taken = min(len(data), self.room)
        self.room -= taken
        if taken:
            self.note(f"fed {data[:taken].hex()}")
        return taken

    def close(self) -> None:
        if self.broken == "close":
            raise StratovirtError("an I/O thread did not stop")
        self.note("close")


def build(vm: Vm, log: int, events: int, *, held: bool) -> FakeMachine:
    machine = FakeMachine(vm, log, events)
    if held:
        machine.note(f"build {os.getpid()}")
        if os.read(events, len(GO_ON)) != GO_ON:
            raise StratovirtError("it cannot be built", hint="try again")
    return machine


def main() -> None:
    from stratovirt import cli, start
    from stratovirt.document.vm import Vm
    from stratovirt.load import load

    log, events = int(sys.argv[1]), int(sys.argv[2])
    vm = load(Vm, json.loads(sys.argv[3]), [])
    assert vm is not None
    builder = types.ModuleType("stratovirt.builder.build")
    builder.build = lambda vm: build(vm, log, events, held="held" in sys.argv)  # type: ignore[attr-defined]
    sys.modules["stratovirt.builder.build"] = builder
    cli.dispatch = lambda _argv: start.start(vm)  # type: ignore[assignment]
    cli.main()


if __name__ == "__main__":
    main()
