"""What connects a guest with the host: cards, vsock, folders; for crosscheck.py.

As there: looks at the document only, and codes of the SV4 series are warnings.
"""

from __future__ import annotations

from stratovirt.record import Problem
from stratovirt.units import is_card_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from stratovirt.devices.net import Net
    from stratovirt.document.vm import Vm
    from stratovirt.record import Path

    Check = Callable[[Vm], Iterator[Problem]]

NET_QUEUES_MAX = 16


def twice(pairs: Iterable[tuple[Path, str]], code: str, what: str) -> Iterator[Problem]:
    """Tell of each place that says a value which an earlier one says already."""
    seen: dict[str, Path] = {}
    for where, value in pairs:
        if value in seen:
            yield Problem(code, where, f"{what} '{value}' is used by {'.'.join(seen[value][:-1])} already")
        seen.setdefault(value, where)


def _nets(vm: Vm) -> Iterator[Problem]:
    for name, net in vm.net.items():
        where = ("net", name)
        if net.tap is None and not net.fds:
            yield Problem("SV318", where, f"net '{name}' has neither a tap nor fds", help='add tap = "tap0"')
        yield from _net_descriptors(name, net)
        if net.mac is not None and not is_card_mac(net.mac):
            why = f"{net.mac} is the address of a group, or of nobody"
            yield Problem("SV319", (*where, "mac"), why, help='name one like "52:54:00:12:34:56", or none')
        if net.vhostfds and net.vhost is False:
            yield Problem("SV402", (*where, "vhostfds"), "vhostfds without vhost have no effect")
        if net.iothread is not None and net.vhost is not False:
            yield _no_thread(where, certain=net.vhost is True)
    yield from twice(
        [(("net", n, "mac"), v.mac.lower()) for n, v in vm.net.items() if v.mac], "SV320", "the address"
    )
    yield from twice([(("net", n, "tap"), v.tap) for n, v in vm.net.items() if v.tap], "SV321", "the tap")


def _net_descriptors(name: str, net: Net) -> Iterator[Problem]:
    if len(net.fds) > NET_QUEUES_MAX:
        yield Problem("SV330", ("net", name, "fds"), f"{len(net.fds)} descriptors, at most {NET_QUEUES_MAX}")
    elif net.fds and net.queues not in {1, len(net.fds)}:
        yield Problem(
            "SV330", ("net", name, "queues"), f"{net.queues} queues and {len(net.fds)} tap descriptors"
        )
    elif net.vhostfds and len(net.vhostfds) != net.pairs():
        yield Problem(
            "SV330",
            ("net", name, "vhostfds"),
            f"{len(net.vhostfds)} vhost descriptors for {net.pairs()} pairs of queues",
            help="give one for each pair",
        )


def _vsock(vm: Vm) -> Iterator[Problem]:
    vsock = vm.vsock
    if vsock is None:
        return
    if vsock.backend == "unix" and vsock.socket is None:
        yield Problem(
            "SV340", ("vsock",), "vsock by Unix sockets has no socket", help="set `socket` in [vsock]"
        )
    if vsock.backend == "unix" and vsock.vhostfd is not None:
        yield Problem("SV341", ("vsock", "vhostfd"), "vhostfd and Unix sockets exclude each other")
    elif vsock.socket is not None and (vsock.backend == "vhost" or vsock.vhostfd is not None):
        yield Problem("SV420", ("vsock", "socket"), "with vhost the socket has no effect")
    if vsock.iothread is not None and vsock.backend != "unix":
        certain = vsock.backend == "vhost" or vsock.vhostfd is not None or vsock.socket is None
        yield _no_thread(("vsock",), certain=certain)


def _folders(vm: Vm) -> Iterator[Problem]:
    yield from twice([(("fs", n, "tag"), v.tag) for n, v in vm.fs.items()], "SV342", "the tag")
    if vm.fs and vm.memory.path is not None and not vm.memory.share:
        why = "memory is shared with the daemon of a folder: a file at this path is written"
        yield Problem("SV421", ("memory", "path"), why, help="say share = true, or take the path out")


def _no_thread(where: Path, *, certain: bool) -> Problem:
    when = "" if certain else " where the host has it"
    return Problem("SV403", (*where, "iothread"), f"an iothread has no effect with vhost{when}")


CHECKS: tuple[Check, ...] = (_nets, _vsock, _folders)
