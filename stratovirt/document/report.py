"""Findings as people and programs read them: text with carets, lines, JSON, SARIF, workflow annotations."""

from __future__ import annotations

import json

from stratovirt import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.document.loader import Finding, Source

    Results = list[tuple[Source, list[Finding]]]

RED, YELLOW, BLUE, BOLD, PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[34m", "\x1b[1m", "\x1b[0m"


def text_report(source: Source, findings: list[Finding], *, colour: bool = False) -> str:
    """Return each finding with its line, a caret and what helps."""
    return "\n".join(_text(source, finding, colour=colour) for finding in findings)


def _text(source: Source, finding: Finding, *, colour: bool) -> str:
    problem, span = finding.problem, finding.span
    kind = "warning" if finding.warning else "error"
    paint = (YELLOW if finding.warning else RED) + BOLD if colour else ""
    off = PLAIN if colour else ""
    lines = source.text.splitlines()
    line = lines[span.line - 1] if span.line <= len(lines) else ""
    number = str(span.line)
    margin = " " * len(number)
    marks = "^" * min(span.length, max(len(line) - span.column + 1, 1))
    guess = f" did you mean '{problem.suggestion}'?" if problem.suggestion else ""
    # A caret stands under its character also where tabs are before it.
    indent = "".join("\t" if letter == "\t" else " " for letter in line[: span.column - 1])
    rows = [
        f"{source.path}:{span.line}:{span.column}: {paint}{kind}[{problem.code}]{off}: {problem.message}",
        f" {margin} |",
        f" {number} | {line}",
        f" {margin} | {indent}{paint}{marks}{off}{guess}",
    ]
    if problem.help:
        rows.append(f" {margin} = help: {problem.help}")
    return "\n".join(rows) + "\n"


def short_report(results: Results) -> str:
    """Return one line for each finding."""
    return "".join(
        f"{source.path}:{f.span.line}:{f.span.column}: "
        f"{_severity(f)}[{f.problem.code}]: {f.problem.message}\n"
        for source, findings in results
        for f in findings
    )


def json_report(results: Results) -> str:
    """Return one JSON document; `offset`s are bytes from 0, lines and columns count from 1."""
    findings = [_json_finding(source, finding) for source, found in results for finding in found]
    errors = sum(finding["severity"] == "error" for finding in findings)
    document = {
        "format": "1.0",
        "tool": {"name": "stratovirt", "version": __version__},
        "valid": errors == 0,
        "errors": errors,
        "warnings": len(findings) - errors,
        "files": [
            {"path": source.path, "status": "error" if any(not f.warning for f in found) else "ok"}
            for source, found in results
        ],
        "findings": findings,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _json_finding(source: Source, finding: Finding) -> dict[str, object]:
    problem, span = finding.problem, finding.span
    start = _offset(source, span.line, span.column)
    end = _offset(source, span.line, span.column + span.length)
    return {
        "code": problem.code,
        "severity": _severity(finding),
        "message": problem.message,
        "path": source.path,
        "pointer": "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in problem.path),
        "range": {
            "start": {"line": span.line, "column": span.column, "offset": start},
            "end": {"line": span.line, "column": span.column + span.length, "offset": end},
        },
        **({"suggestion": {"replace": problem.suggestion}} if problem.suggestion else {}),
        **({"help": problem.help} if problem.help else {}),
    }


def _offset(source: Source, line: int, column: int) -> int:
    lines = source.text.splitlines(keepends=True)
    before = "".join(lines[: line - 1]) + (lines[line - 1][: column - 1] if line <= len(lines) else "")
    return len(before.encode())


def github_report(results: Results) -> str:
    """Return workflow annotations."""
    return "".join(
        f"::{_severity(f)} file={source.path},line={f.span.line},col={f.span.column},"
        f"title={f.problem.code}::{f.problem.message}\n"
        for source, findings in results
        for f in findings
    )


def sarif_report(results: Results) -> str:
    """Return SARIF 2.1.0."""
    rules = sorted({f.problem.code for _, findings in results for f in findings})
    run = {
        "tool": {
            "driver": {
                "name": "stratovirt",
                "version": __version__,
                "rules": [{"id": code} for code in rules],
            }
        },
        "results": [_sarif_result(source, finding) for source, found in results for finding in found],
    }
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return json.dumps(document, indent=1) + "\n"


def _sarif_result(source: Source, finding: Finding) -> dict[str, object]:
    problem, span = finding.problem, finding.span
    region = {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.line,
        "endColumn": span.column + span.length,
    }
    return {
        "ruleId": problem.code,
        "level": _severity(finding),
        "message": {"text": problem.message},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": source.path}, "region": region}}],
        "partialFingerprints": {"codeAndPlace/v1": f"{problem.code}:{'/'.join(problem.path)}"},
    }


def _severity(finding: Finding) -> str:
    return "warning" if finding.warning else "error"


FORMATS: dict[str, Callable[[Results], str]] = {
    "short": short_report,
    "json": json_report,
    "github": github_report,
    "sarif": sarif_report,
}
