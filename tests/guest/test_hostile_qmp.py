"""QMP clients that mean no good, or are gone, and a machine that runs: after each it is as it was before."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from stratovirt.virtio import tap as tun
from tests.contract.mutations import DONE
from tests.guest.replacer import Replacer
from tests.guest.victim import SERVED_S, STATUS, Victim, read_to_the_end, send_all, sent_until_refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.kvm

MIB = 1 << 20
HUNDRED_MB = 100 * MIB
CONNECTIONS = 1000
QUEUED = 120  # the socket's queue holds 128
RIGHTS_AT_ONCE = 253  # SCM_MAX_FD of the kernel
COMMANDS = sorted(DONE.keys() - {"quit"})


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    """Return a machine; when the test is over it still works, serves at once and holds what it held."""
    with Victim(tmp_path) as running:
        yield running


def test_a_client_that_never_reads_is_disconnected(victim: Victim) -> None:
    victim.growth_kib = 12 << 10
    request = b'{"execute":"query-status","id":"' + b"x" * 60_000 + b'"}'
    with victim.knock() as client:
        assert sent_until_refused(client, request, 40 * MIB) < 40 * MIB


def test_a_client_that_reads_nothing_and_stays_delays_nobody(victim: Victim) -> None:
    victim.growth_kib = 12 << 10
    with victim.knock(), victim.knock() as deaf:
        for _ in range(30):  # more than a socket holds, less than it is disconnected for
            deaf.sendall(b'{"execute":"query-status","id":"' + b"x" * 60_000 + b'"}')
        assert victim.served_s() < SERVED_S


@pytest.mark.parametrize("sent", [b"", b'{"execute":"query-sta', STATUS, STATUS * 50])
def test_a_client_that_half_closes_gets_its_answers_and_the_end(sent: bytes, victim: Victim) -> None:
    with victim.knock() as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        _greeting, *replies = read_to_the_end(client).splitlines()

    kinds = [next(iter(json.loads(reply))) for reply in replies]
    assert kinds == (["return"] * sent.count(b"}") or ["error"] * bool(sent))


def test_a_thousand_clients_come_and_go(victim: Victim) -> None:
    for number in range(CONNECTIONS):
        with victim.knock() as client, contextlib.suppress(BrokenPipeError):
            client.sendall((b"", STATUS, b"garbage", b'{"execute":')[number % 4])
            if number % 3 == 0:
                client.shutdown(socket.SHUT_WR)
        if number % 100 == 0:
            victim.works()
    victim.connect().close()  # when the last of them is through


@pytest.mark.parametrize(
    ("begin", "filling"),
    [
        (b'{"execute":"', b"x" * MIB),
        (b'{"execute":"', b"\\n" * (MIB // 2)),
        (b'{"execute":"query-status","id":', b"1" * MIB),
        (b'{"execute":"query-status","id":[', b"1," * (MIB // 2)),
        (b'{"a":', b"[" * MIB),
        (b"", b'{"a":' * (MIB // 5)),
        (b"{", b" " * MIB),
    ],
    ids=["string", "escapes", "number", "values", "arrays", "objects", "spaces"],
)
def test_a_hundred_megabytes_in_one_line_are_one_error(begin: bytes, filling: bytes, victim: Victim) -> None:
    victim.growth_kib = 8192
    with victim.knock() as client:
        client.makefile("rb").readline()
        client.sendall(begin)
        for _ in range(HUNDRED_MB // len(filling)):
            client.sendall(filling)
        client.sendall(b"\n" + STATUS)
        error, answer = (json.loads(line) for line in _lines(client, 2))

    assert error["error"]["class"] == "GenericError"
    assert answer["return"]["running"]


def test_a_hundred_megabytes_that_begin_nothing_are_errors(victim: Victim) -> None:
    victim.growth_kib = 8192
    with victim.knock() as client:
        send_all(client, [b"x" * MIB] * (HUNDRED_MB // MIB))


@pytest.mark.parametrize("said", [b"", STATUS, STATUS * 90, b"garbage", b"[" * 100_000, b"\0" * 100_000])
def test_a_full_queue_of_clients_that_left_holds_nobody_up(said: bytes, victim: Victim) -> None:
    clients = victim.fill()
    for _ in range(QUEUED):
        with victim.knock() as client:
            client.setblocking(False)  # noqa: FBT003
            with contextlib.suppress(BlockingIOError):
                client.send(said)
    for one in clients:
        one.close()


def test_clients_in_a_full_queue_are_served_one_after_another(victim: Victim) -> None:
    clients = victim.fill()
    queue = [victim.knock() for _ in range(QUEUED)]
    for one in clients:
        one.close()
    for client in queue:
        with client, client.makefile("rb") as replies:
            assert b"QMP" in replies.readline()
            client.sendall(STATUS)
            assert json.loads(replies.readline())["return"]["running"]


def test_descriptors_that_nobody_asked_for_are_closed(victim: Victim) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    rights = [null] * RIGHTS_AT_ONCE
    client = victim.knock()
    for number, command in enumerate(COMMANDS):
        request = json.dumps({"execute": command}).encode()
        socket.send_fds(client, [request], rights)
        for byte in request[:10]:
            socket.send_fds(client, [bytes([byte])], rights)
        client.sendall(b"\n")
        if number % 5 == 0:
            client.close()
            client = victim.knock()
    client.close()
    os.close(null)
    _go_on(victim)


def _go_on(victim: Victim) -> None:
    """Let a machine that `stop` may have stopped run on."""
    qmp = victim.connect()
    if not qmp.call("query-status")["running"]:
        qmp.call("cont")
    qmp.close()


@pytest.mark.parametrize("reads", [True, False], ids=["closes", "reads-no-more"])
def test_a_client_may_leave_in_the_middle_of_any_command(reads: bool, victim: Victim) -> None:  # noqa: FBT001
    for command in COMMANDS:
        request = json.dumps({"execute": command, "id": "x" * 1000}).encode()
        for end in (1, len(request) // 2, len(request) - 1, len(request)):
            with victim.knock() as client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if not reads:
                    client.shutdown(socket.SHUT_RD)
                client.sendall(request[:end])
    _go_on(victim)


def test_hot_replace_in_any_order_with_any_arguments_ends_where_it_began(
    victim: Victim, taps: tuple[list[str], list[int]]
) -> None:
    names, fds = taps
    replacer = Replacer(victim.folder, 3, names, fds)
    for _ in range(20):
        with victim.knock() as client:
            for _ in range(90):
                replacer.send_one(client)
            client.shutdown(socket.SHUT_WR)
            replacer.note(read_to_the_end(client))
        victim.works()
    replacer.undo(victim.connect)

    often = set(replacer.commands) if names else {"blockdev-add", "blockdev-del", "getfd", "closefd"}
    assert min(replacer.done[command] for command in often) >= 10
    assert min(replacer.refused[command] for command in replacer.commands) >= 10


@pytest.fixture
def taps() -> Iterator[tuple[list[str], list[int]]]:
    """Yield names of taps, and descriptors to pass; where taps cannot be made, none and such of /dev/null."""
    null = os.open("/dev/null", os.O_RDWR)
    names = [f"svr{os.getpid()}"] if os.geteuid() == 0 and os.path.exists(tun.CLONE_DEVICE) else []
    fds = [null]
    for name in names:
        subprocess.run(["ip", "tuntap", "add", name, "mode", "tap"], check=True)
        tap = os.open(tun.CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK)
        flags = tun.IFF_TAP | tun.IFF_NO_PI | tun.IFF_VNET_HDR
        fcntl.ioctl(tap, tun.TUNSETIFF, struct.pack("16sH22x", f"{name}f".encode(), flags))
        fds.append(tap)
    yield names, fds
    for fd in fds:
        os.close(fd)
    for name in names:
        subprocess.run(["ip", "link", "delete", name], check=True)


def _lines(client: socket.socket, count: int) -> list[bytes]:
    found = b""
    while found.count(b"\n") < count:
        piece = client.recv(1 << 16)
        assert piece, found
        found += piece
    return found.splitlines()
