"""Cuts what a client sends into messages, one JSON value each; newlines between them are not needed.

An automaton over the grammar of RFC 8259, because counting brackets is not enough: after `{"execute":"stop"`
without its end everything that follows would silently belong to one endless message. What the automaton lets
through still has to be parsed; what it refuses is told at once, and the rest of that line is skipped.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_MESSAGE = 256 << 10  # bytes; while it is parsed and answered nobody else is served
DEEPEST_NESTING = 64

_WHITE_SPACE = b" \t\n\r"
_SCALAR = b"+-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_QUOTE, _BACKSLASH, _NEWLINE, _COMMA, _COLON = b'"\\\n,:'
_OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_ARRAY, _CLOSE_ARRAY = b"{}[]"

# What may come next. SCALAR and STRING are inside one; after FIRST_* the bracket may close at once.
START, FIRST_KEY, KEY, COLON, FIRST_VALUE, VALUE, AFTER, SCALAR, STRING = range(9)
_VALUES = (FIRST_VALUE, VALUE)
SHORT_STRING = 256  # bytes
# What else a byte can be than the way to a state.
_OPENS, _CLOSES, _SEPARATES, _QUOTES, _UNEXPECTED = range(9, 14)


def _steps() -> tuple[bytearray, ...]:
    """Return, for each state but STRING and each byte, the next state or what the byte is."""
    steps = tuple(bytearray([_UNEXPECTED]) * 256 for _ in range(STRING))
    steps[START][_OPEN_OBJECT] = _OPENS
    for state in (FIRST_VALUE, VALUE):
        steps[state][_OPEN_OBJECT] = steps[state][_OPEN_ARRAY] = _OPENS
        steps[state][_QUOTE] = _QUOTES
        for byte in _SCALAR:
            steps[state][byte] = SCALAR
    for state in (FIRST_KEY, KEY):
        steps[state][_QUOTE] = _QUOTES
    for state in (FIRST_KEY, FIRST_VALUE, AFTER, SCALAR):
        steps[state][_CLOSE_OBJECT] = steps[state][_CLOSE_ARRAY] = _CLOSES
    steps[COLON][_COLON] = VALUE
    steps[AFTER][_COMMA] = steps[SCALAR][_COMMA] = _SEPARATES
    for state in range(STRING):
        for byte in _WHITE_SPACE:
            steps[state][byte] = AFTER if state == SCALAR else state
    for byte in _SCALAR:
        steps[SCALAR][byte] = SCALAR
    return steps


_STEPS = _steps()


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
            if self._state == START:
                del buffer[: len(buffer) - len(buffer.lstrip(_WHITE_SPACE))]
            self._run()
            if self._state == START and buffer:
                return self._take()
        if len(buffer) > LONGEST_MESSAGE:
            raise _too_long()
        return None

    def _take(self) -> bytes:
        """Cut off the message that ends at the present place."""
        if self._at > LONGEST_MESSAGE:
            raise _too_long()
        message = bytes(self._buffer[: self._at])
        del self._buffer[: self._at]
        self._at = 0
        return message

    def _run(self) -> None:
        """Go on to the end of the message or of what there is of it, or into a string."""
        buffer, at, state, closers = self._buffer, self._at, self._state, self._closers
        size = len(buffer)
        try:
            while at < size:
                byte = buffer[at]
                step = _STEPS[state][byte]
                if step < _OPENS:
                    state = step
                elif step == _SEPARATES:
                    state = KEY if closers[-1] == _CLOSE_OBJECT else VALUE
                elif step == _OPENS:
                    state = self._opened(byte)
                elif step == _CLOSES and byte == closers[-1]:
                    closers.pop()
                    state = AFTER if closers else START
                    size = size if closers else 0
                elif step == _QUOTES:
                    after = AFTER if state in _VALUES else COLON
                    end = _end_of_short_string(buffer, at)
                    if end < 0:
                        self._after_string, state, size = after, STRING, 0
                    else:
                        state, at = after, end
                else:
                    raise _unexpected(byte, at, begins=state == START)
                at += 1
        finally:
            self._at, self._state = at, state

    def _opened(self, byte: int) -> int:
        """Return the state behind a bracket."""
        if len(self._closers) == DEEPEST_NESTING:
            raise FramingError(f"the message is nested deeper than {DEEPEST_NESTING} levels", skips_line=True)
        is_object = byte == _OPEN_OBJECT
        self._closers.append(_CLOSE_OBJECT if is_object else _CLOSE_ARRAY)
        return FIRST_KEY if is_object else FIRST_VALUE

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


def _end_of_short_string(buffer: bytearray, at: int) -> int:
    """Return where the quote is that closes the one at `at`; -1 when that is not plain to see."""
    end = buffer.find(_QUOTE, at + 1, at + SHORT_STRING)
    text = buffer[at : end + 1]
    return -1 if b"\\" in text or b"\n" in text else end


def _unexpected(byte: int, at: int, *, begins: bool) -> FramingError:
    if begins:
        return FramingError('a message is a JSON object, like {"execute": "query-status"}')
    shown = repr(chr(byte)) if 32 < byte < 127 else f"byte {byte:#04x}"
    return FramingError(f"unexpected {shown} at byte {at} of the message")


def _too_long() -> FramingError:
    return FramingError(f"the message is longer than {LONGEST_MESSAGE} bytes", skips_line=True)
