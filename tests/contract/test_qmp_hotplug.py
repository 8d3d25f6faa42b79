"""Hot replace of disks, and passed descriptors (guidebook, 3.3.5 and 3.4) as conversations."""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.unit.control.served import Client, Served, call

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


@pytest.fixture
def image(tmp_path: Path) -> str:
    """Return the path of an image."""
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(4096))
    return str(path)


def add_image(client: Client, image: str, name: str = "drive-0") -> Any:
    return call(client, "blockdev-add", node_name=name, file={"driver": "file", "filename": image})


def delete(client: Client, name: str) -> None:
    event = client.ask(json.dumps({"execute": "device_del", "arguments": {"id": name}}))
    assert event["data"]["device"] == name
    assert client.receive() == {"return": {}}


@pytest.mark.guidebook("3.4.1 block", "3.6 events")
def test_the_guidebooks_disk_goes_in_and_out(served: Served, client: Client, image: str) -> None:
    request = (
        '{"execute": "blockdev-add", "arguments": {"node-name": "drive-0", "file": {"driver": "file",'
        f' "filename": "{image}"}}, "cache": {{"direct": true}}, "read-only": false}}}}'
    )
    assert client.ask(request) == {"return": {}}
    assert call(client, "device_add", id="drive-0", driver="virtio-blk-mmio", addr="0x1") == {}
    assert served.did() == f"plug [('direct', True), ('path', '{image}'), ('readonly', False)]"

    client.send('{"execute": "device_del", "arguments": {"id": "drive-0"}}')
    event, reply = client.receive(), client.receive()
    assert event["event"] == "DEVICE_DELETED"
    assert event["data"] == {"device": "drive-0", "path": image}
    assert reply == {"return": {}}
    assert served.did() == f"unplug {image}"


def test_a_disk_of_the_start_can_be_taken_out_and_replaced(
    served: Served, client: Client, image: str
) -> None:
    client.send('{"execute": "device_del", "arguments": {"id": "root"}}')
    assert client.receive()["data"] == {"device": "root", "path": "/root.img"}
    assert client.receive() == {"return": {}}
    assert served.did() == "unplug /root.img"

    add_image(client, image, "new")
    assert call(client, "device_add", id="new", driver="virtio-blk-mmio", addr="0x0") == {}
    assert call(client, "device_del", id="root") == ("DeviceNotFound", "Device root not found")


def test_without_an_address_the_first_empty_slot_is_taken(client: Client, image: str) -> None:
    add_image(client, image)

    assert call(client, "device_add", id="drive-0", driver="virtio-blk-mmio") == {}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"addr": "0x0"}, "The slot 0 is occupied already."),
        ({"addr": "0x2"}, "A maximum of 2 block replaceable devices are supported."),
        ({"lun": 7}, "A maximum of 2 block replaceable devices are supported."),
        ({"addr": "one"}, "addr is 'one', not a hexadecimal number like 0x1"),
        ({"addr": "0x1", "id": "drive-9"}, "Failed to find device configuration."),
        ({"addr": "0x0", "driver": "virtio-net-mmio"}, "drive-0 is no backend for a device of this driver"),
        ({"addr": "0x1", "driver": "virtio-gpu"}, "Unsupported replaceable device type."),
    ],
)
def test_a_wrong_device_is_refused_and_the_slot_stays_empty(
    arguments: dict[str, Any], error: str, client: Client, image: str
) -> None:
    add_image(client, image)
    kind, text = call(client, "device_add", **{"id": "drive-0", "driver": "virtio-blk-mmio", **arguments})

    assert kind == "GenericError"
    assert error in text
    assert call(client, "device_add", id="drive-0", driver="virtio-blk-mmio", addr="0x1") == {}


def test_a_backend_that_cannot_be_opened_leaves_the_slot_empty(
    client: Client, tmp_path: Path, image: str
) -> None:
    (tmp_path / "bad").write_bytes(bytes(512))
    add_image(client, f"{tmp_path}/bad", "worse")
    kind, text = call(client, "device_add", id="worse", driver="virtio-blk-mmio", addr="0x1")

    assert (kind, "it is bad" in text) == ("GenericError", True)
    assert call(client, "blockdev-del", node_name="worse") == {}
    add_image(client, image)
    assert call(client, "device_add", id="drive-0", driver="virtio-blk-mmio", addr="0x1") == {}


