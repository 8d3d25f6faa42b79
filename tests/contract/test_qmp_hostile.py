"""Clients that mean no good, or are gone: the machine runs on, memory is bounded, the next one is served."""

from __future__ import annotations

import random
import select
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stratovirt.control.qmp.session import UNSENT_AT_MOST
from tests.unit.control.served import Client, Served

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUS = '{"execute":"query-status"}'


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Return a machine that must still answer when the test is over."""
    with Served(tmp_path / "qmp") as running:
        yield running
        running.hang_up()
        client = running.connect()
        assert "return" in client.ask(STATUS)
        assert client.ask('{"execute":"quit"}') == {"return": {}}
        assert running.finish() == (0, "")


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


def test_a_client_that_never_reads_is_disconnected(served: Served) -> None:
    client = served.knock()
    request = b'{"execute":"query-status","id":"' + b"x" * 60_000 + b'"}'

    assert send_until_refused(client, request, at_most=1 << 30) < 10 * UNSENT_AT_MOST


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

    assert error["error"]["desc"] == "invalid JSON: the message is longer than 1048576 bytes"
    assert after["return"]["running"]
    assert private_kib(served) - before < 8192


def test_deep_nesting_is_refused_at_once(served: Served) -> None:
    client = served.connect()
    error = client.ask(b'{"a":' + b"[" * 1_000_000 + b"\n")

    assert "nested deeper" in error["error"]["desc"]
    assert client.ask(STATUS)["return"]["running"]


def test_the_longest_message_is_answered(served: Served) -> None:
    client = served.connect()
    client.send('{"execute":"query-kvm","id":"' + "\u00e9" * 500_000 + '"}')

    assert len(client.receive()["id"]) == 500_000


def test_the_longest_name_is_not_repeated(served: Served) -> None:
    client = served.connect()
    client.send('{"execute":"' + "x" * 1_000_000 + '"}')

    assert len(client.receive_line()) < 200


def test_two_hundred_clients_come_and_go(served: Served) -> None:
    for _ in range(200):
        client = served.connect()
        client.close()


def test_a_crowd_that_leaves_before_its_turn_is_no_hindrance(served: Served) -> None:
    first = served.connect()
    crowd = [served.knock() for _ in range(100)]
    for index, client in enumerate(crowd):
        client.send(STATUS if index % 2 else b"garbage")
        client.close()
    first.close()


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
