"""The pidfile when several processes want it, and what it is for whoever looks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from fcntl import flock
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stratovirt.control import pidfile
from stratovirt.control.pidfile import Pidfile
from stratovirt.errors import StratovirtError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLAIMANTS = 6
ROUNDS = 60

# Claims each path that it is told, at the moment at which all the others do, and keeps it.
CLAIMANT = """
import os
import sys
from stratovirt.control.pidfile import Pidfile
from stratovirt.errors import StratovirtError
kept = []
for path in sys.stdin:
    os.write(1, b"ready\\n")
    os.read(int(sys.argv[1]), 1)
    try:
        kept.append(Pidfile.claim(path.rstrip()))
        print("won", flush=True)
    except StratovirtError as error:
        print(error, flush=True)
"""


class Crowd:
    """Processes that claim a path all at once."""

    def __init__(self) -> None:
        gate, self._gate = os.pipe()
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", CLAIMANT, str(gate)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                pass_fds=(gate,),
            )
            for _ in range(CLAIMANTS)
        ]
        os.close(gate)

    def claim(self, path: Path) -> dict[int, str]:
        """Return what each process id says of it."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"{path}\n")
        assert {self._line(process) for process in self.processes} == {"ready"}
        os.write(self._gate, b"x" * CLAIMANTS)
        return {process.pid: self._line(process) for process in self.processes}

    def close(self) -> None:
        os.close(self._gate)
        for process in self.processes:
            process.kill()
            process.communicate()

    @staticmethod
    def _line(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().rstrip()


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    """Return processes that end with the test."""
    with contextlib.closing(Crowd()) as made:
        yield made


@pytest.mark.parametrize("stale", [False, True], ids=["where nothing is", "over that of a dead process"])
def test_of_several_that_claim_a_path_at_once_exactly_one_gets_it(
    stale: bool,  # noqa: FBT001
    crowd: Crowd,
    tmp_path: Path,
) -> None:
    paths = [tmp_path / str(number) for number in range(ROUNDS)]
    for path in paths:
        if stale:
            path.write_text("4194304")  # no process has a number that high
        said = crowd.claim(path)
        winners = [pid for pid, words in said.items() if words == "won"]

        assert len(winners) == 1
        assert path.read_text() == str(winners[0])
        others = {words for pid, words in said.items() if pid != winners[0]}
        assert others <= {
            f"pidfile {path}: process {winners[0]} runs and holds it",
            f"pidfile {path}: another process holds it",
        }
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_file_that_was_replaced_between_look_and_lock_is_not_taken_for_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pid"
    path.write_text("4194304")
    rivals: list[Pidfile] = []

    def lock_after_a_rival(fd: int, how: int) -> None:
        monkeypatch.setattr(pidfile, "flock", flock)
        rivals.append(Pidfile.claim(str(path)))
        flock(fd, how)

    monkeypatch.setattr(pidfile, "flock", lock_after_a_rival)
    with pytest.raises(StratovirtError, match=r"runs and holds it"):
        Pidfile.claim(str(path))
    (rival,) = rivals
    rival.close()

    assert list(tmp_path.iterdir()) == []


def test_it_is_whole_private_and_locked_and_goes_with_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    held = Pidfile.claim(str(path))
    with pytest.raises(StratovirtError) as refused:
        Pidfile.claim(str(path))
    mode, text = path.stat().st_mode & 0o777, path.read_text()
    held.close()

    assert (mode, text) == (0o600, str(os.getpid()))
    assert refused.value.message == f"pidfile {path}: process {os.getpid()} runs and holds it"
    assert refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_dead_process_is_replaced_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("4194304, and more that nobody knows")
    before = path.open()
    with before, contextlib.closing(Pidfile.claim(str(path))):
        assert path.read_text() == str(os.getpid())
        assert path.stat().st_mode & 0o777 == 0o600
        assert before.read() == "4194304, and more that nobody knows"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_plain_file_is_refused_and_stays(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    make: dict[str, Callable[[Path], None]] = {
        "folder": Path.mkdir,
        "link": lambda path: path.symlink_to("elsewhere"),
        "pipe": os.mkfifo,
    }
    make[kind](path)
    with pytest.raises(StratovirtError) as refused:
        Pidfile.claim(str(path))

    assert refused.value.message.startswith(f"pidfile {path}")
    assert refused.value.hint
    assert [entry.name for entry in tmp_path.iterdir()] == ["pid"]


def test_a_file_that_somebody_else_put_there_stays_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    held = Pidfile.claim(str(path))
    path.unlink()
    path.write_text("theirs")
    held.close()

    assert path.read_text() == "theirs"
