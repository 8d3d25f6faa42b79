"""The start image: the code of every module in one file, so that a start reads one file instead of seventy.

`make core` writes it beside the modules of a checkout, where a module that changed since is read from its
source as if there were no image (but for this one, which the launcher carries); a wheel carries one that is
final. Without an image, or with one of another Python, everything is imported as usual.
docs/decisions/0003-start-image.md has the figures.

What every start needs is in the file a second time, as groups: lists of modules, each behind what it imports,
which `preload` makes in one go. The order is read off the sources' import statements.
"""

from __future__ import annotations

import marshal
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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
FORMAT = 3
_HOST = posix.uname().machine
# What a start imports inside of functions, or by name: the import statements lead from here to all the rest.
START = (
    "start", "sandbox", "control.signals", "control.listener", "builder.build", f"boot.{_HOST}.plan",
    f"machine.{_HOST}.microvm", "virtio.network_card",
)  # fmt: skip
# The devices come first: the document looks for them while it is made.
GROUPS = {
    "flags": ("devices.*", "compat.translate", "compat.devices", "compat.sections", *START),
    "profile": ("devices.*", "document.loader", "document.plain_toml", "document.positions", *START),
}
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
        return self._final or _stamp(f"{self._folder}/{entry[1]}") == (entry[2], entry[3])

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
    head = _head()
    start = bytes(data[0 : len(head) + SIZE_LENGTH])
    size = start[len(head) :]
    if not start.startswith(head) or len(size) != SIZE_LENGTH:
        return None
    base = len(start) + int.from_bytes(size, "little")
    try:
        index = marshal.loads(data[len(start) : base])  # noqa: S302 - as above
    except (EOFError, ValueError, TypeError):
        return None
    return Image(folder, index, data, base)


def build(folder: str, package: str, *, final: bool, groups: Mapping[str, tuple[str, ...]] = GROUPS) -> bytes:
    """Return the image of a package whose modules are below a folder."""
    entries: dict[str, Entry] = {}
    sources: dict[str, bytes] = {}
    compiled: dict[str, CodeType] = {}
    codes = bytearray()
    for name, is_package, below in _modules(folder, package):
        path = f"{folder}/{below}"
        with open(path, "rb") as file:
            sources[name] = file.read()
        compiled[name] = compile(sources[name], f"{package}/{below}", "exec", dont_inherit=True)
        mtime, size = (0, 0) if final else _stamp(path)
        start, end = _append(codes, compiled[name])
        entries[name] = (is_package, below, mtime, size, start, end)
    made: dict[str, Group] = {}
    for group, roots in groups.items():
        order = _order(sources, package, roots)
        made[group] = (order, *_append(codes, [compiled[name] for name in order]))
    index = marshal.dumps((final, entries, made))
    return _head() + len(index).to_bytes(SIZE_LENGTH, "little") + index + codes


def _modules(folder: str, package: str) -> Iterator[tuple[str, bool, str]]:
    """Yield name, whether it is a package, and file below the folder of each module."""
    import os  # only who builds an image needs it

    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if os.path.exists(f"{where}/{name}/__init__.py"))
        for file in sorted(name for name in files if name.endswith(".py")):
            below = os.path.relpath(f"{where}/{file}", folder)
            names = [package, *below.removesuffix(".py").split("/")]
            is_package = names[-1] == "__init__"
            yield ".".join(names[:-1] if is_package else names), is_package, below


def _append(codes: bytearray, what: CodeType | list[CodeType]) -> tuple[int, int]:
    """Store something behind the others; return from where to where it is."""
    start = len(codes)
    codes += marshal.dumps(what)
    return start, len(codes)


def _order(sources: dict[str, bytes], package: str, roots: tuple[str, ...]) -> list[str]:
    """Return what the roots need, each module behind what it imports. A root `room.*` is all of a room."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name not in sources or name in seen:
            return
        above = name.rpartition(".")[0]
        visit(above)
        if above and above not in order:
            return  # a package that imports its own modules: they come while it is made
        seen.add(name)
        for needed in _imports(sources[name]):
            visit(needed)
        order.append(name)

    for root in roots:
        full = f"{package}.{root}"
        room = full.removesuffix("*")
        for name in sorted(sources) if full.endswith(".*") else [full]:
            if name == full or (room != full and name.startswith(room)):
                visit(name)
    return order


def _imports(source: bytes) -> list[str]:
    """Return what a module imports when it is itself imported; a name that is no module is among them too."""
    import ast  # only who builds an image needs it

    found: list[str] = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Import):
            found += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            found += [statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names)]
    return found


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = posix.stat(path)
    except OSError:
        return -1, -1
    return status.st_mtime_ns, status.st_size


def _head() -> bytes:
    """Return what an image begins with: whose byte code it is (marshal and byte code differ by version)."""
    return f"stratovirt image {FORMAT} {sys.implementation.cache_tag} {sys.hexversion:#x}\n".encode()


def main() -> None:
    """Write the image of the checkout."""
    import os

    folder = os.path.dirname(os.path.abspath(__file__))
    with open(f"{folder}/{NAME}.part", "wb") as file:
        file.write(build(folder, "stratovirt", final=False))
    posix.replace(f"{folder}/{NAME}.part", f"{folder}/{NAME}")


if __name__ == "__main__":
    main()