def test_ids_are_unique_and_backends_in_use_stay(client: Client, image: str) -> None:
    assert add_image(client, image) == {}
    assert add_image(client, image) == ("GenericError", "drive-0 is already registered.")
    assert add_image(client, image, "root") == ("GenericError", "root is already registered.")
    assert call(client, "device_add", id="drive-0", driver="virtio-blk-mmio", addr="0x1") == {}
    assert "in use" in call(client, "blockdev-del", node_name="drive-0")[1]
    assert "in use" in call(client, "netdev_del", id="drive-0")[1]
    assert call(client, "device_del", id="nobody") == ("DeviceNotFound", "Device nobody not found")


def test_who_removes_a_backend_after_its_device_is_answered_that_it_is_gone(
    client: Client, image: str
) -> None:
    add_image(client, image)
    call(client, "netdev_add", id="net-0", ifname="tap0")
    for name, driver in (("drive-0", "virtio-blk-mmio"), ("net-0", "virtio-net-mmio")):
        call(client, "device_add", id=name, driver=driver)
        delete(client, name)
    delete(client, "root")

    assert call(client, "netdev_del", id="drive-0") == ("GenericError", "drive-0 not found")
    for name in ("drive-0", "root"):
        assert call(client, "blockdev-del", node_name=name) == {}
        assert call(client, "blockdev-del", node_name=name) == ("GenericError", f"{name} not found")
    assert call(client, "netdev_del", id="net-0") == {}
    assert call(client, "netdev_del", id="net-0") == ("GenericError", "net-0 not found")


def test_a_backend_that_comes_again_is_removed_like_any(client: Client, image: str) -> None:
    for _ in range(2):
        add_image(client, image)
        call(client, "device_add", id="drive-0", driver="virtio-blk-mmio")
        delete(client, "drive-0")
    add_image(client, image)
    assert call(client, "blockdev-del", node_name="drive-0") == {}
    assert call(client, "blockdev-del", node_name="drive-0") == ("GenericError", "drive-0 not found")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"driver": "x" * 100_000}, "driver"),
        ({"driver": "qcow2"}, "driver"),
        ({"file": {"driver": "nbd", "filename": "/"}}, "driver"),
        ({"node-name": ""}, "node_name"),
        ({"node-name": 'a b"c'}, "node_name"),
        ({"node-name": "n" * 256}, "node_name"),
    ],
)
def test_an_image_of_another_format_and_what_is_no_id_are_refused(
    arguments: dict[str, Any], error: str, client: Client, image: str
) -> None:
    data = {"node-name": "drive-0", "file": {"driver": "file", "filename": image}, **arguments}
    answer = client.ask(json.dumps({"execute": "blockdev-add", "arguments": data}))

    assert answer["error"]["class"] == "GenericError"
    assert error in answer["error"]["desc"], answer
    assert len(answer["error"]["desc"]) < 500


def test_what_kata_containers_says_too_has_no_effect(client: Client, image: str) -> None:
    file = {"driver": "file", "filename": image, "aio": "native"}
    assert call(client, "blockdev-add", node_name="d", file=file, cache={"direct": True}) == {}
    assert call(client, "device_add", id="d", driver="virtio-blk-mmio", addr="0x1", share_rw=True) == {}
    delete(client, "d")
    host_device = {**file, "driver": "host_device"}
    assert call(client, "blockdev-add", node_name="d", driver="raw", read_only=False, file=host_device) == {}
    disk = {"id": "d", "driver": "virtio-blk-mmio", "drive": "d", "addr": "1", "num_queues": "2"}
    assert call(client, "device_add", **disk, romfile="", disable_modern=False) == {}
    assert call(client, "netdev_add", id="n", ifname="tap0", queues=1) == {}
    added = {"id": "n", "driver": "virtio-net-mmio", "addr": "0x1", "mq": True, "vectors": 6}
    assert call(client, "device_add", **added) == {}


def test_an_image_that_is_not_there_or_no_image_is_refused_at_once(client: Client, tmp_path: Path) -> None:
    assert "No such file" in add_image(client, f"{tmp_path}/nothing")[1]
    assert add_image(client, str(tmp_path)) == ("GenericError", "File is not a regular file or block device")


