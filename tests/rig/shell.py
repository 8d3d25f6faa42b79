"""Runs host tools; a failure becomes one message that ends with the tool's own last words."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.rig.say import RigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LAST_WORDS = 15  # lines of a failed tool's output that are shown


def tool(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    hint: str = "",
) -> str:
    """Run a tool to its end and return what it printed; both streams are kept together."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise RigError(
            f"{command[0]} is not installed", hint or "run: python3 -m tests.rig packages"
        ) from error
    if done.returncode != 0:
        words = "\n".join(done.stdout.splitlines()[-LAST_WORDS:])
        raise RigError(f"{command[0]} failed with status {done.returncode}:\n{words}", hint)
    return done.stdout
