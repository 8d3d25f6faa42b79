"""Where in a TOML text each key and value stands. Runs only after a parser has accepted the text.

Lines and columns count from 1, columns in characters.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.record import Path

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\", "e": "\x1b"}


class Span:
    """A piece of one line: line, column and how many characters."""

    __slots__ = ("column", "length", "line")

    def __init__(self, line: int, column: int, length: int) -> None:
        self.line = line
        self.column = column
        self.length = max(length, 1)


class Places:
    """Spans of keys and values by their path in the document."""

    def __init__(self) -> None:
        self.keys: dict[Path, Span] = {}
        self.values: dict[Path, Span] = {}

    def find(self, path: Path, *, at_key: bool) -> Span:
        """Return the best place for a path: itself, or the nearest thing around it that is in the text."""
        while path:
            first, second = (self.keys, self.values) if at_key else (self.values, self.keys)
            if path in first or path in second:
                return first.get(path) or second[path]
            path, at_key = path[:-1], True
        return Span(1, 1, 1)


def scan_toml(text: str) -> Places:
    """Return the places of a text that is valid TOML."""
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places = Places()
        self.starts = [0]
        for index, letter in enumerate(text):
            if letter == "\n":
                self.starts.append(index + 1)
        self.arrays: dict[Path, int] = {}

    def run(self) -> Places:
        table: Path = ()
        while self._skip(newlines=True):
            if self._peek() == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.places

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _span(self, start: int) -> Span:
        low, high = 0, len(self.starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.starts[middle] <= start else (low, middle)
        end = min(self.at, self.text.find("\n", start) % (len(self.text) + 1))
        return Span(low + 1, start - self.starts[low] + 1, end - start)

    def _skip(self, *, newlines: bool) -> bool:
        """Go to the next thing that is no space and no comment; False at the end of the text."""
        while self.at < len(self.text):
            letter = self.text[self.at]
            if letter == "#":
                self.at = self.text.find("\n", self.at)
                if self.at < 0:
                    self.at = len(self.text)
            elif letter in " \t" or (newlines and letter in "\r\n"):
                self.at += 1
            else:
                return True
        return False

    def _header(self) -> Path:
        start = self.at
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        path = self._resolve(self._key(()))
        self.at = self.text.index("]", self.at) + (2 if many else 1)
        if many:
            index = self.arrays.get(path, -1) + 1
            self.arrays[path] = index
            path = (*path, str(index))
        self.places.keys.setdefault(path, self._span(start))
        return path

    def _resolve(self, path: Path) -> Path:
        """Put the index of the newest element behind each part that is an array of tables."""
        done: Path = ()
        for part in path[:-1]:
            done = (*done, part)
            if done in self.arrays:
                done = (*done, str(self.arrays[done]))
        return (*done, path[-1])

    def _key(self, table: Path) -> Path:
        """Read a dotted key; each prefix gets the place where it is first named."""
        path = table
        while True:
            self._skip(newlines=False)
            start = self.at
            path = (*path, self._key_part())
            self.places.keys.setdefault(path, self._span(start))
            self._skip(newlines=False)
            if self._peek() != ".":
                return path
            self.at += 1

    def _key_part(self) -> str:
        if self._peek() in {'"', "'"}:
            return self._string()
        start = self.at
        while self._peek() in _BARE and self._peek():
            self.at += 1
        return self.text[start : self.at]

    def _pair(self, table: Path) -> None:
        path = self._key(table)
        self.at = self.text.index("=", self.at) + 1
        self._skip(newlines=False)
        self._value(path)

    def _value(self, path: Path) -> None:
        start = self.at
        letter = self._peek()
        if letter in {'"', "'"}:
            self._string()
        elif letter == "[":
            self._array(path)
        elif letter == "{":
            self._inline(path)
        else:
            while self._peek() and self._peek() not in ",]}#\r\n":
                self.at += 1
            # A bare value ends before the space in front of a comment.
            self.at = start + len(self.text[start : self.at].rstrip())
        self.places.values[path] = self._span(start)

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self._skip(newlines=True) and self._peek() != "]":
            self._value((*path, str(index)))
            index += 1
            self._skip(newlines=True)
            if self._peek() == ",":
                self.at += 1
        self.at += 1

    def _inline(self, path: Path) -> None:
        self.at += 1
        while self._skip(newlines=True) and self._peek() != "}":
            self._pair(path)
            self._skip(newlines=True)
            if self._peek() == ",":
                self.at += 1
        self.at += 1

    def _string(self) -> str:
        quote = self._peek()
        if self.text.startswith(quote * 3, self.at):
            return self._long_string(quote)
        self.at += 1
        content = ""
        while self._peek() != quote:
            if quote == '"' and self._peek() == "\\":
                content += _ESCAPES.get(self.text[self.at + 1], "?")
                self.at += 2
            else:
                content += self._peek()
                self.at += 1
        self.at += 1
        return content

    def _long_string(self, quote: str) -> str:
        start = self.at
        self.at += 3
        while not self.text.startswith(quote * 3, self.at):
            self.at += 2 if quote == '"' and self._peek() == "\\" else 1
        self.at += 3
        while self._peek() == quote:  # up to two quotes may stand before the closing ones
            self.at += 1
        return self.text[start : self.at]
