"""Hot replace of cards (guidebook, 3.4.2) as conversations."""

from __future__ import annotations

import pytest

from tests.unit.control.fake_machine import CARD_MAC
from tests.unit.control.served import Client, Served, call


@pytest.mark.guidebook("3.4.2 net")
def test_the_guidebooks_card_goes_in_and_out(served: Served, client: Client) -> None:
    assert call(client, "netdev_add", id="net-0", ifname="tap0") == {}
    assert call(client, "device_add", id="net-0", driver="virtio-net-mmio", addr="0x0") == {}
    assert served.did() == "plug [('fds', ()), ('tap', 'tap0')]"

    client.send('{"execute": "device_del", "arguments": {"id": "net-0"}}')
    assert client.receive()["data"] == {"device": "net-0", "path": "net-0"}


@pytest.mark.parametrize(
    ("addr", "same"),
    [
        ("0x1", {"vhost": "off"}),
        ("0x1", {"vhost": False, "queues": "1"}),
        ("0x0", {"vhost": "on", "queues": "4"}),
        ("0x0", {"vhost": True, "queues": 4}),
        ("0x0", {"type": "tap", "script": "no"}),
    ],
)
def test_what_a_card_is_anyway_may_be_said(
    addr: str, same: dict[str, object], served: Served, client: Client
) -> None:
    assert call(client, "netdev_add", id="net-0", ifname="tap0", **same) == {}
    assert call(client, "device_add", id="net-0", driver="virtio-net-mmio", addr=addr) == {}
    assert served.did() == "plug [('fds', ()), ('tap', 'tap0')]"


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"vhostfds": "7"}, "leave vhostfds out"),
        ({"vhost": "on", "vhostfds": "7"}, "leave vhostfds out"),
        ({"vhost": "maybe"}, "vhost"),
        ({"queues": "many"}, "queues must be a whole number"),
    ],
)
def test_what_no_card_takes_is_refused_and_its_id_stays_free(
    other: dict[str, str], error: str, client: Client
) -> None:
    kind, text = call(client, "netdev_add", id="net-0", ifname="tap0", **other)

    assert (kind, error in text) == ("GenericError", True), text
    assert call(client, "netdev_add", id="net-0", ifname="tap0") == {}


@pytest.mark.parametrize(
    ("addr", "other", "error"),
    [
        ("0x1", {"vhost": "on"}, "vhost is 'on', and this process serves the card"),
        ("0x1", {"vhost": True}, "vhost is 'on', and this process serves the card"),
        ("0x0", {"vhost": "off"}, "vhost is 'off', and vhost serves the card"),
        ("0x0", {"vhost": False}, "start the machine with a card that has vhost=off"),
        ("0x1", {"queues": "2"}, "queues is '2', and the card has 1, which it keeps: leave queues out"),
        ("0x0", {"queues": "2"}, "queues is '2', and the card has 4"),
        ("0x0", {"queues": 2}, "queues is '2', and the card has 4"),
    ],
)
def test_what_would_be_another_card_is_refused_and_goes_on_waiting(
    addr: str, other: dict[str, object], error: str, served: Served, client: Client
) -> None:
    call(client, "netdev_add", id="net-0", ifname="tap0", **other)
    kind, text = call(client, "device_add", id="net-0", driver="virtio-net-mmio", addr=addr)

    assert (kind, error in text) == ("GenericError", True), text
    assert call(client, "netdev_del", id="net-0") == {}
    assert call(client, "netdev_add", id="net-0", ifname="tap0") == {}
    assert call(client, "device_add", id="net-0", driver="virtio-net-mmio", addr=addr) == {}
    assert served.did() == "plug [('fds', ()), ('tap', 'tap0')]"


def test_a_card_keeps_its_address_and_another_one_is_refused(served: Served, client: Client) -> None:
    call(client, "netdev_add", id="net-0", ifname="tap0")
    other = call(client, "device_add", id="net-0", driver="virtio-net-mmio", mac="52:54:00:00:00:01")

    assert other == (
        "GenericError",
        f"mac is '52:54:00:00:00:01', and the card has {CARD_MAC}, which it keeps; "
        "leave mac out, or start the machine with a card that has this one",
    )
    assert call(client, "device_add", id="net-0", driver="virtio-net-mmio", mac=CARD_MAC.upper()) == {}
    assert served.did() == "plug [('fds', ()), ('tap', 'tap0')]"


def test_an_address_for_a_card_whose_guest_chose_one_is_refused(client: Client) -> None:
    call(client, "netdev_add", id="net-0", ifname="tap0")
    kind, text = call(client, "device_add", id="net-0", driver="virtio-net-mmio", addr="0x1", mac=CARD_MAC)

    assert kind == "GenericError"
    assert f"mac is '{CARD_MAC}', and the guest chose its card's address" in text
