"""Builds C tests and fuzz targets with sanitizers into build/core-tests; what did not change is kept."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "stratovirt" / "core" / "src"
ARCH = CORE / platform.machine()
TESTS = ROOT / "tests" / "core"
FUZZ = ROOT / "tests" / "fuzz"
CORPUS = FUZZ / "corpus"
OUT = ROOT / "build" / "core-tests"

INCLUDED = (CORE, ARCH, TESTS, FUZZ)
FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-pthread", *(f"-I{room}" for room in INCLUDED))
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wvla", "-Werror")
SANITIZERS = {
    "none": (),
    "speed": ("-O2", "-DNDEBUG"),
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "analyzer": ("-fanalyzer",),
    # gcc says that the sanitizer does not understand fences; what we fence is atomic anyway.
    "thread": ("-fsanitize=thread", "-Wno-tsan"),
}


def corpus(name: str) -> list[bytes]:
    """Return the committed inputs of a fuzz target: a line of hexadecimal digits for each."""
    return [bytes.fromhex(line) for line in (CORPUS / f"{name}.hex").read_text().splitlines()]


def core_sources() -> list[Path]:
    """Return the C files of the core for this machine: the common ones, and those of its architecture."""
    return sorted(path for room in (CORE, ARCH) for path in room.glob("*.c"))


def programs() -> list[Path]:
    """Return the C tests for this machine."""
    return sorted(path for room in (TESTS, TESTS / ARCH.name) for path in room.glob("test_*.c"))


class CompileError(Exception):
    """gcc did not like a file; the text is what it said."""


def _headers_digest() -> bytes:
    headers = sorted(path for room in INCLUDED for path in room.glob("*.h"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in headers)).digest()


def run_compiler(compiler: str, arguments: list[str]) -> None:
    done = subprocess.run([compiler, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CompileError(done.stderr)


def _cached(stem: str, key: bytes, arguments: list[str], compiler: str = "gcc") -> Path:
    """Compile unless there is a file made from the same inputs; older ones of the stem are removed."""
    target = OUT / f"{stem}-{hashlib.sha256(key).hexdigest()[:16]}"
    if target.exists():
        return target
    OUT.mkdir(parents=True, exist_ok=True)
    for stale in OUT.glob(f"{stem}-{'[0-9a-f]' * 16}"):
        stale.unlink()
    unfinished = target.with_suffix(".part")
    run_compiler(compiler, [*arguments, "-o", str(unfinished)])
    unfinished.rename(target)
    return target


def compile_object(source: Path, sanitizer: str) -> Path:
    """Return the object file of a C source."""
    flags = [*FLAGS, *WARNINGS, *SANITIZERS[sanitizer]]
    key = " ".join(flags).encode() + _headers_digest() + source.read_bytes()
    return _cached(f"{sanitizer}-{source.stem}.o", key, [*flags, "-c", str(source)])


def build(sources: list[Path], sanitizer: str) -> Path:
    """Return the program of the sources and the whole core; it is named after the first source."""
    objects = [compile_object(source, sanitizer) for source in [*sources, *core_sources()]]
    flags = ["-pthread", *SANITIZERS[sanitizer]]
    key = " ".join([*flags, *(path.name for path in objects)]).encode()
    return _cached(f"{sanitizer}-{sources[0].stem}", key, [*flags, *map(str, objects)])


def fuzz_target(name: str) -> Path:
    """Return a fuzz target with the plain main."""
    return build([FUZZ / f"{name}.c", FUZZ / "standalone.c"], "address")


def clang() -> str | None:
    """Return the clang that can be used; None when there is none, or it has no libFuzzer."""
    for name in ("clang", *(f"clang-{version}" for version in range(20, 13, -1))):
        path = shutil.which(name)
        if path is None:
            continue
        resources = subprocess.run([path, "-print-resource-dir"], capture_output=True, text=True, check=True)
        if any(Path(resources.stdout.strip()).rglob("libclang_rt.fuzzer*.a")):
            return path
    return None


def guided_fuzz_target(name: str) -> Path | None:
    """Return a fuzz target with libFuzzer's main; None where there is no clang with it."""
    compiler = clang()
    if compiler is None:
        return None
    sources = [FUZZ / f"{name}.c", *core_sources()]
    flags = [*FLAGS, "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    key = " ".join(flags).encode() + _headers_digest() + b"".join(path.read_bytes() for path in sources)
    return _cached(f"guided-{name}", key, [*flags, "-w", *map(str, sources)], compiler)
