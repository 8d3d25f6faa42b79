"""The process in the background, its pidfile and its log (guidebook, 4.1 and 4.3), on tiny guests."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from stratovirt.virtio.tap import open_named
from tests.guest import tiny
from tests.guest.tap import Tap
from tests.guest.vmm import COMMAND, Qmp, Vmm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="needs a usable /dev/kvm"),
]

TIMEOUT_S = 30.0
TEXT = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}: \[\d+\]\[\d+\](\[[a-z_]+\.py: \d+\])?:(ERROR|WARN|INFO): .+"
)


def flags(folder: Path, guest: str, *more: str | Path) -> list[str]:
    words = ["-kernel", tiny.build(guest), "-qmp", f"unix:{folder / 'qmp'}", *more]
    return [str(word) for word in words]


def launch(*words: str, fds: Sequence[int] = (), **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        pass_fds=fds,
        env={**os.environ, **variables},
    )


def has_ended(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().split()[2] == b"Z"
    except FileNotFoundError:
        return True


def wait_for_end(pid: int) -> None:
    descriptor = os.pidfd_open(pid) if not has_ended(pid) else -1
    if descriptor >= 0:
        import select

        select.select([descriptor], [], [], TIMEOUT_S)
        os.close(descriptor)
    assert has_ended(pid)


def connect(folder: Path) -> Qmp:
    return Qmp(folder / "qmp", time.monotonic() + TIMEOUT_S)


def test_the_parent_ends_well_when_the_machine_runs_and_serves(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    begun = launch(*flags(tmp_path, "spin", "-daemonize", "-pidfile", pidfile))
    pid = int(pidfile.read_text())

    assert (begun.returncode, begun.stdout, begun.stderr) == (0, "", "")
    assert pidfile.stat().st_mode & 0o777 == 0o600
    assert os.getsid(pid) not in {pid, os.getsid(0)}
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
    with closing(connect(tmp_path)) as qmp:
        assert qmp.call("query-status")["status"] == "running"
        qmp.call("quit")
        wait_for_end(pid)
    assert sorted(os.listdir(tmp_path)) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_a_machine_in_the_background_and_leaves_nothing(
    number: signal.Signals, tmp_path: Path
) -> None:
    launch(*flags(tmp_path, "spin", "-daemonize", "-pidfile", tmp_path / "pid"))
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, number)
    wait_for_end(pid)

    assert sorted(os.listdir(tmp_path)) == []


def test_a_card_on_an_inherited_descriptor_works_in_the_background(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    profile = tmp_path / "vm.toml"
    with closing_tap("b") as tap:
        (fd,) = open_named("test", tap.name, 1)
        profile.write_text(
            f"""
            version = 1
            boot.kernel = "{tiny.build("serves")}"
            process = {{ daemonize = true, pidfile = "pid" }}
            drive.d = {{ file = "disk", direct = false }}
            vsock = {{ guest_cid = 3, backend = "unix", socket = "vsock" }}
            net.n.fds = [{fd}]
            """
        )
        begun = launch("run", str(profile), fds=[fd])
        os.close(fd)
        assert begun.returncode == 0, begun.stderr
        pid = int((tmp_path / "pid").read_text())
        echoes = tap.echoes(TIMEOUT_S)
        os.kill(pid, signal.SIGTERM)
        wait_for_end(pid)

    assert echoes


@contextmanager
def closing_tap(letter: str) -> Iterator[Tap]:
    """Yield a tap that goes at the end."""
    tap = Tap(letter)
    if tap.missing:
        pytest.skip(tap.missing)
    try:
        yield tap
    finally:
        tap.delete()


def test_the_parent_ends_with_the_failure_of_its_child(tmp_path: Path) -> None:
    words = flags(tmp_path, "spin", "-daemonize", "-pidfile", tmp_path / "pid")
    words[1] = str(tmp_path / "no kernel")
    begun = launch(*words)

    assert begun.returncode == 1
    assert f"open kernel {tmp_path}/no kernel" in begun.stderr
    assert sorted(os.listdir(tmp_path)) == []


def test_a_pidfile_that_a_running_process_holds_is_refused_by_its_id(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    (tmp_path / "other").mkdir()
    with Vmm(*flags(tmp_path, "spin", "-pidfile", pidfile)) as vmm, closing(connect(tmp_path)) as qmp:
        second = launch(*flags(tmp_path / "other", "spin", "-pidfile", pidfile))
        held = pidfile.read_text()
        qmp.call("quit")
        status = vmm.finish()[0]

    assert held == str(vmm.process.pid)
    assert second.returncode == 1
    assert f"process {held} runs and holds it" in second.stderr
    assert status == 0
    assert not pidfile.exists()


def test_the_pidfile_of_a_process_that_was_killed_is_replaced(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    with Vmm(*flags(tmp_path, "spin", "-pidfile", pidfile)) as killed, closing(connect(tmp_path)):
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
    with Vmm(*flags(tmp_path, "spin", "-pidfile", pidfile)) as vmm, closing(connect(tmp_path)) as qmp:
        assert pidfile.read_text() == str(vmm.process.pid)
        qmp.call("quit")
        assert vmm.finish()[0] == 0


def test_a_pidfile_in_a_missing_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    begun = launch(*flags(tmp_path, "spin", "-pidfile", tmp_path / "none" / "pid"))

    assert begun.returncode == 1
    assert f"pidfile {tmp_path}/none/pid" in begun.stderr


def test_the_log_has_the_originals_shape_and_what_clients_said(tmp_path: Path) -> None:
    path = tmp_path / "log"
    words = flags(tmp_path, "spin", "-D", path)
    environment = {**os.environ, "STRATOVIRT_LOG_LEVEL": "info"}
    deadline = time.monotonic() + TIMEOUT_S
    with subprocess.Popen([*COMMAND, *words], env=environment) as process:
        try:
            with closing(connect(tmp_path)) as qmp:
                qmp.call("query-status")
                os.rename(path, tmp_path / "moved")
                process.send_signal(signal.SIGHUP)
                while not path.exists():
                    assert time.monotonic() < deadline, "the log was not opened again"
                    select.select([], [], [], 0.005)  # only another look can tell
                qmp.call("quit")
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()

    lines = (tmp_path / "moved").read_text().splitlines() + path.read_text().splitlines()
    assert [line for line in lines if not TEXT.fullmatch(line)] == []
    assert path.stat().st_mode & 0o777 == 0o640
    assert any('INFO: QMP: --> {"execute": "query-status"}' in line for line in lines)
    assert any("INFO: QMP: <-- " in line and "SHUTDOWN" in line for line in path.read_text().splitlines())


def test_a_failed_start_is_one_error_in_the_log_and_on_stderr(tmp_path: Path) -> None:
    words = flags(tmp_path, "spin", "-D", tmp_path / "log")
    words[1] = "/no/kernel"
    begun = launch(*words)
    (line,) = (tmp_path / "log").read_text().splitlines()

    assert begun.returncode == 1
    assert "open kernel /no/kernel" in begun.stderr
    assert TEXT.fullmatch(line)
    assert ":ERROR: open kernel /no/kernel" in line


def test_a_log_on_stderr_says_a_failure_once(tmp_path: Path) -> None:
    words = flags(tmp_path, "spin", "-D")
    words[1] = "/no/kernel"
    (line,) = launch(*words).stderr.splitlines()

    assert TEXT.fullmatch(line)


def test_a_log_can_be_objects_of_json(tmp_path: Path) -> None:
    profile = tmp_path / "guest.toml"
    profile.write_text(
        f'''
version = 1
[boot]
kernel = "{tiny.build("hello")}"
[log]
file = "log"
level = "info"
format = "json"
'''
    )
    assert launch("run", str(profile), STRATOVIRT_LOG_LEVEL="").returncode == 0
    records = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]

    assert {record["level"] for record in records} == {"info"}
    assert records[0]["message"].startswith("the machine runs")
