"""What all tests share."""

from __future__ import annotations

import os
import signal

import pytest


def pytest_configure() -> None:
    """Let what the tests start meet SIGHUP as from a shell, also where it is ignored for us (nohup).

    A signal that is ignored stays so in a program that is executed; one that is caught is its default again.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kvm") and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("needs a usable /dev/kvm")
