"""The start image: the code of every module in one file, so that a start reads one file instead of seventy.

`make core` writes it beside the modules of a checkout, where a module that changed since is read from its
source as if there were no image (but for this one, which the launcher carries); a wheel carries one that is
final. Without an image, or with one of another Python, everything is imported as usual.
docs/decisions/0003-start-image.md has the figures.

What every start needs is in the file a second time, as groups: lists of modules, each behind what it imports,
which `preload` makes in one go. launcher/image_writer.py writes it.
"""

from __future__ import annotations

import marshal
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import Any, Protocol

    Entry = tuple[bool, str, int, int, int, int]  # package?, file, its mtime in ns and size, code: from, to

    class Data(Protocol):
        """The bytes of an image, from `start` to `stop` of a slice."""

        def __getitem__(self, piece: slice[int, int, None]) -> bytes | memoryview: ...
        def close(self) -> None:
            """Nothing more is read."""

    Group = tuple[list[str], int, int]  # names of modules, their codes: from, to

NAME = "start.image"
FORMAT = 4
SIZE_LENGTH = 4
_Spec = type(__spec__)  # importlib.machinery would cost a module
_Module = type(sys)  # and so would types


class File:
    """An image that is read piece by piece; the launcher maps it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __getitem__(self, piece: slice[int, int, None]) -> bytes:
        return posix.pread(self._fd, piece.stop - piece.start, piece.start)

    def close(self) -> None:
        """Close the file."""
        posix.close(self._fd)


class Image:
    """Finds and loads the modules of a package from its image. `final` ones are not compared with sources."""

    def __init__(
        self, folder: str, index: tuple[bool, dict[str, Entry], dict[str, Group]], data: Data, base: int
    ) -> None:
        final, entries, groups = index
        self._folder = folder
        self._entries = entries
        self.groups = groups
        self._data = data
        self._base = base  # where the code begins in the data
        self._final = final

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Return where a module comes from; None when it is not here, or its source is newer."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        if not self._is_fresh(entry):
            return None
        return self._spec(name, entry)

    def preload(self, group: str) -> None:
        """Make all modules of a group, unless one of them has changed since."""
        names, start, end = self.groups[group]
        if not all(self._is_fresh(self._entries[name]) for name in names):
            return
        for name, code in zip(names, self._load(start, end), strict=True):
            if name not in sys.modules:
                self._make(name, code)

    def _make(self, name: str, code: CodeType) -> None:
        """Do what an import does, for a module whose own imports are there."""
        spec = self._spec(name, self._entries[name])
        module = _Module(name)
        module.__spec__ = spec
        module.__loader__ = self  # type: ignore[assignment] # as above
        module.__file__ = spec.origin
        module.__package__ = spec.parent
        if spec.submodule_search_locations is not None:
            module.__path__ = spec.submodule_search_locations
        sys.modules[name] = module
        try:
            exec(code, module.__dict__)  # noqa: S102 - what an importer does
        except BaseException:
            del sys.modules[name]
            raise
        above, _, last = name.rpartition(".")
        if above:
            setattr(sys.modules[above], last, module)

    def _is_fresh(self, entry: Entry) -> bool:
        return self._final or stamp(f"{self._folder}/{entry[1]}") == (entry[2], entry[3])

    def _spec(self, name: str, entry: Entry) -> ModuleSpec:
        package, path = entry[0], f"{self._folder}/{entry[1]}"
        spec = _Spec(name, self, origin=path, is_package=package)  # type: ignore[arg-type] # a loader by its methods
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [path.rpartition("/")[0]]
        return spec

    def close(self) -> None:
        """Close the data; nothing more is loaded."""
        self._data.close()

    def create_module(self, _spec: ModuleSpec) -> ModuleType | None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code in it."""
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102 - what an importer does

    def get_code(self, name: str) -> CodeType:
        """Return the code of a module that is in the image."""
        *_, start, end = self._entries[name]
        code: CodeType = self._load(start, end)
        return code

    def _load(self, start: int, end: int) -> Any:
        """Return what the data has there; it is as trusted as the sources beside it."""
        try:
            data = self._data[self._base + start : self._base + end]
        except OSError as error:
            raise ImportError(f"{self._folder}/{NAME}: {error.strerror}") from error
        return marshal.loads(data)  # noqa: S302


class LateSite:
    """Has `site` run once, when nobody else finds a module: it may be where a .pth file says.

    The launcher puts it last; drop() takes it away, since a confined process cannot run what .pth files say.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return where the module is with all that site adds."""
        if path is not None:
            return None
        sys.meta_path.remove(self)
        import site

        site.main()
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path)
        return next((spec for spec in specs if spec is not None), None)


def use() -> None:
    """Import this package from its image, if one that fits is there; the launcher may have done so."""
    if any(isinstance(finder, Image) for finder in sys.meta_path):
        return
    folder = __file__.rpartition("/")[0]
    try:
        fd = posix.open(f"{folder}/{NAME}", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return
    # Who started us without standard input gets this number for it: control.signals fills it, not we.
    try:
        image = read(folder, File(fd)) if fd > 2 else None
    except OSError:
        image = None
    if image is None:
        posix.close(fd)
    else:
        sys.meta_path.insert(0, image)


def preload(group: str) -> None:
    """Import a group from the image in use, if there is one."""
    for finder in sys.meta_path:
        if isinstance(finder, Image):
            finder.preload(group)


def drop() -> None:
    """Import from files again, and from nowhere else."""
    from stratovirt.errors import Naming

    for finder in [finder for finder in sys.meta_path if isinstance(finder, (Image, LateSite))]:
        sys.meta_path.remove(finder)
        if isinstance(finder, Image):
            with Naming(NAME):
                finder.close()


def read(folder: str, data: Data) -> Image | None:
    """Return the image of the package in a folder, which owns the data; None when it is not this Python's."""
    ours = head()
    start = bytes(data[0 : len(ours) + SIZE_LENGTH])
    size = start[len(ours) :]
    if not start.startswith(ours) or len(size) != SIZE_LENGTH:
        return None
    base = len(start) + int.from_bytes(size, "little")
    try:
        index = marshal.loads(data[len(start) : base])  # noqa: S302 - as above
    except (EOFError, ValueError, TypeError):
        return None
    return Image(folder, index, data, base)


def stamp(path: str) -> tuple[int, int]:
    """Return a file's time in ns and size, by which a changed source is known."""
    try:
        status = posix.stat(path)
    except OSError:
        return -1, -1
    return status.st_mtime_ns, status.st_size


def head() -> bytes:
    """Return what an image begins with: whose byte code it is (marshal and byte code differ by version)."""
    return f"stratovirt image {FORMAT} {sys.implementation.cache_tag} {sys.hexversion:#x}\n".encode()
