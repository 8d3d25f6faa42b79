"""The compatibility contract: what compat/corpus says; flags and documents are two spellings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from stratovirt.compat.contracts import projections
from stratovirt.compat.registry import tokenise
from stratovirt.compat.translate import translate
from stratovirt.compat.write import to_flags
from stratovirt.errors import DocumentError, UsageError
from tests.contract.corpus import ACCEPTED, REFUSED, ROOM, argv_of, document_of, reason_of

if TYPE_CHECKING:
    from pathlib import Path

    from stratovirt.document.vm import Vm

FLAGS = json.loads((ROOM / "flags.json").read_text())


def read(argv: list[str]) -> Vm:
    return translate(argv, arch="x86_64")


def in_order(data: object) -> str:
    """Write data so that the order of tables counts: it is the order of the guest's disks."""
    return json.dumps(data, indent=1)


def tables(data: dict[str, object]) -> dict[str, str]:
    """Return each table of the document with the order inside it; that of the tables themselves is free."""
    return {name: in_order(table) for name, table in data.items()}


@pytest.mark.guidebook(
    "2.2 pci", "2.3 pci", "2.5 pci", "2.7 pci", "2.9 root port", "2.10 pflash", "3.1 creation"
)
@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.stem)
def test_a_command_line_becomes_its_document(case: Path) -> None:
    assert tables(read(argv_of(case)).to_data()) == tables(document_of(case))


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.stem)
def test_flags_to_document_to_flags_to_document_is_the_identity(case: Path) -> None:
    document = read(argv_of(case))
    words = to_flags(document, arch="x86_64")

    assert in_order(read(words).to_data()) == in_order(document.to_data())
    assert to_flags(read(words), arch="x86_64") == words


@pytest.mark.guidebook("2.5 one")
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.stem)
def test_a_refused_command_line_says_why(case: Path) -> None:
    with pytest.raises((UsageError, DocumentError)) as caught:
        read(argv_of(case))

    assert reason_of(case) in f"{caught.value.message} {caught.value.hint}"


def test_at_least_as_many_cases_are_refused_as_accepted() -> None:
    assert len(REFUSED) >= len(ACCEPTED)


def test_every_case_has_both_files() -> None:
    wanted = {case.with_suffix(".toml") for case in ACCEPTED}
    wanted |= {case.with_suffix(".reason") for case in REFUSED}
    found = {path for path in (ROOM / "corpus").rglob("*") if path.suffix in {".toml", ".reason"}}

    assert found == wanted


def test_the_contract_is_generated_from_the_code() -> None:
    for path, text in projections().items():
        assert (ROOM.parent / path).read_text() == text, "stale: run `make contracts`"


def test_every_flag_stands_in_the_corpus() -> None:
    accepted = {f"-{name}" for case in ACCEPTED for name in tokenise(argv_of(case))}
    refused = {word for case in REFUSED for word in argv_of(case)}

    assert with_status("yes") - {"-help", "-version"} <= accepted
    assert with_status("refused") <= refused


def with_status(status: str) -> set[str]:
    return {name for name, entry in FLAGS["flags"].items() if entry["status"] == status}


def used_keys(flag: str, driver: str = "") -> set[str]:
    """Return the keys that the corpus gives to a flag, or to one driver of -device; "" is a bare word."""
    texts = [
        text
        for case in ACCEPTED
        for occurrence in tokenise(argv_of(case)).get(flag, ())
        for text in occurrence.values
        if driver in text.split(",") or not driver
    ]
    items = [item for text in texts for item in text.split(",")]
    return {item.partition("=")[0].replace("_", "-") if "=" in item else "" for item in items}


@pytest.mark.parametrize("word", FLAGS["objects"])
def test_every_key_of_an_object_stands_in_the_corpus(word: str) -> None:
    assert set(FLAGS["objects"][word]["keys"]) <= used_keys("object", word)


LISTS = [(name, entry["keys"]) for name, entry in FLAGS["flags"].items() if "keys" in entry]


@pytest.mark.parametrize(("flag", "keys"), LISTS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_key_of_a_flag_stands_in_the_corpus(flag: str, keys: dict[str, dict[str, list[str]]]) -> None:
    others = {word for entry in keys.values() for word in entry.get("also", ())}

    assert {key.replace("_", "-") for key in keys} | others <= used_keys(flag[1:])


@pytest.mark.parametrize("driver", FLAGS["drivers"])
def test_every_key_of_a_driver_stands_in_the_corpus(driver: str) -> None:
    assert set(FLAGS["drivers"][driver]["keys"]) <= used_keys("device", driver)
