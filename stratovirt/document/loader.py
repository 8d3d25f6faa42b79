"""Profiles from files: TOML, YAML or JSON to a Vm, or every problem with its place."""

from __future__ import annotations

import posix
from errno import ENOENT, ENOTDIR

from stratovirt.document.crosscheck import crosscheck, is_told_at_start
from stratovirt.document.vm import Vm
from stratovirt.errors import DocumentError, HostError, warn
from stratovirt.load import load
from stratovirt.record import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stratovirt.document.positions import Places, Span

MAX_BYTES = 1 << 20
_HINT = "name a .toml, .yaml or .json file"
LANGUAGES = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".json": "json"}


class Finding:
    """A problem with its place in a file; `warning` ones do not stop a machine."""

    __slots__ = ("problem", "span")

    def __init__(self, problem: Problem, span: Span) -> None:
        self.problem = problem
        self.span = span

    @property
    def warning(self) -> bool:
        """Whether it is no error."""
        return self.problem.warning


class UnreadableError(HostError):
    """The profile cannot be read at all."""

    exit_status = 2


class Source:
    """A profile's text and what it is written in."""

    def __init__(self, path: str, text: str, language: str) -> None:
        if language == "json":
            from stratovirt.document.write import escape

            text = escape(text)  # it is read as YAML, which takes some letters for line ends, or not at all
        self.path = path
        self.text = text
        self.language = language
        self._places: Places | None = None

    @classmethod
    def read(cls, path: str) -> Source:
        """Read a file; the suffix tells the language, and TOML is what has none."""
        try:
            fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
            try:
                raw = _read_all(fd)
            finally:
                posix.close(fd)
        except OSError as error:
            hint = _HINT
            if error.errno in {ENOENT, ENOTDIR}:
                hint = "is the path right? `stratovirt init` prints a profile to start from"
            raise UnreadableError(f"read profile {path}", error, hint) from error
        return cls.decode(path, raw, LANGUAGES.get(suffix_of(path), "toml"))

    @classmethod
    def decode(cls, path: str, raw: bytes, language: str) -> Source:
        """Make one of what was read from somewhere: UTF-8, and at most MAX_BYTES."""
        if len(raw) > MAX_BYTES:
            raise UnreadableError(f"read profile {path}", OSError(27, "more than 1 MiB"), _HINT)
        try:
            return cls(path, raw.decode(), language)
        except UnicodeDecodeError as error:
            raise UnreadableError(
                f"read profile {path}", OSError(84, f"byte {error.start} is not UTF-8"), _HINT
            ) from error

    def locate(self, problem: Problem) -> Span:
        """Return where a problem stands."""
        return self._scan().find(problem.path, at_key=problem.at_key)

    def _scan(self) -> Places:
        if self._places is None:
            if self.language == "toml":
                from stratovirt.document.positions import scan_toml

                self._places = scan_toml(self.text)
            else:
                from stratovirt.document.yaml_reader import scan

                self._places = scan(self.text)
        return self._places


def _read_all(fd: int) -> bytes:
    """Return what there is, a byte more than MAX_BYTES at most; whoever writes a pipe is waited for."""
    raw = b""
    while len(raw) <= MAX_BYTES:
        piece = posix.read(fd, MAX_BYTES + 1 - len(raw))
        if not piece:
            break
        raw += piece
    return raw


def suffix_of(path: str) -> str:
    """Return the suffix of a file's name like os.path.splitext, in small letters."""
    stem, dot, end = path.rpartition("/")[2].lstrip(".").rpartition(".")
    return f"{dot}{end.lower()}" if stem else ""


def parse(source: Source) -> tuple[Any, list[Finding]]:
    """Return plain data, or the finding that says where the text cannot be read."""
    if source.language == "toml":
        return _parse_toml(source)
    from stratovirt.document.yaml_reader import parse_yaml

    return parse_yaml(source)


def _parse_toml(source: Source) -> tuple[Any, list[Finding]]:
    from stratovirt.document import plain_toml

    data = plain_toml.read(source.text)
    if data is not None:
        return data, []
    from tomli import TOMLDecodeError, loads

    try:
        return loads(source.text), []
    except TOMLDecodeError as error:
        return None, [_syntax_finding(str(error), source.text)]
    except RecursionError:
        return None, [_syntax_finding("nested too deeply (at line 1, column 1)", source.text)]


def _syntax_finding(message: str, text: str) -> Finding:
    from stratovirt.document.positions import Span

    reason, _, place = message.rpartition(" (at ")
    numbers = [int(word) for word in place.replace(",", " ").replace(")", " ").split() if word.isdigit()]
    lines = text.splitlines() or [""]
    line, column = numbers if len(numbers) == 2 else (len(lines), len(lines[-1]) + 1)
    return Finding(Problem("SV001", (), reason or message), Span(line, column, 1))


def examine(source: Source) -> tuple[Vm | None, list[Finding]]:
    """Return the machine and every finding; the machine is None when a finding is an error."""
    data, findings = parse(source)
    if findings:
        return None, findings
    if isinstance(data, dict):
        data.pop("$schema", None)
    problems: list[Problem] = []
    vm = load(Vm, data, problems)
    if vm is not None:
        problems += crosscheck(vm, problems)
    findings = [Finding(problem, source.locate(problem)) for problem in problems]
    findings.sort(key=lambda finding: (finding.span.line, finding.span.column, finding.problem.code))
    failed = any(not finding.warning for finding in findings)
    return (None if failed else vm), findings


def load_vm(path: str) -> Vm:
    """Return the machine that a profile describes, its relative paths joined to the profile's folder."""
    source = Source.read(path)
    vm, findings = examine(source)
    if vm is None:
        from stratovirt.document.report import text_report

        raise DocumentError(f"profile {path} cannot be run\n{text_report(source, findings)}".rstrip())
    for finding in findings:
        if is_told_at_start(finding.problem):
            warn(f"{path}:{finding.span.line}: {finding.problem.message}")
    folder, slash, _ = path.rpartition("/")
    return vm.with_paths(folder or slash)
