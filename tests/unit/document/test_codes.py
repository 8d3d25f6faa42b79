"""Finding codes: each is described once, and its examples do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import stratovirt
from stratovirt.document.codes import CODES, explain
from stratovirt.document.loader import Source, examine

PACKAGE = Path(stratovirt.__file__).parent


@pytest.mark.parametrize("code", [code for code, entry in CODES.items() if entry.bad])
def test_the_bad_example_has_exactly_this_finding(code: str) -> None:
    _, findings = examine(Source("bad.toml", CODES[code].bad, "toml"))

    assert [finding.problem.code for finding in findings] == [code]


@pytest.mark.parametrize("code", CODES)
def test_the_good_example_has_no_finding(code: str) -> None:
    vm, findings = examine(Source("good.toml", CODES[code].good, "toml"))

    assert findings == []
    assert vm is not None


def test_every_code_in_the_sources_is_described_and_used() -> None:
    texts = [path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "codes.py"]
    used = {code for text in texts for code in re.findall(r'"(SV\d{3})"', text)}

    assert used == set(CODES)


def test_an_unknown_code_has_no_explanation() -> None:
    assert explain("SV999") is None


@pytest.mark.parametrize(("arch", "slots"), [("x86_64", 16), ("aarch64", 32)])
def test_each_architecture_has_its_own_number_of_devices(arch: str, slots: int) -> None:
    def findings_of(count: int) -> list[str]:
        drives = "".join(f'[drive.d{number}]\nfile = "{number}.img"\n' for number in range(count))
        text = f'version = 1\nmachine.arch = "{arch}"\nboot.kernel = "k"\n{drives}'
        _, findings = examine(Source("many.toml", text, "toml"))
        return [f"{finding.problem.code} {finding.problem.message}" for finding in findings]

    assert findings_of(slots) == []
    assert findings_of(slots + 1) == [f"SV307 {slots + 1} devices, and {arch} has {slots} virtio-mmio slots"]
