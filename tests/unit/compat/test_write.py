"""Document to flags: what is said how, and what no flag can say (compat/write.py)."""

from __future__ import annotations

import pytest

from stratovirt.compat.write import to_flags
from stratovirt.document.vm import Vm
from stratovirt.errors import DocumentError
from stratovirt.load import load

BASE = {"version": 1, "boot": {"kernel": "vmlinux", "initrd": "i"}, "qmp": {"socket": "/s"}}
BASE_WORDS = ["-kernel", "vmlinux", "-initrd", "i", "-qmp", "unix:/s"]


def words(**tables: object) -> list[str]:
    vm = load(Vm, {**BASE, **tables}, [])
    assert vm is not None
    return [word for word in to_flags(vm, arch="x86_64") if word not in BASE_WORDS]


def test_defaults_are_left_out() -> None:
    assert words() == []


def test_memory_is_said_in_the_largest_unit() -> None:
    assert words(memory={"size": 1536 << 20}) == ["-m", "1536M"]


def test_a_card_is_said_by_its_tap_as_every_release_reads_it() -> None:
    said = words(net={"eth0": {"tap": "tap0"}})

    assert said == ["-netdev", "id=tap0", "-device", "virtio-net-device,netdev=tap0,id=eth0"]


def test_a_tap_that_is_also_the_name_of_another_card_is_said_by_its_own_key() -> None:
    said = words(net={"a": {"tap": "b"}, "b": {"tap": "t"}})

    assert said[:2] == ["-netdev", "id=a,netdev=b"]


def test_two_cards_on_one_tap_keep_their_ids_apart() -> None:
    said = words(net={"a": {"tap": "t"}, "b": {"tap": "t"}})

    assert [word for word in said if word.startswith("id=")] == ["id=t", "id=b,netdev=t"]


def test_a_log_without_a_file_is_a_bare_flag() -> None:
    assert words(log={}) == ["-D"]


def test_a_drive_that_is_not_attached_has_no_device() -> None:
    assert words(drive={"a": {"file": "f", "attach": False}}) == ["-drive", "id=a,file=f"]


def test_a_port_number_is_said_in_hexadecimal() -> None:
    said = words(
        machine={"type": "standard_vm"}, root_port={"p": {"port": 255, "bus": "pcie.0", "addr": "1"}}
    )

    assert said[-1] == "pcie-root-port,id=p,port=0xff,bus=pcie.0,addr=1"


UNSAYABLE = [
    ({"drive": {"a": {"file": "/a,b"}}}, "drive.a.file"),
    ({"drive": {"a": {"file": "/a="}}}, "drive.a.file"),
    ({"drive": {"a": {"file": "/a", "serial": ""}}}, "drive.a.serial"),
    ({"net": {"a": {"tap": "t", "vhost": "auto"}}}, "net.a.vhost"),
    ({"memory": {"size": (256 << 20) + 4096}}, "memory.size"),
    ({"memory": {"path": '/a"b'}}, "memory.path"),
    ({"memory": {"transparent_hugepages": True}}, "memory.transparent_hugepages"),
    ({"drive": {"a": {"file": "/a", "limit": {"bytes": "1M"}}}}, "drive.a.limit"),
    ({"drive": {"a": {"file": "/a", "lock": "off"}}}, "drive.a.lock"),
    ({"drive": {"a": {"file": "/a", "attach": False, "queues": 2}}}, "drive.a.queues"),
    ({"iothread": {"a": {"cpus": [0]}}}, "iothread.a.cpus"),
    ({"qmp": {"socket": "/a,b"}}, "qmp.socket"),
    ({"boot": {"kernel": "-k"}}, "boot.kernel"),
    ({"boot": {"kernel": "k", "cmdline": "-- single"}}, "boot.cmdline"),
    ({"name": "-n"}, "name"),
    ({"log": {"file": "-"}}, "log.file"),
    ({"machine": {"arch": "aarch64"}}, "machine.arch"),
]


@pytest.mark.parametrize(
    ("tables", "place"), UNSAYABLE, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_no_flag_can_say_is_refused_by_its_key(tables: dict[str, object], place: str) -> None:
    with pytest.raises(DocumentError, match=f"no flag can say {place}: ") as caught:
        words(**tables)

    assert ".".join(caught.value.path) == place


def test_flags_need_a_qmp_socket() -> None:
    vm = load(Vm, {"version": 1}, [])
    assert vm is not None

    with pytest.raises(DocumentError, match="QMP socket"):
        to_flags(vm, arch="x86_64")
