"""A process that its host stops for a while (SIGSTOP), and lets go on."""

from __future__ import annotations

import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING

from tests.guest.machines import disk, empty_image, obeying
from tests.guest.vmm import Qmp

if TYPE_CHECKING:
    from pathlib import Path

    from tests.guest.vmm import Vmm

IOPS = 20


def paced(vmm: Vmm) -> float:
    """Write as often as the limit allows in a second; return the seconds that it took."""
    vmm.ask("w 1")  # what was saved up goes
    vmm.ask("w 1")
    begun = time.monotonic()
    for _ in range(IOPS):
        assert vmm.ask("w 1") == 0
    return time.monotonic() - begun


def stopped_for(seconds: float, folder: Path) -> float:
    """Stop a machine for so long, and see that all of it goes on; return how long the first answer took."""
    words = [*disk(empty_image(folder / "disk"))[:-1], f"virtio-blk-device,drive=d,iops={IOPS}"]
    with obeying(folder, *words, timeout=seconds + 30) as vmm:
        with closing(Qmp(folder / "qmp", vmm.deadline)) as qmp:
            assert paced(vmm) >= 0.9
            vmm.process.send_signal(signal.SIGSTOP)
            time.sleep(seconds)  # the fault itself
            request = b'{"execute":"query-status"}'
            qmp.socket.sendall(request)
            vmm.process.send_signal(signal.SIGCONT)
            begun = time.monotonic()
            assert qmp.receive()["return"]["status"] == "running"
            took = time.monotonic() - begun
            assert took < 1
            assert 0.9 <= paced(vmm) <= 1.5
            assert vmm.ask("r 1") == 1
            qmp.call("stop")
            qmp.call("cont")
            vmm.type(b"q\n")
            assert qmp.wait_event("SHUTDOWN")["data"]["guest"] is True
        status, _, errors = vmm.finish()
    assert (status, errors) == (0, "")
    return took
