"""`stratovirt doctor`: what this host has for machines, and what to do about what it has not."""

from __future__ import annotations

import os

from stratovirt.builder.memory import POOLS, pool_of
from stratovirt.devices import tables
from stratovirt.errors import StratovirtError
from stratovirt.units import KIB, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def report() -> tuple[str, bool]:
    """Return the lines of a report, and whether machines can run here."""
    able = _problem(_try_machines)
    rows = [("machines", able), *((name, _problem(probe)) for name, probe in _uses())]
    width = max(len(name) for name, _ in rows) + 2
    lines = []
    for name, problem in rows:
        if problem is None:
            lines.append(f"{name:{width}}yes")
            continue
        lines.append(f"{name:{width}}no: {problem.message.removeprefix(f'{name}: ')}")
        if problem.hint:
            lines.append(f"{'':{width}}    {problem.hint}")
    lines += (f"{'huge pages':{width}}{pool}" for pool in _pools())
    return "\n".join(lines), able is None


def _try_machines() -> None:
    from stratovirt.core import kvm
    from stratovirt.machine import board

    board.load(os.uname().machine, "microvm")
    os.close(kvm.open_device())


def _uses() -> Iterator[tuple[str, Callable[[], None]]]:
    for table in tables().values():
        yield from table.uses().items()


def _problem(probe: Callable[[], None]) -> StratovirtError | None:
    try:
        probe()
    except StratovirtError as error:
        return error
    return None


def _pools() -> Iterator[str]:
    """Yield what is free of each kind of huge pages that the host's kernel knows."""
    try:
        pools = sorted(os.listdir(POOLS), key=_page_size)
    except OSError:
        return
    for pool in pools:
        free, total = pool_of(f"{POOLS}/{pool}")
        yield f"{free} free of {total}, {format_size(_page_size(pool))} each"


def _page_size(pool: str) -> int:
    return int(pool.removeprefix("hugepages-").removesuffix("kB")) * KIB
