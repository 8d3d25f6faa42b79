"""The balloon's commands and its event, with a guest that does only what the test says."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.unit.control.served import Client, Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

MIB = 1 << 20
RAM = 256 * MIB
QUERY = '{"execute":"query-balloon"}'
STATS = '{"execute":"query-balloon-stats"}'
NOT_ACTIVE = {"error": {"class": "DeviceNotActive", "desc": "No balloon device has been activated"}}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Return a machine with a balloon."""
    with Served(tmp_path / "qmp", balloon={}) as running:
        running.has_started()
        yield running


@pytest.fixture
def client(served: Served) -> Client:
    """Return a client that has been greeted."""
    return served.connect()


def balloon(value: object) -> str:
    return json.dumps({"execute": "balloon", "arguments": {"value": value}})


def error_of(message: dict[str, Any]) -> tuple[str, str]:
    return message["error"]["class"], message["error"]["desc"]


def test_a_guest_that_gave_nothing_has_all_memory(client: Client) -> None:
    assert client.ask(QUERY) == {"return": {"actual": RAM}}


def test_a_target_goes_to_the_guest_and_the_event_comes_before_the_reply(
    served: Served, client: Client
) -> None:
    event = client.ask(balloon(100 * MIB))
    reply = client.receive()

    assert (event["event"], event["data"]) == ("BALLOON_CHANGED", {"actual": RAM})
    assert reply == {"return": {}}
    assert served.did() == f"target {100 * MIB}"


def test_a_target_above_memory_goes_to_the_device_that_knows_what_there_is(
    served: Served, client: Client
) -> None:
    client.ask(balloon(10**30))

    assert client.receive() == {"return": {}}
    assert served.did() == f"target {10**30}"


@pytest.mark.parametrize("value", [0, -1, 1.5, "1G", None, True])
def test_a_target_that_is_no_size_is_refused_and_goes_nowhere(value: object, client: Client) -> None:
    kind, desc = error_of(client.ask(balloon(value)))

    assert kind == "GenericError"
    assert "value" in desc
    assert client.ask(QUERY) == {"return": {"actual": RAM}}


@pytest.mark.parametrize("arguments", ["", ',"arguments":{}', ',"arguments":{"value":1,"valeu":2}'])
def test_balloon_takes_a_value_and_nothing_else(arguments: str, client: Client) -> None:
    kind, desc = error_of(client.ask('{"execute":"balloon"' + arguments + "}"))

    assert kind == "GenericError"
    assert desc.startswith("balloon ")


@pytest.mark.parametrize("command", [balloon(RAM), QUERY, STATS])
def test_without_a_balloon_there_is_none_active(command: str, tmp_path: Path) -> None:
    with Served(tmp_path / "qmp") as served:
        assert served.connect().ask(command) == NOT_ACTIVE


@pytest.mark.parametrize("command", [balloon(RAM), QUERY, STATS])
def test_a_balloon_without_a_driver_is_not_active(command: str, served: Served, client: Client) -> None:
    served.happens("balloon")
    while client.ask(QUERY) != NOT_ACTIVE:
        pass  # the machine has not heard of it yet

    assert client.ask(command) == NOT_ACTIVE


def test_statistics_are_the_newest_known_and_newer_ones_are_asked_for(served: Served, client: Client) -> None:
    assert client.ask(STATS) == {
        "return": {
            "last-update": 1_700_000_000,
            "stats": {"stat-free-memory": 2**64 - 1, "stat-total-memory": 7},
        }
    }
    assert served.did() == "ask stats"


def test_a_guest_that_changes_its_balloon_often_is_told_of_once_a_second(
    served: Served, client: Client
) -> None:
    before = time.monotonic()
    for size in range(1, 200):
        served.happens("balloon", str(size * MIB))
    first = client.receive()
    after = time.monotonic()
    served.happens("balloon", str(7 * MIB))
    second = client.receive()

    assert (first["event"], first["data"]) == ("BALLOON_CHANGED", {"actual": 199 * MIB})
    assert after - before > 0.9
    assert second["data"] == {"actual": 7 * MIB}
    assert time.monotonic() - after > 0.9


def test_a_change_that_waits_to_be_told_does_not_outlive_the_machine(served: Served, client: Client) -> None:
    served.happens("balloon", str(MIB))
    client.ask(QUERY)
    client.send('{"execute":"quit"}')
    messages = client.receive_all()

    assert [message.get("event", "reply") for message in messages] == ["reply", "SHUTDOWN"]
    assert served.finish() == (0, "")
