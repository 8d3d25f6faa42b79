"""Flags to document: which error, how many problems, what depends on the host (compat/translate.py)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stratovirt import __version__
from stratovirt.compat.translate import Answer, translate
from stratovirt.errors import DocumentError, StratovirtError, UsageError

BASE = ["-qmp", "unix:/tmp/sv.sock", "-kernel", "vmlinux", "-initrd", "rootfs.cpio"]


def refuse(*argv: str) -> StratovirtError:
    with pytest.raises((UsageError, DocumentError)) as caught:
        translate([*BASE, *argv], arch="x86_64")
    return caught.value


def test_a_flag_that_cannot_be_read_is_a_usage_error() -> None:
    error = refuse("-m", "25M6")

    assert isinstance(error, UsageError)
    assert error.message.startswith("-m 25M6: ")


def test_a_value_that_cannot_be_is_a_document_error() -> None:
    error = refuse("-smp", "255")

    assert isinstance(error, DocumentError)
    assert error.message == "-smp 255: count is 255, not in 1..254"


def test_every_flag_that_cannot_be_read_is_named() -> None:
    lines = refuse("-m", "x", "-smp", "y", "-drive", "id=").message.splitlines()

    assert [line.split(":")[0].strip() for line in lines] == ["3 problems", "-smp y", "-m x", "-drive id="]


def test_every_problem_of_the_document_is_named_with_its_flag() -> None:
    disk = "virtio-blk-device,drive=a,iops=0"
    message = refuse(
        "-smp", "0", "-drive", "id=a,file=a", "-device", disk, "virtio-blk-device,drive=b"
    ).message

    assert "3 problems:" in message
    assert "-smp 0: count is 0" in message
    assert f"-device {disk}: iops is 0" in message
    assert "-device virtio-blk-device,drive=b: there is no -drive with id=b (ids of -drive: a)" in message


def test_a_single_problem_keeps_its_next_step_apart() -> None:
    error = refuse("-device", "virtio-blk-device,drive=a")

    assert error.message == "-device virtio-blk-device,drive=a: there is no -drive with id=a"
    assert error.hint == "ids of -drive: none"


def test_a_problem_of_the_backend_names_the_backend_and_not_the_device() -> None:
    error = refuse("-drive", "id=a,file=a,serial=" + "s" * 21, "-device", "virtio-blk-device,drive=a")

    assert error.message.startswith("-drive id=a,file=a,serial=")


def test_a_long_flag_is_cut_in_messages() -> None:
    assert refuse("-name", "n" * 300).message.startswith("-name " + "n" * 94 + "...: ")


def test_help_is_an_answer_and_no_failure() -> None:
    with pytest.raises(Answer) as caught:
        translate(["-h"])

    assert caught.value.exit_status == 0
    assert "-drive id=NAME,file=PATH" in caught.value.message


def test_version_is_an_answer() -> None:
    with pytest.raises(Answer, match=f"^StratoVirt {__version__}$"):
        translate(["-version"])


def test_help_wins_over_version_and_over_what_is_missing() -> None:
    with pytest.raises(Answer, match="USAGE"):
        translate(["-V", "-smp", "-h"])


def test_an_unknown_word_wins_over_help() -> None:
    with pytest.raises(UsageError, match="Found argument '-x'"):
        translate(["-h", "-x"])


def test_the_qmp_socket_is_required() -> None:
    with pytest.raises(UsageError) as caught:
        translate(["-kernel", "vmlinux"])

    assert caught.value.message == "Argument 'qmp' required, but not found. Use '-h' or '-help' to get usage."


def test_the_machine_has_the_architecture_of_the_host() -> None:
    assert translate(BASE, arch="aarch64").machine.arch == "aarch64"


def test_an_architecture_that_we_do_not_know_is_refused() -> None:
    with pytest.raises(DocumentError, match="riscv64"):
        translate(BASE, arch="riscv64")


def test_disks_stand_in_the_order_of_their_devices() -> None:
    backends = "-drive id=a,file=a id=b,file=b id=c,file=c"
    words = f"{backends} -device virtio-blk-device,drive=c virtio-blk-device,drive=a"
    drives = translate([*BASE, *words.split()], arch="x86_64").drive

    assert [name for name, drive in drives.items() if drive.attach] == ["c", "a"]
    assert [name for name, drive in drives.items() if not drive.attach] == ["b"]


GADGET = """
import sys
sys.path.insert(0, sys.argv[1])
from stratovirt import devices
from stratovirt.devices.device import BackedDevice
from stratovirt.record import integer, path

class Gadget(BackedDevice):
    "A gadget."
    option = "gadgetdev"
    reference = "gadget"
    device_id = "name"
    drivers = {"virtio-gadget-device": "mmio"}
    file: str = path("Where it is")
    speed: int = integer("How fast", default=1, minimum=1, on="device")

devices.tables()["gadget"] = Gadget
from stratovirt.compat.translate import translate
from stratovirt.compat.write import to_flags
from stratovirt.compat.help import usage
words = "-gadgetdev id=g,file=/g -device virtio-gadget-device,gadget=g,id=one,speed=9"
vm = translate([*sys.argv[2:], *words.split()], arch="x86_64")
assert vm.to_data()["gadget"] == {"one": {"file": "/g", "speed": 9}}, vm
assert translate(to_flags(vm, "x86_64"), arch="x86_64") == vm
assert "-device virtio-gadget-device,gadget=ID[,id=NAME][,speed=N]" in usage()
"""


def test_a_new_device_needs_no_word_in_compat() -> None:
    run = subprocess.run(
        [sys.executable, "-c", GADGET, sys.path[0], *BASE], capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stderr


@pytest.mark.guidebook("2.5 guest_cid")
@pytest.mark.parametrize("cid", ["0", "1", "2", "4294967295", "4294967296", "-3"])
def test_a_context_id_that_no_guest_can_have_is_refused(cid: str) -> None:
    assert "guest" in refuse("-device", f"vhost-vsock-device,id=v,guest-cid={cid}").message


@pytest.mark.guidebook("2.5 guest_cid")
@pytest.mark.parametrize("cid", [3, 4294967294])
def test_every_context_id_of_a_guest_is_taken(cid: int) -> None:
    answer = translate([*BASE, "-device", f"vhost-vsock-device,id=v,guest-cid={cid}"], arch="x86_64")

    assert not isinstance(answer, Answer)
    assert answer.vsock is not None
    assert answer.vsock.guest_cid == cid


@pytest.mark.guidebook("2.5 one")
def test_a_machine_has_one_vsock_device() -> None:
    device = "vhost-vsock-device,id={},guest-cid={}"

    assert "vsock" in refuse("-device", device.format("a", 3), "-device", device.format("b", 4)).message


def test_a_standard_vm_has_the_name_of_its_architecture_too() -> None:
    assert translate([*BASE, "-machine", "virt"], arch="aarch64").machine.type == "standard_vm"
    with pytest.raises(DocumentError, match="type is 'q35'"):
        translate([*BASE, "-machine", "q35"], arch="aarch64")


def test_an_object_that_a_device_missed_is_not_told_as_unused() -> None:
    error = refuse("-object", "rng-random,id=r,filename=/f", "-device", "virtio-rng-device,rng=x")

    assert error.message.startswith(
        "-device virtio-rng-device,rng=x: there is no -object rng-random with id=x"
    )
    assert error.hint == "ids of -object rng-random: r"


def test_words_that_an_unknown_driver_may_have_meant_include_those_that_say_nothing() -> None:
    assert "did you mean 'virtio-serial-device'?" in refuse("-device", "virtio-serial-devic").message
