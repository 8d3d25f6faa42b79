"""The initramfs writer: what cpio itself reads back, and the same bytes every time."""

from __future__ import annotations

import gzip
import stat
from typing import TYPE_CHECKING

from tests.rig import cpio

if TYPE_CHECKING:
    from pathlib import Path


def test_a_record_has_the_fields_of_newc_and_is_padded_to_four_bytes() -> None:
    archive = cpio.pack([cpio.plain("abc", b"12345", mode=0o640)])

    header = archive[:110]
    assert header[:6] == b"070701"
    assert int(header[14:22], 16) == stat.S_IFREG | 0o640
    assert int(header[54:62], 16) == 5
    assert int(header[94:102], 16) == 4
    assert archive[110:114] == b"abc\0"
    assert archive[116:124] == b"12345\0\0\0"[:8]


def test_an_archive_ends_with_the_trailer_the_kernel_waits_for() -> None:
    assert b"TRAILER!!!\0" in cpio.pack([])[-16:]


def test_the_same_nodes_give_the_same_file(tmp_path: Path) -> None:
    nodes = [cpio.folder("bin"), cpio.program("bin/x", b"#!"), cpio.link("bin/y", "x")]
    cpio.write(tmp_path / "one", nodes)
    cpio.write(tmp_path / "two", nodes)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert gzip.decompress((tmp_path / "one").read_bytes()) == cpio.pack(nodes)


def test_a_tree_lists_folders_before_what_they_hold_and_keeps_links(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a").write_bytes(b"data")
    (tmp_path / "lib" / "b").symlink_to("a")

    nodes = cpio.tree(tmp_path)

    assert [node.name for node in nodes] == ["lib", "lib/a", "lib/b"]
    assert stat.S_ISLNK(nodes[2].mode)
    assert nodes[2].data == b"a"
