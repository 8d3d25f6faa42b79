"""Which guest assets there are, under which names the checkout sees them, and how they are made ready."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.cache import Cache, Recipe, default_root
from tests.rig.images import CLOUD_INITRD, RIG_INITRD, ROOT, SMALL_INITRD
from tests.rig.kernels import BUSYBOX, CLOUD, RIG, SMALL
from tests.rig.say import RigError

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = Path(__file__).resolve().parents[2]
GUEST = CHECKOUT / "build" / "guest"

# Group, then the name in build/guest, then the recipe and its file.
GROUPS: dict[str, dict[str, tuple[Recipe, str]]] = {
    "cloud": {
        "cloud-vmlinuz": (CLOUD, "vmlinuz"),
        "cloud-initrd.cpio.gz": (CLOUD_INITRD, "initrd.cpio.gz"),
    },
    "root": {
        "root.ext4": (ROOT, "root.ext4"),
        "busybox": (BUSYBOX, "busybox"),
    },
    "rig": {
        "rig-vmlinuz": (RIG, "vmlinuz"),
        "rig-initrd.cpio": (RIG_INITRD, "initrd.cpio"),
    },
    "small": {
        "small-bzImage": (SMALL, "bzImage"),
        "small-vmlinux": (SMALL, "vmlinux"),
        "small-initrd.cpio.gz": (SMALL_INITRD, "initrd.cpio.gz"),
    },
}


def prepare(groups: list[str], environment: Mapping[str, str] = os.environ) -> None:
    """Make the named groups' assets (all groups when none is named) and link them into build/guest."""
    cache = Cache(default_root(environment))
    for group in groups or list(GROUPS):
        for name, (recipe, file) in GROUPS[group].items():
            _link(GUEST / name, cache.ensure(recipe) / file)


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh = link.with_name(f".{link.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.replace(link)
    except OSError as error:
        raise RigError(f"{link} cannot be made: {error.strerror}", "is the checkout writable?") from error
