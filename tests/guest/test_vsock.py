"""vsock with Linux's driver: streams both ways, by vhost and by Unix sockets, and how they end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.guest.linux import SMALL, TIMEOUT_S, Report, flags, words
from tests.guest.programs import initrd_with
from tests.guest.vmm import Vmm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.linux]

CID = 77
MIB = 1 << 20
DATA = random.Random(7).randbytes(3 * MIB)
SUM = hashlib.md5(DATA).hexdigest()


class Host:
    """Programs of the host as one backend has them."""

    def __init__(self, folder: Path, backend: str) -> None:
        self.folder = folder
        self.backend = backend
        self.path = folder / "v.sock"
        self._machines = 0

    def machine(self, script: str) -> list[str | Path]:
        """Return the words that start a machine that runs the script: flags for vhost, else a profile."""
        initrd = initrd_with(SMALL[1], self.folder / "initrd", "vsock_cat")
        self._machines += 1
        if self.backend == "vhost":
            device = ("-device", f"vhost-vsock-device,id=v,guest-cid={CID}")
            return flags((SMALL[0], initrd), words(script), self.folder / f"qmp{self._machines}", *device)
        profile = self.folder / "guest.toml"
        profile.write_text(
            f"""
version = 1
memory.size = "512M"
[boot]
kernel = "{SMALL[0]}"
initrd = "{initrd}"
cmdline = "{words(script)}"
[serial]
[vsock]
guest_cid = {CID}
backend = "unix"
socket = "{self.path}"
"""
        )
        return ["run", profile]

    def connect(self, port: int) -> socket.socket:
        """Connect to a port of the guest; ConnectionResetError when it refuses."""
        # Linux gives a connection 2 s, which a guest in the rig may need, and Python cannot change that.
        for _ in range(10):
            with contextlib.suppress(TimeoutError):
                return self._connect(port)
        raise TimeoutError

    def _connect(self, port: int) -> socket.socket:
        stream = socket.socket(socket.AF_VSOCK if self.backend == "vhost" else socket.AF_UNIX)
        stream.settimeout(TIMEOUT_S)
        try:
            if self.backend == "vhost":
                stream.connect((CID, port))
            else:
                self._ask(stream, port)
        except OSError:
            stream.close()
            raise
        return stream

    def _ask(self, stream: socket.socket, port: int) -> None:
        stream.connect(str(self.path))
        stream.sendall(f"CONNECT {port}\n".encode())
        line = b""
        while not line.endswith(b"\n"):
            piece = stream.recv(1)
            if not piece:
                raise ConnectionResetError
            line += piece
        assert line.startswith(b"OK ")

    def listen(self, port: int) -> socket.socket:
        """Listen for the guest at a port of the host."""
        if self.backend == "vhost":
            listener = socket.socket(socket.AF_VSOCK)
            listener.bind((socket.VMADDR_CID_ANY, port))
        else:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"{self.path}_{port}")
        listener.listen()
        listener.settimeout(TIMEOUT_S)
        return listener


@pytest.fixture(params=["vhost", "unix"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    """Return the host's side; every test runs with each backend."""
    if request.param == "vhost" and not os.access("/dev/vhost-vsock", os.R_OK | os.W_OK):
        pytest.skip("needs a usable /dev/vhost-vsock")
    return Host(tmp_path, request.param)


@pytest.fixture
def start(host: Host) -> Iterator[Callable[[str], Vmm]]:
    """Return how to start a machine that runs a script; it is killed at the end."""
    machines: list[Vmm] = []

    def begin(script: str) -> Vmm:
        machines.append(Vmm(*host.machine(script), timeout=TIMEOUT_S))
        return machines[-1]

    yield begin
    for machine in machines:
        machine.__exit__(None, None, None)


def read_to_end(stream: socket.socket) -> bytes:
    stream.settimeout(TIMEOUT_S)
    pieces = []
    while piece := stream.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def end(machine: Vmm) -> Report:
    report = Report(*machine.finish())
    assert report.status == 0, report.errors
    assert report.errors == ""
    assert report.script_status == 0, report.text[-3000:]
    return report


@pytest.mark.guidebook("2.5 vsock_id")
def test_megabytes_reach_the_guest_and_its_answer_comes_back(host: Host, start: Callable[[str], Vmm]) -> None:
    machine = start("vsock_cat listen 1000 </dev/null >/tmp/data 2>/dev/console && md5sum </tmp/data")
    machine.read_until(b"LISTENING 1000")
    with host.connect(1000) as stream:
        stream.sendall(DATA)
        stream.shutdown(socket.SHUT_WR)
        assert read_to_end(stream) == b""

    assert SUM in end(machine).text


