"""A start from flags loads what it needs of this room and nothing else."""

from __future__ import annotations

import subprocess
import sys

PROBE = """
import sys
sys.path[:0] = sys.argv[1:]
from stratovirt.compat.translate import translate
words = "-qmp unix:/s -kernel k -drive id=a,file=a -device virtio-blk-device,drive=a"
translate(words.split(), "x86_64")
print(*sys.modules)
"""


def loaded() -> set[str]:
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROBE, *sys.path], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_help_and_the_way_back_are_not_loaded_by_a_start() -> None:
    room = {name for name in loaded() if name.startswith("stratovirt.compat.")}

    assert {name.rpartition(".")[2] for name in room} == {
        "devices", "draft", "keyval", "registry", "sections", "translate",
    }  # fmt: skip


def test_no_heavy_module_is_loaded_by_a_start() -> None:
    heavy = {"re", "typing", "enum", "dataclasses", "json", "pathlib", "argparse", "functools", "contextlib"}

    assert loaded() & heavy == set()
