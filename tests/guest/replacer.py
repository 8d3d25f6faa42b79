"""A client that replaces disks and cards in random order, with arguments that are right or odd."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections import Counter
from typing import TYPE_CHECKING

from tests.contract.mutations import INTEGERS, ODD, STRINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.guest.vmm import Qmp

NAMES = ("a", "b", "c", "e", "f", "g")  # of backends, devices and descriptors; d0 is the guest's own disk
SLOTS = ("0x1", "0x2", "0x3", "0x0", "1", "0x9")
ODD_ONES = 0.15  # of the requests
_UNDOING = (("device_del", "id"), ("blockdev-del", "node-name"), ("netdev_del", "id"), ("closefd", "fdname"))


class Replacer:
    """Sends such requests and counts what came of them. `taps` can be named, `fds` passed."""

    def __init__(self, folder: Path, seed: int, taps: Sequence[str], fds: Sequence[int]) -> None:
        self._chance = random.Random(seed)
        self._taps = [*taps, "notap"]
        self._fds = fds
        self._images = [str(folder / f"image{number}") for number in range(4)]
        for image in self._images:
            with open(image, "wb") as file:
                file.truncate(1 << 20)
        self.commands: dict[str, Callable[[], dict[str, object]]] = {
            "blockdev-add": self._disk,
            "netdev_add": self._card,
            "device_add": self._device,
            "device_del": lambda: {"id": self._name()},
            "blockdev-del": lambda: {"node-name": self._name()},
            "netdev_del": lambda: {"id": self._name()},
            "getfd": lambda: {"fdname": self._name()},
            "closefd": lambda: {"fdname": self._name()},
        }
        # What comes before another one has to come more often.
        self._words = [*self.commands, "device_add", "device_add", "getfd", "netdev_add"]
        self._names: set[str] = set()
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def send_one(self, client: socket.socket) -> None:
        """Send the next request."""
        command = self._chance.choice(self._words)
        arguments = self.commands[command]()
        if self._chance.random() < ODD_ONES:
            arguments[self._chance.choice([*arguments, "nothing"])] = self._odd()
        name = arguments.get("node-name", arguments.get("id", arguments.get("fdname")))
        request = json.dumps({"execute": command, "arguments": arguments, "id": [command, name]}).encode()
        if self._fds and self._chance.random() < (0.8 if command == "getfd" else 0.05):
            socket.send_fds(client, [request], [self._chance.choice(self._fds)])
        else:
            client.sendall(request)

    def note(self, replies: bytes) -> None:
        """Count what was answered."""
        for line in replies.splitlines():
            reply = json.loads(line)
            if "return" in reply:
                command, name = reply["id"]
                self.done[command] += 1
                self._names.add(name)
            elif "error" in reply:
                assert "internal error" not in reply["error"]["desc"], line
                assert reply["error"]["class"] != "OperationThrottled"
                self.refused[reply["id"][0]] += 1

    def undo(self, connect: Callable[[], Qmp]) -> None:
        """Take out and forget all that may be there."""
        for name in self._names:
            with contextlib.closing(connect()) as qmp:  # one for each name: more are too many requests
                for command, key in _UNDOING:
                    with contextlib.suppress(RuntimeError):
                        qmp.call(command, **{key: name})

    def _name(self) -> str:
        return self._chance.choice(NAMES)

    def _odd(self) -> object:
        return self._chance.choice([*STRINGS, *INTEGERS, *(make() for make in ODD)])

    def _disk(self) -> dict[str, object]:
        chance = self._chance
        arguments: dict[str, object] = {
            "node-name": self._name(),
            "file": {"driver": "file", "filename": chance.choice(self._images)},
            "cache": {"direct": chance.random() < 0.5},
        }
        if chance.random() < 0.3:
            arguments["read-only"] = chance.random() < 0.5
        return arguments

    def _card(self) -> dict[str, object]:
        key = self._chance.choice(("ifname", "fds"))
        value = self._chance.choice(self._taps) if key == "ifname" else self._name()
        return {"id": self._name(), key: value}

    def _device(self) -> dict[str, object]:
        chance = self._chance
        kind = chance.choice(("virtio-blk-mmio", "virtio-net-mmio"))
        arguments: dict[str, object] = {"id": self._name(), "driver": kind}
        if chance.random() < 0.5:
            arguments["addr"] = chance.choice(SLOTS)
        return arguments
