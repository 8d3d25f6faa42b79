"""Compiles the C tests with sanitizers and runs them; a program's own lines say which of its tests passed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.core.build import (
    CORE,
    FUZZ,
    build,
    compile_object,
    core_sources,
    corpus,
    fuzz_target,
    programs,
)
from tests.core.cross import build_for, other_architectures
from tests.fuzz.run import unpack

# One that makes a machine of the real KVM says so by its name.
PROGRAMS = [
    pytest.param(path, marks=[pytest.mark.kvm] if path.stem.endswith("_kvm") else [], id=path.stem)
    for path in programs()
]
PURE = ("guestmem", "ratelimit", "virtq")
TARGETS = sorted(path.stem for path in FUZZ.glob("fuzz_*.c"))
INPUTS = {"fuzz_virtq": 20000}  # the others, with devices and threads behind them, do 600
CORPUS_INPUTS, CORPUS_BYTES = 400, 16 << 10  # of a target
ALLOWED = {"memcpy", "memset", "memmove", "memcmp", "guestmem_slice", "guestmem_prefix", "__stack_chk_fail"}

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def _run(program: Path, *arguments: str, cwd: Path) -> None:
    command = [str(program), *arguments]
    # gcc 12's thread sanitizer gives up when addresses are more random than this.
    randomness = Path("/proc/sys/vm/mmap_rnd_bits")
    if program.name.startswith("thread-") and randomness.exists() and int(randomness.read_text()) > 28:
        command = ["setarch", "--addr-no-randomize", *command]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("source", PROGRAMS)
def test_a_c_test_passes_with_addresses_and_arithmetic_checked(source: Path, tmp_path: Path) -> None:
    _run(build([source], "address"), cwd=tmp_path)


@pytest.mark.parametrize("source", PROGRAMS)
def test_a_c_test_passes_with_threads_checked(source: Path, tmp_path: Path) -> None:
    _run(build([source], "thread"), cwd=tmp_path)


@pytest.mark.parametrize("name", TARGETS)
def test_a_fuzz_target_survives_the_same_inputs_each_time(name: str, tmp_path: Path) -> None:
    _run(fuzz_target(name), f"-inputs={INPUTS.get(name, 600)}", "-seed=1", cwd=tmp_path)


@pytest.mark.parametrize("name", TARGETS)
def test_a_fuzz_target_survives_its_corpus(name: str, tmp_path: Path) -> None:
    inputs = sorted(map(str, unpack(name, tmp_path / "corpus").iterdir()))

    _run(fuzz_target(name), *inputs, cwd=tmp_path)


@pytest.mark.parametrize("name", TARGETS)
def test_a_corpus_is_there_and_small(name: str) -> None:
    inputs = corpus(name)

    assert 50 <= len(inputs) <= CORPUS_INPUTS
    assert sum(map(len, inputs)) <= CORPUS_BYTES


@pytest.mark.parametrize("path", core_sources(), ids=lambda path: str(path.stem))
def test_gccs_analyzer_finds_nothing(path: Path) -> None:
    compile_object(path, "analyzer")  # what it warns of is an error


@pytest.mark.parametrize("architecture", other_architectures())
def test_the_core_can_be_built_for_the_other_architecture(architecture: str, tmp_path: Path) -> None:
    if shutil.which(f"{architecture}-linux-gnu-gcc") is None:
        pytest.skip(f"needs a compiler for {architecture}: `make packages` installs one")

    assert build_for(architecture, tmp_path) == set(), "what the ABI declares is there"


def _unresolved(name: str) -> set[str]:
    listing = subprocess.run(
        ["nm", "-u", compile_object(CORE / f"{name}.c", "none")], capture_output=True, text=True, check=True
    )
    return {line.split()[-1] for line in listing.stdout.splitlines()}


@pytest.mark.parametrize("name", PURE)
def test_what_a_guest_is_read_with_allocates_nothing_and_calls_nobody(name: str) -> None:
    assert _unresolved(name) <= ALLOWED
