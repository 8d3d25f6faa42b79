"""The generated schemas: current, valid in both drafts, and of the same opinion as the records."""

from __future__ import annotations

import copy
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator, Draft7Validator

from stratovirt.document.contracts import main, projections
from stratovirt.document.crosscheck import crosscheck
from stratovirt.document.schema import bundled
from stratovirt.document.vm import Vm
from stratovirt.load import load
from stratovirt.record import PATTERNS, SIZE_PATTERN, Problem
from stratovirt.units import parse_size

ROOT = Path(__file__).parents[2]
# What Draft 4 does not know: an editor that reads Draft 4 would ignore it, or stumble.
NEWER = {"const", "if", "then", "else", "$defs", "propertyNames", "contains", "examples", "$id"}

GOOD: dict[str, Any] = {
    "version": 1,
    "name": "m",
    "machine": {"type": "microvm", "arch": "x86_64"},
    "cpu": {"count": 2},
    "memory": {
        "size": "1G",
        "path": "/dev/shm/ram",
        "share": True,
        "dump_guest_core": False,
        "prealloc": True,
        "transparent_hugepages": True,
    },
    "boot": {"kernel": "k", "initrd": "i", "cmdline": "a=b=c d"},
    "qmp": {"socket": "q"},
    "log": {"file": "l"},
    "process": {"freeze": True, "daemonize": False, "pidfile": "p", "seccomp": False},
    "drive": {
        "root": {"file": "f", "readonly": True, "direct": False, "serial": "s", "iothread": "t", "iops": 5},
        "data": {
            "file": "g",
            "queues": 2,
            "lock": "off",
            "limit": {"read_ops": 5, "write_ops": 6, "bytes": "1M", "read_bytes": 65536, "burst_ms": 100},
        },
    },
    "net": {
        "eth0": {"tap": "tap0", "mac": "52:54:00:12:34:56", "vhost": "auto", "fds": [3, 4], "addr": "0x1.0"}
    },
    "console": {"c": {"path": "c.sock"}},
    "fs": {"home": {"socket": "fs.sock", "tag": "home"}},
    "vsock": {"guest_cid": 3, "id": "v"},
    "balloon": {"deflate_on_oom": True},
    "rng": {"file": "/dev/urandom", "bytes_per_sec": 64},
    "serial": {"backend": "stdio"},
    "pflash": {"code": {"file": "c", "unit": 0}},
    "root_port": {"pcie.1": {"port": 1, "bus": "pcie.0", "addr": "1"}},
    "iothread": {"t": {"cpus": [0, 1]}},
}
STRANGE: list[Any] = [
    None, True, False, 0, 1, -1, 3, 64, 255, 2**32, 1.5, "", "x", "a,b", "on", "1G",
    "25M6", "0x1f.7", "0x20", "\n", "é",
    "x" * 300, [], [1], [-1], ["a"], {}, {"a": 1}, {"file": "x"}, "52:54:00:12:34:5g",
    "/abs", "stdio", "microvm", "auto",
]  # fmt: skip


def mutated(source: random.Random) -> dict[str, Any]:
    """Return a good document with one to three things changed, added or taken away."""
    document = copy.deepcopy(GOOD)
    for _ in range(source.randint(1, 3)):
        place: Any = document
        for _depth in range(source.randint(0, 2)):
            inner = [value for value in place.values() if isinstance(value, dict)]
            if not inner:
                break
            place = source.choice(inner)
        key = source.choice([*place, "kernl", "a b", ""]) if place else "new"
        if source.random() < 0.2:
            place.pop(key, None)
        else:
            place[key] = copy.deepcopy(source.choice(STRANGE))
    return document


def test_the_committed_schemas_are_what_the_records_say() -> None:
    assert main(["--check"]) == 0, "run `make contracts`"


def test_no_schema_file_is_left_over() -> None:
    files = {str(path.relative_to(ROOT / "schemas")) for path in (ROOT / "schemas").rglob("*.json")}

    assert files == set(projections())


@pytest.mark.parametrize("draft", [Draft4Validator, Draft7Validator])
@pytest.mark.parametrize("name", projections())
def test_a_schema_is_valid_in_both_drafts(name: str, draft: Any) -> None:
    draft.check_schema(json.loads(projections()[name]))


@pytest.mark.parametrize("name", projections())
def test_a_schema_has_only_keywords_that_draft_4_knows(name: str) -> None:
    assert {word for word in NEWER if f'"{word}":' in projections()[name]} == set()


def test_records_and_schemas_accept_and_refuse_the_same_documents() -> None:
    validator = Draft7Validator(bundled())
    source = random.Random(20260630)
    for _ in range(3000):
        document = mutated(source)
        problems: list[Problem] = []
        load(Vm, document, problems)

        assert bool(problems) == (not validator.is_valid(document)), (document, problems)


def test_no_document_is_an_accident_to_what_looks_at_all_its_tables() -> None:
    source = random.Random(20261127)
    for _ in range(3000):
        document = mutated(source)
        problems: list[Problem] = []
        vm = load(Vm, document, problems)
        if vm is not None:
            crosscheck(vm, problems)


def test_the_good_document_is_good_to_both() -> None:
    problems: list[Problem] = []

    assert load(Vm, GOOD, problems) is not None
    assert problems == []
    assert Draft7Validator(bundled()).is_valid(GOOD)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_and_its_check_say_the_same(name: str) -> None:
    pattern, check, _ = PATTERNS[name]
    source = random.Random(name)
    letters = "09afAFgxX.:,/@+-_ \n\0éz1537"
    for _ in range(4000):
        word = "".join(source.choices(letters, k=source.randint(0, 12)))

        assert bool(re.search(pattern.replace("$", r"\Z"), word)) == check(word), word


@pytest.mark.parametrize(
    "word", ["1", "1K", "1kib", "5M", "5MiB", "2G", "", "M", "1B", "1iB", "25M6", "+1", " 1", "1T", "٣"]
)
def test_sizes_and_their_pattern_say_the_same(word: str) -> None:
    assert bool(re.search(SIZE_PATTERN, word)) == (parse_size(word) is not None)
