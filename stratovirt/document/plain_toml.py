"""Reads TOML that is plain, so that a start need not wait for the parser: its import is a third of a start.

Plain is what profiles are mostly made of: bare and dotted keys, tables, strings in one line without escapes,
decimal numbers, truth values, arrays of numbers. Of anything else, and of whatever is wrong, it says nothing:
then the parser has to read the text. What it does say is what the parser would (TOML 1.0.0).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Path = tuple[str, ...]

DIGITS_MAX = 18  # of a number that fits into 64 bits, whatever it is
PARTS_MAX = 8  # of a key; no profile has as many


class NotPlainError(Exception):
    """There is something that only the parser knows."""


def read(text: str) -> dict[str, Any] | None:
    """Return what a plain text holds; None when it is not plain."""
    if not text.replace("\n", " ").replace("\t", " ").isprintable():
        return None
    document = _Document()
    try:
        for line in text.split("\n"):
            document.take(line.strip(" \t"))
    except NotPlainError:
        return None
    return document.root


class _Document:
    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self._section: Path = ()
        self._table = self.root
        self._headers: set[Path] = set()  # tables that have had theirs
        self._dotted: dict[Path, Path] = {}  # tables that dotted keys made, and in which section

    def take(self, line: str) -> None:
        if not line or line[0] == "#":
            return
        if line[0] == "[":
            self._begin(line)
            return
        key, equals, value = line.partition("=")
        if not equals:
            raise NotPlainError
        self._set(_key(key.rstrip(" \t")), _value(value.lstrip(" \t")))

    def _begin(self, line: str) -> None:
        """Go into the table of a header, of which there is one for each."""
        name, bracket, rest = line[1:].partition("]")
        if not bracket:
            raise NotPlainError
        _end(rest)
        path = _key(name)
        if path in self._headers:
            raise NotPlainError
        table = self.root
        for length, part in enumerate(path, 1):
            table = table.setdefault(part, {})
            if not isinstance(table, dict) or path[:length] in self._dotted:
                raise NotPlainError
        self._headers.add(path)
        self._section, self._table = path, table

    def _set(self, key: Path, value: object) -> None:
        table, path = self._table, self._section
        for part in key[:-1]:
            path = (*path, part)
            if part not in table:
                self._dotted[path] = self._section
            if self._dotted.get(path) != self._section:
                raise NotPlainError
            table = table.setdefault(part, {})
        if key[-1] in table:
            raise NotPlainError
        table[key[-1]] = value


def _key(text: str) -> Path:
    parts = tuple(text.split(".", PARTS_MAX))  # more of them leave a dot in the last, which no key has
    for part in parts:
        if not (part.isascii() and part.replace("-", "_").replace("_", "0").isalnum()):
            raise NotPlainError
    return parts


def _value(text: str) -> object:
    quote = text[:1]
    if quote in {'"', "'"}:
        inside, end, rest = text[1:].partition(quote)
        if not end or rest.startswith(quote) or (quote == '"' and "\\" in inside):
            raise NotPlainError
        _end(rest)
        return inside
    word = text.partition("#")[0].rstrip(" \t")
    if word in {"true", "false"}:
        return word == "true"
    if quote == "[":
        return _numbers(word)
    return _number(word)


def _numbers(text: str) -> list[int]:
    if not text.endswith("]"):
        raise NotPlainError
    inside = text[1:-1].strip(" \t")
    return [_number(word.strip(" \t")) for word in inside.split(",")] if inside else []


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > DIGITS_MAX or (text[0] == "0" and text != "0"):
        raise NotPlainError
    return int(text)


def _end(rest: str) -> None:
    """What comes behind a value or a header is nothing, or a comment."""
    if rest.strip(" \t")[:1] not in {"", "#"}:
        raise NotPlainError
