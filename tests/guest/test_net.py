"""Network cards with Linux's own driver: taps, vhost, several cards, drivers that come and go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guest.counts import sleeps
from tests.guest.linux import GUESTS, SMALL, TIMEOUT_S, Report, flags, words
from tests.guest.netcard import (
    MAC,
    TRAFFIC,
    UP,
    Receiver,
    add_tap,
    card,
    delete,
    expect_traffic,
    ip,
)
from tests.guest.vmm import Vmm

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kvm, pytest.mark.linux]


VARIANTS = {
    "tap": ("", ""),
    "iothread": ("", ",iothread=net"),
    "vhost": (",vhost=on", ""),
}


@pytest.mark.guidebook("2.3 host_dev_name", "2.3 mac", "2.3 vhost")
@pytest.mark.parametrize("variant", VARIANTS)
def test_files_go_both_ways_unchanged(variant: str, tap: str, tmp_path: Path) -> None:
    more, device = VARIANTS[variant]
    thread = ["-iothread", "id=net"] if device else []
    command = flags(SMALL, words(TRAFFIC), tmp_path / "qmp", *thread, *card(tap, more=more, device=device))
    with Vmm(*command, timeout=TIMEOUT_S) as vmm:
        report = expect_traffic(vmm)

    assert f"eth0 mac={MAC}" in report.facts("net")
    assert report.fact("queues") == "rx-0 tx-0"
    accepted = report.fact("features")
    offloads = [0, 1, 7, 8, 11, 12, 14, 15]  # checksums, segmentation, mergeable buffers
    assert [accepted[bit] for bit in offloads] == ["1"] * len(offloads)


@pytest.mark.guidebook("2.3 iothread")
def test_the_thread_that_a_card_names_serves_it_and_no_other_one_does(tap: str, tmp_path: Path) -> None:
    threads = ("-iothread", "id=net", "-iothread", "id=other")
    device = card(tap, device=",iothread=net")
    with Vmm(*flags(SMALL, words(TRAFFIC), tmp_path / "qmp", *threads, *device), timeout=TIMEOUT_S) as vmm:
        receiver = Receiver()
        vmm.read_until(b"LISTENING")  # a file has gone up
        turns = sleeps(vmm.process.pid)
        receiver.join(vmm.left())

    assert turns["net"] >= 20
    assert turns["other"] < 10


def test_vhost_comes_by_an_inherited_descriptor(tap: str, tmp_path: Path) -> None:
    vhost = os.open("/dev/vhost-net", os.O_RDWR)
    command = flags(SMALL, words(TRAFFIC), tmp_path / "qmp", *card(tap, more=f",vhost=on,vhostfds={vhost}"))
    try:
        with Vmm(*command, timeout=TIMEOUT_S, fds=[vhost]) as vmm:
            expect_traffic(vmm)
    finally:
        os.close(vhost)


@pytest.fixture
def macvtap() -> Iterator[int]:
    """Yield an open macvtap; the host has its address at the other end of what lies below."""
    ip("link", "add", "svveth0", "type", "veth", "peer", "name", "svveth1")
    try:
        ip("addr", "add", "10.17.0.1/24", "dev", "svveth1")
        ip(*f"link add link svveth0 name svmacvtap address {MAC} type macvtap mode bridge".split())
        for name in ("svveth0", "svveth1", "svmacvtap"):
            ip("link", "set", name, "up")
        index = Path("/sys/class/net/svmacvtap/ifindex").read_text().strip()
        fd = os.open(f"/dev/tap{index}", os.O_RDWR)
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        delete("svmacvtap")
        delete("svveth0")


@pytest.mark.parametrize("vhost", ["", ",vhost=on"], ids=["tap", "vhost"])
def test_a_macvtap_comes_by_its_descriptor_as_runners_pass_it(
    vhost: str, macvtap: int, tmp_path: Path
) -> None:
    card = (
        "-netdev", f"tap,id=vm,queues=2,fd={macvtap}{vhost},queues=2",
        "-device", f"virtio-net-device,id=net_vm,netdev=vm,mac={MAC},mq=on",
    )  # fmt: skip
    command = flags(SMALL, words(TRAFFIC), tmp_path / "qmp", *card)
    with Vmm(*command, timeout=TIMEOUT_S, fds=[macvtap]) as vmm:
        report = expect_traffic(vmm)

    assert report.fact("queues") == "rx-0 tx-0"


@pytest.mark.guidebook("2.3 how-to")
def test_the_how_to_of_the_guidebook_reaches_both_sides(tmp_path: Path) -> None:
    script = """
