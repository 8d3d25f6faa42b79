"""Writes initramfs archives: "newc" cpio (Linux, driver-api/early-userspace/buffer-format.rst)."""

from __future__ import annotations

import gzip
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TRAILER = "TRAILER!!!"


@dataclass(frozen=True)
class Node:
    """One file of an archive; `mode` has the file type, and a link's data is its target."""

    name: str
    mode: int
    data: bytes = b""


def folder(name: str) -> Node:
    """Return a folder."""
    return Node(name, stat.S_IFDIR | 0o755)


def plain(name: str, data: bytes, *, mode: int = 0o644) -> Node:
    """Return a plain file."""
    return Node(name, stat.S_IFREG | mode, data)


def program(name: str, data: bytes) -> Node:
    """Return an executable file."""
    return plain(name, data, mode=0o755)


def link(name: str, target: str) -> Node:
    """Return a symbolic link."""
    return Node(name, stat.S_IFLNK | 0o777, target.encode())


def tree(root: Path) -> list[Node]:
    """Return all that a folder holds, parents first, in an order that does not depend on the disk."""
    nodes = []
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            nodes.append(link(name, str(path.readlink())))
        elif path.is_dir():
            nodes.append(folder(name))
        else:
            nodes.append(plain(name, path.read_bytes(), mode=path.stat().st_mode & 0o777))
    return nodes


def pack(nodes: Iterable[Node]) -> bytes:
    """Return the archive; the same nodes always give the same bytes."""
    chunks = [_record(number, node) for number, node in enumerate(nodes, start=1)]
    chunks.append(_record(0, Node(TRAILER, 0)))
    return b"".join(chunks)


def write(path: Path, nodes: Iterable[Node]) -> None:
    """Write a gzip-compressed archive."""
    path.write_bytes(gzip.compress(pack(nodes), compresslevel=6, mtime=0))


def _record(inode: int, node: Node) -> bytes:
    name = node.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(node.mode) else 1
    fields = (inode, node.mode, 0, 0, links, 0, len(node.data), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % value for value in fields)
    return _padded(header + name) + _padded(node.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
