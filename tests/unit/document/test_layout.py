"""`fmt` changes how a profile looks and nothing else."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from stratovirt.document.layout import UnformattedError, laid_out, run
from stratovirt.document.loader import Source

ROOT = Path(__file__).parents[3]
PROFILES = sorted((ROOT / "profiles").glob("*.[tyj]*ml"))

UNTIDY = """

#:schema ../schemas/vm.schema.json
version=1
  name   =  "a = b # c" # who


[ cpu ]
count\t=2
# the disk of
# the guest
[drive . "my disk"]   # with a space
file = 'a#b'
[[x]]
many = [ 1,2,
      # a comment
  "]",   [
 3,4 ],

]   # behind
text = \"\"\"
   left as # it is   \\"\"\"
  x\"\"\"\"
a . b . "c.d" = { e = 1 }


"""
TIDY = """\
#:schema ../schemas/vm.schema.json
version = 1
name = "a = b # c" # who

[cpu]
count = 2

# the disk of
# the guest
[drive."my disk"]   # with a space
file = 'a#b'

[[x]]
many = [ 1,2,
    # a comment
    "]",   [
        3,4 ],

]   # behind
text = \"\"\"
   left as # it is   \\"\"\"
  x\"\"\"\"
a.b."c.d" = { e = 1 }
"""


def toml(text: str) -> str:
    return laid_out(Source("a.toml", text, "toml"))


def test_toml_is_laid_out_and_stays_so() -> None:
    assert toml(UNTIDY) == TIDY
    assert toml(TIDY) == TIDY
    assert toml(TIDY.replace("\n", "\r\n")) == TIDY


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.name)
def test_the_profiles_of_the_project_are_laid_out(path: Path) -> None:
    assert laid_out(Source.read(str(path))) == path.read_text()


SPACE = st.sampled_from(["", " ", "\t", "   "])
WORD = st.text(string.ascii_letters + "-_", min_size=1, max_size=4)
QUOTED = st.text("ab #=[]{}.,\"'\\\n", max_size=8).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
)
LITERAL = st.text('ab #=[]{}.,"\\', max_size=8).map(lambda text: f"'{text}'")
LONG = st.text("ab #=[]\n", max_size=12).map(lambda text: f'"""{text}"""')
SCALAR = st.one_of(
    st.integers().map(str), QUOTED, LITERAL, LONG, st.sampled_from(["true", "1.5", "1979-05-27"])
)
GAP = st.sampled_from(["", " ", "\n", " # c ]\n", "\n\n  "])
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.lists(st.tuples(GAP, inner, GAP), max_size=3).map(
        lambda items: "[" + "".join(f"{before}{item}{after}," for before, item, after in items) + "]"
    ),
    max_leaves=5,
)
KEY = st.tuples(SPACE, st.one_of(WORD, QUOTED), SPACE).map("".join)
COMMENT = st.sampled_from(["", " # why", "#why  ", "\t# why = [not]"])
ASSIGNMENT = st.tuples(KEY, SPACE, VALUE, COMMENT).map(lambda t: f"{t[0]}={t[1]}{t[2]}{t[3]}")
TABLE = st.tuples(SPACE, st.lists(KEY, min_size=1, max_size=2), COMMENT).map(
    lambda t: f"{t[0]}[{'.'.join(t[1])}]{t[2]}"
)
LINE = st.one_of(ASSIGNMENT, ASSIGNMENT, TABLE, SPACE, st.just("  # alone"))


@given(st.lists(LINE, max_size=6).map("\n".join))
def test_whatever_is_toml_reads_the_same_and_is_laid_out_once(text: str) -> None:
    try:
        before = tomli.loads(text)
    except tomli.TOMLDecodeError:
        return
    after = toml(text)

    assert tomli.loads(after) == before
    assert toml(after) == after
    assert [
        line for line in after.split("\n") if line != line.rstrip() and "#" not in line
    ] == [] or '"""' in text
    assert after.count("#") == text.count("#")


def test_yaml_keeps_its_comments_and_quotes() -> None:
    text = "version:   1   # first\nboot: {kernel: \"k\"}\n\n# disks\ndrive:\n   root:\n      file: 'a'\n\n"
    tidy = "version: 1     # first\nboot: {kernel: \"k\"}\n\n# disks\ndrive:\n  root:\n    file: 'a'\n"
    source = Source("a.yaml", text, "yaml")

    assert laid_out(source) == tidy
    assert laid_out(Source("a.yaml", tidy, "yaml")) == tidy


def test_json_is_indented_by_two() -> None:
    assert laid_out(Source("a.json", '{"version":1,"name":"é"}', "json")) == (
        '{\n  "version": 1,\n  "name": "é"\n}\n'
    )


@pytest.mark.parametrize(
    ("language", "text"), [("toml", "a = = 1\n"), ("yaml", "a: [1\n"), ("json", '{"a": 1')]
)
def test_what_is_not_of_its_language_is_told_with_its_place(language: str, text: str) -> None:
    with pytest.raises(UnformattedError, match=r"^a\.x:\d+:\d+: "):
        laid_out(Source("a.x", text, language))


def test_files_are_replaced_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tidy.toml").write_text("version = 1\n")
    real = tmp_path / "real.txt"
    real.write_text("version=1\n")
    real.chmod(0o640)
    link = tmp_path / "link.toml"
    link.symlink_to(real)

    assert run([str(tmp_path)], check=True, language="toml") == 1
    assert capsys.readouterr().out == f"not formatted: {link}\n"
    assert run([str(tmp_path)], check=False, language="toml") == 0
    assert capsys.readouterr().out == f"formatted: {link}\n"
    assert run([str(tmp_path)], check=True, language="toml") == 0
    assert (link.is_symlink(), real.read_text(), real.stat().st_mode & 0o777) == (
        True,
        "version = 1\n",
        0o640,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.toml", "real.txt", "tidy.toml"]


def test_one_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("a = = 1\n")
    (tmp_path / "b.toml").write_text("version=1\n")

    assert run([str(tmp_path), str(tmp_path / "none.toml")], check=False, language="toml") == 2
    assert (tmp_path / "a.toml").read_text() == "a = = 1\n"
    assert (tmp_path / "b.toml").read_text() == "version = 1\n"


def test_a_folder_that_cannot_be_written_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.toml"
    path.write_text("version=1\n")
    monkeypatch.setattr("os.replace", refuse)

    assert run([str(path)], check=False, language="toml") == 2
    assert capsys.readouterr().err == f"stratovirt: write {path}: No space left on device\n"
    assert [item.name for item in tmp_path.iterdir()] == ["a.toml"]
    assert path.read_text() == "version=1\n"
