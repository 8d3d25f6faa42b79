"""Module closures, and configurations that Kconfig did not swallow."""

from __future__ import annotations

from tests.rig.kernels import closure, depends, dropped

LISTING = """\
kernel/drivers/net/virtio_net.ko: kernel/net/failover.ko kernel/drivers/virtio/virtio.ko
kernel/drivers/char/virtio-rng.ko: kernel/drivers/virtio/virtio.ko
kernel/drivers/virtio/virtio.ko:
kernel/net/failover.ko:
"""


def test_a_module_brings_all_that_it_needs_once() -> None:
    files = closure(["virtio_net", "virtio-rng"], depends(LISTING))

    assert [file.rsplit("/", 1)[1] for file in files] == [
        "virtio-rng.ko",
        "virtio_net.ko",
        "virtio.ko",
        "failover.ko",
    ]


def test_a_module_that_is_built_in_is_left_out() -> None:
    assert closure(["ext4"], depends(LISTING)) == []


def test_a_dash_and_an_underscore_name_the_same_module() -> None:
    assert closure(["virtio_rng"], depends(LISTING)) == closure(["virtio-rng"], depends(LISTING))


def test_an_option_that_was_not_taken_is_reported() -> None:
    wanted = "CONFIG_SMP=y\nCONFIG_NR_CPUS=256\n# CONFIG_SERIO is not set\n"

    assert dropped(wanted, "CONFIG_SMP=y\nCONFIG_NR_CPUS=64\n") == ["CONFIG_NR_CPUS=256"]


def test_an_option_that_came_back_is_reported() -> None:
    wanted = "# CONFIG_SERIO is not set\n"

    assert dropped(wanted, "CONFIG_SERIO=y\n") == ["CONFIG_SERIO"]
    assert dropped(wanted, "# CONFIG_SERIO is not set\n") == []
