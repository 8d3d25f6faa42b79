"""Builds the core for an architecture that this machine is not, as far as that can be done without it."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from runpy import run_path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from tests.core.build import ARCH, CORE, ROOT, WARNINGS, run_compiler

if TYPE_CHECKING:
    from pathlib import Path


def other_architectures() -> list[str]:
    """Return the architectures that the core has a room for and this machine is not."""
    return sorted(path.name for path in CORE.iterdir() if path.is_dir() and path != ARCH)


def build_for(architecture: str, out: Path) -> set[str]:
    """Compile the extension as its recipe says for another architecture, and with our warnings.

    Return the calls that Python would find missing.
    """
    recipe = _recipe_for(architecture)
    keywords = recipe._assigned_source[3]
    flags = [*keywords["extra_compile_args"], "-D_GNU_SOURCE", "-Werror", "-pthread", "-fPIC"]
    flags += [f"-I{ROOT / room}" for room in keywords["include_dirs"]]
    sources = [str(ROOT / path) for path in keywords["sources"]]
    core, edge = out / "core.so", out / "edge.o"
    whole = ["-shared", "-Wl,-z,defs", "-fvisibility=default"]
    run_compiler(f"{architecture}-linux-gnu-gcc", [*flags, *WARNINGS, *whole, *sources, "-o", str(core)])
    recipe.emit_c_code(str(out / "edge.c"))
    python = f"-I{sysconfig.get_path('include')}"
    run_compiler(
        f"{architecture}-linux-gnu-gcc", [*flags, python, "-c", str(out / "edge.c"), "-o", str(edge)]
    )
    wanted = _symbols(architecture, "-u", edge)
    return {name for name in wanted if name.startswith("sv_")} - _symbols(architecture, "-D", core)


def _recipe_for(architecture: str) -> Any:
    """Return cffi's description of the extension as it is on another machine."""
    before = os.getcwd()
    os.chdir(ROOT)  # where setuptools runs it
    try:
        with patch("platform.machine", return_value=architecture):
            return run_path("stratovirt/core/build.py")["ffibuilder"]
    finally:
        os.chdir(before)


def _symbols(architecture: str, kind: str, file: Path) -> set[str]:
    words = [f"{architecture}-linux-gnu-nm", kind, str(file)]
    listing = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in listing.splitlines()}
