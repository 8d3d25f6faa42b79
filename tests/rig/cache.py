"""The cache of guest assets: outside the checkout, keyed by recipe, each entry complete or absent."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.say import RigError, step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one entry is made. A change in any field but `build`, `title` and `disk_mib` makes a new entry.

    `version` is raised by hand when `build` changes what it makes.
    """

    name: str
    title: str
    version: int
    build: Callable[[Path, Path, Cache], None]  # scratch folder, folder to fill, the cache for what it needs
    inputs: tuple[Path, ...] = ()
    words: tuple[str, ...] = ()
    needs: tuple[Recipe, ...] = ()
    disk_mib: int = 100

    def key(self) -> str:
        """Return what identifies the entry: this recipe, its input files and all that it needs."""
        digest = hashlib.sha256(repr((self.name, self.version, self.words)).encode())
        for path in self.inputs:
            digest.update(path.read_bytes())
        for need in self.needs:
            digest.update(need.key().encode())
        return digest.hexdigest()[:12]


def default_root(environment: Mapping[str, str]) -> Path:
    """Return the cache folder that the environment asks for."""
    if chosen := environment.get("STRATOVIRT_CACHE"):
        return Path(chosen)
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/root"), ".cache")
    return Path(base, "stratovirt")


class Cache:
    """A folder of entries, `<name>-<key>/`. An entry appears by one rename: it is whole or absent."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, recipe: Recipe) -> Path:
        """Return where the recipe's entry is, or will be."""
        return self.root / f"{recipe.name}-{recipe.key()}"

    def ensure(self, recipe: Recipe) -> Path:
        """Return the recipe's entry, made now if it is missing."""
        path = self.path(recipe)
        if path.exists():
            return path
        for need in recipe.needs:
            self.ensure(need)
        with self._locked(recipe.name):
            if not path.exists():
                self._make(recipe, path)
        return path

    def _make(self, recipe: Recipe, path: Path) -> None:
        self._sweep(recipe.name)
        self._demand_disk(recipe)
        scratch = Path(tempfile.mkdtemp(prefix=f".{recipe.name}-", dir=self.root))
        result = scratch / "result"
        result.mkdir()
        try:
            with step(recipe.title):
                recipe.build(scratch, result, self)
            result.rename(path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _sweep(self, name: str) -> None:
        """Remove what killed builds of this name left; the caller holds the name's lock."""
        for stale in self.root.glob(f".{name}-*/"):
            shutil.rmtree(stale, ignore_errors=True)

    def _demand_disk(self, recipe: Recipe) -> None:
        free = shutil.disk_usage(self.root).free // MIB
        if free < recipe.disk_mib:
            raise RigError(
                f"{recipe.title} needs {recipe.disk_mib} MiB of disk; {self.root} has {free} MiB free",
                "free some space, or set STRATOVIRT_CACHE to a folder on a larger disk",
            )

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RigError(
                f"the cache folder {self.root} cannot be used: {error.strerror}",
                "set STRATOVIRT_CACHE to a folder that you can write",
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
