"""Messages of a client that means no good: the commands of the contract, with more and more of them wrong."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CONTRACT = json.loads((Path(__file__).parents[2] / "compat" / "qmp.json").read_text())["commands"]
DONE = {name: entry.get("arguments") or {} for name, entry in CONTRACT.items() if entry["status"] == "done"}
# Of each type what is right, or nearly.
STRINGS = (
    "", "d", "n0", "x" * 300, "virtio-blk-mmio", "virtio-net-mmio", "0x0", "0x1", "0x7", "-1", "lo", "0",
    "3:4", "999999", "99999999999999", "d:d", "n0:n0:3", "tap with spaces", "\0", "\ud800", "\u00e9",
    "\U0001f600", "../..", "/", "/dev/null", "a\nb", "%s%n", "raw", "file",
)  # fmt: skip
INTEGERS = (
    0,
    1,
    -1,
    255,
    256,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    1 << 63,
    1 << 64,
    10**30,
    -(1 << 70),
    1 << 28,
)
ODD: tuple[Callable[[], object], ...] = (
    lambda: None, lambda: True, lambda: 1.5, lambda: 1e308, list, dict, lambda: [[]] * 3,
    lambda: {"a": {"b": {}}}, lambda: 10**4000, lambda: "y" * 5000,
)  # fmt: skip
PIECES = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\n", b"\xff", b"\x00", b"1e999", b"-", b"NaN", b"null",
    b"\\ud800", b"\\u00", b"[" * 70, b'{"a":' * 70, b" " * 300, b'"execute"', b'"id":1,', b"9" * 5000,
    b"\xed\xa0\x80",
)  # fmt: skip


class Mutator:
    """Makes messages; the same seed makes the same ones. `strings` mean something to the machine."""

    def __init__(
        self, seed: int, strings: tuple[str, ...] = (), leave_out: frozenset[str] = frozenset()
    ) -> None:
        self._chance = random.Random(seed)
        self._strings = STRINGS + strings
        self._commands = sorted(DONE.keys() - leave_out)
        self._all = sorted(CONTRACT.keys() - leave_out)
        self._before = b"{}"

    def message(self) -> bytes:
        """Return the next one: a right command, a wrong one, one with wrong bytes, or noise."""
        kind = self._chance.random()
        if kind < 0.05:
            return self._noise()
        text = json.dumps(self._request(), ensure_ascii=self._chance.random() < 0.9).encode(
            errors="surrogatepass"
        )
        if kind < 0.45:
            text = self._damaged(text)
        self._before = text
        return text + (b"\n" if self._chance.random() < 0.9 else b"")

    def _request(self) -> object:
        chance = self._chance
        name = chance.choice(self._commands) if chance.random() < 0.95 else chance.choice(self._all)
        request: dict[str, object] = {"execute": name if chance.random() < 0.98 else self._odd()}
        arguments = self._arguments(DONE.get(name, {}))
        if arguments or chance.random() < 0.2:
            request["arguments"] = arguments if chance.random() < 0.98 else self._odd()
        if chance.random() < 0.3:
            request["id"] = self._odd() if chance.random() < 0.5 else chance.choice(INTEGERS)
        if chance.random() < 0.02:
            request[chance.choice(self._strings)] = self._odd()
        return request if chance.random() < 0.99 else self._odd()

    def _arguments(self, members: dict[str, Any]) -> dict[str, object]:
        chance = self._chance
        values = {
            name: self._value(member)
            for name, member in members.items()
            if member.get("required") or name in {"file", "addr"} or chance.random() < 0.3
        }
        if values and chance.random() < 0.05:
            values.pop(chance.choice(list(values)))
        if chance.random() < 0.05:
            values[chance.choice(self._strings)] = self._odd()
        return values

    def _value(self, member: dict[str, Any]) -> object:
        if self._chance.random() < 0.05:
            return self._odd()
        if member["type"] == "object":
            return self._arguments(member["members"])
        if member["type"] == "integer":
            return self._chance.choice(INTEGERS)
        return self._chance.choice(self._strings if member["type"] == "string" else (True, False))

    def _odd(self) -> object:
        chance = self._chance
        if chance.random() < 0.3:
            return chance.choice(self._strings)
        return chance.choice(ODD)()

    def _damaged(self, text: bytes) -> bytes:
        chance = self._chance
        damaged = bytearray(text)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(damaged) + 1)
            how = chance.randrange(5)
            if how == 0 and at < len(damaged):
                damaged[at] = chance.randrange(256)
            elif how == 1:
                del damaged[at : at + chance.randint(1, 8)]
            elif how == 2:
                damaged[at:at] = chance.choice(PIECES)
            elif how == 3:
                damaged[at:at] = self._before[: chance.randrange(len(self._before) + 1)]
            else:
                del damaged[at:]
        return bytes(damaged)

    def _noise(self) -> bytes:
        return b"".join(self._chance.choices(PIECES, k=self._chance.randint(1, 20)))
