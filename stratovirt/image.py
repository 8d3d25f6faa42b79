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

    Entry = tuple[bool, str, int, int, int, int]  # package?, file, its mtime in ns and size, code: from, to

NAME = "start.image"
FORMAT = 2
SIZE_LENGTH = 4
_Spec = type(__spec__)  # importlib.machinery would cost a module


class Image:
    """Finds and loads the modules of a package from its image. `final` ones are not compared with sources."""

    def __init__(self, folder: str, entries: dict[str, Entry], fd: int, base: int, *, final: bool) -> None:
        self._folder = folder
        self._entries = entries
        self._fd = fd
        self._base = base  # where the code begins in the file
        self._final = final

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Return where a module comes from; None when it is not here, or its source is newer."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        package, file, mtime, size, _start, _end = entry
        path = f"{self._folder}/{file}"
        if not self._final and _stamp(path) != (mtime, size):
            return None
        spec = _Spec(name, self, origin=path, is_package=package)  # type: ignore[arg-type] # a loader by its methods
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [path.rpartition("/")[0]]
        return spec

    def close(self) -> None:
        """Close the file; nothing more is loaded."""
        os.close(self._fd)

    def create_module(self, _spec: ModuleSpec) -> ModuleType | None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code in it."""
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102 - what an importer does

    def get_code(self, name: str) -> CodeType:
        """Return the code of a module that is in the image."""
        *_, start, end = self._entries[name]
        try:
            data = os.pread(self._fd, end - start, self._base + start)
        except OSError as error:
            raise ImportError(f"{self._folder}/{NAME}: {error.strerror}", name=name) from error
        code: CodeType = marshal.loads(data)  # noqa: S302 - as trusted as the source beside it
        return code


def use() -> None:
    """Import this package from its image, if it has one that fits."""
    folder = os.path.dirname(__file__)
    try:
        fd = os.open(f"{folder}/{NAME}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    # Who started us without standard input gets this number for it: control.signals fills it, not we.
    try:
        image = read(folder, fd) if fd > 2 else None
    except OSError:
        image = None
    if image is None:
        os.close(fd)
    else:
        sys.meta_path.insert(0, image)


def drop() -> None:
    """Import from files again."""
    for finder in [finder for finder in sys.meta_path if isinstance(finder, Image)]:
        sys.meta_path.remove(finder)
        finder.close()


def read(folder: str, fd: int) -> Image | None:
    """Return the image of the package in a folder, which owns fd; None when it is none of this Python."""
    head = _head()
    start = os.pread(fd, len(head) + SIZE_LENGTH, 0)
    size = start[len(head) :]
    if not start.startswith(head) or len(size) != SIZE_LENGTH:
        return None
    length = int.from_bytes(size, "little")
    try:
        final, entries = marshal.loads(os.pread(fd, length, len(start)))  # noqa: S302 - as above
    except (EOFError, ValueError, TypeError):
        return None
    return Image(folder, entries, fd, len(start) + length, final=final)


def build(folder: str, package: str, *, final: bool) -> bytes:
    """Return the image of a package whose modules are below a folder."""
    entries: dict[str, Entry] = {}
    codes = bytearray()
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
            start = len(codes)
            codes += marshal.dumps(code)
            entries[name] = (is_package, below, mtime, size, start, len(codes))
    index = marshal.dumps((final, entries))
    return _head() + len(index).to_bytes(SIZE_LENGTH, "little") + index + codes


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
