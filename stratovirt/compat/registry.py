"""Flags, each described once: parser, help text, compat/flags.json and the way back are made from here."""

from __future__ import annotations

from stratovirt.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Literal

    from stratovirt.compat.draft import Draft
    from stratovirt.devices.device import Device

    Read = Callable[[Draft, str], None]
    Takes = Literal["none", "one", "optional", "many", "words"]
    Given = dict[str, list["Occurrence"]]

USAGE_HINT = "Use '-h' or '-help' to get usage."


class Flag:
    """A flag. `to` is where its value lands in the document, `keys` where each key of its list does.

    takes: none, one value, optional (none or one), many (of all occurrences), words (many, joined by spaces).
    """

    __slots__ = (
        "idle",
        "keys",
        "name",
        "read",
        "record",
        "refused",
        "short",
        "syntax",
        "takes",
        "to",
        "word",
    )

    def __init__(self, name: str, read: Read, options: Mapping[str, Any]) -> None:
        self.name = name
        self.read = read
        self.short: str = options.get("short", "")
        self.syntax: str = options.get("syntax", "")
        self.takes: Takes = options.get("takes", "one")
        self.to: str = options.get("to", "")
        self.keys: Mapping[str, str] = options.get("keys", {})
        self.idle: Mapping[str, tuple[str, ...]] = options.get("idle", {})  # keys that say what holds anyway
        self.word: str = options.get("word", "")  # the key of `keys` that a bare word stands for
        self.record: type[Device] | None = options.get("record")  # its fields are the keys
        self.refused: bool = options.get("refused", False)  # known, and always an error: read() says why

    @property
    def repeats(self) -> bool:
        """Tell whether it may be given more than once."""
        return self.takes in {"many", "words"}


_FLAGS: dict[str, Flag] = {}
_WORDS: dict[str, Flag] = {}  # the short forms too


def flag(name: str, **options: Any) -> Callable[[Read], Read]:
    """Register the decorated function as the reader of `-name`; its docstring is the help line."""

    def register(read: Read) -> Read:
        item = Flag(name, read, options)
        _FLAGS[name] = _WORDS[name] = item
        if item.short:
            _WORDS[item.short] = item
        return read

    return register


def flags() -> dict[str, Flag]:
    """Return all flags, in the order in which they are read and written."""
    if not _FLAGS:
        __import__("stratovirt.compat.sections")
        __import__("stratovirt.compat.devices")
    return _FLAGS


class Occurrence:
    """One time that a flag was given: as which word, with which values."""

    __slots__ = ("values", "word")

    def __init__(self, word: str) -> None:
        self.word = word
        self.values: list[str] = []


def tokenise(argv: list[str]) -> Given:
    """Return what was given, by flag; refuse unknown words, strays and repeated flags."""
    flags()
    given: Given = {}
    current: Occurrence | None = None
    for token in argv:
        if token.startswith("-"):
            current = _begin(given, token)
        elif current is None:
            raise _unexpected(token)
        else:
            current.values.append(token)
    return given


def _begin(given: Given, token: str) -> Occurrence:
    item = _WORDS.get(token[1:])
    if item is None:
        raise _unexpected(token)
    current = Occurrence(token[1:])
    # As in the original, a short form may be repeated.
    if item.name in given and not item.repeats and current.word != item.short:
        raise UsageError(f"The argument '{item.name}' was provided more than once. {USAGE_HINT}")
    given.setdefault(item.name, []).append(current)
    return current


def _unexpected(token: str) -> UsageError:
    from stratovirt.load import closest

    reason = "which wasn't expected, or isn't valid in the context."
    known = {name.replace("-", "_"): name for name in _FLAGS}
    meant = closest(token.lstrip("-").partition("=")[0], list(known)) if token.startswith("-") else ""
    hint = f"did you mean '-{known[meant]}'? A flag has one dash, and its value stands apart" if meant else ""
    return UsageError(f"Found argument '{token}' {reason} {USAGE_HINT}", hint)


def values_of(item: Flag, occurrences: list[Occurrence]) -> list[str]:
    """Return the values that the reader of a flag is called with; refuse a wrong number of them."""
    values: list[str] = []
    for given in occurrences:
        _check_count(item, given)
        values += given.values
    if item.takes == "words":
        return [" ".join(values)]
    return values or [""]


def _check_count(item: Flag, given: Occurrence) -> None:
    count = len(given.values)
    if item.takes == "none" and count:
        reason = f"The value '{given.values[0]}' is illegel for argument '{given.word}'."
    elif count > 1 and not item.repeats:
        reason = f"The argument '{item.name}' only need one value."
    elif count == 0 and item.takes not in {"none", "optional"}:
        reason = f"The argument '{item.name}' requires a value, but none was supplied."
    else:
        return
    raise UsageError(f"{reason} {USAGE_HINT}")
