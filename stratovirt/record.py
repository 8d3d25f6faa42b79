"""Records: frozen, typed classes whose fields say everything about themselves.

A field knows its type, limits, default, its key on the legacy command line and its doc line. Loading a
document into records is the validation; JSON Schema, flag parsing, help and the manual are projections of the
same fields.

    class Rng(Record):
        file: str = path("Host character device")
        rate: int | None = integer("Bytes each second", default=None, minimum=64, maximum=10**9)

`load` collects every problem in one pass instead of stopping at the first.
"""

from __future__ import annotations

from stratovirt import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self, TypeVar, dataclass_transform

    R = TypeVar("R", bound="Record")
else:

    def dataclass_transform(**_options: object) -> object:
        """Do nothing at run time: only type checkers read it."""
        return lambda cls: cls


MISSING = type("MISSING", (), {"__repr__": lambda _self: "MISSING"})()

Path = tuple[str, ...]


class Problem:
    """One thing wrong with a document: where, which code (see findings.py), and what."""

    __slots__ = ("at_key", "because", "code", "help", "message", "path", "suggestion")

    def __init__(  # noqa: PLR0913 - a value with seven parts
        self,
        code: str,
        path: Path,
        message: str,
        *,
        suggestion: str = "",
        at_key: bool = False,
        because: tuple[Path, ...] = (),
        help: str = "",  # noqa: A002 - what it is called everywhere else
    ) -> None:
        self.code = code
        self.path = path
        self.message = message
        self.suggestion = suggestion
        self.at_key = at_key
        self.because = because  # the places of which a problem would be the cause of this one
        self.help = help

    @property
    def warning(self) -> bool:
        """The SV4 series warns, all others are errors."""
        return self.code.startswith("SV4")

    def __repr__(self) -> str:
        return f"Problem({self.code}, {'/'.join(self.path)}: {self.message})"


class Field:
    """One key of a record. `key` is its word on a flag, `on` which flag ("" is the record's own).

    `also_on` is a second flag that takes it; it is written to the first.
    """

    __slots__ = (
        "also_on",
        "choices",
        "default",
        "doc",
        "key",
        "kind",
        "max_length",
        "maximum",
        "minimum",
        "name",
        "on",
        "pattern",
        "record",
        "undecoded",
    )  # fmt: skip

    def __init__(self, kind: str, doc: str, options: dict[str, Any]) -> None:
        self.kind = kind
        self.doc = doc
        self.name = ""
        self.default = options.get("default", MISSING)
        self.minimum: int | None = options.get("minimum")
        self.maximum: int | None = options.get("maximum")
        self.max_length: int | None = options.get("max_length")
        self.choices: tuple[str, ...] = options.get("choices", ())
        self.pattern: str = options.get("pattern", "")
        self.key: str = options.get("key", "")
        self.on: str = options.get("on", "")
        self.also_on: str = options.get("also_on", self.on)
        self.record: type[Record] | None = options.get("record")
        self.undecoded: bool = options.get("undecoded", kind == "path")  # may have bytes that are no UTF-8

    @property
    def required(self) -> bool:
        """A field without a default has to be given."""
        return self.default is MISSING


def text(doc: str, **options: Any) -> Any:
    """Return a string field; `pattern` names a check in PATTERNS, `max_length` counts characters."""
    return Field("text", doc, options)


def path(doc: str, **options: Any) -> Any:
    """Return a field that names a file; relative paths count from the file that says them."""
    return Field("path", doc, {"max_length": 4096, "pattern": "path", **options})


def integer(doc: str, **options: Any) -> Any:
    """Return a whole-number field with `minimum` and `maximum`, both allowed values."""
    return Field("integer", doc, options)


def size(doc: str, **options: Any) -> Any:
    """Return a field in bytes: a whole number, or a string with K, M or G."""
    return Field("size", doc, options)


def flag(doc: str, **options: Any) -> Any:
    """Return a true-or-false field."""
    return Field("flag", doc, options)


def choice(doc: str, choices: tuple[str, ...], **options: Any) -> Any:
    """Return a field that holds one of some words."""
    return Field("choice", doc, {"choices": choices, **options})


def switch(doc: str, choices: tuple[str, ...], **options: Any) -> Any:
    """Return a field that holds true, false or one of some words."""
    return Field("switch", doc, {"choices": choices, **options})


def count(doc: str, **options: Any) -> Any:
    """Return a field that holds a whole number, or one in a string, as some clients of QMP write it."""
    return Field("count", doc, options)


def integers(doc: str, **options: Any) -> Any:
    """Return a list of whole numbers."""
    return Field("integers", doc, options)


def table(doc: str, record: type[R], **options: Any) -> Any:
    """Return a nested record; when absent it is None, or its own defaults if the record is `implied`."""
    return Field("table", doc, {"default": None, "record": record, **options})


