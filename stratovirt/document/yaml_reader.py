"""YAML 1.2 and JSON profiles, with places; ruamel.yaml keeps the positions."""

from __future__ import annotations

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from stratovirt.document.loader import Finding
from stratovirt.document.positions import Places, Span
from stratovirt.record import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stratovirt.document.loader import Source
    from stratovirt.record import Path

MAX_NODES = 10_000  # after aliases: a few of them can stand for very many
MAX_DEPTH = 32


class TooLargeError(Exception):
    """Aliases or nesting blow the document up."""


def _load(text: str) -> Any:
    yaml = YAML()
    yaml.allow_duplicate_keys = False
    return yaml.load(text)


def parse_yaml(source: Source) -> tuple[Any, list[Finding]]:
    """Return plain data, or the finding that says where the text cannot be read."""
    try:
        return _Plain().convert(_load(source.text), 0), []
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        span = Span(mark.line + 1, mark.column + 1, 1) if mark else Span(1, 1, 1)
        reason = (error.problem or error.context or "cannot be read").strip().splitlines()[0]
        return None, [Finding(Problem("SV001", (), reason), span)]
    except (YAMLError, ValueError) as error:
        return None, [Finding(Problem("SV001", (), str(error).splitlines()[0]), Span(1, 1, 1))]
    except (TooLargeError, RecursionError):
        return None, [Finding(Problem("SV002", (), "nested or aliased into too many values"), Span(1, 1, 1))]


class _Plain:
    def __init__(self) -> None:
        self.nodes = 0

    def convert(self, value: Any, depth: int) -> Any:
        """Return dicts, lists and scalars without ruamel's own types."""
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise TooLargeError
        if isinstance(value, dict):
            return {_whole(str(key)): self.convert(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.convert(item, depth + 1) for item in value]
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, str):
            return _whole(value)
        for plain in (int, float):
            if isinstance(value, plain):
                return plain(value)
        return value


def _whole(value: str) -> str:
    """Return text in which what JSON writes as two halves is one character; half of one stays."""
    if value.isascii():
        return str(value)
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def scan(text: str) -> Places:
    """Return the places of a text that is valid YAML."""
    places = Places()
    _scan(_load(text), (), places, text.splitlines())
    return places


def _scan(node: Any, path: Path, places: Places, lines: list[str]) -> None:
    if len(path) > MAX_DEPTH:
        return
    if isinstance(node, CommentedMap):
        for key, value in node.items():
            here = (*path, _whole(str(key)))
            places.keys[here] = _span(node.lc.key(key), lines, str(key))
            places.values[here] = _span(node.lc.value(key), lines, value)
            _scan(value, here, places, lines)
    elif isinstance(node, CommentedSeq):
        for index, value in enumerate(node):
            here = (*path, str(index))
            places.values[here] = _span(node.lc.item(index), lines, value)
            _scan(value, here, places, lines)


def _span(where: tuple[int, int], lines: list[str], value: Any) -> Span:
    line, column = where
    rest = lines[line][column:] if line < len(lines) else ""
    if isinstance(value, (dict, list)):
        return Span(line + 1, column + 1, 1)
    return Span(line + 1, column + 1, len(_scalar(rest)))


def _scalar(rest: str) -> str:
    """Return the scalar at the start of a line's rest."""
    if rest[:1] in {'"', "'"}:
        end = rest.find(rest[0], 1)
        return rest[: end + 1] if end > 0 else rest
    for stop in (" #", ": ", ",", "}", "]"):
        rest = rest.partition(stop)[0]
    return rest.rstrip().removesuffix(":")
