"""`stratovirt check`: every finding of every file, in one pass.

It starts nothing, writes nothing and asks the host nothing.
"""

from __future__ import annotations

import os
import sys

from stratovirt.document.loader import LANGUAGES, MAX_BYTES, Source, UnreadableError, examine, suffix_of
from stratovirt.document.report import FORMATS, text_report
from stratovirt.errors import StratovirtError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratovirt.document.loader import Finding

    Results = list[tuple[Source, list[Finding]]]

STDIN = "-"


def sources(names: list[str], language: str) -> Iterator[Source | UnreadableError]:
    """Yield what the names stand for: files, the profiles below folders, standard input for "-"."""
    for name in names:
        for path in _profiles(name):
            try:
                yield _standard_input(language) if path == STDIN else Source.read(path)
            except UnreadableError as error:
                yield error


def _standard_input(language: str) -> Source:
    return Source.decode("<stdin>", sys.stdin.buffer.read(MAX_BYTES + 1), language)


def _profiles(name: str) -> list[str]:
    if name == STDIN or not os.path.isdir(name):
        return [name]
    found = [os.path.join(folder, file) for folder, _, files in os.walk(name) for file in files]
    profiles = sorted(path for path in found if suffix_of(path) in LANGUAGES and os.path.isfile(path))
    if not profiles:
        raise UsageError(
            f"folder {name} holds no profile", hint="profiles end in .toml, .yaml, .yml or .json"
        )
    return profiles


def run(names: list[str], output: str, *, strict: bool, quiet: bool, colour: bool, language: str) -> int:
    """Check and report; return 0 for no finding, 1 for findings, 2 when an input cannot be read."""
    results: Results = []
    unreadable = False
    for source in sources(names, language):
        if isinstance(source, UnreadableError):
            unreadable = True
            sys.stderr.write(f"stratovirt: {source.message}\n")
            continue
        findings = examine(source)[1]
        if not findings:
            _confirm_by_schema(source)
        results.append((source, findings))
    if not quiet:
        report = _text(results, colour=colour) if output == "text" else FORMATS[output](results)
        sys.stdout.write(report.encode("utf-8", "backslashreplace").decode())  # half characters of keys
    if unreadable:
        return 2
    return int(any(strict or not finding.warning for _, findings in results for finding in findings))


def _text(results: Results, *, colour: bool) -> str:
    pieces = [text_report(source, findings, colour=colour) + "\n" for source, findings in results if findings]
    width = max((len(source.path) for source, _ in results), default=0)
    errors = warnings = 0
    for source, findings in results:
        wrong = sum(not finding.warning for finding in findings)
        errors += wrong
        warnings += len(findings) - wrong
        pieces.append(f"{source.path:{width}}  {_verdict(wrong, len(findings) - wrong)}\n")
    pieces.append(
        f"{_count(len(results), 'file')}, {_count(errors, 'error')}, {_count(warnings, 'warning')}\n"
    )
    return "".join(pieces)


def _verdict(errors: int, warnings: int) -> str:
    if errors:
        return _count(errors, "error")
    return f"ok  {_count(warnings, 'warning')}" if warnings else "ok"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _confirm_by_schema(source: Source) -> None:
    """Ask jsonschema too: what it refuses and the records accept is our fault, not the profile's."""
    from stratovirt.document.schema import errors_of

    errors = errors_of(source)
    if errors:
        error = StratovirtError(
            f"{source.path}: schema and program disagree: {errors[0]}", hint="please report this"
        )
        error.exit_status = 70
        raise error
