"""Every way out: its event, its exit status, and that nothing is left."""

from __future__ import annotations

import json
import re
import signal
import socket
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from stratovirt.core import lib
from tests.unit.control.served import Client, Served

QUIT = '{"execute":"quit"}'
STATUS = '{"execute":"query-status"}'
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the QMP socket is."""
    return tmp_path / "qmp"


def last_words(client: Client) -> object:
    """Return the data of the SHUTDOWN event, which is the last message."""
    *_, last = client.receive_all()
    assert last["event"] == "SHUTDOWN"
    return last["data"]


def test_quit_replies_tells_and_ends(path: Path) -> None:
    with Served(path) as served:
        served.has_started()
        client = served.connect()
        reply = client.ask(QUIT)
        words = last_words(client)
        asked = served.did()
        ended = served.finish()

    assert reply == {"return": {}}
    assert words == {"guest": False, "reason": "host-qmp-quit"}
    assert asked == "close"
    assert ended == (0, "")
    assert not path.exists()


def test_the_path_is_free_when_a_client_sees_the_end(path: Path) -> None:
    with Served(path) as served:
        client = served.connect()
        client.send(QUIT)
        client.receive_all()

        assert not path.exists()


def test_nothing_is_executed_after_quit(path: Path) -> None:
    with Served(path) as served:
        served.has_started()
        client = served.connect()
        client.send(QUIT + '{"execute":"stop"}' + "x" * 100_000)
        replies = [message for message in client.receive_all() if "event" not in message]

        assert replies == [{"return": {}}]
        assert served.did() == "close"


@pytest.mark.parametrize("cause", ["poweroff", "reset", "triple-fault"])
def test_a_guest_that_ends_ends_the_process(cause: str, path: Path) -> None:
    with Served(path) as served:
        client = served.connect()
        served.happens("shutdown", cause=cause)
        words = last_words(client)
        ended = served.finish()

    assert words == {"guest": True, "reason": "guest-shutdown"}
    assert ended == (0, "")
    assert not path.exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_machine_in_order(number: signal.Signals, path: Path) -> None:
    with Served(path) as served:
        client = served.connect()
        served.kill(number)
        words = last_words(client)
        ended = served.finish()

    assert words == {"guest": False, "reason": "host-signal"}
    assert ended == (0, "")
    assert not path.exists()


def test_a_signal_at_any_moment_of_the_start_leaves_nothing(path: Path) -> None:
    for wait in (Served.knock, Served.has_started):
        with Served(path) as served:
            wait(served)
            served.kill(signal.SIGTERM)
            ended = served.finish()

        assert ended == (0, "")
        assert not path.exists()


def test_a_failed_vcpu_is_told_with_its_place_and_status_1(path: Path) -> None:
    with Served(path) as served:
        client = served.connect()
        served.happens("vcpu-failed", "vCPU 0 stopped at RIP 0xfff0: KVM met something")
        words = last_words(client)
        status, errors = served.finish()

    assert words == {"guest": False, "reason": "host-error"}
    assert status == 1
    assert errors.startswith("stratovirt: vCPU 0 stopped at RIP 0xfff0: KVM met something\n  hint: ")
    assert not path.exists()


def test_a_mistake_in_this_program_is_one_line_and_an_orderly_end(path: Path) -> None:
    with Served(path) as served:
        served.has_started()
        client = served.connect()
        served.happens("bug")
        words = last_words(client)
        asked = served.did()
        status, errors = served.finish()

    assert words == {"guest": False, "reason": "host-error"}
    assert asked == "close"
    assert status == 1
    assert errors.startswith("stratovirt: internal error at fake_machine.py:")
    assert "KeyError" in errors
    assert len(errors.splitlines()) == 2
    assert not path.exists()


def test_a_mistake_in_a_command_costs_its_client_an_error_and_the_guest_nothing(path: Path) -> None:
    with Served(path, log={}) as served:
        served.has_started()
        client = served.connect()
        served.happens("broken", "bug")
        error = client.ask('{"execute":"stop","id":1}')
        status = client.ask('{"execute":"query-status"}')
        client.send(QUIT)
        last_words(client)
        _, errors = served.finish()

    assert error["error"]["desc"].startswith("internal error at fake_machine.py:")
    assert error["id"] == 1
    assert status["return"]["running"]
    assert "KeyError" in errors
    assert len(errors.splitlines()) == 1


def test_a_machine_that_cannot_be_closed_still_frees_its_socket(path: Path) -> None:
    with Served(path) as served:
        client = served.connect()
        served.happens("broken", "close")
        client.send(QUIT)
        words = last_words(client)
        status, errors = served.finish()

    assert words == {"guest": False, "reason": "host-error"}
    assert (status, errors) == (1, "stratovirt: an I/O thread did not stop\n")
    assert not path.exists()


def test_a_client_that_does_not_read_cannot_hold_up_the_end(path: Path) -> None:
    with Served(path) as served:
        client = served.connect()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        request = '{"execute":"query-status","id":"' + "x" * 100_000 + '"}'
        client.send(request * 8)
        served.kill(signal.SIGTERM)
        ended = served.finish()

    assert ended == (0, "")


def test_without_a_socket_the_machine_is_served_as_well(path: Path) -> None:
    with Served(None) as served:
        served.has_started()
        served.happens("shutdown", cause="poweroff")
        ended = served.finish()

    assert ended == (0, "")
    assert not path.exists()


def test_what_devices_tell_is_printed_within_bounds(path: Path) -> None:
    with Served(path) as served:
        for number in range(500):
            served.happens("io-error", f"drive 'd': read at sector {number}: Input/output error")
        served.happens("shutdown", cause="poweroff")
        status, errors = served.finish()

    assert status == 0
    assert errors.splitlines()[0] == "stratovirt: drive 'd': read at sector 0: Input/output error"
    assert len(errors.splitlines()) == 11
    assert errors.splitlines()[-1] == "stratovirt: 490 more lines like this were left out"


def test_a_socket_file_that_somebody_replaced_stays(path: Path) -> None:
    with Served(path) as served:
        client = served.connect()
        path.unlink()
        path.touch()
        client.send(QUIT)
        client.receive_all()
        ended = served.finish()

    assert ended == (0, "")
    assert path.exists()


def test_a_killed_process_leaves_a_socket_that_the_next_one_replaces(path: Path) -> None:
    with Served(path) as served:
        served.connect()
        served.kill(signal.SIGKILL)
        served.process.wait()
    with Served(path) as served:
        client = served.connect()

        assert client.ask(STATUS)["return"]["status"] == "running"


def test_a_second_machine_is_refused_at_the_same_socket(path: Path) -> None:
    with Served(path) as served:
        served.connect()
        with Served(path) as second:
            status, errors = second.finish()
        still_there = path.exists()

    assert status == 1
    assert str(path) in errors
    assert still_there


def test_the_memory_promise_of_the_control_plane_holds(path: Path) -> None:
    """Private memory of the whole Python side once QMP has answered (SPECIFICATION.md): 8 MiB at most."""
    with Served(path, serial={}) as served:
        client = served.connect()
        client.ask(STATUS)
        lines = Path(f"/proc/{served.process.pid}/smaps_rollup").read_text().splitlines()
    private = sum(int(line.split()[1]) for line in lines if line.startswith("Private"))

    assert private < 8 * 1024


@pytest.mark.parametrize(("operation", "word"), [("read", "read"), ("write", "write"), ("flush", "write")])
def test_a_fault_of_a_disk_is_an_event_of_qmp(operation: str, word: str, path: Path) -> None:
    with Served(path) as served:
        served.has_started()
        client = served.connect()
        client.ask(STATUS)
        served.happens("io-error", "text", "No space left", device="d", operation=operation, error=28)
        event = client.receive()

    assert event["event"] == "BLOCK_IO_ERROR"
    assert event["data"] == {
        "device": "d",
        "operation": word,
        "action": "report",
        "nospace": True,
        "reason": "No space left",
    }


def test_a_fault_of_a_disk_that_came_by_qmp_names_it_by_its_id(path: Path, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(512))
    with Served(path) as served:
        served.has_started()
        client = served.connect()
        client.ask(
            '{"execute":"blockdev-add","arguments":{"node-name":"new","file":'
            f'{{"driver":"file","filename":"{tmp_path}/image"}}}}}}'
        )
        client.ask('{"execute":"device_add","arguments":{"id":"new","driver":"virtio-blk-mmio"}}')
        served.happens("io-error", "text", "Broken", device="slot 1", operation="read", error=5)

        assert client.receive()["data"]["device"] == "new"
        client.send('{"execute":"device_del","arguments":{"id":"new"}}')
        assert client.receive()["event"] == "DEVICE_DELETED"
        client.receive()
        served.happens("io-error", "text", "Late", device="slot 1", operation="read", error=5)
        assert client.receive()["data"]["device"] == "slot 1"


def test_a_forbidden_system_call_ends_the_process_and_is_told(path: Path) -> None:
    with Served(path) as served:
        served.has_started()
        served.connect()
        served.happens("forbidden")
        status, errors = served.finish()

    assert status == 128 + signal.SIGSYS
    assert errors.startswith("stratovirt: forbidden system call getppid (")
    assert errors.endswith(") in thread main; the process ends\n")


@pytest.mark.parametrize("shape", ["text", "json"])
def test_a_forbidden_system_call_is_in_the_log_as_any_other_error(
    shape: str, tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "XYZ-5:45")  # east of Greenwich
    file = tmp_path / "log"
    with Served(path, log={"file": str(file), "format": shape}) as served:
        served.connect()
        served.happens("forbidden")
        served.finish()
        pid = served.process.pid
    (line,) = file.read_text().splitlines()
    written = datetime.fromtimestamp(file.stat().st_mtime, timezone(timedelta(hours=5, minutes=45)))

    number = lib.sv_syscall_number(b"getppid")
    words = f"forbidden system call getppid ({number}) in thread main; the process ends"
    said = {"level": "error", "pid": pid, "tid": pid, "message": words}
    if shape == "json":
        record = json.loads(line)
        when = record.pop("time")
        assert record == said
    else:
        when, _, rest = line.partition(": ")
        assert re.fullmatch(
            re.escape(f"[{pid}][{pid}][sandbox.c: N]:ERROR: {words}").replace("N", r"\d+"), rest
        )
    assert abs(datetime.fromisoformat(f"{when[:26]}+05:45") - written) < timedelta(seconds=2)


def test_without_filters_any_system_call_is_made(path: Path) -> None:
    with Served(path, process={"seccomp": False}) as served:
        served.has_started()
        served.happens("forbidden")

        assert served.did() == "forbidden"
