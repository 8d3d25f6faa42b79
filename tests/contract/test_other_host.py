"""A host whose machines are not built: everything but a start works there, and a start says why not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.contract.test_architecture import arch_names

if TYPE_CHECKING:
    from collections.abc import Sequence

PROFILE = Path(__file__).parents[2] / "profiles" / "microvm.toml"
FLAGS = (
    "-machine",
    "microvm",
    "-kernel",
    "k",
    "-append",
    "console=ttyS0",
    "-serial",
    "stdio",
    "-qmp",
    "unix:q",
)

# The host names itself aarch64, its core has nothing that only another architecture's has, and there is no
# start image of this machine.
PROBE = """
import posix, sys
machine = posix.uname_result([*posix.uname()[:4], "aarch64"])
posix.uname = lambda: machine
from stratovirt import core, image
whole = core.lib
class Lib:
    def __getattr__(self, name):
        if name in NAMES:
            raise AttributeError(name)
        return getattr(whole, name)
core.lib = Lib()
image.use = image.preload = lambda *_: None
from stratovirt import cli
cli.main()
"""


def command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path[:0] = {sys.path!r}; NAMES = {arch_names()!r}\n{PROBE}"
    return subprocess.run(
        [sys.executable, "-I", "-c", code, *words], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        ("check", str(PROFILE)),
        ("show", str(PROFILE)),
        ("translate", "--", *FLAGS),
        ("schema",),
    ],
    ids=lambda words: words[0],
)
def test_what_starts_no_machine_works(words: Sequence[str], tmp_path: Path) -> None:
    done = command(*words, folder=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_flags_are_for_a_machine_of_the_host_and_their_start_says_that_none_is_built(tmp_path: Path) -> None:
    done = command(*FLAGS, folder=tmp_path)

    assert done.returncode == 1
    assert "no machine of aarch64 can be run by this version: none is built yet" in done.stderr
    assert "check" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_profile_of_another_architecture_says_which_host_it_needs(tmp_path: Path) -> None:
    done = command("run", str(PROFILE), folder=tmp_path)

    assert done.returncode == 1
    assert "the machine is x86_64 and this host is aarch64" in done.stderr
    assert "run it on an x86_64 host\n" in done.stderr
