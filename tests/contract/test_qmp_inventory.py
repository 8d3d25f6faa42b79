"""What a program that probes a machine is told, in QEMU's shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.control.served import Client, Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

EMPTY = [
    "query-acpi-ospm-status", "query-block-exports", "query-block-jobs", "query-fdsets", "query-jobs",
    "query-memory-devices", "query-mice", "query-pci", "query-tpm-models", "query-tpm-types",
]  # fmt: skip


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Return a greeted client of a machine with a disk, an I/O thread and a console."""
    options: dict[str, Any] = {
        "iothread": {"disks": {}},
        "console": {"main": {"path": "/tmp/main.sock"}},
        "memory": {"size": "512M"},
    }
    with Served(tmp_path / "qmp", **options) as running:
        running.has_started()
        yield running.connect()


def ask(client: Client, name: str, arguments: str = "{}") -> Any:
    return client.ask(f'{{"execute":"{name}","arguments":{arguments}}}')


def returned(client: Client, name: str, arguments: str = "{}") -> Any:
    return ask(client, name, arguments)["return"]


def test_disks_are_listed_with_their_images_and_empty_slots_without(client: Client) -> None:
    first, second = returned(client, "query-block")

    assert (first["device"], first["inserted"]["file"]) == ("root", "/root.img")
    assert first["inserted"]["image"]["format"] == "raw"
    assert (second["device"], "inserted" in second) == ("slot 1", False)
    assert [node["node-name"] for node in returned(client, "query-named-block-nodes")] == ["root"]


def put_in(client: Client, name: str, image: Path, addr: str) -> None:
    image.write_bytes(bytes(512))
    file = f'{{"driver":"file","filename":"{image}"}}'
    returned(client, "blockdev-add", f'{{"node-name":"{name}","file":{file}}}')
    returned(client, "device_add", f'{{"id":"{name}","driver":"virtio-blk-mmio","addr":"{addr}"}}')


def test_a_disk_that_came_by_qmp_is_called_by_its_id(client: Client, tmp_path: Path) -> None:
    assert ask(client, "device_del", '{"id":"root"}')["event"] == "DEVICE_DELETED"
    client.receive()
    assert [disk["device"] for disk in returned(client, "query-block")] == ["slot 0", "slot 1"]
    put_in(client, "new", tmp_path / "first", "0x0")
    put_in(client, "root", tmp_path / "second", "0x1")

    disks = returned(client, "query-block")
    assert [disk["device"] for disk in disks] == ["new", "root"]
    assert [disk["inserted"]["node-name"] for disk in disks] == ["new", "root"]
    nodes = returned(client, "query-named-block-nodes", '{"flat":true}')
    assert [node["node-name"] for node in nodes] == ["new", "root"]


LIMITS = {"bps": 4 << 20, "bps_rd": 1 << 20, "bps_wr": 2 << 20, "iops": 300, "iops_rd": 100, "iops_wr": 200}


def test_a_disk_tells_its_limits_and_one_without_says_0(client: Client, tmp_path: Path) -> None:
    drive = {
        "file": "/root.img",
        "iops": 300,
        "limit": {
            "bytes": "4M", "read_bytes": "1M", "write_bytes": "2M", "read_ops": 100, "write_ops": 200
        },
    }  # fmt: skip
    with Served(tmp_path / "limited", drive={"root": drive}) as served:
        limited = served.connect()
        disk, _empty = returned(limited, "query-block")
        (node,) = returned(limited, "query-named-block-nodes")
    free, _empty = returned(client, "query-block")

    assert {key: disk["inserted"][key] for key in LIMITS} == LIMITS
    assert {key: node[key] for key in LIMITS} == LIMITS
    assert {free["inserted"][key] for key in LIMITS} == {0}


def test_threads_memory_and_character_devices_are_those_of_the_document(client: Client) -> None:
    assert [(t["id"], t["thread-id"]) for t in returned(client, "query-iothreads")] == [("disks", 5)]
    assert returned(client, "query-memory-size-summary") == {"base-memory": 512 << 20, "plugged-memory": 0}
    assert returned(client, "query-memdev")[0]["size"] == 512 << 20
    labels = {entry["label"]: entry["filename"] for entry in returned(client, "query-chardev")}
    assert labels["main"] == "unix:/tmp/main.sock,server=on"
    assert "compat_monitor0" in labels


