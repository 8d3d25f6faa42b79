"""What is started while calls fail: machines that between them have all that a start can leave behind."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from tests.core.build import ROOT
from tests.guest import tiny
from tests.guest.pools import filled_pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

GIVEN = {"memory", "disk", "initrd", "vm.toml", "log", "report"}  # what may be there afterwards
MIB = 1 << 20
MEMORY = 256 * MIB
HUGE_PAGE = 2 * MIB
AT_ONCE = 2  # starts beside each other
PROFILE = """
version = 1
[boot]
kernel = "{kernel}"
[memory]
path = "{folder}/memory"
[qmp]
socket = "qmp"
[log]
file = "log"
[iothread.io1]
[drive.d]
file = "disk"
direct = false
iothread = "io1"
[console.c]
path = "console"
[vsock]
guest_cid = 3
backend = "unix"
socket = "vsock"
[rng]
file = "/dev/urandom"
[balloon]
[process]
pidfile = "pid"
"""


class Machine:
    """A machine in a folder of its own, at a terminal or in the background."""

    name = ""
    huge_pages = 0  # that it takes
    objects: ClassVar[dict[str, str]] = {}  # a name in a path: what a message about that file has to name

    def __init__(self, folder: Path, *, background: bool) -> None:
        self.folder = folder
        self.background = background
        self.memory = folder / "memory"

    def __enter__(self) -> Machine:
        self.memory.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what the host lent."""

    @classmethod
    def lacks(cls) -> str:
        """Return what this host, and this user, lacks for it."""
        return ""

    def prepare(self) -> list[str]:
        """Make the folder what it is before a start; return the words of one."""
        for path in self.folder.iterdir():
            if not path.is_dir():
                path.unlink()
        for name in ("disk", "initrd"):
            with (self.folder / name).open("wb") as file:
                file.truncate(MIB)
        return self._words()

    def left(self) -> set[str]:
        """Return what a start has left behind."""
        memory = {f"memory/{path.name}" for path in self.memory.iterdir()}
        return ({path.name for path in self.folder.iterdir()} - GIVEN) | memory

    def words_for(self, path: str) -> list[str]:
        """Return what a message has to name when a call on that file has failed."""
        if path.startswith(f"{ROOT}/stratovirt/"):  # our own modules
            return []
        names = path.removesuffix(" (deleted)").split("/")
        return [word for name, word in self.objects.items() if name in names]

    def _words(self) -> list[str]:
        raise NotImplementedError


class Profile(Machine):
    """A machine of a profile, with what any user may have."""

    name = "a profile"
    objects: ClassVar = {
        "log": "log",
        "pid": "pidfile",
        "qmp": "QMP socket",
        "console": "console 'c'",
        "disk": "drive 'd'",
        "urandom": "rng",
        "hello.bin": "kernel",
        "memory": "memory",
    }

    def _words(self) -> list[str]:
        more = "daemonize = true\n" if self.background else "[serial]\n"
        text = PROFILE.format(kernel=tiny.build("hello"), folder=self.folder) + more
        (self.folder / "vm.toml").write_text(text)
        return ["run", "vm.toml"]


class Flags(Machine):
    """A machine of the original's flags, which makes its tap, and whose memory is shared huge pages."""

    name = "flags"
    huge_pages = MEMORY // HUGE_PAGE
    objects: ClassVar = {
        **Profile.objects,
        "initrd": "initrd",
        "tun": "net '",
        "vhost-net": "net '",
        "vhost-vsock": "vsock '",
    }
    _made = 0  # of these machines in this process: taps and context ids are the host's

    def __init__(self, folder: Path, *, background: bool) -> None:
        super().__init__(folder, background=background)
        self._number = Flags._made
        Flags._made += 1

    @classmethod
    def lacks(cls) -> str:
        """Return what this host, and this user, lacks for it."""
        if os.geteuid() != 0 or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            return "needs root and /dev/net/tun"
        return ""

    @property
    def tap(self) -> str:
        """The name of its tap."""
        return f"sv{os.getpid()}x{self._number}"

    def __enter__(self) -> Machine:
        super().__enter__()
        words = ["-t", "hugetlbfs", "-o", f"size={MEMORY},pagesize={HUGE_PAGE}", "none"]
        subprocess.run(["mount", *words, str(self.memory)], check=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["umount", str(self.memory)], check=True)

    def left(self) -> set[str]:
        """Return what a start has left behind, taps and huge pages too."""
        found = super().left()
        pages = os.statvfs(self.memory)
        if pages.f_bfree != pages.f_blocks:
            found.add(f"{pages.f_blocks - pages.f_bfree} huge pages")
        if Path(f"/sys/class/net/{self.tap}").exists():
            found.add("its tap")
        return found

    def _words(self) -> list[str]:
        # As users write it, with a little of everything that needs something of the host.
        text = f"""
            -machine microvm,mem-share=on,dump-guest-core=off -smp 2
            -m {MEMORY >> 20}M -mem-path {self.memory} -kernel {tiny.build("hello")}
            -initrd initrd -append quiet -qmp unix:qmp,server,nowait
            -D log -pidfile pid -iothread id=io1 -iothread id=io2
            -drive id=d,file=disk,direct={"on" if self._knows_direct() else "off"}
            -device virtio-blk-device,drive=d,iothread=io1,iops=1000
            {self._sockets_and_packets()}
            -chardev id=c,path=console -device virtio-balloon-device,deflate-on-oom=on
            -rng random_file=/dev/urandom,bytes_per_sec=1000000
            {"-daemonize" if self.background else "-serial stdio"}
        """
        return text.split()

    def _knows_direct(self) -> bool:
        try:
            os.close(os.open(self.folder / "disk", os.O_RDONLY | os.O_DIRECT))
        except OSError:
            return False
        return True

    def _sockets_and_packets(self) -> str:
        return f"""
            -netdev id={self.tap},mac=52:54:00:12:34:56
            -device virtio-net-device,netdev={self.tap},id=eth0,iothread=io2
        """


class Vhost(Flags):
    """The same machine, whose packets and streams are the host kernel's."""

    name = "vhost"

    @classmethod
    def lacks(cls) -> str:
        """Return what this host, and this user, lacks for it."""
        if not all(os.access(path, os.R_OK | os.W_OK) for path in ("/dev/vhost-net", "/dev/vhost-vsock")):
            return "needs /dev/vhost-net and /dev/vhost-vsock"
        return super().lacks()

    def _sockets_and_packets(self) -> str:
        return f"""
            -netdev id={self.tap},vhost=on -device virtio-net-device,netdev={self.tap},id=eth0
            -device vhost-vsock-device,id=v,guest-cid={(os.getpid() << 8) + self._number}
        """


@contextmanager
def lent(kind: type[Machine]) -> Iterator[None]:
    """Let the host have what machines of a kind need; the test is skipped where it cannot."""
    lacking = kind.lacks()
    if lacking:
        pytest.skip(lacking)
    if not kind.huge_pages:
        yield
        return
    with filled_pool(AT_ONCE * kind.huge_pages, HUGE_PAGE):
        yield
