"""Plain data to records: the validation of the document, all problems in one pass.

What is accepted here is what the generated JSON Schemas accept; a contract test compares the two on random
documents.
"""

from __future__ import annotations

from stratovirt import units
from stratovirt.record import PATTERNS, Problem, default_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from stratovirt.record import Field, Path, Record

    R = TypeVar("R", bound=Record)
    Problems = list[Problem]

# Words that users write for ours, where no spelling distance would find them.
ALIASES = {
    "ram": "memory",
    "mem": "memory",
    "vcpus": "count",
    "cpus": "count",
    "smp": "count",
    "disk": "drive",
    "disks": "drive",
    "block": "drive",
    "nic": "net",
    "network": "net",
    "image": "file",
    "append": "cmdline",
    "args": "cmdline",
    "read_only": "readonly",
    "ifname": "tap",
    "cid": "guest_cid",
    "rate": "bytes_per_sec",
    "shared": "share",
}


# What YAML 1.1 and command lines take for a truth value and profiles do not.
_TRUTH_WORDS = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}
DIGITS_MAX = 9  # of a number in a string
QUOTED_MAX = 200  # of what is repeated to whoever wrote it


def load(record: type[R], data: object, problems: Problems, where: Path = ()) -> R | None:
    """Build a record from plain data; what is wrong with it is appended to `problems`.

    With problems the record is only good for finding more of them: bad values are replaced by their defaults.
    None when the data is no table at all.
    """
    if not isinstance(data, dict):
        problems.append(Problem("SV103", where, f"{_named(where)} must be a table, not {_kind_of(data)}"))
        return None
    unknown = [_unknown(record, key, where) for key in data if key not in record.fields]
    problems += unknown
    misnamed = {problem.suggestion for problem in unknown if is_surely_meant(problem)}
    values = {}
    for name, field in record.fields.items():
        if name in misnamed and name not in data:  # it is there, by another name, of which the user was told
            values[name] = _stand_in(field)
            continue
        before = len(problems)
        values[name] = _field(field, data, problems, (*where, name))
        if len(problems) > before and field.kind not in {"table", "tables"}:
            values[name] = _stand_in(field)
    return record(**values)


def _stand_in(field: Field) -> Any:
    if not field.required:
        return default_of(field)
    return field.minimum or 0 if field.kind == "integer" else ""


def _field(field: Field, data: dict[str, Any], problems: Problems, where: Path) -> Any:
    if field.name in data:
        return _LOADERS[field.kind](field, data[field.name], problems, where)
    if field.required:
        problems.append(
            Problem("SV104", where[:-1], f"{_named(where[:-1])} needs '{field.name}': {field.doc.lower()}")
        )
        return None
    return default_of(field)


def _unknown(record: type[Record], key: object, where: Path) -> Problem:
    known = list(record.fields)
    return Problem(
        "SV102",
        (*where, str(key)),
        f"unknown key '{key}' in {_named(where)}",
        suggestion=closest(str(key), known),
        at_key=True,
        help=f"known keys here: {', '.join(known)}",
    )


def _text(field: Field, value: object, problems: Problems, where: Path) -> Any:
    if not isinstance(value, str):
        return _wrong(problems, where, "text", value)
    if field.max_length is not None and len(value) > field.max_length:
        problems.append(
            Problem(
                "SV106",
                where,
                f"{where[-1]} has {len(value)} characters, at most {field.max_length}",
                help="name a shorter path" if field.kind == "path" else "",
            )
        )
    elif not value.isascii() and any(_is_half(letter, field) for letter in value):
        problems.append(
            Problem("SV107", where, f"{where[-1]} has a byte or half a character that is not UTF-8")
        )
    elif field.pattern and not PATTERNS[field.pattern][1](value):
        problems.append(
            Problem("SV107", where, f"{where[-1]} is {_quoted(value)}, not {PATTERNS[field.pattern][2]}")
        )
    return value


def _is_half(letter: str, field: Field) -> bool:
    """Tell whether it is a surrogate; those that stand for a byte of a file name are none (os.fsencode)."""
    is_byte = "\udc80" <= letter <= "\udcff" and field.undecoded
    return "\ud800" <= letter <= "\udfff" and not is_byte


def _integer(field: Field, value: object, problems: Problems, where: Path) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return _wrong(problems, where, "a whole number", value)
    low, high = field.minimum, field.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        problems.append(Problem("SV105", where, f"{_called(where)} is {value}, not {_range(low, high)}"))
    return value


def _size(_field: Field, value: object, problems: Problems, where: Path) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    number = units.parse_size(value) if isinstance(value, str) else None
    if number is None:
        problems.append(
            Problem(
                "SV107", where, f"{where[-1]} is {value!r}, not a size", help='write bytes, or "512M", "2G"'
            )
        )
        return 0
    return number


