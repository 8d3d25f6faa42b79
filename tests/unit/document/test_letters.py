"""Letters that one language of profiles takes and another does not; halves of them, bytes that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stratovirt.document.check import run
from stratovirt.document.loader import Source, examine
from stratovirt.document.report import FORMATS as REPORTS
from stratovirt.document.vm import Vm
from stratovirt.document.write import FORMATS, dump
from stratovirt.errors import StratovirtError
from stratovirt.load import load

if TYPE_CHECKING:
    from pathlib import Path


def test_json_writes_a_character_in_two_halves_and_half_of_one_is_a_finding() -> None:
    text = '{"version": 1, "boot": {"initrd": "i", "kernel": "%s"}}'
    vm, findings = examine(Source("p.json", text % "k\\ud83d\\ude00", "json"))
    _, halved = examine(Source("p.json", text % "k\\ud83d", "json"))

    assert (findings, vm is not None and vm.boot.kernel) == ([], "k\N{GRINNING FACE}")
    assert [finding.problem.code for finding in halved] == ["SV107"]


@pytest.mark.parametrize("key", ["\\ud800", "\\udc80", "\\ud83d\\ude00"])
def test_a_key_of_half_characters_is_a_finding_that_has_its_place(key: str) -> None:
    text = f'{{"version": 1, "{key}": 1, "boot": {{"kernel": "k", "initrd": "i"}}}}'
    _, findings = examine(Source("p.json", text, "json"))

    assert [(finding.problem.code, finding.span.line) for finding in findings] == [("SV102", 1)]


@pytest.mark.parametrize("output", ["text", *REPORTS])
@pytest.mark.parametrize("table", ["", '"drive": {'])
def test_a_report_of_half_characters_can_be_printed(
    table: str, output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.json"
    inner = f'{table}"\\ud800": {{}}{"}" if table else ""}'
    path.write_text(f'{{"version": 1, {inner}, "boot": {{"kernel": "k", "initrd": "i"}}}}')

    assert run([str(path)], output, strict=False, quiet=False, colour=False, language="auto") == 1
    assert "ud800" in capsys.readouterr().out.encode().decode()


@pytest.mark.parametrize("letter", ["\x7f", "\x80", "\ufffe", "\u2028"])
def test_a_finding_beside_an_odd_letter_of_json_has_its_place(letter: str) -> None:
    text = f'{{"version": 1,\n"boot": {{"kernel": "k{letter}", "initrd": "i"}},\n"bogus": 1}}'

    _, findings = examine(Source("p.json", text, "json"))

    assert [finding.span.line for finding in findings] == [3]


def test_a_byte_that_is_no_text_may_be_in_a_path_only() -> None:
    text = (
        '{"version": 1, "boot": {"kernel": "k"}, "drive": {"a": {"file": "f\\udc80", "serial": "\\udc80"}}}'
    )
    _, findings = examine(Source("p.json", text, "json"))

    assert [finding.problem.path for finding in findings] == [("drive", "a", "serial")]


@pytest.mark.parametrize("language", FORMATS)
@pytest.mark.parametrize(
    "letter",
    [
        "\x85",
        "\u2028",
        "\u2029",
        "\x7f",
        "\x80",
        "\x9f",
        "\ufffe",
        "\uffff",
        "\N{GRINNING FACE}",
        "#",
        "'",
        '"',
        "\\",
    ],
)
def test_any_letter_of_a_text_survives(letter: str, language: str) -> None:
    vm = load(Vm, {"version": 1, "boot": {"kernel": "k", "cmdline": f"a{letter}b {letter}"}}, [])
    assert vm is not None
    text = dump(vm, language)

    assert examine(Source(f"p.{language}", text, language))[0] == vm, text


@pytest.mark.parametrize("letter", ["\x85", "\u2028", "\u2029"])
def test_json_may_hold_yamls_line_ends_in_a_text(letter: str) -> None:
    text = f'{{"version": 1, "boot": {{"kernel": "k", "cmdline": "a{letter}b"}}}}'
    vm, _ = examine(Source("p.json", text, "json"))

    assert vm is not None
    assert vm.boot.cmdline == f"a{letter}b"


@pytest.mark.parametrize("language", FORMATS)
def test_a_file_name_that_is_no_text_cannot_be_written(language: str) -> None:
    vm = load(Vm, {"version": 1, "boot": {"kernel": "k\udcff"}}, [])
    assert vm is not None

    with pytest.raises(StratovirtError, match=r"boot.kernel is k\\udcff, which is not UTF-8"):
        dump(vm, language)


def test_only_json_is_read_with_other_letters_than_its_own() -> None:
    _, findings = examine(Source("p.toml", "version = 1\n[boot]\nkernel = 'a\x7fb'\ninitrd = 'i'\n", "toml"))

    assert [finding.problem.code for finding in findings] == ["SV001"]
