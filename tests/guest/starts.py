"""Starts that are to fail: what they say, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.guest.vmm import Vmm

if TYPE_CHECKING:
    from pathlib import Path


def start(*words: str | Path) -> tuple[int, str]:
    with Vmm(*words) as vmm:
        status, output, errors = vmm.finish()
    assert output == b""
    assert "Traceback" not in errors
    return status, errors


def flags(folder: Path, kernel: Path, *more: str | Path) -> list[str | Path]:
    return ["-kernel", kernel, "-serial", "stdio", "-qmp", f"unix:{folder}/qmp", *more]


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
