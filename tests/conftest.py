"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# What is asserted beside the tests' own files is told with its values, too.
pytest.register_assert_rewrite(
    *(f"tests.{folder.name}" for folder in Path(__file__).parent.iterdir() if folder.is_dir())
)


def pytest_configure() -> None:
    """Let what the tests start meet signals as from a shell, also where they are ignored for us.

    That is SIGHUP under nohup, and SIGINT in a shell's background. A signal that is ignored stays so in a
    program that is executed; one that is caught is its default again.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kvm") and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("needs a usable /dev/kvm")
