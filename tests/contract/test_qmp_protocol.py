"""The guidebook's chapter 3 as conversations: shapes, orders, ids, framing."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from stratovirt.control.qmp.server import CLIENTS_AT_MOST
from tests.unit.control.served import Client, Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

GREETING = (
    '{"QMP":{"version":{"StratoVirt":{"micro":1,"minor":0,"major":0},"package":"",'
    '"qemu":{"micro":1,"minor":0,"major":5}},"capabilities":[]}}'
)
STATUS = '{"execute":"query-status"}'


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Return a machine with two vCPUs."""
    with Served(tmp_path / "qmp", cpus=2, name="web") as running:
        yield running


@pytest.fixture
def client(served: Served) -> Client:
    """Return a client that has been greeted."""
    return served.connect()


def error_of(message: dict[str, dict[str, str]]) -> tuple[str, str]:
    return message["error"]["class"], message["error"]["desc"]


@pytest.mark.guidebook("3.2 connection")
def test_the_greeting_is_the_guidebooks_and_names_qemu(served: Served) -> None:
    assert served.knock().receive_line() == GREETING


def test_libraries_for_qemu_find_a_version_of_5_or_more(served: Served) -> None:
    """Kata Containers' library refuses others, and libvirt those without."""
    version = json.loads(served.knock().receive_line())["QMP"]["version"]["qemu"]

    assert version["major"] >= 5
    assert {"major", "minor", "micro"} == version.keys()


def test_negotiation_may_come_never_late_or_often(client: Client) -> None:
    assert client.ask(STATUS)["return"]["running"]
    assert client.ask('{"execute":"qmp_capabilities"}') == {"return": {}}
    assert client.ask('{"execute":"qmp_capabilities","arguments":{},"id":1}') == {"return": {}, "id": 1}


@pytest.mark.guidebook("3.3.1 stop", "3.3.2 cont", "3.6 events")
def test_stop_and_cont_send_their_events_before_the_replies(client: Client) -> None:
    client.send('{"execute":"stop"}')
    client.send('{"execute":"cont"}')
    messages = [client.receive() for _ in range(4)]
    kinds = [message.get("event", message.get("return")) for message in messages]

    assert kinds == ["STOP", {}, "RESUME", {}]
    assert messages[0]["data"] == {}


def test_an_event_says_when(client: Client) -> None:
    before = time.time()
    stamp = client.ask('{"execute":"stop"}')["timestamp"]

    assert list(stamp) == ["seconds", "microseconds"]
    assert before - 1 <= stamp["seconds"] <= time.time()
    assert 0 <= stamp["microseconds"] < 1_000_000


@pytest.mark.guidebook("3.3.4 query-status")
def test_a_paused_machine_says_that_it_does_not_run(client: Client) -> None:
    assert client.ask(STATUS)["return"] == {"running": True, "singlestep": False, "status": "running"}
    client.ask('{"execute":"stop"}')
    client.receive()

    assert client.ask(STATUS)["return"] == {"running": False, "singlestep": False, "status": "paused"}


def test_stop_while_paused_and_cont_while_running_are_errors_without_event(client: Client) -> None:
    not_paused = client.ask('{"execute":"cont"}')
    client.ask('{"execute":"stop"}')
    client.receive()
    not_running = client.ask('{"execute":"stop"}')

    assert error_of(not_paused) == ("GenericError", "the machine is running, not paused")
    assert error_of(not_running) == (
        "GenericError",
        "the machine is paused, not running; it has to run first",
    )
    assert "return" in client.ask(STATUS)


def test_replies_are_compact_lines(client: Client) -> None:
    client.send('{"execute":"query-kvm","id":7}')

    assert client.receive_line() == '{"return":{"enabled":true,"present":true},"id":7}'


def test_the_queries_have_their_shapes(client: Client) -> None:
    def ask(command: str) -> Any:
        return client.ask(json.dumps({"execute": command}))["return"]

    place = {"core-id": 0, "socket-id": 1, "thread-id": 0}
    path = "/machine/unattached/device[1]"

    assert ask("query-name") == {"name": "web"}
    assert ask("query-version") == json.loads(GREETING)["QMP"]["version"]
    assert {"name": "query-commands"} in ask("query-commands")
    assert ask("query-cpus")[1] == {
        "CPU": 1, "arch": "x86", "current": True, "halted": False,
        "props": place, "qom_path": path, "thread_id": 1001,
    }  # fmt: skip
    assert ask("query-cpus-fast")[1] == {
        "cpu-index": 1, "props": place, "qom-path": path, "target": "x86_64", "thread-id": 1001,
    }  # fmt: skip
    assert ask("query-hotpluggable-cpus")[1] == {
        "props": place, "qom-path": path, "type": "host-x86-cpu", "vcpus-count": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["7", "-1", '"x"', "null", "1.5", "[1,{}]", '{"a":[true]}', '"\\ud800"', "99999999999999999999"]
)
def test_an_id_of_any_kind_comes_back(text: str, client: Client) -> None:
    value = json.loads(text)
    good = client.ask(f'{{"execute":"query-kvm","id":{text}}}')
    bad = client.ask(f'{{"execute":"nonsense","id":{text}}}')

    assert (good["id"], bad["id"]) == (value, value)
    assert bad["error"]["class"] == "CommandNotFound"


