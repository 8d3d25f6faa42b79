"""A guest that attacks its machine while another one works: what host, QMP and neighbour see of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.guest.hostile import ANSWER_S, CONTROL_SHARE, GAP_S, GROWTH_KIB, Attack
from tests.guest.measured import Answers, Machine
from tests.guest.prey import DEVICES, UNIX_VSOCK, Prey

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kvm

ROUNDS = 700  # 5 to 10 seconds
WINDOWS = 9  # of DEVICES with the spare slots; a card makes one more


@pytest.fixture(scope="module")
def attack(tmp_path_factory: pytest.TempPathFactory) -> Attack:
    """Return what was measured during an attack that is over."""
    prey = Prey(tmp_path_factory.mktemp("attack"))
    with Attack(prey, seed=1, rounds=ROUNDS, timeout=120) as under_way:
        under_way.watch(seconds=100)
        under_way.end()
    return under_way


def test_every_device_still_works_after_the_attack(attack: Attack) -> None:
    windows = attack.marks(b"windows ")
    assert windows >= WINDOWS
    assert attack.marks(b"sound ") == windows
    assert attack.status == 0


def test_a_card_with_a_tap_and_vsock_streams_are_attacked_too(attack: Attack) -> None:
    assert attack.prey.heard > 0
    if attack.prey.card.missing:
        pytest.skip(f"needs a tap for the card; {attack.prey.card.missing}")
    assert min(attack.frames) > 0


def test_qmp_answers_within_100_milliseconds_at_all_times(attack: Attack) -> None:
    assert len(attack.answers.all) > 50
    assert attack.answers.worst() < (ANSWER_S, "")
    assert attack.answers.median() < ANSWER_S


def test_the_neighbour_goes_on_working_and_answering(attack: Attack) -> None:
    assert b"broken" not in attack.neighbour.vmm.output
    assert attack.longest_gap_s < GAP_S
    assert attack.neighbours_answers.worst() < (ANSWER_S, "")


def test_memory_that_is_not_the_guests_stays_as_it_was(attack: Attack) -> None:
    first, *later = attack.private_kib[1:]
    assert max(later) - first < GROWTH_KIB


def test_the_log_stays_small(attack: Attack) -> None:
    assert 0 < len(attack.log.splitlines()) <= attack.lines_at_most()
    assert attack.errors == ""


def test_only_vcpus_and_io_threads_take_processor_time(attack: Attack) -> None:
    assert attack.strangers() == set()
    assert attack.most_threads < 24
    assert attack.control_share < CONTROL_SHARE


def test_a_guest_cannot_keep_the_control_thread_busy(tmp_path: Path) -> None:
    """What it does is told once a second for each device, however often it does it."""
    with Machine(tmp_path, "storm", "3000", cpus=1, devices=DEVICES + UNIX_VSOCK, timeout=60) as machine:
        answers = Answers(machine)
        machine.vmm.read_until(b"@round")
        begin, ran = time.monotonic(), machine.control.times()[0]
        while b"@sound" not in machine.vmm.output:
            machine.vmm.read_available()
            answers.ask("query-status")
            time.sleep(0.5)
        share = (machine.control.times()[0] - ran) / (time.monotonic() - begin)

    assert share < 0.04
    assert answers.worst() < (ANSWER_S, "")
