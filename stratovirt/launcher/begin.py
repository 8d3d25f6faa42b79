"""What the launcher runs first: sets the ways to the modules of a start, and goes to the command.

Frozen into the launcher, like image.py. `site` has not run: image.LateSite has it run for a missing module.
"""

from __future__ import annotations

import _frozen_importlib_external as external
import _imp
import sys
from posix import _exit, stat, write

import _stratovirt_image as image  # type: ignore[import-not-found] # the launcher has it

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from typing import NoReturn


class Extensions:
    """Finds the extension modules of a start where they are, so that no folder is read for them."""

    def __init__(self, package: str, libraries: str) -> None:
        suffix = _imp.extension_suffixes()[0]
        self._places = {
            "stratovirt.core._core": f"{package}/core/_core.abi3.so",
            "_cffi_backend": f"{libraries}/_cffi_backend{suffix}",
        }

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Return where one of them is, if it is there: the others are found the longer way."""
        place = self._places.get(name)
        if place is None:
            return None
        try:
            stat(place)
        except OSError:
            return None
        spec: ModuleSpec | None = external.spec_from_file_location(name, place)
        return spec


class Mapped:
    """An image that the launcher has mapped; it goes with the mapping."""

    def __init__(self, view: memoryview, unmap: Callable[[], object]) -> None:
        self._view = view
        self._unmap = unmap

    def __getitem__(self, piece: slice[int, int, None]) -> memoryview:
        return self._view[piece]

    def close(self) -> None:
        """Unmap it."""
        self._view.release()
        self._unmap()


def _use_image(folder: str, data: Mapped) -> None:
    image.__file__ = f"{folder}/image.py"
    sys.modules["stratovirt.image"] = image
    found = image.read(folder, data)
    if found is not None:
        sys.meta_path.insert(0, found)
        found.preload("command")


def _decoded(path: bytes) -> str:
    return path.decode(sys.getfilesystemencoding(), "surrogateescape")


def begin(
    package_bytes: bytes, libraries_bytes: bytes, view: memoryview, unmap: Callable[[], object]
) -> NoReturn:
    """Run the command of the package in one folder, with the packages that are installed in another.

    `view` is the package's image, empty where there is none, and `unmap` takes it away.
    """
    try:
        package, libraries = map(_decoded, (package_bytes, libraries_bytes))
        root = package.rpartition("/")[0]
        sys.path += [root, libraries] if root != libraries else [root]
        sys.meta_path.insert(0, Extensions(package, libraries))
        sys.meta_path.append(image.LateSite())
        _use_image(package, Mapped(view, unmap))
        from stratovirt.cli import main
    except (ImportError, OSError, MemoryError) as error:
        reason = str(error) or "not enough memory"
        write(2, f"stratovirt: load the program: {reason}\n  hint: install the package again\n".encode())
        _exit(1)
    main()
