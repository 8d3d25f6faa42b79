"""What all tests share."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Let what the tests start meet SIGHUP as from a shell, also where it is ignored for us (nohup).

    A signal that is ignored stays so in a program that is executed; one that is caught is its default again.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
