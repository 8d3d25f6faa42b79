"""A job's script: the same words, place and environment inside the rig as outside."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.rig.job import Job, writable_folders
from tests.rig.say import RigError

AWKWARD = "two words; $HOME 'quoted' \"twice\"\nsecond line"


def job(*command: str, cwd: str = "/", environment: dict[str, str] | None = None) -> Job:
    return Job(command=command, cwd=cwd, environment=environment or {})


def said(work: Job) -> str:
    done = subprocess.run(["sh", "-c", work.script()], capture_output=True, text=True, env={}, check=True)
    return done.stdout


def test_words_arrive_as_they_were_written() -> None:
    assert said(job("printf", "%s", AWKWARD)) == AWKWARD


def test_the_environment_arrives_whole() -> None:
    assert said(job("/usr/bin/printenv", "VALUE", environment={"VALUE": AWKWARD})) == AWKWARD + "\n"


def test_a_name_that_no_shell_can_export_is_left_out() -> None:
    assert "BASH_FUNC" not in job("true", environment={"BASH_FUNC_x%%": "() { :; }"}).script()


def test_the_command_runs_in_the_folder_it_was_given_in(tmp_path: Path) -> None:
    place = tmp_path / "a folder"
    place.mkdir()

    assert said(job("/bin/pwd", cwd=str(place))) == f"{place}\n"


def test_a_command_can_tell_that_it_is_inside() -> None:
    assert said(job("/usr/bin/printenv", "STRATOVIRT_RIG")) == "1\n"


def test_the_status_of_a_missing_folder_is_126() -> None:
    script = job("true", cwd="/no/such/folder").script()

    assert subprocess.run(["sh", "-c", script], capture_output=True, check=False).returncode == 126


def test_folders_that_come_back_are_made_and_real(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    assert writable_folders([f"{tmp_path}/link/new"]) == (f"{tmp_path.resolve()}/new",)
    assert Path(tmp_path, "new").is_dir()


def test_a_folder_that_qemu_cannot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="comma"):
        writable_folders([f"{tmp_path}/a,b"])