def tables(doc: str, record: type[R], **options: Any) -> Any:
    """Return a collection of records by name: `[drive.root]`."""
    return Field("tables", doc, {"default": None, "record": record, **options})


# Named string checks: what JSON Schema says as a regular expression, and the same test without importing
# `re`. tests/contract holds the two against each other.
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:@+-")


def is_name(value: str) -> bool:
    """Tell whether value can be an id: 1 to 255 letters, digits or `_.:@+-`, first no sign but `_`."""
    return 0 < len(value) <= 255 and value[0] not in ".:@+-" and _NAME_LETTERS.issuperset(value)


def _is_path(value: str) -> bool:
    return value != "" and "\0" not in value


PATTERNS: dict[str, tuple[str, Callable[[str], bool], str]] = {
    "name": (
        "^[A-Za-z0-9_][A-Za-z0-9_.:@+-]{0,254}$",
        is_name,
        "1 to 255 letters, digits or any of _ . : @ + -",
    ),
    "path": ("^[^\\u0000]+$", _is_path, "a file name"),
    "absolute": ("^/[^\\u0000]*$", lambda v: v[:1] == "/" and "\0" not in v, "an absolute path"),
    "mac": (
        "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$",
        units.is_mac,
        "six two-digit hexadecimal groups, like 52:54:00:12:34:56",
    ),
    "tag": ("^[ -~]{1,36}$", units.is_tag, "1 to 36 ASCII characters"),
    "uuid": (
        "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
        units.is_uuid,
        "a UUID, like 550e8400-e29b-41d4-a716-446655440000",
    ),
    "pci": (
        "^(0[xX])?(0{0,2}[01]?[0-9A-Fa-f])(\\.(0[xX])?0{0,3}[0-7])?$",
        lambda v: units.parse_pci_address(v) is not None,
        "slot.function in hexadecimal, like 0x3.0x0, slot 0 to 1f, function 0 to 7",
    ),
    "line": ("^[^\\u0000\\n\\r]*$", lambda v: not any(c in v for c in "\0\n\r"), "one line of text"),
}
SIZE_PATTERN = "^[0-9]{1,20}([KkMmGg]([Ii][Bb])?)?$"


@dataclass_transform(
    kw_only_default=True,
    frozen_default=True,
    field_specifiers=(text, path, integer, size, flag, choice, switch, count, integers, table, tables),
)
class Record:
    """A frozen value whose fields are described in place."""

    fields: Mapping[str, Field] = {}
    implied = False  # a table that is there with its defaults when the document leaves it out

    def __init_subclass__(cls) -> None:
        """Collect the fields, the parent's first."""
        fields = dict(cls.fields)
        for name, value in list(cls.__dict__.items()):
            if isinstance(value, Field):
                value.name = name
                value.key = value.key or name.replace("_", "-")
                fields[name] = value
                delattr(cls, name)
        cls.fields = fields

    def __init__(self, **values: Any) -> None:
        state = self.__dict__
        for name, field in self.fields.items():
            if name in values:
                state[name] = values.pop(name)
            elif field.default is MISSING:
                raise TypeError(f"{type(self).__name__} needs {name}")
            else:
                state[name] = default_of(field)
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(values)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is read-only")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self.fields)
        return f"{type(self).__name__}({inner})"

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})

    def to_data(self) -> dict[str, Any]:
        """Return plain data in canonical form: fields in order, defaults left out."""
        data: dict[str, Any] = {}
        for name, field in self.fields.items():
            value = self.__dict__[name]
            if not _is_default(field, value):
                data[name] = _plain(field, value)
        return data

    def with_paths(self, base: str) -> Self:
        """Return a copy whose relative paths are joined to the folder `base`."""
        return type(self)(
            **{name: _rebased(field, self.__dict__[name], base) for name, field in self.fields.items()}
        )


def default_of(field: Field) -> Any:
    """Return the value of a field that the document leaves out."""
    if field.default is not None:
        return field.default
    if field.kind == "tables":
        return {}
    if field.kind == "table" and field.record is not None and field.record.implied:
        return field.record()
    return None


def _is_default(field: Field, value: Any) -> bool:
    if field.kind == "tables":
        return not value
    return not field.required and bool(value == default_of(field))


def _plain(field: Field, value: Any) -> Any:
    if field.kind == "table":
        return value.to_data()
    if field.kind == "tables":
        return {name: item.to_data() for name, item in value.items()}
    if field.kind == "integers":
        return list(value)
    if field.kind == "size":
        return units.format_size(value)
    return value


def _rebased(field: Field, value: Any, base: str) -> Any:
    if value is None or not base:
        return value
    if field.kind == "path" and not value.startswith("/"):
        return f"{base}/{value}"
    if field.kind == "table":
        return value.with_paths(base)
    if field.kind == "tables":
        return {name: item.with_paths(base) for name, item in value.items()}
    return value
