"""The comma list of a flag, `word,key=value,key=value`, and what its values can be.

An item is split at its first `=`; nothing escapes a comma. Keys may be written with `-` or `_`.
"""

from __future__ import annotations

from stratovirt.errors import UsageError
from stratovirt.load import closest
from stratovirt.units import GIB, MIB, is_decimal, is_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

BOOLEANS = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}
MEMORY_LETTERS = {"M": MIB, "m": MIB, "G": GIB, "g": GIB}


class KeyVal:
    """One comma list: keys are taken out of it, and done() refuses what nobody took."""

    __slots__ = ("_asked", "_idle", "_items")

    def __init__(
        self, text: str, aliases: Mapping[str, str] | None = None, idle: Collection[str] = ()
    ) -> None:
        self._asked: list[str] = []
        self._idle = idle
        self._items: dict[str, str] = {}
        if text.startswith(",") or text.endswith(","):
            raise UsageError(f"Invalid parameter '{text}': a comma at its start or end")
        for item in text.split(","):
            if item in idle:
                continue
            key, value = _split(item)
            key = _plain(key)
            key = aliases.get(key, key) if aliases else key
            if self._items.get(key, value) != value:
                what = f"'{key}'" if key else "a word without key"
                raise UsageError(f"Input field {what} is offered more than once")
            self._items[key] = value

    def word(self) -> str | None:
        """Take the item that has no key."""
        return self._items.pop("", None)

    def take(self, key: str) -> str | None:
        """Take the value of a key; None when it is not there."""
        self._asked.append(key)
        return self._items.pop(_plain(key), None)

    def imply(self, key: str) -> None:
        """Let a bare word be the value of `key`, whatever the list says for that key itself."""
        word = self.word()
        if word is not None:
            self._items[key] = word

    def done(self) -> None:
        """Refuse what nobody took."""
        for key, value in self._items.items():
            if not key:
                raise UsageError(f"Invalid parameter '{value}': a word without key", self._known())
            meant = guess(key, self._asked)
            raise UsageError(f"Invalid parameter '{key}': no such key{meant}", self._known())

    def take_idle(self, idle: Mapping[str, tuple[str, ...]]) -> None:
        """Take keys that are without effect; refuse another value than theirs, unless there are none."""
        for key, values in idle.items():
            text = self.take(key)
            if text is not None and values and text not in values:
                raise UsageError(f"{key} is {text}, and can only be {' or '.join(values)}", "leave it out")

    def _known(self) -> str:
        words = f"; words: {', '.join(sorted(self._idle))}" if self._idle else ""
        return f"known keys here: {', '.join(self._asked)}{words}"


def _split(item: str) -> tuple[str, str]:
    if not item:
        raise UsageError("Invalid parameter '': nothing before or between commas")
    if item.startswith("="):
        raise UsageError(f"Invalid parameter '{item}': no key before '='")
    if item.endswith("="):
        raise UsageError(f"Invalid parameter '{item}': no value after '='")
    key, equals, value = item.partition("=")
    return (key, value) if equals else ("", key)


def _plain(key: str) -> str:
    return key.replace("_", "-")


def guess(word: str, known: list[str]) -> str:
    """Return " (did you mean ...?)" with the known word that comes near, "" when none does."""
    plain = {candidate.replace("-", "_"): candidate for candidate in known}
    meant = closest(word, list(plain))
    return f" (did you mean '{plain[meant]}'?)" if meant else ""


def boolean(key: str, text: str) -> bool:
    """Read on or off, true or false, yes or no."""
    if text not in BOOLEANS:
        raise _unreadable(key, text, "on or off")
    return BOOLEANS[text]


def integer(key: str, text: str) -> int:
    """Read a decimal number, which may have a plus sign."""
    digits = text.removeprefix("+")
    if not is_decimal(digits):
        raise _unreadable(key, text, "a decimal number")
    return int(digits)


def hexadecimal(key: str, text: str) -> int:
    """Read a hexadecimal number, with or without 0x."""
    digits = text[2:] if text[:2] in {"0x", "0X"} else text
    if not is_hex(digits) or len(digits) > 16:
        raise _unreadable(key, text, "a hexadecimal number")
    return int(digits, 16)


def integers(key: str, text: str) -> list[int]:
    """Read decimal numbers with colons between them."""
    return [integer(key, part) for part in text.split(":")]


def memory(key: str, text: str) -> int:
    """Read a size: a decimal number with M or G at its end, or bytes that are whole MiB.

    A number without a letter that would be less than a MiB counts MiB, as in later releases of the original.
    """
    scale = MEMORY_LETTERS.get(text[-1:])
    number = (text[:-1] if scale else text).removeprefix("+")
    if not is_decimal(number):
        raise _unreadable(key, text, "a number with M or G at its end, or a number of bytes")
    if scale is None and int(number) < MIB:
        scale = MIB
    if scale is None and int(number) % MIB:
        reason = f"Input value {number} is unaligned with {MIB} for memory"
        raise UsageError(reason, hint="bytes are meant; put M or G at the end")
    return int(number) * (scale or 1)


def verbatim(_key: str, text: str) -> str:
    """Return the text as it is."""
    return text


# What a value of each kind of field is on a flag (record.py).
READERS: dict[str, Callable[[str, str], object]] = {
    "text": verbatim,
    "path": verbatim,
    "choice": verbatim,
    "integer": integer,
    "integers": integers,
    "size": memory,
    "flag": boolean,
    "switch": boolean,
}


def _unreadable(key: str, text: str, wanted: str) -> UsageError:
    return UsageError(f"Unable to parse '{text}' for '{key}': it is not {wanted}")
