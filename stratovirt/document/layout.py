"""`stratovirt fmt`: profiles in one layout, their comments, order and values left as they are.

TOML is laid out here, since no library of ours keeps its comments: nothing is indented but what stands in an
array of several lines, one space is on each side of "=", one empty line before each table with the comments
above it. What is in quotes is never touched. YAML and JSON are written by their libraries.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile

from stratovirt.document.check import sources
from stratovirt.document.loader import Source, UnreadableError, parse
from stratovirt.document.write import escape
from stratovirt.errors import HostError, StratovirtError

STDIN = "<stdin>"
INDENT = "    "
_OPENING, _CLOSING = ("[", "{"), ("]", "}")


class UnformattedError(StratovirtError):
    """The text cannot be laid out."""

    exit_status = 2


def run(names: list[str], *, check: bool, language: str) -> int:
    """Lay files out, or with `check` only name those that are not; return the exit status.

    0: nothing to tell. 1: with `check`, some are not laid out. 2: some cannot be read or written.
    """
    failed = False
    others = 0
    for source in sources(names, language):
        try:
            others += _one(source, check=check)
        except StratovirtError as error:
            failed = True
            sys.stderr.write(f"stratovirt: {error.message}\n")
    return 2 if failed else int(check and others > 0)


def _one(source: Source | UnreadableError, *, check: bool) -> bool:
    """Lay one out; return whether it was not."""
    if isinstance(source, UnreadableError):
        raise source
    text = laid_out(source)
    if source.path == STDIN and not check:
        sys.stdout.write(text)
    elif text != source.text:
        if not check:
            _replace(source.path, text)
        sys.stdout.write(f"{'not formatted' if check else 'formatted'}: {source.path}\n")
    return text != source.text


def _replace(path: str, text: str) -> None:
    """Write a file so that there is the old one or the new one at any time; a link stays one."""
    target = os.path.realpath(path)
    part = ""
    try:
        with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(target), delete=False, newline="") as file:
            part = file.name
            file.write(text)
        os.chmod(part, os.stat(target).st_mode & 0o7777)
        os.replace(part, target)
    except OSError as error:
        if part:
            os.unlink(part)
        raise HostError(f"write {path}", error, hint="is its folder writable?") from error


def laid_out(source: Source) -> str:
    """Return the text in its layout; UnformattedError when it is not of its language."""
    data, findings = parse(source)
    if findings:
        finding = findings[0]
        raise UnformattedError(
            f"{source.path}:{finding.span.line}:{finding.span.column}: {finding.problem.message}",
            hint="stratovirt check tells more",
        )
    text = _LAYOUTS[source.language](source.text, data)
    again, findings = parse(Source(source.path, text, source.language))
    if findings or again != data:
        raise UnformattedError(
            f"{source.path}: its layout would change what it says", hint="it stays as it is; please report it"
        )
    return text


def _toml(text: str, _data: object) -> str:
    return _Toml(text.replace("\r\n", "\n")).run()


def _yaml(text: str, _data: object) -> str:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 16
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(yaml.load(text), out)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().strip("\n").split("\n"))


def _json(_text: str, data: object) -> str:
    return escape(json.dumps(data, indent=2, ensure_ascii=False)) + "\n"


_LAYOUTS = {"toml": _toml, "yaml": _yaml, "json": _json}


class _Toml:
    """A text that is TOML, statement by statement."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: list[str] = []

    def run(self) -> str:
        while self.at < len(self.text):
            self._statement()
        while self.lines and not self.lines[-1]:
            self.lines.pop()
        return "".join(f"{line}\n" for line in self.lines)

    def _statement(self) -> None:
        """Lay out what begins a line: nothing, a comment, a table or a key with its value."""
        self._skip(" \t")
        first = self.text[self.at : self.at + 1]
        if first in {"", "\n"}:
            self._add_empty()
        elif first == "#":
            self.lines.append(self._comment())
        elif first == "[":
            self._table()
        else:
            key = self._name("=")
            self.at += 1
            self._skip(" \t")
            pieces = self._value()
            self.lines += [f"{key} = {pieces[0]}", *pieces[1:]]
            self._trailing()
        self.at += 1  # the end of the line

    def _table(self) -> None:
        brackets = 2 if self.text.startswith("[[", self.at) else 1
        self.at += brackets
        name = self._name("]")
        self.at += brackets
        self._separate()
        self.lines.append(f"{'[' * brackets}{name}{']' * brackets}")
        self._trailing()

    def _separate(self) -> None:
        """Put an empty line before a table, above the comments that belong to it."""
        above = len(self.lines)
        while above and self.lines[above - 1].startswith("#"):
            above -= 1
        if above and self.lines[above - 1]:
            self.lines.insert(above, "")

    def _add_empty(self) -> None:
        if self.lines and self.lines[-1]:
            self.lines.append("")

    def _trailing(self) -> None:
        """Take the comment behind a statement, as far from it as it was."""
        start = self.at
        self._skip(" \t")
        if self.text.startswith("#", self.at):
            self.lines[-1] += (self.text[start : self.at] or " ") + self._comment()

    def _comment(self) -> str:
        end = self.text.find("\n", self.at)
        start, self.at = self.at, len(self.text) if end < 0 else end
        return self.text[start : self.at].rstrip()

    def _name(self, end: str) -> str:
        """Return a dotted key without the spaces around its parts."""
        parts = [""]
        while self.text[self.at] != end:
            letter = self.text[self.at]
            if letter in "\"'":
                parts[-1] += self._quoted()
                continue
            if letter == ".":
                parts.append("")
            elif letter not in " \t":
                parts[-1] += letter
            self.at += 1
        return ".".join(parts)

    def _value(self) -> list[str]:
        """Return a value in lines: several when an array has them. The comments in it stay in it."""
        lines = [""]
        depth = 0
        while self.at < len(self.text):
            letter = self.text[self.at]
            if letter in "\"'":
                lines[-1] += self._quoted()
                continue
            if depth == 0 and letter in "#\n":
                break
            if letter == "#":
                lines[-1] += self._comment()
                continue
            self.at += 1
            if letter == "\n":
                lines[-1] = lines[-1].rstrip()
                self._skip(" \t")
                closes = self.text.startswith(_CLOSING, self.at)
                lines.append(INDENT * (depth - closes))
                continue
            depth += (letter in _OPENING) - (letter in _CLOSING)
            lines[-1] += letter
        kept = lines[-1].rstrip()
        self.at -= len(lines[-1]) - len(kept)
        lines[-1] = kept
        return [line.rstrip() if not line.strip() else line for line in lines]

    def _quoted(self) -> str:
        """Return a string of any of the four kinds, with its quotes."""
        start, quote = self.at, self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            self.at += 3
            while not self.text.startswith(quote * 3, self.at):
                self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
            self.at += 3
            while self.at < len(self.text) and self.text[self.at] == quote:
                self.at += 1  # up to two quotes before the three that end it
        else:
            self.at += 1
            while self.text[self.at] != quote:
                self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
            self.at += 1
        return self.text[start : self.at]

    def _skip(self, letters: str) -> None:
        while self.at < len(self.text) and self.text[self.at] in letters:
            self.at += 1
