"""The rig's machine: QEMU's TCG emulates AMD-V, so a stock Debian kernel inside has a complete KVM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.job import Job

KERNEL_WORDS = (
    "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic mitigations=off nokaslr audit=0 "
    "random.trust_cpu=on rcupdate.rcu_cpu_stall_suppress=1"
)


@dataclass(frozen=True, kw_only=True)
class Wires:
    """Descriptors that QEMU inherits: one socket for each stream between the job and the host."""

    control: int
    out: int
    err: int
    terminal: int

    def all(self) -> tuple[int, ...]:
        """Return every descriptor."""
        return (self.control, self.out, self.err, self.terminal)


def command(job: Job, folder: Path, guest: Path, memory_mib: int, wires: Wires) -> list[str]:
    """Return QEMU's command line. `folder` has the job's files, `guest` the rig's kernel."""
    return [
        *("setpriv", "--pdeathsig", "KILL"),  # a killed tool leaves no machine behind
        *("qemu-system-x86_64", "-machine", "q35", "-cpu", "max,+svm,+npt", "-smp", str(job.cpus)),
        *("-accel", f"tcg,thread=multi,tb-size={min(1024, memory_mib // 4)}"),
        *("-m", f"{memory_mib}M", "-display", "none", "-no-reboot", "-nodefaults"),
        *("-kernel", str(guest / "rig-vmlinuz"), "-initrd", str(guest / "rig-initrd.cpio")),
        *("-append", KERNEL_WORDS),
        *("-chardev", f"file,id=console,path={folder / 'console'}", "-serial", "chardev:console"),
        *("-monitor", f"unix:{folder / 'monitor'},server=on,wait=off"),
        *("-device", "virtio-serial-pci", "-device", "virtio-rng-pci"),
        *_port("rig.control", wires.control),
        *_port("rig.out", wires.out),
        *_port("rig.err", wires.err),
        *("-chardev", f"socket,id=terminal,fd={wires.terminal}", "-device", "virtconsole,chardev=terminal"),
        *_share("host", "/", "on"),
        *_share("job", str(folder), "on"),
        *(
            word
            for number, place in enumerate(job.writable)
            for word in _share(f"writable{number}", place, "off")
        ),
        *("-drive", f"if=none,id=scratch,format=raw,cache=unsafe,discard=unmap,file={folder / 'scratch'}"),
        *("-device", "virtio-blk-pci,drive=scratch"),
    ]


def _port(name: str, descriptor: int) -> tuple[str, ...]:
    chardev = f"socket,id={name},fd={descriptor}"
    return ("-chardev", chardev, "-device", f"virtserialport,chardev={name},name={name}")


def _share(tag: str, path: str, readonly: str) -> tuple[str, ...]:
    share = f"local,id={tag},path={path},security_model=none,readonly={readonly},multidevs=remap"
    return ("-fsdev", share, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}")
