"""What a user is told of exceptions that nobody foresaw: the step, the reason, what to do; no insides."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from stratovirt.errors import HostError, Naming, StratovirtError, told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def failure_of(step: Callable[[], object]) -> StratovirtError:
    with pytest.raises(Exception, match=r".") as caught:
        step()
    return told(caught.value)


def test_what_was_foreseen_is_told_as_it_is() -> None:
    error = HostError("open it", OSError(errno.ENOENT, "no such thing"), hint="make it")

    assert told(error) is error


def test_a_call_that_the_host_refused_is_named_by_its_step_and_object(tmp_path: Path) -> None:
    def _open_the_door() -> None:
        os.open(tmp_path / "door", os.O_RDONLY)

    error = failure_of(_open_the_door)

    assert isinstance(error, HostError)
    assert error.message == f"open the door {tmp_path}/door: No such file or directory"
    assert error.hint


def test_in_a_block_about_an_object_that_is_named_before_the_step() -> None:
    def measure() -> None:
        raise OSError(errno.EIO, "it is broken")

    def open_the_door() -> None:
        with Naming("door 'front'"):
            measure()

    error = failure_of(open_the_door)

    assert error.message == "door 'front' (measure): it is broken"


def test_what_was_foreseen_in_a_block_about_an_object_is_told_as_it_is() -> None:
    error = StratovirtError("the door is locked")

    def open_the_door() -> None:
        with Naming("door 'front'"):
            raise error

    assert failure_of(open_the_door) is error


def test_a_module_that_cannot_be_loaded_is_no_bug() -> None:
    error = failure_of(lambda: __import__("stratovirt.nothing"))

    assert error.message == "load a part of the program: No module named 'stratovirt.nothing'"


def test_memory_that_is_not_there_is_told_as_that() -> None:
    assert "no memory" in told(MemoryError()).message


def test_our_own_mistake_is_told_with_its_place() -> None:
    error = failure_of(lambda: 1 / 0)

    assert error.message.startswith("internal error at test_errors.py:")
    assert "report it" in error.hint
