"""Lines about what a guest can cause: a few at a time, the rest counted, and the count always told."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from stratovirt import log
from stratovirt.control.loop import Loop
from stratovirt.control.notices import AT_ONCE, Notices
from stratovirt.document.sections import Log
from stratovirt.load import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_S = 20
LATER = 1e6  # seconds; not in this test


@pytest.fixture
def loop() -> Iterator[Loop]:
    """Return a loop that gives up after a while."""
    made = Loop()

    def give_up() -> None:
        raise TimeoutError("the test takes too long")

    made.call_later(TIMEOUT_S, give_up)
    yield made
    made.close()


@contextlib.contextmanager
def stderr_in_a_pipe() -> Iterator[int]:
    """Let standard error be a pipe; yield its other end."""
    ours, theirs = os.pipe()
    before = os.dup(2)
    os.dup2(theirs, 2)
    try:
        yield ours
    finally:
        os.dup2(before, 2)
        for fd in (ours, theirs, before):
            os.close(fd)


def open_log(path: Path, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log to a file for the time of a test."""
    monkeypatch.delenv(log.VARIABLE, raising=False)
    for name in ("fd", "path", "threshold", "json"):
        monkeypatch.setattr(log._state, name, getattr(log._state, name))
    record = load(Log, {"file": str(path), "level": level}, [])
    assert record is not None
    log.open_log(record)


def test_what_was_left_out_is_counted_when_the_time_is_over(loop: Loop) -> None:
    notices = Notices(loop, each_seconds=0.3)
    said = b""

    def read() -> None:
        nonlocal said
        said += os.read(ours, 65536)
        if b"left out" in said:
            loop.stop()

    with stderr_in_a_pipe() as ours:
        for number in range(AT_ONCE + 7):
            notices.tell(f"line {number}")
        loop.add_reader(ours, read)
        loop.run()

    assert said.decode().splitlines()[AT_ONCE - 1 :] == [
        f"stratovirt: line {AT_ONCE - 1}",
        "stratovirt: 7 more lines like this were left out",
    ]


def test_what_was_left_out_is_counted_at_the_end(loop: Loop, capfd: pytest.CaptureFixture[str]) -> None:
    notices = Notices(loop, LATER)
    for number in range(AT_ONCE + 3):
        notices.tell(f"line {number}")
    notices.close()
    notices.close()

    lines = capfd.readouterr().err.splitlines()
    assert lines[AT_ONCE:] == ["stratovirt: 3 more lines like this were left out"]


def test_nothing_is_said_of_nothing_left_out(loop: Loop, capfd: pytest.CaptureFixture[str]) -> None:
    notices = Notices(loop, LATER)
    for number in range(AT_ONCE):
        notices.tell(f"line {number}")
    notices.close()

    assert len(capfd.readouterr().err.splitlines()) == AT_ONCE


def test_lines_below_the_logs_level_leave_room_for_the_others(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_log(tmp_path / "log", "error", monkeypatch)
    notices = Notices(loop, LATER)
    for number in range(100):
        notices.tell(f"odd {number}")
    for number in range(AT_ONCE):
        notices.tell(f"bad {number}", severe=True)
    notices.close()

    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.rpartition(":ERROR: ")[2] for line in lines] == [
        f"bad {number}" for number in range(AT_ONCE)
    ]


def test_the_count_is_as_severe_as_what_it_counts(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_log(tmp_path / "log", "warn", monkeypatch)
    notices = Notices(loop, LATER)
    for _ in range(AT_ONCE + 1):
        notices.tell("odd")
    notices.tell("bad", severe=True)
    notices.close()

    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert last.endswith(":ERROR: 2 more lines like this were left out")