def test_a_console_is_told_the_size_of_its_window_by_name(tmp_path: Path) -> None:
    name = "chardev-window-size-changed"
    with Served(tmp_path / "qmp", console={"main": {"path": "/tmp/main.sock"}}) as running:
        running.has_started()
        client = running.connect()
        assert returned(client, name, '{"id":"main","cols":132,"rows":43}') == {}
        assert running.did() == "window of main: 132 by 43"
        for unknown in ("", "serial0", "other"):
            refused = ask(client, name, f'{{"id":"{unknown}","cols":1,"rows":1}}')["error"]
            assert refused == {"class": "GenericError", "desc": f"Console '{unknown}' not found"}
        assert "cols is 65536" in ask(client, name, '{"id":"main","cols":65536,"rows":1}')["error"]["desc"]


def test_machines_and_processors_are_named(client: Client) -> None:
    machines = {machine["name"]: machine["cpu-max"] for machine in returned(client, "query-machines")}

    assert machines == {"microvm": 254, "standard_vm": 254}
    assert returned(client, "query-target") == {"arch": "x86_64"}
    assert [cpu["name"] for cpu in returned(client, "query-cpu-definitions")] == ["host"]
    assert returned(client, "query-current-machine") == {"wakeup-suspend-support": False}
    assert returned(client, "query-uuid") == {"UUID": "00000000-0000-0000-0000-000000000000"}


def test_the_uuid_is_the_documents(tmp_path: Path) -> None:
    uuid = "9e2c7f10-5a0b-4c7e-8d21-3b6f0d5e9a44"
    with Served(tmp_path / "qmp", uuid=uuid) as running:
        running.has_started()
        assert returned(running.connect(), "query-uuid") == {"UUID": uuid}


def test_drivers_and_flags_are_listed_with_their_keys(client: Client) -> None:
    drivers = {entry["name"] for entry in returned(client, "qom-list-types")}
    keys = returned(client, "device-list-properties", '{"typename":"virtio-blk-device"}')
    options = {
        entry["option"]: entry["parameters"] for entry in returned(client, "query-command-line-options")
    }

    assert {"virtio-blk-device", "virtio-net-pci", "pcie-root-port"} <= drivers
    assert {"drive", "iothread"} <= {key["name"] for key in keys}
    assert "readonly" in {key["name"] for key in options["drive"]}
    unknown = ask(client, "device-list-properties", '{"typename":"floppy"}')
    assert unknown["error"]["class"] == "DeviceNotFound"


@pytest.mark.parametrize("kind", ["blk", "net"])
def test_the_drivers_of_device_add_are_known_too(kind: str, client: Client) -> None:
    mmio, device = (
        returned(client, "device-list-properties", f'{{"typename":"virtio-{kind}-{word}"}}')
        for word in ("mmio", "device")
    )
    one = returned(client, "qom-list-types", f'{{"implements":"virtio-{kind}-mmio"}}')

    assert mmio == device
    assert [entry["name"] for entry in one] == [f"virtio-{kind}-mmio"]
    assert len(returned(client, "qom-list-types", '{"implements":"device","abstract":false}')) > 2


def test_one_flag_is_told_of_alone(client: Client) -> None:
    (drive,) = returned(client, "query-command-line-options", '{"option":"drive"}')
    refused = ask(client, "query-command-line-options", '{"option":"floppy"}')["error"]

    assert drive["option"] == "drive"
    assert refused == {"class": "GenericError", "desc": "there is no flag 'floppy' that takes keys"}


@pytest.mark.parametrize("name", EMPTY)
def test_what_there_is_none_of_is_an_empty_list(name: str, client: Client) -> None:
    assert returned(client, name) == []


def test_a_command_of_qemu_that_is_not_here_says_why(client: Client) -> None:
    error = ask(client, "system_powerdown")["error"]

    assert error["class"] == "CommandNotFound"
    assert error["desc"].startswith(
        "The command system_powerdown has not been found: there is no power button"
    )
    assert ask(client, "x-nonsense")["error"]["desc"] == "The command x-nonsense has not been found"
