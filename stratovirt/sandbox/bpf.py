"""Classic BPF for seccomp(2): from rules about system calls to steps of a program (<linux/filter.h>).

A step is one number of 64 bits with the layout of struct sock_filter: code, jump if true, jump if false, k.
"""

from __future__ import annotations

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # struct seccomp_data
_X32 = 0x40000000  # __X32_SYSCALL_BIT: numbers of another convention with the same architecture

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Condition:
    """What the low half of an argument has to be: one of `values`, or without any bit of `forbidden`."""

    __slots__ = ("argument", "forbidden", "values")

    def __init__(self, argument: int, values: tuple[int, ...] = (), forbidden: int = 0) -> None:
        self.argument = argument
        self.values = values
        self.forbidden = forbidden


def assemble(
    architecture: int, calls: Iterable[tuple[int, Condition | None]], *, allow: int, deny: int, alien: int
) -> list[int]:
    """Return a program that allows calls under their conditions; `alien` for those of other architectures."""
    program = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, architecture, 1, 0),
        _step(_RETURN, alien),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _X32, 0, 1),
        _step(_RETURN, alien),
    ]
    for number, condition in calls:
        block = [_step(_RETURN, allow)] if condition is None else _checked(condition, allow, deny)
        program += [_step(_EQUAL, number, 0, len(block)), *block]
    program.append(_step(_RETURN, deny))
    return program


def _checked(condition: Condition, allow: int, deny: int) -> list[int]:
    load = _step(_LOAD, _ARGUMENTS + 8 * condition.argument)
    if condition.forbidden:
        tests = [_step(_ANY_BIT, condition.forbidden, 0, 1)]
    else:
        count = len(condition.values)
        tests = [_step(_EQUAL, value, count - at, 0) for at, value in enumerate(condition.values)]
    return [load, *tests, _step(_RETURN, deny), _step(_RETURN, allow)]


def _step(code: int, k: int, if_true: int = 0, if_false: int = 0) -> int:
    return code | if_true << 16 | if_false << 24 | (k & 0xFFFFFFFF) << 32
