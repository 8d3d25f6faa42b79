"""A job for the rig: the command, where it runs, and the files that carry it into the machine."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.host import INSIDE
from tests.rig.say import RigError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRATCH = "/mnt/scratch"  # an ext4 disk inside the rig: memory file systems know no O_DIRECT
SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
SHELL_OWN = frozenset({"PWD", "OLDPWD", "SHLVL", "_"})
DEFAULT_TIMEOUT = 20 * 60


@dataclass(frozen=True, kw_only=True)
class Job:
    """One command for the inside of the rig."""

    command: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str]
    cpus: int = 1
    writable: tuple[str, ...] = ()
    timeout: float = DEFAULT_TIMEOUT  # seconds; 0 is no limit
    terminal: tuple[int, int] | None = None  # rows and columns when the user sits at one

    def script(self) -> str:
        """Return the shell script that sets the place and the environment up and becomes the command."""
        lines = ["#!/bin/sh"]
        for name, value in {**self.environment, INSIDE: "1", f"{INSIDE}_SCRATCH": SCRATCH}.items():
            if SHELL_NAME.match(name) and name not in SHELL_OWN:
                lines.append(f"export {name}={shlex.quote(value)}")
        if self.terminal is not None:
            rows, columns = self.terminal
            lines.append(f"stty rows {rows} cols {columns}")
        lines.append(f"cd {shlex.quote(self.cwd)} || exit 126")
        lines.append(f"exec {shlex.join(self.command)}")
        return "\n".join(lines) + "\n"

    def store(self, folder: Path) -> None:
        """Write the files that the rig's init reads."""
        (folder / "command").write_text(self.script(), errors="surrogateescape")
        (folder / "writable").write_text("".join(f"{place}\n" for place in self.writable))
        if self.terminal is not None:
            (folder / "terminal").touch()


def writable_folders(named: list[str]) -> tuple[str, ...]:
    """Return the real paths of the folders that must come back, made where they are missing."""
    places = []
    for name in named:
        try:
            Path(name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RigError(f"--writable {name} cannot be made: {error.strerror}") from error
        place = os.path.realpath(name)
        if "\n" in place or "," in place:
            raise RigError(f"--writable {name}: a path with a comma or a line break cannot be shared")
        places.append(place)
    return tuple(places)
