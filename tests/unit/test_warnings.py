"""What a start tells on standard error though it stops nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stratovirt.compat.translate import translate
from stratovirt.document.loader import load_vm

if TYPE_CHECKING:
    from pathlib import Path

BASE = ("-kernel", "vmlinux", "-qmp", "unix:/tmp/qmp")
HEAD = 'version = 1\n[boot]\nkernel = "vmlinux"\ninitrd = "initrd"\n'


def told(capfd: pytest.CaptureFixture[str]) -> str:
    return capfd.readouterr().err


@pytest.mark.parametrize(
    ("vhost", "when"), [("true", "with vhost\n"), ('"auto"', "with vhost where the host has it\n")]
)
def test_a_profile_whose_iothread_serves_nothing_says_so_where_it_stands(
    vhost: str, when: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "vm.toml"
    path.write_text(f'{HEAD}[iothread.io]\n[net.card]\ntap = "tap0"\nvhost = {vhost}\niothread = "io"\n')

    load_vm(str(path))

    assert told(capfd) == f"stratovirt: warning: {path}:9: an iothread has no effect {when}"


def test_flags_that_describe_a_drive_for_nobody_say_so(capfd: pytest.CaptureFixture[str]) -> None:
    translate([*BASE, "-drive", "id=spare,file=disk"], arch="x86_64")

    assert told(capfd) == (
        "stratovirt: warning: -drive id=spare,file=disk: drive 'spare' is described and not attached\n"
    )


def test_a_guest_without_a_root_file_system_may_be_meant(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "vm.toml"
    path.write_text('version = 1\n[boot]\nkernel = "vmlinux"\n')

    load_vm(str(path))
    translate(list(BASE), arch="x86_64")

    assert told(capfd) == ""
