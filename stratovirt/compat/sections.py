"""The flags of the tables that are no devices; what a value can be is said by the field it leads to."""

from __future__ import annotations

from stratovirt.compat.draft import field_at
from stratovirt.compat.keyval import READERS, KeyVal
from stratovirt.compat.registry import flag
from stratovirt.devices.device import LISTENING
from stratovirt.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stratovirt.compat.draft import Draft

MACHINE = {
    "type": "machine.type",
    "dump-guest-core": "memory.dump_guest_core",
    "mem-share": "memory.share",
}
# What later releases say too, and what holds anyway.
MACHINE_IDLE = {"accel": ("kvm",), "usb": ("off", "false", "no")}
CPU = "host"
SMP = {"cpus": "cpu.count"}
MEMORY = {"size": "memory.size"}
# What later releases call a standard_vm of each architecture.
STANDARD_NAMES = {"x86_64": "q35", "aarch64": "virt"}
QMP_KINDS = ("unix", "Unix", "UNIX", "file", "File", "FILE")


def _register_text(name: str, to: str, syntax: str = "PATH", takes: str = "one") -> None:
    """Register a flag whose value stands in the document as it is."""

    @flag(name, to=to, syntax=syntax, takes=takes)
    def read(draft: Draft, text: str) -> None:
        draft.put(to, text)


def _register_bare(name: str, to: str, short: str = "") -> None:
    """Register a flag without value, which turns the default of its field round."""

    @flag(name, to=to, short=short, takes="none")
    def read(draft: Draft, _text: str) -> None:
        draft.put(to, not field_at(to).default)


def _put_keys(draft: Draft, keys: KeyVal, places: Mapping[str, str]) -> None:
    for key, to in places.items():
        text = keys.take(key)
        if text is not None:
            draft.put(to, READERS[field_at(to).kind](key, text))
    keys.done()


@flag("help", short="h", takes="none")
def _help(_draft: Draft, _text: str) -> None:
    """Print this text."""


@flag("version", short="V", takes="none")
def _version(_draft: Draft, _text: str) -> None:
    """Print the version."""


_register_text("name", "name", syntax="NAME")
_register_text("uuid", "uuid", syntax="UUID")


@flag("machine", keys=MACHINE, word="type", idle=MACHINE_IDLE)
def _machine(draft: Draft, text: str) -> None:
    """Kind of machine, in any letter case, and what becomes of its memory on the host."""
    keys = KeyVal(text)
    word, named = keys.word(), keys.take("type")
    kind = word if named is None else named
    if kind is not None:
        kind = kind.lower()
        later = kind == STANDARD_NAMES.get(str(draft.data["machine"]["arch"]))
        draft.put(MACHINE["type"], "standard_vm" if later else kind)
    keys.take_idle(MACHINE_IDLE)
    _put_keys(draft, keys, MACHINE)


@flag("smp", keys=SMP, word="cpus")
def _smp(draft: Draft, text: str) -> None:
    """Virtual CPUs."""
    keys = KeyVal(text)
    keys.imply("cpus")
    _put_keys(draft, keys, SMP)


@flag("cpu", syntax=CPU)
def _cpu(_draft: Draft, text: str) -> None:
    """Processor of the guest: the host's, as it always is."""
    if text != CPU:
        raise UsageError(f"Unsupported CPU: '{text}', and the guest has the host's", hint=f"write -cpu {CPU}")


@flag("m", keys=MEMORY, word="size")
def _memory(draft: Draft, text: str) -> None:
    """Memory of the guest: a number with M or G at its end, or bytes; a small number is MiB."""
    keys = KeyVal(text)
    keys.imply("size")
    _put_keys(draft, keys, MEMORY)


_register_bare("mem-prealloc", "memory.prealloc")


@flag("mem-path", to="memory.path", syntax="PATH")
def _mem_path(draft: Draft, text: str) -> None:
    draft.put("memory.path", text.replace('"', ""))


_register_text("kernel", "boot.kernel")
_register_text("initrd", "boot.initrd")
_register_text("append", "boot.cmdline", syntax="WORD...", takes="words")


@flag("qmp", to="qmp.socket", syntax="unix:PATH[,server][,nowait]")
def _qmp(draft: Draft, text: str) -> None:
    uri, comma, words = text.partition(",")
    kind, colon, path = uri.partition(":")
    if not colon or not path:
        raise UsageError(f"Invalid unix uri: {uri}", hint="write unix:/path/to/socket")
    if kind not in QMP_KINDS:
        raise UsageError(f"Unsupported unix path type: '{kind}'", hint="write unix:/path/to/socket")
    for word in words.split(",") if comma else ():
        if word not in LISTENING:
            hint = "after the path stand only server and nowait: it listens, and nothing waits for a client"
            raise UsageError(f"Invalid parameter '{word}'", hint)
    draft.put("qmp.socket", path)


_register_bare("freeze", "process.freeze", short="S")
_register_bare("daemonize", "process.daemonize")
_register_text("pidfile", "process.pidfile")


@flag("D", to="log.file", syntax="[PATH]", takes="optional")
def _log(draft: Draft, text: str) -> None:
    """Log, at the level of $STRATOVIRT_LOG_LEVEL, to the end of a file or to standard error."""
    draft.data.setdefault("log", {})
    draft.origins[("log",)] = draft.origin
    if text:
        draft.put("log.file", text)


@flag("disable-seccomp", to="process.seccomp", takes="none")
def _disable_seccomp(draft: Draft, _text: str) -> None:
    """Let the process make any system call."""
    draft.put("process.seccomp", not field_at("process.seccomp").default)


@flag("balloon", takes="optional", refused=True)
def _balloon(_draft: Draft, _text: str) -> None:
    """Refused: the original takes this flag and makes no device."""
    raise UsageError("this flag makes no device", hint="write -device virtio-balloon-device,id=balloon")


@flag("incoming", syntax="file:PATH", refused=True)
def _incoming(_draft: Draft, _text: str) -> None:
    """Refused: snapshots of the original are tied to its own version."""
    raise UsageError("a snapshot cannot be restored", hint="boot the machine from -kernel instead")
