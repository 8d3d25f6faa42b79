"""Memory cgroups of either version, for a process that a test starts inside."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import TracebackType

V1 = Path("/sys/fs/cgroup/memory")


class Limited:
    """A group whose processes have at most so much memory, and no swap."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._stack = ExitStack()
        self._first_version = (V1 / "cgroup.procs").exists()

    def __enter__(self) -> Limited:
        try:
            root = V1 if self._first_version else self._mount()
            self.path = root / f"stratovirt-test-{os.getpid()}"
            self.path.mkdir()
            self._stack.callback(self.path.rmdir)
            name = "memory.limit_in_bytes" if self._first_version else "memory.max"
            (self.path / name).write_text(str(self._limit))
            if (self.path / "memory.swap.max").exists():
                (self.path / "memory.swap.max").write_text("0")
        except (OSError, subprocess.CalledProcessError):
            self._stack.close()
            pytest.skip("needs root and memory cgroups")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _mount(self) -> Path:
        """Mount the second version's file system at a place of our own."""
        root = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        subprocess.run(["mount", "-t", "cgroup2", "none", str(root)], check=True, capture_output=True)
        self._stack.callback(subprocess.run, ["umount", str(root)], check=True)
        (root / "cgroup.subtree_control").write_text("+memory")
        return root

    @property
    def words(self) -> list[str]:
        """Words before a command that let it run inside."""
        return ["sh", "-c", f'echo $$ >"{self.path}/cgroup.procs" && exec "$@"', "sh"]

    def times_full(self) -> int:
        """Return how often the limit was met: something had to go before something else could come."""
        if self._first_version:
            return int((self.path / "memory.failcnt").read_text())
        return self._events()["max"]

    def kills(self) -> int:
        """Return how many processes the kernel has ended for the limit."""
        return self._events()["oom_kill"]

    def _events(self) -> dict[str, int]:
        name = "memory.oom_control" if self._first_version else "memory.events"
        lines = [line.split() for line in (self.path / name).read_text().splitlines()]
        return {word: int(count) for word, count in lines}
