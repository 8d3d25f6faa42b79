"""Flags to document: `translate` is all that a start from the command line needs."""

from __future__ import annotations

import posix

from stratovirt.compat.draft import Draft
from stratovirt.compat.registry import USAGE_HINT, flags, tokenise, values_of
from stratovirt.document.crosscheck import crosscheck, is_told_at_start
from stratovirt.document.vm import Vm
from stratovirt.errors import DocumentError, StratovirtError, UsageError, warn
from stratovirt.load import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.compat.registry import Given
    from stratovirt.record import Problem

    Complaint = tuple[str, str]  # message and hint


class Answer(StratovirtError):  # noqa: N818 - it is no error
    """No failure: -help or -version was asked for, and the message is the answer for standard output."""

    exit_status = 0


def translate(argv: list[str], arch: str = "") -> Vm:
    """Return the machine that the flags describe; `arch` is the host's own unless said.

    UsageError: the flags cannot be read. DocumentError: they can, but describe no machine that could run.
    Either names every problem. Answer: -help or -version.
    """
    given = tokenise(argv)
    _answer(given)
    draft = Draft(arch or posix.uname().machine)
    _read(draft, given)
    data = draft.finish()
    problems: list[Problem] = []
    vm = load(Vm, data, problems)
    complaints = draft.problems + [_complaint(draft.origin_of(problem.path), problem) for problem in problems]
    warnings: list[Complaint] = []
    for problem in crosscheck(vm, problems) if vm is not None else ():
        complaint = _complaint(draft.frontend_of(problem.path), problem)
        if not problem.warning:
            complaints.append(complaint)
        elif is_told_at_start(problem):
            warnings.append(complaint)
    if complaints or vm is None:
        raise _all_of(DocumentError, complaints)
    for message, _ in warnings:
        warn(message)
    return vm


def _answer(given: Given) -> None:
    if "help" in given or "version" in given:
        from stratovirt.compat import help as texts

        raise Answer(texts.usage() if "help" in given else texts.version())


def _read(draft: Draft, given: Given) -> None:
    known = flags()
    checked = {name: values_of(known[name], occurrences) for name, occurrences in given.items()}
    if "qmp" not in given:
        reason = f"Argument 'qmp' required, but not found. {USAGE_HINT}"
        raise UsageError(reason, hint="add -qmp unix:/path/to/socket")
    complaints: list[Complaint] = []
    for name, item in known.items():
        for text in checked.get(name, ()):
            draft.at(name, text)
            try:
                item.read(draft, text)
            except UsageError as error:
                complaints.append((f"{draft.origin}: {error.message}", error.hint))
    if complaints:
        raise _all_of(UsageError, complaints)


def _complaint(origin: str, problem: Problem) -> Complaint:
    origin = origin or _flag_for(".".join(problem.path))
    guess = f" (did you mean '{problem.suggestion}'?)" if problem.suggestion else ""
    return f"{origin}: {problem.message}{guess}" if origin else f"{problem.message}{guess}", problem.help


def _flag_for(place: str) -> str:
    """Return the flag that would have said what is missing."""
    return next((f"-{item.name}" for item in flags().values() if place and item.to == place), "")


def _all_of(kind: type[StratovirtError], complaints: list[Complaint]) -> StratovirtError:
    """Return one error that names every complaint; a hint for a single one stands apart."""
    if len(complaints) == 1:
        return kind(complaints[0][0], hint=complaints[0][1])
    lines = [f"{message} ({hint})" if hint else message for message, hint in complaints]
    return kind("\n  ".join((f"{len(lines)} problems:", *lines)))
