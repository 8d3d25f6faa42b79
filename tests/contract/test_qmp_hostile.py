"""Clients that mean no good, or are gone: the machine runs on, memory is bounded, the next one is served."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stratovirt.control.qmp.server import CLIENTS_AT_MOST
from stratovirt.control.qmp.session import UNSENT_AT_MOST
from tests.guest.measured import Thread
from tests.unit.control.served import TIMEOUT_S, Client, Served

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUS = '{"execute":"query-status"}'
SERVED_S = 0.1  # how soon the next client has its answer


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Return a machine that must still answer, and soon, when the test is over."""
    with Served(tmp_path / "qmp") as running:
        yield running
        running.hang_up()
        assert seconds_to_be_served(running) < SERVED_S
        client = running.connect()
        assert client.ask('{"execute":"quit"}') == {"return": {}}
        assert running.finish() == (0, "")


def seconds_to_be_served(served: Served, request: bytes | str = STATUS) -> float:
    """Connect and ask; return how long it took, without what the process and we waited for a CPU."""
    threads = [Thread(pid, pid) for pid in (served.process.pid, os.getpid())]
    waited = sum(thread.times()[1] for thread in threads)
    begin = time.monotonic()
    client = served.connect()
    assert client.ask(request)["return"]["running"]
    took = time.monotonic() - begin
    client.close()
    return took - (sum(thread.times()[1] for thread in threads) - waited)


def send_until_refused(client: Client, data: bytes, at_most: int) -> int:
    """Send without ever reading; return how many bytes went out before the other side hung up."""
    client.socket.setblocking(False)  # noqa: FBT003
    sent = 0
    while sent < at_most:
        _, writable, _ = select.select([], [client.socket], [], 20)
        assert writable
        try:
            sent += client.socket.send(data)
        except BlockingIOError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            return sent
    return sent


def private_kib(served: Served) -> int:
    lines = Path(f"/proc/{served.process.pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private"))


DEAREST = b'{"execute":"query-status","id":[' + b"0," * 125_000 + b"0]}"
FLOOD = """
import select, socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.setblocking(False)
message = sys.stdin.buffer.read()
rest = memoryview(message)
while True:
    readable, writable, _ = select.select([client], [client], [])
    if readable and not client.recv(1 << 20):
        break
    if writable:
        rest = rest[client.send(rest):] or memoryview(message)
"""


def test_clients_that_send_the_dearest_messages_delay_another_by_two_of_them_each(served: Served) -> None:
    """One that is answered before the other is let in, and one before it is answered."""
    seconds_to_be_served(served)  # it listens
    dearest = statistics.median(seconds_to_be_served(served, DEAREST) for _ in range(5))
    floods = [
        subprocess.Popen([sys.executable, "-S", "-c", FLOOD, str(served.path)], stdin=subprocess.PIPE)
        for _ in range(CLIENTS_AT_MOST - 1)
    ]
    try:
        for flood in floods:
            assert flood.stdin
            with flood.stdin as stdin:
                stdin.write(DEAREST)
        seconds = [seconds_to_be_served(served) for _ in range(200)]
        assert {flood.poll() for flood in floods} == {None}
    finally:
        for flood in floods:
            flood.kill()
            flood.wait()

    assert statistics.median(seconds) < SERVED_S
    assert max(seconds) < 2 * len(floods) * dearest


def test_a_client_that_never_reads_is_disconnected(served: Served) -> None:
    seconds_to_be_served(served)
    before = private_kib(served)
    client = served.knock()
    request = b'{"execute":"query-status","id":"' + b"x" * 60_000 + b'"}'

    assert send_until_refused(client, request, at_most=1 << 30) < 10 * UNSENT_AT_MOST
    assert private_kib(served) - before < 3 * UNSENT_AT_MOST >> 10


def test_a_hundred_megabytes_in_one_line_cost_one_error(served: Served) -> None:
    client = served.connect()
    client.ask(STATUS)
    before = private_kib(served)
    client.send(b'{"execute":"')
    for _ in range(100):
        client.send(b"x" * (1 << 20))
    error = client.receive()
    client.send("\n")
    after = client.ask(STATUS)

    assert error["error"]["desc"] == "invalid JSON: the message is longer than 262144 bytes"
    assert after["return"]["running"]
    assert private_kib(served) - before < 8192


def test_deep_nesting_is_refused_at_once(served: Served) -> None:
    client = served.connect()
    client.ask(STATUS)
    before = private_kib(served)
    error = client.ask(b'{"a":' + b"[" * 1_000_000 + b"\n")

    assert "nested deeper" in error["error"]["desc"]
    assert client.ask(STATUS)["return"]["running"]
    assert private_kib(served) - before < 1024