@pytest.mark.parametrize(
    ("request_text", "desc"),
    [
        ("{}", "a request needs the member 'execute', which names a command"),
        ('{"execute":5}', "a request needs the member 'execute', which names a command"),
        ('{"execute":"stop","arguments":[]}', "the member 'arguments' has to be an object"),
        ('{"execute":"stop","arguments":{"x":1}}', "stop has no argument 'x'; it takes none"),
        ('{"execute":"stop","x":1}', "a request has no member 'x'; it has execute, arguments, id"),
        ("[]", 'invalid JSON: a message is a JSON object, like {"execute": "query-status"}'),
        ('{"execute":nul}', "invalid JSON: expected a value at character 11"),
        ('{"execute":NaN}', "invalid JSON: NaN is no JSON"),
        ('{"execute":1e999}', "invalid JSON: 1e999 is too large"),
    ],
)
def test_bad_input_gets_a_sentence_and_the_connection_lives(
    request_text: str, desc: str, client: Client
) -> None:
    assert error_of(client.ask(request_text)) == ("GenericError", desc)
    assert client.ask(STATUS)["return"]["running"]


def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    client.send("".join(f'{{"execute":"query-status","id":{i}}}' for i in range(50)))

    assert [client.receive()["id"] for _ in range(50)] == list(range(50))


def test_a_request_may_come_in_pieces(client: Client) -> None:
    for byte in STATUS.encode():
        client.send(bytes([byte]))

    assert client.receive()["return"]["running"]


@pytest.mark.guidebook("3.7 flow control")
def test_a_burst_is_throttled_with_ids_and_recovers(client: Client) -> None:
    client.send("".join(f'{{"execute":"query-kvm","id":{i}}}' for i in range(200)))
    replies = [client.receive() for _ in range(200)]
    refused = [reply for reply in replies if "error" in reply]
    client.send(STATUS)
    while "error" in (reply := client.receive()):  # the bucket drains while we ask
        client.send(STATUS)

    assert 60 <= len(refused) <= 99
    assert error_of(refused[0]) == (
        "OperationThrottled",
        "More than 100 requests received during 1 second",
    )
    assert [reply["id"] for reply in replies] == list(range(200))
    assert reply["return"]["running"]


def test_each_client_has_a_bucket_of_its_own(served: Served, client: Client) -> None:
    client.send('{"execute":"query-kvm"}' * 200)
    for _ in range(200):
        client.receive()
    client.close()

    assert "return" in served.connect().ask(STATUS)


def test_a_half_closed_client_gets_its_replies_and_then_the_end(served: Served) -> None:
    client = served.knock()
    client.send(STATUS * 3)
    client.half_close()
    messages = client.receive_all()

    assert [next(iter(message)) for message in messages] == ["QMP", "return", "return", "return"]
    assert "return" in served.connect().ask(STATUS)


def test_a_request_without_its_end_is_told_at_half_close(client: Client) -> None:
    client.send('{"execute":"query-status"')
    client.half_close()
    (error,) = client.receive_all()

    assert error_of(error) == ("GenericError", "invalid JSON: the message has no end")


def test_clients_without_a_place_are_served_in_turn(served: Served, client: Client) -> None:
    served.fill(CLIENTS_AT_MOST - 1)
    waiting = [served.knock() for _ in range(3)]
    for index, other in enumerate(waiting):
        other.send(f'{{"execute":"query-status","id":{index}}}')
    client.close()
    answers = []
    for other in waiting:
        assert "QMP" in other.receive()
        answers.append(other.receive()["id"])
        other.close()

    assert answers == [0, 1, 2]


def test_only_connected_clients_hear_of_events(served: Served, client: Client) -> None:
    others = served.fill(CLIENTS_AT_MOST - 1)
    waiting = served.knock()
    client.ask('{"execute":"stop"}')
    client.close()

    assert {other.receive()["event"] for other in others} == {"STOP"}

    assert "QMP" in waiting.receive()
    assert "return" in waiting.ask(STATUS)


def test_a_host_failure_is_a_generic_error_with_its_hint(served: Served, client: Client) -> None:
    served.happens("broken", "stuck")
    reply = client.ask('{"execute":"stop"}')
    while "event" in reply:  # the machine had not yet been told to fail
        client.receive()
        client.ask('{"execute":"cont"}')
        client.receive()
        reply = client.ask('{"execute":"stop"}')

    assert error_of(reply) == ("GenericError", "a vCPU did not stop; try again")
