"""A file system of one file, `disk`, whose reads, writes and flushes fail when a test says so (fuse(4)).

What fails is the host's kernel, whoever asks it: io_uring as well as plain calls.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

# <linux/fuse.h>: operations, and the sizes of what comes before their data.
LOOKUP, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 3, 4, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT = 20, 25, 26
UNANSWERED = {2, 36, 42}  # FORGET, INTERRUPT, BATCH_FORGET
HEADER = struct.Struct("<IIQQIIII")  # fuse_in_header
ANSWER = struct.Struct("<IiQ")  # fuse_out_header
RANGE = struct.Struct("<QQI20x")  # fuse_read_in, fuse_write_in: handle, offset, size
ATTRIBUTES = struct.Struct("<QQQ36xIIIIIII")  # fuse_attr; the times are 0
DIRECT_IO = 1  # FOPEN_DIRECT_IO: no page cache hides a fault
VERSION = (7, 31)
MAX_WRITE = 128 << 10
FOLDER, FILE = 1, 2  # the two nodes


class FaultyDisk:
    """The file system, mounted at a folder for a block; a test that cannot have it is skipped."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.path = folder / "disk"
        self.faults = {READ: 0, WRITE: 0, FSYNC: 0}  # the error of each operation, 0 for none
        self._content = bytearray(size)
        self._fd = -1
        self._server = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> FaultyDisk:
        self.folder.mkdir()
        try:
            self._fd = os.open("/dev/fuse", os.O_RDWR)
        except OSError:
            pytest.skip("needs /dev/fuse")
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0"
        place = os.fsencode(self.folder)
        # Not mount(8), which may look at the folder before there is somebody who answers.
        if ctypes.CDLL(None).mount(b"faulty", place, b"fuse", 0, options.encode()) != 0:
            os.close(self._fd)
            pytest.skip("needs root")
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)
        self._server.join()
        os.close(self._fd)

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, MAX_WRITE + 4096)
            except OSError as ended:
                if ended.errno == errno.ENODEV:  # it is not mounted any more
                    return
                raise
            _, operation, number, node, *_ = HEADER.unpack_from(request)
            if operation in UNANSWERED:
                continue
            error, data = self._answer(operation, node, request[HEADER.size :])
            os.write(self._fd, ANSWER.pack(ANSWER.size + len(data), -error, number) + data)

    def _answer(self, operation: int, node: int, body: bytes) -> tuple[int, bytes]:
        """Return the error and the answer to a request."""
        if self.faults.get(operation):
            return self.faults[operation], b""
        if operation == LOOKUP:
            found = struct.pack("<QQQQII", FILE, 0, 0, 0, 0, 0) + self._attributes(FILE)
            return (0, found) if body == b"disk\0" else (errno.ENOENT, b"")
        if operation in {READ, WRITE}:
            return 0, self._move(operation, body)
        answers: dict[int, Callable[[], bytes]] = {
            INIT: lambda: struct.pack("<IIIIHHIIHHI28x", *VERSION, 0, 0, 0, 0, MAX_WRITE, 1, 0, 0, 0),
            GETATTR: lambda: bytes(16) + self._attributes(node),
            SETATTR: lambda: bytes(16) + self._attributes(node),
            OPEN: lambda: struct.pack("<QII", 0, DIRECT_IO, 0),
            STATFS: lambda: bytes(40) + struct.pack("<III28x", 4096, 255, 4096),
            **dict.fromkeys((FSYNC, FLUSH, RELEASE), lambda: b""),
        }
        return (0, answers[operation]()) if operation in answers else (errno.ENOSYS, b"")

    def _move(self, operation: int, body: bytes) -> bytes:
        _, offset, size = RANGE.unpack_from(body)
        if operation == READ:
            return bytes(self._content[offset : offset + size])
        self._content[offset : offset + size] = body[RANGE.size : RANGE.size + size]
        return struct.pack("<II", size, 0)

    def _attributes(self, node: int) -> bytes:
        size, mode = (len(self._content), 0o100600) if node == FILE else (0, 0o040700)
        return ATTRIBUTES.pack(node, size, size // 512, mode, 1, 0, 0, 0, 4096, 0)