def test_long_messages_of_small_values_cost_what_their_values_do(served: Served) -> None:
    client = served.connect()
    client.ask(STATUS)
    before = private_kib(served)
    for item in (b"[]", b"{}", b'"ab"', b'{"a":1}') * 2:
        values = b",".join([item] * (250_000 // (len(item) + 1)))
        client.send(b'{"execute":"query-status","id":[' + values + b"]}")
        client.receive_line()

    assert private_kib(served) - before < 10 << 10


def test_the_longest_message_is_answered(served: Served) -> None:
    client = served.connect()
    client.send('{"execute":"query-kvm","id":"' + "\u00e9" * 120_000 + '"}')

    assert len(client.receive()["id"]) == 120_000


def test_the_longest_name_is_not_repeated(served: Served) -> None:
    client = served.connect()
    client.send('{"execute":"' + "x" * 250_000 + '"}')

    assert len(client.receive_line()) < 200


def test_a_thousand_clients_come_and_go(served: Served) -> None:
    seconds_to_be_served(served)
    before = private_kib(served)
    descriptors = len(os.listdir(f"/proc/{served.process.pid}/fd"))
    for number in range(1000):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(served.path))  # waits while a hundred others do
            client.sendall((b"", STATUS.encode(), b"garbage", b'{"execute":')[number % 4])
            if number % 3 == 0:
                client.shutdown(socket.SHUT_WR)
    assert seconds_to_be_served(served) < TIMEOUT_S  # when the last of them is through

    assert private_kib(served) - before < 1024
    # The one that just went may be seen to go a moment later.
    assert len(os.listdir(f"/proc/{served.process.pid}/fd")) <= descriptors + 1


@pytest.mark.parametrize("item", [b"[]", b'"ab"', b"{}", b"-1"])
def test_a_client_that_leaves_its_queue_full_of_small_values_holds_nobody_up(
    item: bytes, served: Served
) -> None:
    client = served.connect()
    client.send(b'{"execute":"query-status","id":[')
    client.socket.setblocking(False)  # noqa: FBT003
    with contextlib.suppress(BlockingIOError):
        while True:
            client.socket.send((item + b",") * (4096 // len(item)))
    client.close()

    assert seconds_to_be_served(served) < SERVED_S


@pytest.mark.parametrize("sent", [b"", b'{"execute":"query-sta', STATUS.encode(), STATUS.encode() * 50])
def test_a_client_that_half_closes_gets_its_answers_and_the_end(sent: bytes, served: Served) -> None:
    client = served.connect()
    client.send(sent)
    client.half_close()

    kinds = [next(iter(reply)) for reply in client.receive_all()]
    assert kinds == (["return"] * sent.count(b"}") or ["error"] * bool(sent))


def test_a_crowd_that_leaves_before_its_turn_is_no_hindrance(served: Served) -> None:
    clients = served.fill()
    crowd = [served.knock() for _ in range(100)]
    for index, client in enumerate(crowd):
        client.send(STATUS if index % 2 else b"garbage")
        client.close()
    for client in clients:
        client.close()


def test_a_connection_that_is_torn_is_no_hindrance(served: Served) -> None:
    for _ in range(20):
        client = served.connect()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.send(STATUS * 10)
        client.close()


@pytest.mark.parametrize("seed", range(4))
def test_random_messages_are_survived(seed: int, served: Served) -> None:
    chance = random.Random(seed)
    request = b'{"execute": "query-status" "stop" "cont" } "arguments":{} "id":1'
    pieces = request + b' { [ ] , : \n " \\ \xff \x00 1e5 - null'
    words = [*pieces.split(b" "), b" ", b"\n"]
    client = served.connect()
    client.send(b"".join(chance.choice(words) for _ in range(20_000)))
    client.half_close()

    assert client.receive_all()


@pytest.mark.parametrize("seed", range(2))
def test_requests_with_a_few_wrong_bytes_are_survived(seed: int, served: Served) -> None:
    chance = random.Random(seed)
    client = served.connect()
    for _ in range(300):
        request = bytearray(b'{"execute":"query-status","arguments":{},"id":[1,{"a":null}]}\n')
        for _ in range(chance.randint(0, 3)):
            request[chance.randrange(len(request))] = chance.randrange(256)
        client.send(bytes(request))
    client.half_close()

    assert client.receive_all()


def test_descriptors_that_nobody_names_do_not_pile_up(served: Served) -> None:
    client = served.connect()
    client.ask(STATUS)
    fds = Path(f"/proc/{served.process.pid}/fd")
    before = len(list(fds.iterdir()))
    for _ in range(10):
        socket.send_fds(client.socket, [STATUS.encode()], [0, 0, 0])
        client.receive()
    kept = len(list(fds.iterdir())) - before
    client.close()
    served.connect()

    assert kept == 3  # the last ones wait for getfd
    assert len(list(fds.iterdir())) == before
