"""Chapters 2 and 3 of the guidebook, row by row, with the tests that show each: docs/guidebook.md.

A test says what it shows by `@pytest.mark.guidebook("2.2 serial_num", ...)`; `python -m
tests.contract.guidebook` writes the table.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "guidebook.md"

ROWS = {
    "2 devices": "16 devices at once on x86_64; a guest without ACPI finds 11",
    "2.1 id": "iothread: any number up to 8, shared by devices",
    "2.2 drive_id": "drive: the id that -device and device_del take",
    "2.2 path_on_host": "drive: the image on the host",
    "2.2 serial_num": "drive: the serial number that the guest sees",
    "2.2 read_only": "drive: the guest may only read",
    "2.2 direct": "drive: O_DIRECT, with any buffer of the guest",
    "2.2 iothread": "drive: served by the named thread",
    "2.2 iops": "drive: operations each second",
    "2.2 names": "drive: vda to vdz in order, as a root file system too",
    "2.2 pci": "drive: on PCI (described and checked; run by a later version)",
    "2.3 netid": "net: the id that device_del takes",
    "2.3 host_dev_name": "net: the tap on the host",
    "2.3 mac": "net: the address that the guest sees",
    "2.3 iothread": "net: served by the named thread",
    "2.3 vhost": "net: served by vhost-net",
    "2.3 how-to": "net: -netdev id=net-0,netdev=tap0, reachable both ways",
    "2.3 pci": "net: on PCI (described and checked; run by a later version)",
    "2.4 console_id": "console: hvc0 and up, each by its id",
    "2.4 socket_path": "console: a Unix socket on the host",
    "2.5 vsock_id": "vsock: the device",
    "2.5 guest_cid": "vsock: the context id, in its range",
    "2.5 one": "vsock: one in a machine",
    "2.5 pci": "vsock: on PCI (described and checked; run by a later version)",
    "2.6 stdio": "serial: on standard input and output",
    "2.7 deflate_on_oom": "balloon: deflates when the guest runs out of memory",
    "2.7 pci": "balloon: on PCI (described and checked; run by a later version)",
    "2.8 random_file": "rng: the source on the host",
    "2.8 bytes_per_sec": "rng: bytes each second",
    "2.9 root port": "PCIe root port (described and checked; run by a later version)",
    "2.10 pflash": "PFlash (described and checked; run by a later version)",
    "3.1 creation": "-qmp is asked for, and makes the socket",
    "3.2 connection": "the greeting",
    "3.3.1 stop": "stop and its event",
    "3.3.2 cont": "cont and its event",
    "3.3.3 quit": "quit and its event",
    "3.3.4 query-status": "query-status",
    "3.3.5 getfd": "getfd over SCM_RIGHTS",
    "3.4.1 block": "hot replace of a disk",
    "3.4.2 net": "hot replace of a card",
    "3.5.1 balloon": "the balloon's target",
    "3.5.2 query-balloon": "the guest's memory",
    "3.6 events": "SHUTDOWN, STOP, RESUME, DEVICE_DELETED",
    "3.7 flow control": "100 commands each second",
}


def shown() -> dict[str, list[str]]:
    """Return the tests that show each row; a row that no list knows stands among them too."""
    found: dict[str, list[str]] = {row: [] for row in ROWS}
    for path in sorted(ROOT.glob("tests/**/test_*.py")):
        for row, test in _marks(ast.parse(path.read_text())):
            found.setdefault(row, []).append(f"{path.relative_to(ROOT)}::{test}")
    return found


def _marks(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.guidebook":
                for argument in mark.args:
                    assert isinstance(argument, ast.Constant)
                    yield str(argument.value), node.name


def text() -> str:
    """Return the table."""
    lines = [
        "# The guidebook, shown",
        "",
        "Every row of chapters 2 and 3 and the tests that show it. Generated: `make contracts`.",
        "Tests in `tests/guest` run Linux's own drivers, unless they say tiny.",
        "",
        "| row | what | shown by |",
        "|---|---|---|",
    ]
    known = shown()
    for row, what in ROWS.items():
        tests = "<br>".join(f"`{test}`" for test in known[row]) or "nothing yet"
        lines.append(f"| {row} | {what} | {tests} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(text())
