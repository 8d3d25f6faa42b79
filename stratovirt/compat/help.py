"""What -help and -version print, made from the registry and the records. Cold path."""

from __future__ import annotations

from stratovirt import __version__
from stratovirt.compat.draft import drivers, idle_drivers, objects
from stratovirt.compat.registry import flags
from stratovirt.compat.syntax import doc_of, driver_syntax, idle_driver_syntax, object_syntax, syntax_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.compat.registry import Flag

ABOUT = "Runs a KVM virtual machine that flags describe; `stratovirt --help` lists the commands for profiles."
COLUMNS = 120
NOTES = """\
NOTES:
    Flags have one dash; values stand apart and never begin with a dash. -drive, -netdev, -chardev, -device,
    -object, -iothread, -pflash and -append may be repeated. Booleans are on or off, true or false, yes or no;
    no value holds a comma. `stratovirt translate -- FLAGS...` prints the profile that the flags mean."""


def version() -> str:
    """Return the line of -version."""
    return f"StratoVirt {__version__}"


def usage() -> str:
    """Return the text of -help."""
    known = [item for item in flags().values() if not item.refused]
    bare = [_entry(item) for item in known if item.takes == "none"]
    options = [_entry(item) for item in known if item.takes != "none"]
    blocks = (
        version(),
        ABOUT,
        "",
        "USAGE:",
        "    stratovirt -qmp unix:PATH [FLAGS] [OPTIONS]",
        "",
        "FLAGS:",
        *bare,
        "",
        "OPTIONS:",
        *options,
        "",
        "DEVICES:",
        *_devices(),
        "",
        "OBJECTS:",
        *(f"    -object {object_syntax(record, word)}" for word, (_, record) in objects().items()),
        "",
        NOTES,
    )
    return "\n".join(blocks)


def _devices() -> list[str]:
    lines = [driver_syntax(record, word) for word, (_, record) in drivers().items()]
    lines += [idle_driver_syntax(word, keys) for word, keys in idle_drivers().items()]
    return [_wrapped(f"    -device {line}") for line in lines]


def _wrapped(line: str) -> str:
    """Break a line that is too long before the last key that may be left out and fits."""
    if len(line) <= COLUMNS:
        return line
    cut = line.rfind("[,", 0, COLUMNS)
    return f"{line[:cut]}\n            {line[cut:]}"


def _entry(item: Flag) -> str:
    names = f"-{item.short}, -{item.name}" if item.short else f"-{item.name}"
    return f"    {names} {syntax_of(item)}".rstrip() + f"\n            {doc_of(item)}"