ip link set eth0 up
ip addr add 1.1.1.2/24 dev eth0
ping -c 1 -W 10 1.1.1.1 || exit 1
echo UP
read -t 60 line
"""
    ip("link", "add", "qbr0", "type", "bridge")
    try:
        ip("tuntap", "add", "tap0", "mode", "tap")
        for words_of_ip in ("tap0 master qbr0", "qbr0 up", "tap0 up"):
            ip("link", "set", *words_of_ip.split())
        ip("addr", "add", "1.1.1.1/24", "dev", "qbr0")
        command = flags(
            SMALL, words(script), tmp_path / "qmp",
            "-netdev", "id=net-0,netdev=tap0", "-device", "virtio-net-device,netdev=net-0,id=net-0",
        )  # fmt: skip
        with Vmm(*command, timeout=TIMEOUT_S, stdin=subprocess.PIPE) as vmm:
            vmm.read_until(b"UP")
            ping = [str(GUESTS / "busybox"), "ping", "-c", "1", "-W", "10", "1.1.1.2"]
            subprocess.run(ping, check=True, capture_output=True)
            assert vmm.process.stdin is not None
            vmm.process.stdin.write(b"\n")
            vmm.process.stdin.flush()
            report = Report(*vmm.finish())
    finally:
        delete("tap0")
        delete("qbr0")

    assert (report.status, report.script_status) == (0, 0), report.text[-2000:]


def test_two_cards_each_reach_their_own_network(tap: str, tmp_path: Path) -> None:
    script = f"""
{UP}
ip addr add 10.18.0.2/24 dev eth1
ip link set eth1 up
ping -c 2 -W 5 10.17.0.1 && ping -c 2 -W 5 10.18.0.1
"""
    add_tap("svtap1", "10.18.0.1")
    second = ["-netdev", "id=svtap1", "-device", "virtio-net-device,netdev=svtap1,id=eth1"]
    command = flags(SMALL, words(script), tmp_path / "qmp", *card(tap), *second)
    try:
        with Vmm(*command, timeout=TIMEOUT_S) as vmm:
            report = Report(*vmm.finish())
    finally:
        delete("svtap1")

    assert (report.status, report.script_status) == (0, 0), report.errors
    first_mac, second_mac = (line.split("mac=")[1] for line in report.facts("net"))
    assert first_mac == MAC
    assert second_mac not in {MAC, "00:00:00:00:00:00"}  # none was given: the guest made its own


def test_a_driver_can_be_unbound_and_bound_again(tap: str, tmp_path: Path) -> None:
    script = f"""
cd /sys/bus/virtio/drivers/virtio_net
device=$(basename $(readlink -f /sys/class/net/eth0/device))
for round in 1 2 3; do
  {UP}
  ping -c 1 -W 5 10.17.0.1 || exit 1
  echo "$device" > unbind
  test ! -e /sys/class/net/eth0 || exit 2
  echo "$device" > bind
done
"""
    with Vmm(*flags(SMALL, words(script), tmp_path / "qmp", *card(tap)), timeout=TIMEOUT_S) as vmm:
        report = Report(*vmm.finish())

    assert (report.status, report.script_status) == (0, 0), report.text[-2000:]


def test_vhost_auto_without_vhost_says_so_and_goes_on(tap: str, tmp_path: Path) -> None:
    profile = tmp_path / "guest.toml"
    profile.write_text(
        f"""
version = 1
[boot]
kernel = "{SMALL[0]}"
initrd = "{SMALL[1]}"
cmdline = "{words(TRAFFIC)}"
[serial]
[net.eth0]
tap = "{tap}"
mac = "{MAC}"
vhost = "auto"
"""
    )
    command = [sys.executable, "-c", WITHOUT_VHOST]
    with Vmm("run", profile, timeout=TIMEOUT_S, command=command) as vmm:
        report = expect_traffic(vmm)

    (line,) = report.errors.splitlines()
    assert "net 'eth0': open /dev/no-vhost" in line


WITHOUT_VHOST = """
from stratovirt import cli
from stratovirt.virtio import network_card
network_card.VHOST_DEVICE = "/dev/no-vhost"
cli.main()
"""
