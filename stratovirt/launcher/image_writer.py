"""Writes the start image (image.py): the order of its groups is read off the sources' import statements.

`make core` and setup.py run it.
"""

from __future__ import annotations

import ast
import marshal
import os
from pathlib import Path
from typing import TYPE_CHECKING

from stratovirt import image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import CodeType

    from stratovirt.image import Entry, Group

_HOST = os.uname().machine
# What a start imports inside of functions, or by name: the import statements lead from here to all the rest.
START = (
    "start", "sandbox.confinement", "control.signals", "control.listener", "builder.build",
    f"boot.{_HOST}.plan", f"machine.{_HOST}.microvm", "virtio.network_card",
)  # fmt: skip
# The devices come first: the document looks for them while it is made.
GROUPS = {
    "command": ("errors", "log", "cli"),  # before every other one, which leaves out what is in it
    "flags": ("devices.*", "compat.translate", "compat.devices", "compat.sections", *START),
    "profile": ("devices.*", "document.loader", "document.plain_toml", "document.positions", *START),
}


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
        mtime, size = (0, 0) if final else image.stamp(path)
        start, end = _append(codes, compiled[name])
        entries[name] = (is_package, below, mtime, size, start, end)
    made: dict[str, Group] = {}
    there = _order(sources, package, groups.get("command", ()))
    for group, roots in groups.items():
        order = [name for name in _order(sources, package, roots) if group == "command" or name not in there]
        bare = [_without_annotations(sources[name], f"{package}/{entries[name][1]}") for name in order]
        made[group] = (order, *_append(codes, bare))
    index = marshal.dumps((final, entries, made))
    return image.head() + len(index).to_bytes(image.SIZE_LENGTH, "little") + index + codes


def _modules(folder: str, package: str) -> Iterator[tuple[str, bool, str]]:
    """Yield name, whether it is a package, and file below the folder of each module."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if os.path.exists(f"{where}/{name}/__init__.py"))
        for file in sorted(name for name in files if name.endswith(".py")):
            below = os.path.relpath(f"{where}/{file}", folder)
            names = [package, *below.removesuffix(".py").split("/")]
            is_package = names[-1] == "__init__"
            yield ".".join(names[:-1] if is_package else names), is_package, below


class _FunctionsBare(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def _without_annotations(source: bytes, path: str) -> CodeType:
    """Return a module's code; its functions do not say their types, which nobody asks a start for."""
    return compile(_FunctionsBare().visit(ast.parse(source)), path, "exec", dont_inherit=True)


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
    found: list[str] = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Import):
            found += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            found += [statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names)]
    return found


def main() -> None:
    """Write the image of the checkout."""
    target = Path(image.__file__).with_name(image.NAME)
    part = target.with_suffix(".part")
    part.write_bytes(build(str(target.parent), "stratovirt", final=False))
    part.replace(target)


if __name__ == "__main__":
    main()
