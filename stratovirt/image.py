"""The start image: the code of every module in one file, so that a start reads one file instead of seventy.

`make core` writes it beside the modules of a checkout, where a module that changed since is read from its
source as if there were no image; a wheel carries one that is final. Without an image, or with one of another
Python, everything is imported as usual. docs/decisions/0003-start-image.md has the figures.
"""

from __future__ import annotations

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

    Entry = tuple[bool, str, int, int, bytes]  # package?, file below the folder, mtime in ns, size, code

NAME = "start.image"
FORMAT = 1
_Spec = type(__spec__)  # importlib.machinery would cost a module


class Image:
    """Finds and loads the modules of a package from its image. `final` ones are not compared with sources."""

    def __init__(self, folder: str, entries: dict[str, Entry], *, final: bool) -> None:
        self._folder = folder
        self._entries = entries
        self._final = final

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Return where a module comes from; None when it is not here, or its source is newer."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        package, file, mtime, size, _code = entry
        path = f"{self._folder}/{file}"
        if not self._final and _stamp(path) != (mtime, size):
            return None
        spec = _Spec(name, self, origin=path, is_package=package)  # type: ignore[arg-type] # a loader by its methods
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [path.rpartition("/")[0]]
        return spec

    def create_module(self, _spec: ModuleSpec) -> ModuleType | None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code in it."""
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102 - what an importer does

    def get_code(self, name: str) -> CodeType:
        """Return the code of a module that is in the image."""
        code: CodeType = marshal.loads(self._entries[name][4])  # noqa: S302 - as trusted as the source beside it
        return code


def use() -> None:
    """Import this package from its image, if it has one that fits."""
    folder = os.path.dirname(__file__)
    try:
        fd = os.open(f"{folder}/{NAME}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        data = os.read(fd, 1 << 24)
    finally:
        os.close(fd)
    image = read(folder, data)
    if image is not None:
        sys.meta_path.insert(0, image)


def drop() -> None:
    """Import from files again, and give back the memory."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Image)]


def read(folder: str, data: bytes) -> Image | None:
    """Return the image of the package in a folder; None when the bytes are none of this Python."""
    head = _head()
    if not data.startswith(head):
        return None
    try:
        final, entries = marshal.loads(memoryview(data)[len(head) :])  # noqa: S302 - as above
    except (EOFError, ValueError, TypeError):
        return None
    return Image(folder, entries, final=final)


def build(folder: str, package: str, *, final: bool) -> bytes:
    """Return the image of a package whose modules are below a folder."""
    entries: dict[str, Entry] = {}
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if os.path.exists(f"{where}/{name}/__init__.py"))
        for file in sorted(name for name in files if name.endswith(".py")):
            path = f"{where}/{file}"
            below = os.path.relpath(path, folder)
            names = [package, *below.removesuffix(".py").split("/")]
            is_package = names[-1] == "__init__"
            with open(path, "rb") as source:
                code = compile(source.read(), f"{package}/{below}", "exec", dont_inherit=True)
            name = ".".join(names[:-1] if is_package else names)
            mtime, size = (0, 0) if final else _stamp(path)
            entries[name] = (is_package, below, mtime, size, marshal.dumps(code))
    return _head() + marshal.dumps((final, entries))


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_mtime_ns, status.st_size


def _head() -> bytes:
    """Return what an image begins with: whose byte code it is (marshal and byte code differ by version)."""
    return f"stratovirt image {FORMAT} {sys.implementation.cache_tag} {sys.hexversion:#x}\n".encode()


def main() -> None:
    """Write the image of the checkout."""
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(f"{folder}/{NAME}.part", "wb") as file:
        file.write(build(folder, "stratovirt", final=False))
    os.replace(f"{folder}/{NAME}.part", f"{folder}/{NAME}")


if __name__ == "__main__":
    main()
