"""The start-up promise: what is loaded when the first guest instruction runs (SPECIFICATION.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stratovirt import image
from stratovirt.launcher import image_writer
from tests.guest import tiny

if TYPE_CHECKING:
    from pathlib import Path

MAX_MODULES = 110
OUTSIDE_GROUPS = {
    "stratovirt.image",
    "stratovirt.core._core",
    "stratovirt.core._core.lib",
}  # found before, and no Python
FORBIDDEN = {
    "asyncio", "typer", "jsonschema", "ruamel", "ruamel.yaml", "dataclasses", "enum", "inspect", "logging",
    "argparse", "pathlib", "re", "typing", "json", "socket", "signal", "subprocess", "tempfile", "contextlib",
    "functools", "collections", "importlib.metadata", "importlib.resources", "os", "_socket",
}  # fmt: skip

# Stands where the vCPUs would start, and tells what is loaded by then.
PROBE = """
import sys
import stratovirt.cli as cli
from stratovirt.machine.machine import Machine

def start(self):
    modules = sorted(sys.modules)
    import json
    import os
    os.write(1, json.dumps(modules).encode())
    os._exit(0)

Machine.start = start
sys.argv[0] = "stratovirt"
cli.main()
"""


def modules_at_first_instruction(*words: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{PROBE}", *words],
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    return set(json.loads(run.stdout))


def modules_of(statement: str) -> set[str]:
    run = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path[:0] = {sys.path!r}\n{statement}\nprint(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stdout.split())


@pytest.mark.kvm
def test_flags_start_a_guest_with_few_modules(tmp_path: Path) -> None:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("needs a usable /dev/kvm")
    kernel = tiny.build("hello")
    loaded = modules_at_first_instruction(
        "-kernel", str(kernel), "-serial", "stdio", "-qmp", f"unix:{tmp_path}/qmp", "-append", "console=ttyS0"
    )

    assert loaded & FORBIDDEN == set()
    assert len(loaded) <= MAX_MODULES


@pytest.mark.kvm
@pytest.mark.parametrize("group", ["flags", "profile"])
def test_the_start_image_makes_all_that_a_start_needs_in_one_go(tmp_path: Path, group: str) -> None:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("needs a usable /dev/kvm")
    profile = tmp_path / "tiny.toml"
    profile.write_text(f'version = 1\n[boot]\nkernel = "{tiny.build("hello")}"\n[serial]\n')
    words = ["run", str(profile)]
    if group == "flags":
        words = ["-kernel", str(tiny.build("hello")), "-serial", "stdio", "-qmp", f"unix:{tmp_path}/qmp"]
    folder = os.path.dirname(image.__file__)
    groups = read_index(image_writer.build(folder, "stratovirt", final=True))
    made = {*groups["command"][0], *groups[group][0]}
    loaded = {name for name in modules_at_first_instruction(*words) if name.startswith("stratovirt")}

    assert loaded - made <= OUTSIDE_GROUPS
    assert made - loaded <= {"stratovirt.devices.image"}  # a disk's; most machines have one


def read_index(data: bytes) -> dict[str, tuple[list[str], int, int]]:
    fd = os.memfd_create("image")
    os.write(fd, data)
    found = image.read("/nowhere", image.File(fd))
    assert found is not None
    groups = found.groups
    found.close()
    return groups


@pytest.mark.kvm
@pytest.mark.parametrize("plain", [True, False])
def test_a_toml_profile_starts_by_the_rules_for_flags(tmp_path: Path, *, plain: bool) -> None:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("needs a usable /dev/kvm")
    cpu = "cpu.count = 1" if plain else "cpu = { count = 1 }"
    profile = tmp_path / "tiny.toml"
    profile.write_text(f'version = 1\n{cpu}\n[boot]\nkernel = "{tiny.build("hello")}"\n[serial]\n')
    loaded = modules_at_first_instruction("run", str(profile))

    # What is not plain (document/plain_toml.py) needs a parser, a library that brings what it brings.
    parser = set() if plain else modules_of("import tomli") - modules_of("pass")
    assert ("tomli" in loaded) is not plain
    assert (loaded - parser) & FORBIDDEN == set()
    assert len(loaded - parser) <= MAX_MODULES
