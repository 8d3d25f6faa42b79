"""Guest images: an initramfs for each kernel, and a root disk; busybox and one init in all of them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from tests.rig import cpio
from tests.rig.cache import Cache, Recipe
from tests.rig.kernels import BUSYBOX, CLOUD, HERE, RIG, RIG_MODULES
from tests.rig.shell import tool

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ROOT_SIZE = "64M"
ROOT_UUID = "5f0c1a52-6d1e-4c39-9d3c-7a1b2c3d4e5f"  # fixed: the same recipe makes the same image
FOLDERS = ("bin", "dev", "mnt", "proc", "root", "sbin", "sys", "tmp")


def _busybox(cache: Cache) -> tuple[bytes, list[str]]:
    program = cache.path(BUSYBOX) / "busybox"
    applets = [name for name in tool([str(program), "--list"]).split() if name != "busybox"]
    return program.read_bytes(), applets


def _nodes(cache: Cache, init: bytes, modules: Path | None = None) -> Iterable[cpio.Node]:
    program, applets = _busybox(cache)
    yield from (cpio.folder(name) for name in FOLDERS)
    yield cpio.program("bin/busybox", program)
    yield from (cpio.link(f"bin/{name}", "busybox") for name in applets)
    yield cpio.program("init", init)
    if modules is not None:
        yield cpio.folder("lib")
        yield from (
            cpio.Node(f"lib/{node.name}", node.mode, node.data) for node in cpio.tree(modules / "lib")
        )


def _small(_scratch: Path, result: Path, cache: Cache) -> None:
    cpio.write(result / "initrd.cpio.gz", _nodes(cache, (HERE / "guest-init").read_bytes()))


def _cloud(_scratch: Path, result: Path, cache: Cache) -> None:
    nodes = _nodes(cache, (HERE / "guest-init").read_bytes(), cache.path(CLOUD))
    cpio.write(result / "initrd.cpio.gz", nodes)


def _rig(_scratch: Path, result: Path, cache: Cache) -> None:
    modules = cpio.plain("modules", "\n".join(RIG_MODULES).encode())
    nodes = [*_nodes(cache, (HERE / "rig-init").read_bytes(), cache.path(RIG)), modules]
    (result / "initrd.cpio").write_bytes(cpio.pack(nodes))  # emulated code would inflate it slowly


def _root(scratch: Path, result: Path, cache: Cache) -> None:
    tree = scratch / "tree"
    for name in FOLDERS:
        (tree / name).mkdir(parents=True)
    program, applets = _busybox(cache)
    (tree / "bin/busybox").write_bytes(program)
    (tree / "bin/busybox").chmod(0o755)
    for name in applets:
        (tree / "bin" / name).symlink_to("busybox")
    shutil.copy(HERE / "guest-init", tree / "sbin/init")
    (tree / "sbin/init").chmod(0o755)
    options = f"root_owner=0:0,hash_seed={ROOT_UUID},lazy_itable_init=0,lazy_journal_init=0"
    image = str(result / "root.ext4")
    command = ["mke2fs", "-q", "-t", "ext4", "-L", "root", "-U", ROOT_UUID, "-E", options, "-d", str(tree)]
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin"}
    hint = "run: python3 -m tests.rig packages guest"
    tool([*command, image, ROOT_SIZE], env=environment, hint=hint)


INIT = (HERE / "guest-init",)
SMALL_INITRD = Recipe(
    name="small-initrd",
    title="the small kernel's initramfs",
    version=1,
    build=_small,
    inputs=INIT,
    needs=(BUSYBOX,),
)
CLOUD_INITRD = Recipe(
    name="cloud-initrd",
    title="the cloud kernel's initramfs",
    version=1,
    build=_cloud,
    inputs=INIT,
    needs=(BUSYBOX, CLOUD),
)
RIG_INITRD = Recipe(
    name="rig-initrd",
    title="the rig's initramfs",
    version=1,
    build=_rig,
    inputs=(HERE / "rig-init",),
    needs=(BUSYBOX, RIG),
)
ROOT = Recipe(
    name="root",
    title="the guest's root disk",
    version=1,
    build=_root,
    inputs=INIT,
    needs=(BUSYBOX,),
)