def test_megabytes_reach_the_host(host: Host, start: Callable[[str], Vmm]) -> None:
    with host.listen(52) as listener:
        machine = start(
            "dd if=/dev/urandom of=/tmp/data bs=64k count=48 2>/dev/null; md5sum /tmp/data; "
            "vsock_cat connect 2 52 </tmp/data"
        )
        stream, _ = listener.accept()
        with stream:
            data = read_to_end(stream)
            stream.sendall(b"the host has it\n")

    report = end(machine)
    assert len(data) == 48 * 65536
    assert f"{hashlib.md5(data).hexdigest()}  /tmp/data" in report.text
    assert "the host has it" in report.text


def test_two_streams_at_once_do_not_mix(host: Host, start: Callable[[str], Vmm]) -> None:
    machine = start("vsock_cat echo 1001 2 2>/dev/console")
    machine.read_until(b"LISTENING 1001")
    sent = {name: random.Random(name).randbytes(MIB) for name in ("one", "two")}
    got: dict[str, bytes] = {}

    def talk(name: str) -> None:
        with host.connect(1001) as stream:
            writer = threading.Thread(target=stream.sendall, args=(sent[name],))
            writer.start()
            pieces = b""
            while len(pieces) < MIB:
                pieces += stream.recv(65536)
            got[name] = pieces
            writer.join()

    talkers = [threading.Thread(target=talk, args=(name,)) for name in sent]
    for talker in talkers:
        talker.start()
    for talker in talkers:
        talker.join()

    end(machine)
    assert got == sent


def test_a_guest_program_that_ends_closes_the_hosts_stream(host: Host, start: Callable[[str], Vmm]) -> None:
    machine = start(
        "echo bye | vsock_cat listen 1000 2>/dev/console; vsock_cat listen 1001 </dev/null 2>/dev/console"
    )
    machine.read_until(b"LISTENING 1000")
    with host.connect(1000) as stream:
        stream.shutdown(socket.SHUT_WR)
        assert read_to_end(stream) == b"bye\n"
    machine.read_until(b"LISTENING 1001")
    with host.connect(1001) as stream:
        stream.shutdown(socket.SHUT_WR)

    end(machine)


def test_a_host_program_that_ends_ends_the_guests(host: Host, start: Callable[[str], Vmm]) -> None:
    machine = start("vsock_cat echo 1000 1 2>/dev/console; echo EVERYBODY LEFT")
    machine.read_until(b"LISTENING 1000")
    host.connect(1000).close()

    assert "EVERYBODY LEFT" in end(machine).text


def test_a_port_where_nobody_listens_is_refused_on_either_side(
    host: Host, start: Callable[[str], Vmm]
) -> None:
    machine = start(
        "vsock_cat connect 2 99 </dev/null && exit 9; vsock_cat listen 1000 </dev/null 2>/dev/console"
    )
    machine.read_until(b"LISTENING 1000")
    with pytest.raises(ConnectionResetError):
        host.connect(4000)
    with host.connect(1000) as stream:
        stream.shutdown(socket.SHUT_WR)
        assert read_to_end(stream) == b""

    end(machine)


def test_a_driver_that_is_bound_again_has_working_streams(host: Host, start: Callable[[str], Vmm]) -> None:
    machine = start(
        """
cd /sys/bus/virtio/drivers/vmw_vsock_virtio_transport || cd /sys/bus/virtio/drivers/virtio_vsock*
device=$(ls -d virtio*)
for round in 1 2; do
  echo "$device" >unbind
  echo "$device" >bind
  vsock_cat listen 100$round </dev/null 2>/dev/console || exit 9
done
"""
    )
    for port in (1001, 1002):
        machine.read_until(f"LISTENING {port}".encode())
        with host.connect(port) as stream:
            stream.sendall(b"in round\n")
            stream.shutdown(socket.SHUT_WR)
            assert read_to_end(stream) == b""

    assert end(machine).text.count("in round") == 2


@pytest.mark.guidebook("2.5 guest_cid")
def test_a_context_id_that_another_machine_has_is_named(host: Host, start: Callable[[str], Vmm]) -> None:
    if host.backend != "vhost":
        pytest.skip("context ids are the host's only with vhost")
    first = start("vsock_cat listen 1000 </dev/null 2>/dev/console")
    first.read_until(b"LISTENING 1000")
    status, _, errors = start("true").finish()
    host.connect(1000).close()

    assert status == 1
    assert f"context id {CID}" in errors
    assert "guest_cid" in errors
    end(first)
