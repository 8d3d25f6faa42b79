"""What the README shows is what the program does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from stratovirt.compat.translate import translate
from stratovirt.document.loader import load_vm

README = (Path(__file__).parents[2] / "README.md").read_text()
MISTAKES = (("count = 2", "cuont = 2"), ('size = "1G"', 'size = "100M"'), ("[iothread.disks]\n\n", ""))


def profile() -> str:
    found = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def example(begins: str) -> str:
    """Return the indented block that begins so, without its indentation."""
    found = re.search(rf"^    {re.escape(begins)}.*\n(?:(?:    .*)?\n)*", README, re.MULTILINE)
    assert found is not None
    return dedent(found[0]).strip() + "\n"


def test_the_flags_describe_the_machine_of_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "web.toml"
    path.write_text(profile())

    flags = shlex.split(example("stratovirt -name").replace("\\\n", ""))[1:]

    assert translate(flags, arch="x86_64").with_paths(str(tmp_path)) == load_vm(str(path))


def test_check_prints_what_is_shown(tmp_path: Path) -> None:
    text = profile()
    for right, wrong in MISTAKES:
        assert right in text
        text = text.replace(right, wrong)
    (tmp_path / "web.toml").write_text(text)

    check = [sys.executable, "-m", "stratovirt", "check", "web.toml"]
    run = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert f"$ stratovirt check web.toml\n{run.stdout}{run.stderr}" == example("$ stratovirt check")
