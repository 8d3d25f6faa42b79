"""Kernels: Debian's own with the modules a guest needs, and the small one built from Debian's source."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.cache import Cache, Recipe
from tests.rig.debian import download, install, kernel_of, unpack
from tests.rig.say import RigError, say
from tests.rig.shell import tool

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
SOURCE = "linux-source-6.1"

CLOUD_MODULES = (
    *(
        "virtio_mmio",
        "virtio_pci",
        "virtio_blk",
        "virtio_net",
        "virtio_console",
        "virtio-rng",
        "virtio_balloon",
    ),
    *("virtio_scsi", "sd_mod", "vmw_vsock_virtio_transport", "virtiofs", "ext4", "crc32c_generic"),
    *("button", "evdev"),
)
RIG_MODULES = (
    *("virtio_pci", "virtio_console", "virtio-rng", "virtio_blk", "9pnet_virtio", "9p", "overlay", "ext4"),
    *("crc32c_generic", "loop", "kvm-amd", "vhost_net", "vhost_vsock", "tun", "bridge"),
    *("macvtap", "veth"),
)

# Parts of the source that no x86_64 guest compiles: half of the disk, and time to unpack.
UNUSED_SOURCE = (
    *("arch/[!x]*/*.[chS]", "arch/*.dts*", "Documentation/*.rst", "Documentation/*.yaml"),
    *(
        "drivers/gpu/*.[ch]",
        "drivers/media/*.[ch]",
        "drivers/net/ethernet/*.[ch]",
        "drivers/net/wireless/*.[ch]",
    ),
    *("drivers/staging/*.[ch]", "fs/xfs/*.[ch]", "sound/*.[ch]", "tools/perf", "tools/testing"),
)


def depends(listing: str) -> dict[str, list[str]]:
    """Read modules.dep: each module's file, and the files it needs."""
    pairs = (line.split(":", 1) for line in listing.splitlines() if ":" in line)
    return {module.strip(): needs.split() for module, needs in pairs}


def closure(names: Iterable[str], needs: dict[str, list[str]]) -> list[str]:
    """Return the files of the named modules and of all they need; names that are built in are left out."""
    files = {Path(file).stem.replace("-", "_"): file for file in needs}
    wanted = [files[name.replace("-", "_")] for name in names if name.replace("-", "_") in files]
    return sorted({file for module in wanted for file in (module, *needs[module])})


def _busybox(scratch: Path, result: Path, _cache: Cache) -> None:
    (package,) = download(["busybox-static"], scratch)
    unpack(package, scratch)
    shutil.move(scratch / "bin/busybox", result / "busybox")


def _debian_kernel(meta: str, modules: tuple[str, ...], scratch: Path, result: Path, cache: Cache) -> None:
    name = kernel_of(meta, scratch)
    say(f"downloading {name}")
    (package,) = download([name], scratch)
    unpack(package, scratch / "all")
    version = name.removeprefix("linux-image-")
    shutil.move(scratch / f"all/boot/vmlinuz-{version}", result / "vmlinuz")
    busybox = str(cache.path(BUSYBOX) / "busybox")
    everything = scratch / "all/lib/modules" / version
    tool([busybox, "depmod", "-b", str(scratch / "all"), version])
    kept = result / "lib/modules" / version
    for file in closure(modules, depends((everything / "modules.dep").read_text())):
        (kept / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(everything / file, kept / file)
    for index in ("modules.builtin", "modules.order"):
        shutil.copy(everything / index, kept / index)
    tool([busybox, "depmod", "-b", str(result), version])


def _cloud(scratch: Path, result: Path, cache: Cache) -> None:
    _debian_kernel("linux-image-cloud-amd64", CLOUD_MODULES, scratch, result, cache)


def _rig(scratch: Path, result: Path, cache: Cache) -> None:
    _debian_kernel("linux-image-amd64", RIG_MODULES, scratch, result, cache)


def _small(scratch: Path, result: Path, _cache: Cache) -> None:
    if shutil.which("flex") is None or shutil.which("bison") is None:
        install(["kernel"])
    say(f"downloading {SOURCE}")
    (package,) = download([SOURCE], scratch)
    _unpack_source(package, scratch)
    package.unlink()
    tree = scratch / SOURCE
    _configure(tree, (HERE / "small.config").read_text())
    say("compiling; this takes 5 to 10 minutes, once")
    _make(tree, f"-j{os.cpu_count() or 2}", "bzImage")
    shutil.copy(tree / "arch/x86/boot/bzImage", result / "bzImage")
    shutil.copy(tree / "vmlinux", result / "vmlinux")
    shutil.copy(tree / ".config", result / "config")


def _unpack_source(package: Path, where: Path) -> None:
    """Unpack the archive inside the package without storing it first."""
    excluded = [f"--exclude={SOURCE}/{pattern}" for pattern in UNUSED_SOURCE]
    outer = ["tar", "-xO", f"./usr/src/{SOURCE}.tar.xz"]
    inner = ["tar", "-xJ", "--wildcards", "--anchored", *excluded]
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as opened,
        subprocess.Popen(outer, stdin=opened.stdout, stdout=subprocess.PIPE) as archive,
    ):
        done = subprocess.run(inner, cwd=where, stdin=archive.stdout, check=False)
    if done.returncode != 0:
        raise RigError(f"{package.name} could not be unpacked into {where}", "is the disk full?")


def _configure(tree: Path, wanted: str) -> None:
    """Make the configuration: tinyconfig, then our lines; a line that Kconfig drops is an error."""
    _make(tree, "tinyconfig")
    with (tree / ".config").open("a") as config:
        config.write(wanted)
    _make(tree, "olddefconfig")
    if lost := dropped(wanted, (tree / ".config").read_text()):
        raise RigError(f"Kconfig dropped: {', '.join(lost)}", "correct tests/rig/small.config")


def dropped(wanted: str, config: str) -> list[str]:
    """Return the lines of a wanted configuration that a made one does not have."""
    lines = set(config.splitlines())
    lost = [line for line in wanted.splitlines() if line.startswith("CONFIG_") and line not in lines]
    refused = re.findall(r"^# (CONFIG_\w+) is not set$", wanted, re.MULTILINE)
    return lost + [name for name in refused if re.search(f"^{name}=", config, re.MULTILINE)]


def _make(tree: Path, *arguments: str) -> None:
    """Run the kernel's make; the build says nothing about who built it, where or when."""
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MAKE", "KBUILD", "MFLAGS"))
        },
        "KBUILD_BUILD_USER": "guest",
        "KBUILD_BUILD_HOST": "rig",
        "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970",
        "LC_ALL": "C",
    }
    hint = "run: python3 -m tests.rig packages kernel"
    tool(["make", "-s", "ARCH=x86_64", *arguments], cwd=tree, env=environment, hint=hint)


BUSYBOX = Recipe(name="busybox", title="busybox from Debian", version=1, build=_busybox, disk_mib=20)
CLOUD = Recipe(
    name="cloud-kernel",
    title="Debian's cloud kernel",
    version=1,
    build=_cloud,
    words=CLOUD_MODULES,
    needs=(BUSYBOX,),
    disk_mib=300,
)
SMALL = Recipe(
    name="small-kernel",
    title="the small kernel from Debian's source",
    version=1,
    build=_small,
    inputs=(HERE / "small.config",),
    disk_mib=1500,
)
RIG = Recipe(
    name="rig-kernel",
    title="the rig's kernel (Debian generic)",
    version=1,
    build=_rig,
    words=RIG_MODULES,
    needs=(BUSYBOX,),
    disk_mib=800,
)
