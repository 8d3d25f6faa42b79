"""Finding codes: what each one means, an example that has it and one that has not. Tests run the examples.

SV0xx: the text cannot be read. SV1xx: one key is wrong. SV3xx: keys do not go together. SV4xx: warnings.
"""

from __future__ import annotations


class Code:
    """A finding code; `bad` gives exactly this finding and `good` none."""

    __slots__ = ("bad", "good", "text", "title")

    def __init__(self, title: str, text: str, bad: str, good: str) -> None:
        self.title = title
        self.text = text
        self.bad = bad
        self.good = good


_HEAD = "version = 1\n"
_BOOT = '[boot]\nkernel = "vmlinuz"\ninitrd = "initrd"\n'
_STANDARD = '[machine]\ntype = "standard_vm"\n[boot]\nkernel = "vmlinuz"\ninitrd = "initrd"\n'


def _code(title: str, text: str, bad: str, good: str, *, boot: str = _BOOT) -> Code:
    return Code(title, text, _HEAD + boot + bad, _HEAD + boot + good)


CODES: dict[str, Code] = {
    "SV001": Code(
        "syntax", "The text is not valid TOML, YAML or JSON at this place.", "version =\n", _HEAD + _BOOT
    ),
    "SV002": Code(
        "too many values",
        "Aliases or nesting make the document larger than 10,000 values or 32 levels.",
        "",
        _HEAD + _BOOT,
    ),
    "SV102": _code(
        "unknown key",
        "No table has a key of this name; the known ones are listed with the finding.",
        "[cpu]\ncuont = 2\n",
        "[cpu]\ncount = 2\n",
    ),
    "SV103": _code(
        "wrong type",
        "The key wants a value of another type. YAML's yes, no, on and off are text: write true or false.",
        '[cpu]\ncount = "two"\n',
        "[cpu]\ncount = 2\n",
    ),
    "SV104": _code(
        "missing key",
        "The table needs a key that is not there.",
        "[drive.root]\nreadonly = true\n",
        '[drive.root]\nfile = "root.img"\n',
    ),
    "SV105": _code(
        "out of range", "The number is outside its range.", "[cpu]\ncount = 300\n", "[cpu]\ncount = 254\n"
    ),
    "SV106": _code(
        "too long",
        "The text is longer than the device can carry.",
        '[drive.root]\nfile = "root.img"\nserial = "more-than-twenty-letters"\n',
        '[drive.root]\nfile = "root.img"\nserial = "at-most-twenty"\n',
    ),
    "SV107": _code(
        "wrong form",
        "The text does not have the form that its key wants.",
        '[net.eth0]\ntap = "tap0"\nmac = "52:54:00"\n',
        '[net.eth0]\ntap = "tap0"\nmac = "52:54:00:12:34:56"\n',
    ),
    "SV108": _code(
        "not one of",
        "The key takes one of a few words.",
        '[machine]\ntype = "microwm"\n',
        '[machine]\ntype = "microvm"\n',
    ),
    "SV301": _code(
        "memory range",
        "A machine has 256M to 512G of memory.",
        '[memory]\nsize = "128M"\n',
        '[memory]\nsize = "256M"\n',
    ),
    "SV302": _code(
        "memory multiple",
        "Memory comes in whole MiB.",
        "[memory]\nsize = 268435457\n",
        "[memory]\nsize = 268435456\n",
    ),
    "SV303": _code(
        "no kernel",
        "A microvm has no firmware: it starts a kernel.",
        '[drive.root]\nfile = "root.img"\n',
        '[boot]\nkernel = "vmlinuz"\n[drive.root]\nfile = "root.img"\n',
        boot="",
    ),
    "SV304": _code(
        "nothing to boot with",
        "initrd and cmdline are handed to a kernel, and there is none.",
        '[machine]\ntype = "standard_vm"\n[boot]\ninitrd = "initrd"\n',
        '[machine]\ntype = "standard_vm"\n[boot]\nkernel = "vmlinuz"\ninitrd = "initrd"\n',
        boot="",
    ),
    "SV305": _code(
        "not on a microvm",
        "A microvm has virtio-mmio devices only: no PCI, no root ports, no flash.",
        '[balloon]\nbus = "pcie.0"\naddr = "0x1"\n',
        "[balloon]\n",
    ),
    "SV306": _code(
        "PCI place missing",
        "On a standard_vm a device needs both `bus` and `addr`.",
        "[balloon]\n",
        '[balloon]\nbus = "pcie.0"\naddr = "0x1"\n',
        boot=_STANDARD,
    ),
    "SV307": _code(
        "too many devices",
        "virtio-mmio has 16 slots on x86_64 and 32 on aarch64; the finding lists what takes them.",
        "".join(f'[drive.d{i}]\nfile = "{i}.img"\n' for i in range(17)),
        "".join(f'[drive.d{i}]\nfile = "{i}.img"\n' for i in range(16)),
    ),
    "SV308": _code(
        "too many iothreads",
        "A machine has at most 8 named iothreads.",
        "".join(f"[iothread.t{i}]\n" for i in range(9)),
        "".join(f"[iothread.t{i}]\n" for i in range(8)),
    ),
    "SV309": _code(
        "unknown iothread",
        "A device names an iothread that no table describes.",
        '[drive.root]\nfile = "root.img"\niothread = "io"\n',
        '[drive.root]\nfile = "root.img"\niothread = "io"\n[iothread.io]\n',
    ),
    "SV310": _code(
        "unknown bus",
        "The bus is neither pcie.0 nor the name of a root port.",
        '[balloon]\nbus = "pcie.1"\naddr = "0x0"\n',
        '[balloon]\nbus = "pcie.1"\naddr = "0x0"\n'
        '[root_port."pcie.1"]\nport = 1\nbus = "pcie.0"\naddr = "0x1"\n',
        boot=_STANDARD,
    ),
    "SV311": _code(
        "place taken",
        "Two devices sit at the same slot and function of a bus.",
        '[balloon]\nbus = "pcie.0"\naddr = "0x1"\n[vsock]\nguest_cid = 3\nbus = "pcie.0"\naddr = "1.0"\n',
        '[balloon]\nbus = "pcie.0"\naddr = "0x1"\n[vsock]\nguest_cid = 3\nbus = "pcie.0"\naddr = "2.0"\n',
        boot=_STANDARD,
    ),
    "SV312": _code(
        "flash unit taken",
        "There is one flash device of each unit.",
        '[pflash.code]\nfile = "code.fd"\nunit = 0\n[pflash.data]\nfile = "data.fd"\nunit = 0\n',
        '[pflash.code]\nfile = "code.fd"\nunit = 0\n[pflash.data]\nfile = "data.fd"\nunit = 1\n',
        boot=_STANDARD,
    ),
    "SV313": _code(
        "id taken",
        "QMP names devices by their id, so two devices cannot have the same.",
        '[drive.a]\nfile = "a.img"\n[net.a]\ntap = "tap0"\n',
        '[drive.a]\nfile = "a.img"\n[net.b]\ntap = "tap0"\n',
    ),
    "SV314": _code(
        "too many consoles",
        "A guest has hvc0 to hvc7.",
        "".join(f'[console.c{i}]\npath = "c{i}.sock"\n' for i in range(9)),
        "".join(f'[console.c{i}]\npath = "c{i}.sock"\n' for i in range(8)),
    ),
    "SV315": _code(
        "socket path too long",
        "A Unix socket's path has at most 107 bytes.",
        f'[qmp]\nsocket = "{"long/" * 30}qmp.sock"\n',
        '[qmp]\nsocket = "qmp.sock"\n',
    ),
    "SV316": _code(
        "socket used twice",
        "Each socket is one file.",
        '[qmp]\nsocket = "a.sock"\n[console.c]\npath = "a.sock"\n',
        '[qmp]\nsocket = "a.sock"\n[console.c]\npath = "b.sock"\n',
    ),
    "SV317": _code(
        "image used twice",
        "Two writers destroy an image; read-only drives may share one.",
        '[drive.a]\nfile = "same.img"\n[drive.b]\nfile = "same.img"\n',
        '[drive.a]\nfile = "same.img"\nreadonly = true\n[drive.b]\nfile = "same.img"\nreadonly = true\n',
    ),
    "SV318": _code(
        "no network",
        "A network card needs a tap by name or inherited descriptors.",
        "[net.eth0]\n",
        '[net.eth0]\ntap = "tap0"\n',
    ),
    "SV319": _code(
        "group address",
        "A card's own address has an even first byte; odd ones are for groups. All zeroes is none.",
        '[net.eth0]\ntap = "tap0"\nmac = "01:00:5e:00:00:01"\n',
        '[net.eth0]\ntap = "tap0"\nmac = "52:54:00:00:00:01"\n',
    ),
    "SV320": _code(
        "address used twice",
        "Two cards of a machine have the same address.",
        '[net.a]\ntap = "t0"\nmac = "52:54:00:00:00:01"\n[net.b]\ntap = "t1"\nmac = "52:54:00:00:00:01"\n',
        '[net.a]\ntap = "t0"\nmac = "52:54:00:00:00:01"\n[net.b]\ntap = "t1"\nmac = "52:54:00:00:00:02"\n',
    ),
    "SV321": _code(
        "tap used twice",
        "A tap has one other end.",
        '[net.a]\ntap = "tap0"\n[net.b]\ntap = "tap0"\n',
        '[net.a]\ntap = "tap0"\n[net.b]\ntap = "tap1"\n',
    ),
    "SV322": _code(
        "daemon on stdio",
        "A daemon has no stdio that its serial port could use.",
        "[process]\ndaemonize = true\n[serial]\n",
        "[process]\ndaemonize = true\n",
    ),
    "SV323": _code(
        "daemon's log on stdio",
        "A daemon has no stderr that its log could go to.",
        "[process]\ndaemonize = true\n[log]\n",
        '[process]\ndaemonize = true\n[log]\nfile = "vm.log"\n',
    ),
    "SV324": _code(
        "limit range",
        "A limit of bytes is 64K to 1024G each second: less would stop the disk.",
        '[drive.root]\nfile = "root.img"\n[drive.root.limit]\nbytes = "1K"\n',
        '[drive.root]\nfile = "root.img"\n[drive.root.limit]\nbytes = "1M"\n',
    ),
    "SV330": _code(
        "descriptors and queues",
        "`fds` has one tap descriptor for each pair of queues, `vhostfds` one of vhost-net; at most 16.",
        "[net.eth0]\nfds = [3, 4]\nvhost = true\nvhostfds = [5]\n",
        "[net.eth0]\nfds = [3, 4]\nvhost = true\nvhostfds = [5, 6]\n",
    ),
    "SV340": _code(
        "vsock without a socket",
        "Unix sockets serve the streams, and no path is given for the first one.",
        '[vsock]\nguest_cid = 3\nbackend = "unix"\n',
        '[vsock]\nguest_cid = 3\nbackend = "unix"\nsocket = "vsock.sock"\n',
    ),
    "SV341": _code(
        "vsock with two backends",
        "An open /dev/vhost-vsock is of no use when Unix sockets serve the streams.",
        '[vsock]\nguest_cid = 3\nbackend = "unix"\nsocket = "vsock.sock"\nvhostfd = 5\n',
        "[vsock]\nguest_cid = 3\nvhostfd = 5\n",
    ),
    "SV342": _code(
        "one tag for two folders",
        "The guest mounts a folder by its tag, and would find the first one only.",
        '[fs.a]\nsocket = "a.sock"\ntag = "data"\n[fs.b]\nsocket = "b.sock"\ntag = "data"\n',
        '[fs.a]\nsocket = "a.sock"\ntag = "data"\n[fs.b]\nsocket = "b.sock"\ntag = "more"\n',
    ),
    "SV401": _code(
        "no root file system",
        "Neither an initrd nor a drive is there; only a kernel with a file system of its own can use that.",
        '[boot]\nkernel = "vmlinuz"\n',
        '[boot]\nkernel = "vmlinuz"\ninitrd = "initrd"\n',
        boot="",
    ),
    "SV402": _code(
        "vhostfds without vhost",
        "The descriptors are used with vhost only.",
        '[net.a]\ntap = "tap0"\nvhostfds = [5]\n',
        '[net.a]\ntap = "tap0"\nvhost = true\nvhostfds = [5]\n',
    ),
    "SV403": _code(
        "iothread with vhost",
        "With vhost the host kernel serves the queues, not the iothread.",
        '[net.a]\ntap = "tap0"\nvhost = true\niothread = "io"\n[iothread.io]\n',
        '[net.a]\ntap = "tap0"\niothread = "io"\n[iothread.io]\n',
    ),
    "SV404": _code(
        "not attached",
        "The backend is described and the guest does not see it.",
        '[drive.a]\nfile = "a.img"\nattach = false\n',
        '[drive.a]\nfile = "a.img"\n',
    ),
    "SV420": _code(
        "vsock socket with vhost",
        "With vhost host programs use AF_VSOCK sockets; the path is not used.",
        '[vsock]\nguest_cid = 3\nbackend = "vhost"\nsocket = "vsock.sock"\n',
        '[vsock]\nguest_cid = 3\nsocket = "vsock.sock"\n',
    ),
    "SV421": _code(
        "memory of a folder's machine",
        "The daemon of a folder maps guest memory: a file at its path is written, as with `share`.",
        '[memory]\nsize = "256M"\npath = "/dev/shm/ram"\n[fs.a]\nsocket = "a.sock"\ntag = "data"\n',
        '[memory]\nsize = "256M"\npath = "/dev/shm/ram"\nshare = true\n'
        '[fs.a]\nsocket = "a.sock"\ntag = "data"\n',
    ),
}


def explain(code: str) -> str | None:
    """Return the long text of a code, None for one that does not exist."""
    entry = CODES.get(code.upper())
    if entry is None:
        return None
    examples = "".join(
        f"\n{word}:\n\n" + "".join(f"    {line}\n" for line in example.splitlines())
        for word, example in (("Has it", entry.bad), ("Has it not", entry.good))
        if example and len(example) < 600
    )
    kind = "warning" if code.upper().startswith("SV4") else "error"
    return f"{code.upper()} ({kind}): {entry.title}\n\n{entry.text}\n{examples}"
