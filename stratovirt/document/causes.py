"""Which problems another one explains: they are not told, so that one mistake is one finding."""

from __future__ import annotations

from stratovirt.load import is_surely_meant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from stratovirt.record import Path, Problem


def unexplained(found: Iterable[Problem], known: Collection[Problem]) -> list[Problem]:
    """Return those that are not at a place of known problems, and whose causes are not among them."""
    # A key that nothing resembles is only too much: what is wrong beside it is wrong in any case.
    places = [problem.path for problem in known if problem.code != "SV102" or problem.suggestion]
    causes = [*places, *(_meant(problem) for problem in known if problem.suggestion)]
    return [
        problem
        for problem in found
        if not _is_among(problem.path, places) and not _is_explained(problem, causes)
    ]


def _meant(problem: Problem) -> Path:
    """Return the place that an unknown key would have named, () when that is only a guess."""
    return (*problem.path[:-1], problem.suggestion) if is_surely_meant(problem) else ()


def _is_among(path: Path, places: list[Path]) -> bool:
    """Tell whether a place is one of others, in one, or around one."""
    return bool(path) and any(place and path[: len(place)] == place[: len(path)] for place in places)


def _is_explained(problem: Problem, causes: list[Path]) -> bool:
    """Tell whether a known problem is at a place that is a cause of this one, or around it."""
    return any(cause and place[: len(cause)] == cause for place in problem.because for cause in causes)