def send_fds(client: Client, request: dict[str, object], *fds: int) -> dict[str, Any]:
    socket.send_fds(client.socket, [json.dumps(request).encode()], list(fds))
    return client.receive()


# Opens as many files as make the next one's number a large one, and goes on as the command.
HOLD_MANY = (
    "import os, sys; [os.set_inheritable(os.open('/dev/null', 0), True) for _ in range(260)]; "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


def named(name: str) -> dict[str, object]:
    return {"execute": "getfd", "arguments": {"fdname": name}}


@pytest.mark.guidebook("3.3.5 getfd")
def test_descriptors_get_names_and_become_a_card(served: Served, client: Client) -> None:
    read, write = os.pipe()
    assert send_fds(client, named("first"), read, write) == {"return": {}}
    assert client.ask(json.dumps(named("second"))) == {"return": {}}
    os.close(read)
    os.close(write)

    assert call(client, "netdev_add", id="n", fds="first:second") == {}
    assert call(client, "device_add", id="n", driver="virtio-net-mmio") == {}
    fds = served.did().removeprefix("plug [('fds', (").split(")")[0].split(", ")
    held = [os.readlink(f"/proc/{served.process.pid}/fd/{fd}") for fd in fds]
    assert held == [held[0]] * 2
    assert held[0].startswith("pipe:")

    call_events = [
        client.ask('{"execute": "device_del", "arguments": {"id": "n"}}')["event"],
        client.receive(),
    ]
    assert call_events == ["DEVICE_DELETED", {"return": {}}]
    assert all(not os.path.exists(f"/proc/{served.process.pid}/fd/{fd}") for fd in fds)


def test_a_descriptor_may_have_a_number_above_255(tmp_path: Path) -> None:
    with Served(tmp_path / "qmp", shell=f'exec {sys.executable} -c "{HOLD_MANY}" "$@"') as served:
        served.has_started()
        client = served.connect()
        read, write = os.pipe()
        assert send_fds(client, named("tap"), read) == {"return": {}}
        assert call(client, "netdev_add", id="n", fds="tap") == {}
        assert call(client, "device_add", id="n", driver="virtio-net-mmio") == {}
        number = int(served.did().removeprefix("plug [('fds', (").split(",")[0])
        held = os.readlink(f"/proc/{served.process.pid}/fd/{number}")
        os.close(read)
        os.close(write)

    assert number > 255
    assert held.startswith("pipe:")


def test_a_name_without_a_descriptor_is_an_error(client: Client) -> None:
    assert call(client, "getfd", fdname="fd1") == (
        "GenericError",
        "No file descriptor supplied via SCM_RIGHTS",
    )
    assert call(client, "closefd", fdname="fd1")[0] == "GenericError"
    assert "digit" in call(client, "getfd", fdname="1fd")[1]


def test_names_outlive_their_client_and_nameless_ones_do_not(served: Served, client: Client) -> None:
    before = len(os.listdir(f"/proc/{served.process.pid}/fd"))
    read, write = os.pipe()
    send_fds(client, named("kept"), read, write)
    served.hang_up()
    second = served.connect()

    assert len(os.listdir(f"/proc/{served.process.pid}/fd")) == before + 1
    assert call(second, "closefd", fdname="kept") == {}
    assert len(os.listdir(f"/proc/{served.process.pid}/fd")) == before
    os.close(read)
    os.close(write)


def test_a_client_cannot_fill_the_table_of_descriptors(served: Served, client: Client) -> None:
    before = len(os.listdir(f"/proc/{served.process.pid}/fd"))
    for _ in range(20):
        send_fds(client, {"execute": "query-status"}, *[0] * 16)

    assert len(os.listdir(f"/proc/{served.process.pid}/fd")) == before + 16


def test_what_the_host_refuses_unforeseen_is_an_error_and_the_machine_runs_on(
    client: Client, tmp_path: Path
) -> None:
    (tmp_path / "one too many").write_bytes(bytes(512))
    add_image(client, f"{tmp_path}/one too many", "disk")
    kind, text = call(client, "device_add", id="disk", driver="virtio-blk-mmio", addr="0x1")

    assert kind == "GenericError"
    assert "plug: Too many open files" in text
    assert call(client, "query-status")["running"]
