"""Cuts what a client sends into messages, one JSON value each; newlines between them are not needed.

An automaton over the grammar of RFC 8259, because counting brackets is not enough: after `{"execute":"stop"`
without its end everything that follows would silently belong to one endless message. What the automaton lets
through still has to be parsed; what it refuses is told at once, and the rest of that line is skipped.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_MESSAGE = 1 << 20  # bytes
DEEPEST_NESTING = 64

_WHITE_SPACE = b" \t\n\r"
_SCALAR = frozenset(b"+-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_QUOTE, _BACKSLASH, _NEWLINE, _COMMA, _COLON = b'"\\\n,:'
_CLOSERS = {ord("{"): ord("}"), ord("["): ord("]")}

# What may come next. SCALAR and STRING are inside one; after FIRST_* the bracket may close at once.
START, FIRST_KEY, KEY, COLON, FIRST_VALUE, VALUE, AFTER, SCALAR, STRING = range(9)
_VALUE_STATES = frozenset((FIRST_VALUE, VALUE))
_CLOSE_STATES = frozenset((FIRST_KEY, FIRST_VALUE, AFTER))


class FramingError(Exception):
    """What a client sent can be no message. `skips_line`: more of it follows, up to the end of the line."""

    def __init__(self, message: str, *, skips_line: bool = False) -> None:
        super().__init__(message)
        self.skips_line = skips_line


class Framer:
    """Collects bytes until they are a message."""

    def __init__(self) -> None:
        self._buffer = bytearray()  # the message so far, and what follows it
        self._at = 0  # how far the automaton came
        self._state = START
        self._after_string = AFTER
        self._closers: list[int] = []
        self._skips_line = False

    def feed(self, data: bytes) -> Iterator[bytes | FramingError]:
        """Take more bytes; yield each message that is whole now, and each piece that can be none."""
        self._buffer += data
        while self._buffer:
            if self._skips_line and not self._skip_line():
                return
            try:
                message = self._next()
            except FramingError as error:
                self._recover(skips_line=error.skips_line)
                yield error
                continue
            if message is None:
                return
            yield message

    def end(self) -> FramingError | None:
        """Tell what is missing when nothing more comes."""
        return (
            FramingError("the message has no end") if self._buffer.strip() and not self._skips_line else None
        )

    def _recover(self, *, skips_line: bool) -> None:
        """Skip the rest of the line, or of what is there: a client without newlines can go on, too."""
        del self._buffer[: self._at]
        self._at, self._state = 0, START
        self._closers.clear()
        self._skips_line = True
        if not self._skip_line():
            self._skips_line = skips_line

    def _skip_line(self) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            self._buffer.clear()
            return False
        del self._buffer[: end + 1]
        self._skips_line = False
        return True

    def _next(self) -> bytes | None:
        buffer = self._buffer
        while self._at < len(buffer):
            if self._state == STRING:
                if not self._string():
                    break
                continue
            self._step(buffer[self._at])
            if self._state == START:
                message = self._take()
                if message:
                    return message
        if len(buffer) > LONGEST_MESSAGE:
            raise _too_long()
        return None

    def _take(self) -> bytes:
        """Cut off what stands before the present place: a message, or white space between messages."""
        if self._at > LONGEST_MESSAGE:
            raise _too_long()
        message = bytes(self._buffer[: self._at])
        del self._buffer[: self._at]
        self._at = 0
        return message.strip(_WHITE_SPACE)

    def _step(self, byte: int) -> None:
        """Go on by one byte, or by none at the end of a number or a word."""
        state = self._state
        if state == SCALAR:
            if byte in _SCALAR:
                self._at += 1
            else:
                self._state = AFTER
            return
        if byte in _WHITE_SPACE:
            self._at += 1
        elif byte in _CLOSERS:
            self._open(byte)
        elif byte == _QUOTE:
            self._open_string()
        elif self._closers and byte == self._closers[-1] and state in _CLOSE_STATES:
            self._close()
        elif byte == _COMMA and state == AFTER:
            self._go(KEY if self._closers[-1] == _CLOSERS[ord("{")] else VALUE)
        elif byte == _COLON and state == COLON:
            self._go(VALUE)
        elif byte in _SCALAR and state in _VALUE_STATES:
            self._go(SCALAR)
        else:
            raise self._unexpected(byte)

    def _go(self, state: int) -> None:
        self._at += 1
        self._state = state

    def _open(self, byte: int) -> None:
        if self._state == START:
            if byte != ord("{"):
                raise self._unexpected(byte)
        elif self._state not in _VALUE_STATES:
            raise self._unexpected(byte)
        if len(self._closers) == DEEPEST_NESTING:
            raise FramingError(f"the message is nested deeper than {DEEPEST_NESTING} levels", skips_line=True)
        self._closers.append(_CLOSERS[byte])
        self._go(FIRST_KEY if byte == ord("{") else FIRST_VALUE)

    def _close(self) -> None:
        self._closers.pop()
        self._go(AFTER if self._closers else START)

    def _open_string(self) -> None:
        if self._state in {FIRST_KEY, KEY}:
            self._after_string = COLON
        elif self._state in _VALUE_STATES:
            self._after_string = AFTER
        else:
            raise self._unexpected(_QUOTE)
        self._go(STRING)

    def _string(self) -> bool:
        """Go to the end of the string; False when it is not there yet."""
        buffer, at = self._buffer, self._at
        quote = buffer.find(_QUOTE, at)
        newline = buffer.find(_NEWLINE, at, len(buffer) if quote < 0 else quote)
        if newline >= 0:
            self._at = newline
            raise FramingError("a line ends inside a string")
        escape = buffer.find(_BACKSLASH, at, len(buffer) if quote < 0 else quote)
        if escape >= 0:
            if escape + 1 == len(buffer):
                self._at = escape
                return False
            self._at = escape + 2
            return True
        if quote < 0:
            self._at = len(buffer)
            return False
        self._at = quote + 1
        self._state = self._after_string
        return True

    def _unexpected(self, byte: int) -> FramingError:
        if self._state == START:
            return FramingError('a message is a JSON object, like {"execute": "query-status"}')
        shown = repr(chr(byte)) if 32 < byte < 127 else f"byte {byte:#04x}"
        return FramingError(f"unexpected {shown} at byte {self._at} of the message")


def _too_long() -> FramingError:
    return FramingError(f"the message is longer than {LONGEST_MESSAGE} bytes", skips_line=True)