def _flag(_field: Field, value: object, problems: Problems, where: Path) -> Any:
    if isinstance(value, bool):
        return value
    meant = _TRUTH_WORDS.get(value) if isinstance(value, str) else None
    return _wrong(problems, where, "true or false", value, help_text=f"write {meant}" if meant else "")


def _choice(field: Field, value: object, problems: Problems, where: Path) -> str:
    if isinstance(value, str) and value in field.choices:
        return value
    problems.append(
        Problem(
            "SV108",
            where,
            f"{where[-1]} is {_quoted(value)}, not one of {', '.join(field.choices)}",
            suggestion=closest(str(value), list(field.choices)),
        )
    )
    return ""


def _switch(field: Field, value: object, problems: Problems, where: Path) -> str | bool:
    return value if isinstance(value, bool) else _choice(field, value, problems, where)


def _count(field: Field, value: object, problems: Problems, where: Path) -> Any:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= DIGITS_MAX:
        value = int(value)
    return _integer(field, value, problems, where)


def _integers(field: Field, value: object, problems: Problems, where: Path) -> Any:
    if not isinstance(value, (list, tuple)):
        return _wrong(problems, where, "a list of whole numbers", value)
    return tuple(_integer(field, item, problems, (*where, str(i))) for i, item in enumerate(value))


def _table(field: Field, value: object, problems: Problems, where: Path) -> Record | None:
    assert field.record is not None
    loaded = load(field.record, value, problems, where)
    return default_of(field) if loaded is None else loaded


def _tables(field: Field, value: object, problems: Problems, where: Path) -> Any:
    assert field.record is not None
    if not isinstance(value, dict):
        _wrong(
            problems, where, "named tables", value, help_text=f"write [{'.'.join(where)}.NAME], once for each"
        )
        return {}
    loaded = {}
    for name, item in value.items():
        if not isinstance(name, str) or not PATTERNS["name"][1](name):
            problems.append(
                Problem(
                    "SV107",
                    (*where, str(name)),
                    f"{name!r} cannot be a name: {PATTERNS['name'][2]}",
                    at_key=True,
                )
            )
        record = load(field.record, item, problems, (*where, str(name)))
        if record is not None:
            loaded[name] = record
    return loaded


_LOADERS: dict[str, Callable[[Field, Any, Problems, Path], Any]] = {
    "text": _text,
    "path": _text,
    "integer": _integer,
    "size": _size,
    "flag": _flag,
    "choice": _choice,
    "switch": _switch,
    "count": _count,
    "integers": _integers,
    "table": _table,
    "tables": _tables,
}


def _wrong(problems: Problems, where: Path, wanted: str, value: object, *, help_text: str = "") -> Any:
    message = f"{_called(where)} must be {wanted}, not {_kind_of(value)}"
    problems.append(Problem("SV103", where, message, help=help_text))


def _quoted(value: object) -> str:
    """Return a value in a length that can be repeated."""
    text = repr(value)
    return text if len(text) <= QUOTED_MAX else f"{text[:QUOTED_MAX]}..."


def _called(where: Path) -> str:
    """Return the key of a value, and its place in a list."""
    return f"{where[-2]}[{where[-1]}]" if where[-1].isdecimal() and len(where) > 1 else where[-1]


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) <= 40 else "a long text"
    if isinstance(value, (int, float)):
        return str(value)
    kinds = {"dict": "a table", "list": "a list", "NoneType": "nothing"}
    return kinds.get(type(value).__name__, f"a {type(value).__name__}")


def _named(where: Path) -> str:
    return f"[{'.'.join(where)}]" if where else "the document"


def _range(low: int | None, high: int | None) -> str:
    if high is None:
        return f"in {low} or more"
    return f"{low}" if low == high else f"in {low}..{high}"


def closest(word: str, known: list[str]) -> str:
    """Return the known word that was most likely meant: a known alias, or within two edits; "" for none."""
    alias = ALIASES.get(word.lower())
    if alias in known:
        return alias
    flat = word.lower().replace("-", "_")
    best, distance = "", 3
    for candidate in known:
        edits = _distance(flat, candidate, distance)
        if edits < distance and edits < len(candidate):
            best, distance = candidate, edits
    return best


def is_surely_meant(problem: Problem) -> bool:
    """Tell whether what is suggested for a key is no guess: an alias, or one slip away.

    A slip is a letter too many, too few or wrong, or two that changed places.
    """
    word, meant = problem.path[-1].lower().replace("-", "_"), problem.suggestion
    if not meant or ALIASES.get(word) == meant:
        return bool(meant)
    while word and meant and word[0] == meant[0]:
        word, meant = word[1:], meant[1:]
    while word and meant and word[-1] == meant[-1]:
        word, meant = word[:-1], meant[:-1]
    return max(len(word), len(meant)) <= 1 or (len(word) == 2 and word == meant[::-1])


def _distance(left: str, right: str, limit: int) -> int:
    """Return the Levenshtein distance, or `limit` when it is that or more."""
    if abs(len(left) - len(right)) >= limit:
        return limit
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]
