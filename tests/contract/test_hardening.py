"""The binary of the core: what protects it, read from the file itself."""

from __future__ import annotations

import platform
import shutil
import subprocess

import pytest

from stratovirt.core import _core

pytestmark = pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf")

BRANCHES = {"x86_64": "-fcf-protection=full", "aarch64": "-mbranch-protection=standard"}
SWITCHES = [
    "-fstack-protector-strong", "-fstack-clash-protection", "-O2",
    BRANCHES[platform.machine()],
]  # fmt: skip


def readelf(*options: str, file: str = _core.__file__) -> str:
    return subprocess.run(
        ["readelf", "-W", *options, file], capture_output=True, text=True, check=True
    ).stdout


def missing(file: str) -> list[str]:
    """Return what a binary of the core was compiled without."""
    said = readelf("-p", ".GCC.command.line", file=file)
    assert "-fno-stack-protector" not in said
    return [switch for switch in SWITCHES if switch not in said]


def test_it_was_compiled_with_every_protection() -> None:
    assert missing(_core.__file__) == []


def test_checks_of_the_stack_and_of_sizes_are_called() -> None:
    symbols = readelf("--dyn-syms")

    assert "__stack_chk_fail" in symbols
    assert "__memcpy_chk" in symbols


def test_what_the_loader_writes_is_read_only_afterwards() -> None:
    segments, dynamic = readelf("-l"), readelf("-d")

    assert "GNU_RELRO" in segments
    assert "BIND_NOW" in dynamic
    assert "TEXTREL" not in dynamic


def test_no_memory_of_it_is_writable_and_executable() -> None:
    segments = [line.split() for line in readelf("-l").splitlines()]
    loads = [words for words in segments if words[:1] == ["LOAD"]]
    (stack,) = [words for words in segments if words[:1] == ["GNU_STACK"]]

    assert len(loads) > 2
    assert [words for words in loads if "W" in (access := "".join(words[6:-1])) and "E" in access] == []
    assert "E" not in "".join(stack[6:-1])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instruction is x86's")
def test_functions_begin_where_indirect_calls_may_land() -> None:
    said = subprocess.run(
        ["objdump", "-d", "--disassemble=PyInit__core", _core.__file__],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "endbr64" in said


def test_only_python_can_call_into_it() -> None:
    symbols = [line.split() for line in readelf("--dyn-syms").splitlines()]
    defined = {words[7] for words in symbols if len(words) > 7 and words[4] == "GLOBAL" and words[6] != "UND"}

    assert defined == {"PyInit__core"}
