"""Profiles: three languages, one document, each problem at its place."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from stratovirt.document.loader import Source, UnreadableError, examine, load_vm
from stratovirt.document.write import FORMATS, dump
from stratovirt.errors import DocumentError

if TYPE_CHECKING:
    from pathlib import Path

BOOT = '[boot]\nkernel = "k"\ninitrd = "i"\n'


def places(text: str, language: str = "toml") -> list[tuple[int, int, int, str]]:
    _, findings = examine(Source(f"p.{language}", text, language))
    return [(f.span.line, f.span.column, f.span.length, f.problem.code) for f in findings]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version = 1\n[cpu]\ncount = 300 # many\n", (3, 9, 3, "SV105")),
        ("version = 1\ncpu.count = 300\n", (2, 13, 3, "SV105")),
        ("version = 1\ncpu = { count = 300 }\n", (2, 17, 3, "SV105")),
        ('version = 1\n["cpu"]\n\t"count" = 300\n', (3, 12, 3, "SV105")),
        ('version = 1\nname = """\nlong\n"""\n[cpu]\ncount = 300\n', (6, 9, 3, "SV105")),
        ('version = 1 # "[x]"\n[cpu]\ncount=300', (3, 7, 3, "SV105")),
        ("version = 1\n[cpu]\ncuont = 3\n", (3, 1, 5, "SV102")),
        ("version = 1\n[[cpu]]\ncount = 3\n", (2, 3, 3, "SV103")),
        ('version = 1\n[net.é]\ntap = "t"\n', (0, 0, 0, "")),
    ],
)
def test_a_finding_of_a_toml_profile_stands_at_its_place(
    text: str, expected: tuple[int, int, int, str]
) -> None:
    if not expected[0]:
        assert places(text + BOOT)[0][3] == "SV001"
        return
    found = [
        place
        for place in places(text + ("" if "cpu" not in text else "\n" + BOOT))
        if place[3] == expected[3]
    ]

    assert found == [expected]


def test_an_array_of_integers_is_placed_by_element() -> None:
    text = "version = 1\n[net.a]\nfds = [\n  3, # first\n  -4,\n]\n" + BOOT

    assert places(text) == [(5, 3, 2, "SV105")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1\nboot: {kernel: k, initrd: i}\ncpu: {count: 300}\n", (3, 14, 3, "SV105")),
        ("version: 1\nboot:\n  kernel: k\n  initrd: i\ncpu:\n  count: many\n", (6, 10, 4, "SV103")),
        ("version: 1\nversion: 1\n", (2, 1, 1, "SV001")),
        ("version: 1\n\tcpu: 1\n", (2, 1, 1, "SV001")),
    ],
)
def test_a_finding_of_a_yaml_profile_stands_at_its_place(
    text: str, expected: tuple[int, int, int, str]
) -> None:
    assert places(text, "yaml") == [expected]


def test_a_finding_of_a_json_profile_stands_at_its_place() -> None:
    text = '{"version": 1,\n "boot": {"kernel": "k", "initrd": "i"},\n "cpu": {"cuont": 1}}'

    assert places(text, "json") == [(3, 10, 7, "SV102")]


def test_a_yaml_no_is_told_apart_from_false() -> None:
    text = "version: 1\nboot: {kernel: k}\ndrive:\n  a:\n    file: f\n    readonly: no\n"
    _, findings = examine(Source("p.yaml", text, "yaml"))

    assert [(f.problem.code, f.problem.help) for f in findings] == [("SV103", "write false")]


def test_aliases_cannot_blow_a_document_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 8)]

    assert [place[3] for place in places("\n".join(lines), "yaml")] == ["SV002"]


@pytest.mark.parametrize(
    ("language", "begin", "end"),
    [("json", '{"version": ', "}"), ("toml", "version = ", ""), ("yaml", "version: ", "")],
)
def test_nesting_without_end_is_a_finding(language: str, begin: str, end: str) -> None:
    text = f"{begin}{'[' * 100_000}{']' * 100_000}{end}\n"

    assert [place[3] for place in places(text, language)] in (["SV001"], ["SV002"])


def test_all_findings_come_in_one_pass() -> None:
    text = (
        'version = 1\n[cpu]\ncount = 0\n[memory]\nsize = "1M"\n'
        '[drive.a]\nfile = "f"\niothread = "io"\nseral = "x"\n[vsock]\nguest_cid = 2\n'
    )

    assert [place[3] for place in places(text)] == ["SV303", "SV105", "SV301", "SV309", "SV102", "SV105"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[boot]\nkernal = "k"\ninitrd = "i"\ncmdline = "c"\n', ["SV102"]),
        ('[boot]\nkernel = 5\ninitrd = "i"\ncmdline = "c"\n', ["SV103"]),
        ('[machine]\ntype = "standard_vm"\n[boot]\nkernal = "k"\ninitrd = "i"\n', ["SV102"]),
        ('[boot]\nkernel = "k"\n[drvie.root]\nfile = "f"\n', ["SV102"]),
        ('[boot]\nkernel = "k"\ninitrd = "i"\n[drive.root]\nflie = "f"\n', ["SV102"]),
        ('[boot]\nkernel = "k"\ninitrd = "i"\n[rng]\nFile = "f"\n', ["SV102"]),
        ('[bot]\nkernel = "k"\ninitrd = "i"\n', ["SV102"]),
        (
            '[boot]\nkernel = "k"\ninitrd = "i"\n[iothred.a]\n[drive.d]\nfile = "f"\niothread = "a"\n',
            ["SV102"],
        ),
        (
            '[machine]\ntype="standard_vn"\n[boot]\nkernel="k"\ninitrd="i"\n[pflash.c]\nfile="f"\nunit=0\n',
            ["SV108"],
        ),
        (
            '[machine]\ntpye="standard_vm"\n[boot]\nkernel="k"\ninitrd="i"\n[pflash.c]\nfile="f"\nunit=0\n',
            ["SV102"],
        ),
        # What stands in for a value that is wrong or missing is nobody's mistake.
        (
            '[machine]\ntype="standard_vm"\n[boot]\nkernel="k"\ninitrd="i"\n'
            '[pflash.a]\nfile="f"\n[pflash.b]\nfile="g"\nunit=0\n',
            ["SV104"],
        ),
        (
            '[machine]\narch="aarch65"\n[boot]\nkernel="k"\n'
            + "".join(f'[drive.d{n}]\nfile="f{n}"\n' for n in range(20)),
            ["SV108"],
        ),
        # A key that resembles nothing hides nothing of its table.
        (
            '[boot]\nkernel = "k"\ninitrd = "i"\n[pflash.a]\nfile = "f"\nunit = 0\nbogus = 1\n',
            ["SV305", "SV102"],
        ),
        # A guess explains nothing; what has nothing to do with the misspelt key is told all the same.
        ('[boot]\nkernel = "k"\ninitrd = "i"\n[memory]\nsize = "1M"\n[drvie.root]\n', ["SV301", "SV102"]),
        ('[boot]\nkernel = "k"\ninitrd = "i"\n[rng]\nlife = "f"\n', ["SV104", "SV102"]),
    ],
)
def test_one_mistake_is_one_finding(text: str, expected: list[str]) -> None:
    assert [place[3] for place in places(f"version = 1\n{text}")] == expected


@pytest.mark.parametrize("table", ["drive", "net", "console", "iothread", "pflash", "root_port"])
def test_a_list_in_the_place_of_named_tables_is_a_finding_that_says_what_to_write(table: str) -> None:
    for text in (f"version = 1\n{BOOT}[[{table}]]\n", f"version = 1\n{table} = 3\n{BOOT}"):
        _, findings = examine(Source("p.toml", text, "toml"))

        assert [(f.problem.code, f.problem.help) for f in findings if not f.warning] == [
            ("SV103", f"write [{table}.NAME], once for each")
        ]
    for value in ("", " []", " x"):
        assert "SV103" in [place[3] for place in places(f"version: 1\n{table}:{value}\n", "yaml")]


def test_an_item_of_a_list_is_named_with_its_key() -> None:
    _, findings = examine(Source("p.toml", f"version = 1\n[net.a]\nfds = [3, -4]\n{BOOT}", "toml"))

    assert findings[0].problem.message == "fds[1] is -4, not in 0..2147483647"


def test_a_profile_comes_by_a_pipe_as_slowly_as_it_likes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=write_slowly, args=(tmp_path / "pipe",))
    writer.start()
    source = Source.read(f"{tmp_path}/pipe")
    writer.join()

    assert source.text == "version = 1\n"


def write_slowly(path: Path) -> None:
    """Write a line in pieces, the first one late enough for most readers to be there before it."""
    threading.Event().wait(0.05)
    fd = os.open(path, os.O_WRONLY)
    for piece in (b"version", b" = 1\n"):
        threading.Event().wait(0.05)
        os.write(fd, piece)
    os.close(fd)


@pytest.mark.parametrize("language", FORMATS)
def test_what_is_written_loads_as_the_same_document(language: str) -> None:
    text = (
        'version = 1\nname = "a \\"b\\" \\u007f é"\n'
        '[boot]\nkernel = "k"\ninitrd = "i"\ncmdline = "root=UUID=x yes: [no] #"\n'
        '[drive."d.0"]\nfile = "f"\n[iothread.t]\n[net.n]\nfds = [3, 4]\n[log]\n'
    )
    vm, findings = examine(Source("p.toml", text, "toml"))
    assert vm is not None, findings

    again, findings = examine(Source(f"p.{language}", dump(vm, language), language))

    assert findings == []
    assert again == vm


def test_relative_paths_count_from_the_profile(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text('version = 1\n[boot]\nkernel = "../k"\ninitrd = "/i"\n')
    vm = load_vm(str(profile))

    assert (vm.boot.kernel, vm.boot.initrd) == (f"{tmp_path}/../k", "/i")


def test_a_wrong_profile_is_refused_with_its_findings(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text("version = 1\n[cpu]\ncount = 0\n")

    with pytest.raises(DocumentError, match=r"p\.toml:3:9: error\[SV105\]"):
        load_vm(str(profile))


@pytest.mark.parametrize(
    "content", [None, b"\xff\xfe", b"#" * (1 << 20) + b"##"], ids=["missing", "binary", "huge"]
)
def test_an_unreadable_profile_is_named_and_ends_with_status_2(content: bytes | None, tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    if content is not None:
        profile.write_bytes(content)

    with pytest.raises(UnreadableError, match=str(profile)) as caught:
        load_vm(str(profile))
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("a.yaml", "yaml"), ("a.b.YML", "yaml"), ("a.json", "json"), ("a.toml", "toml"), ("a.txt", "toml"),
        ("yaml", "toml"), (".yaml", "toml"), ("..json", "toml"), ("f.yaml/a", "toml"),
        ("f.b/.a.json", "json"),
    ],
)  # fmt: skip
def test_the_suffix_of_the_name_tells_the_language(name: str, language: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("version = 1\n")

    assert Source.read(str(path)).language == language
