"""What each level of the log holds, what no level but info holds, and that nobody forges a record."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from stratovirt import log
from tests.unit.control.served import Served

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "luks.passphrase=hunter2"
RECORD = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}: \[(\d+)\]\[\d+\](?:\[[a-z_]+\.py: \d+\])?:([A-Z]+): (.+)"
)
LEVELS = {
    "error": {"ERROR"},
    "warn": {"ERROR", "WARN"},
    "info": {"ERROR", "WARN", "INFO"},
    "debug": {"ERROR", "WARN", "INFO", "DEBUG"},
    "trace": {"ERROR", "WARN", "INFO", "DEBUG", "TRACE"},
}


@pytest.fixture(autouse=True)
def _no_level_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(log.VARIABLE, raising=False)


def life_of_a_machine(folder: Path, **wanted: str) -> str:
    """Return the log of a machine to which something of each kind happens, and that has secrets."""
    file = folder / "log"
    options: dict[str, Any] = {"log": {"file": str(file), **wanted}, "boot": {"cmdline": f"quiet {SECRET}"}}
    with Served(folder / "qmp", **options) as served:
        served.has_started()
        client = served.connect()
        client.ask({"execute": "query-status", "id": SECRET})
        client.ask({"execute": SECRET, "arguments": {SECRET: SECRET}})
        served.happens("driver", "drive 'd': queue 0 is ready, with 8 entries")
        served.happens("device-broken", "drive 'd' needs a reset")
        served.happens("io-error", "drive 'd': read at sector 0: Input/output error")
        served.happens("shutdown", cause="poweroff")
        assert served.finish() == (0, "")
    return file.read_text()


def levels_of(text: str) -> set[str]:
    found = [RECORD.fullmatch(line) for line in text.splitlines()]
    assert all(found), text
    return {match[2] for match in found if match}


@pytest.mark.parametrize("level", LEVELS)
def test_each_of_the_five_levels_holds_itself_and_what_is_more_severe(level: str, tmp_path: Path) -> None:
    assert set(log.LEVELS) == set(LEVELS)
    assert levels_of(life_of_a_machine(tmp_path, level=level)) == LEVELS[level]


def test_errors_alone_are_logged_when_no_level_is_given(tmp_path: Path) -> None:
    assert levels_of(life_of_a_machine(tmp_path)) == {"ERROR"}


@pytest.mark.parametrize(("variable", "expected"), [("WARN", "warn"), ("nonsense", "error"), ("", "error")])
def test_the_level_of_the_environment_wins_when_it_is_one(
    variable: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(log.VARIABLE, variable)

    assert levels_of(life_of_a_machine(tmp_path)) == LEVELS[expected]


@pytest.mark.parametrize(
    "wanted", [{}, {"level": "error"}, {"level": "warn"}], ids=["default", "error", "warn"]
)
def test_command_line_and_clients_words_are_in_no_log_below_info(
    wanted: dict[str, str], tmp_path: Path
) -> None:
    text = life_of_a_machine(tmp_path, **wanted)

    assert text
    assert SECRET not in text
    assert "QMP" not in text


def test_from_info_on_the_document_and_all_messages_are_logged_and_no_command_line(tmp_path: Path) -> None:
    lines = life_of_a_machine(tmp_path, level="info").splitlines()
    (started,) = [line for line in lines if "the machine runs: " in line]

    assert f"'cmdline': '({len(SECRET) + 6} characters)'" in started
    assert SECRET not in started
    assert any("QMP: --> " in line and SECRET in line for line in lines)
    assert any("QMP: <-- " in line and SECRET in line for line in lines)


def test_at_debug_the_outcome_of_each_command_is_logged_without_a_word_of_the_client(tmp_path: Path) -> None:
    text = life_of_a_machine(tmp_path, level="debug")
    lines = [line.partition(":DEBUG: ")[2] for line in text.splitlines() if ":DEBUG: " in line]
    outcomes = [line.rpartition(", after ")[0] for line in lines if ", after " in line]

    assert outcomes == ["QMP: query-status: done", "QMP: what is no command: CommandNotFound"]
    assert SECRET not in "".join(lines)


@pytest.mark.parametrize("shape", ["text", "json"])
def test_a_client_that_sends_the_lines_of_a_record_writes_none(shape: str, tmp_path: Path) -> None:
    file = tmp_path / "log"
    forged = "2026-11-26T00:00:00.000000000: [1][1]:ERROR: forged"
    with Served(tmp_path / "qmp", log={"file": str(file), "level": "info", "format": shape}) as served:
        client = served.connect()
        client.ask(f'{{"execute":"query-status","id":\n"{forged}"\n}}')
        client.ask({"execute": "query-status", "id": f"\r\n{forged}\u2028{forged}"})
        served.happens("io-error", f"drive 'd'\n{forged}\n")
        served.happens("shutdown", cause="poweroff")
        served.finish()
    lines = file.read_text().split("\n")[:-1]

    assert sum("forged" in line for line in lines) == 5
    if shape == "json":
        assert {json.loads(line)["pid"] for line in lines} == {served.process.pid}
    else:
        assert {match and match[1] for match in map(RECORD.fullmatch, lines)} == {str(served.process.pid)}
