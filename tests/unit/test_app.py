"""The cold commands, as a user calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def call(*words: str | Path, text: str | None = None) -> tuple[int, str, str]:
    run = subprocess.run(
        [sys.executable, "-m", "stratovirt", *map(str, words)],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TERMINAL_WIDTH": "100"},
    )
    assert "Traceback" not in run.stderr
    return run.returncode, run.stdout, run.stderr


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """Return a profile with two errors."""
    path = tmp_path / "wrong.toml"
    path.write_text(
        'version = 1\n[boot]\nkernel = "k"\ninitrd = "i"\n[memory]\nsize = "1M"\n[cpu]\ncuont = 1\n'
    )
    return path


def test_the_profiles_of_the_project_pass_check() -> None:
    status, output, _ = call("check", "profiles")

    assert (status, "0 errors, 0 warnings" in output) == (0, True)


def test_check_shows_each_finding_with_its_line(wrong: Path) -> None:
    status, output, _ = call("check", wrong)

    assert status == 1
    assert f"{wrong}:6:8: error[SV301]: memory is 1M, not in 256M..512G" in output
    assert f"{wrong}:8:1: error[SV102]: unknown key 'cuont' in [cpu]" in output
    assert "^^^^^ did you mean 'count'?" in output


def test_check_reports_as_json(wrong: Path) -> None:
    status, output, _ = call("check", wrong, "--format", "json")
    report = json.loads(output)

    assert (status, report["valid"], report["errors"]) == (1, False, 2)
    assert report["findings"][0]["range"]["start"] == {"line": 6, "column": 8, "offset": 61}
    assert report["findings"][1]["suggestion"] == {"replace": "count"}


def test_check_reports_as_sarif(wrong: Path) -> None:
    _, output, _ = call("check", wrong, "--format", "sarif")
    run = json.loads(output)["runs"][0]

    assert [result["ruleId"] for result in run["results"]] == ["SV301", "SV102"]


def test_check_reads_standard_input() -> None:
    status, output, _ = call(
        "check", "-", "--lang", "yaml", text="version: 1\nboot: {kernel: k, initrd: i}\n"
    )

    assert (status, output.splitlines()[0]) == (0, "<stdin>  ok")


def test_standard_input_is_bounded_as_a_file_is() -> None:
    comment = "#" * (1 << 20)
    allowed, _, _ = call(
        "check", "-", text=f'{comment[:-80]}\nversion = 1\nboot = {{ kernel = "k", initrd = "i" }}\n'
    )
    refused, _, errors = call("check", "-", text=f"{comment}#")

    assert (allowed, refused) == (0, 2)
    assert "<stdin>: more than 1 MiB" in errors


# Says each path and address that the process opens, makes, removes or talks to (Python's audit events).
AUDITED = """
import runpy, sys
def tell(event, words):
    if event.startswith(("open", "os.", "socket.", "shutil.", "subprocess.")):
        sys.stderr.write(f"{event} {words}\\n")
sys.argv = ["stratovirt", *sys.argv[1:]]
sys.addaudithook(tell)
runpy.run_module("stratovirt", run_name="__main__")
"""


def test_check_opens_nothing_that_a_profile_names(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    named = {name: tmp_path / "named" / name for name in ("kernel", "disk", "qmp", "console", "vsock", "log")}
    profile.write_text(
        f"""
version = 1
boot = {{ kernel = "{named["kernel"]}" }}
drive.d = {{ file = "{named["disk"]}" }}
net.n = {{ tap = "named0" }}
qmp.socket = "{named["qmp"]}"
console.c.path = "{named["console"]}"
vsock = {{ guest_cid = 3, backend = "unix", socket = "{named["vsock"]}" }}
log.file = "{named["log"]}"
"""
    )
    named["kernel"].parent.mkdir()
    for path in named.values():
        path.touch()
    run = subprocess.run(
        [sys.executable, "-c", AUDITED, "check", profile],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert run.returncode == 0, run.stdout
    assert str(profile) in run.stderr
    assert [line for line in run.stderr.splitlines() if "named" in line.replace(str(profile), "")] == []


def test_warnings_fail_only_when_strict(tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text('version = 1\n[boot]\nkernel = "k"\n')

    assert call("check", profile)[0] == 0
    assert call("check", profile, "--strict")[0] == 1


def test_one_unreadable_file_does_not_hide_the_findings_of_another(wrong: Path, tmp_path: Path) -> None:
    status, output, errors = call("check", tmp_path / "none.toml", wrong)

    assert status == 2
    assert "none.toml" in errors
    assert "SV301" in output


@pytest.mark.parametrize(
    "words", [["check"], ["nonsense"], ["check", "--format", "xml", "x"], ["explain", "SV999"], ["run"]]
)
def test_wrong_usage_ends_with_2(words: list[str]) -> None:
    assert call(*words)[0] == 2


@pytest.mark.parametrize("language", ["toml", "yaml", "json"])
def test_translate_prints_a_document_that_check_accepts(language: str, tmp_path: Path) -> None:
    flags = [
        "-kernel",
        "/k",
        "-initrd",
        "/i",
        "-append",
        "root=UUID=x",
        "panic=1",
        "-qmp",
        "unix:/q",
        "-m",
        "1G",
    ]
    status, output, _ = call("translate", "--format", language, "--", *flags)
    profile = tmp_path / f"p.{language}"
    profile.write_text(output)

    assert status == 0
    assert call("check", profile)[0] == 0
    assert "root=UUID=x panic=1" in output


@pytest.mark.parametrize("flags", [["-m", "25M6"], ["-unknown"], ["-smp", "255"], ["-m", "1M"]])
def test_translate_refuses_with_1_and_the_reason(flags: list[str]) -> None:
    status, output, errors = call("translate", "--", "-kernel", "/k", "-qmp", "unix:/q", *flags)

    assert (status, output) == (1, "")
    assert flags[-1] in errors


def test_show_prints_flags_that_translate_reads_back() -> None:
    _, flags, _ = call("show", "profiles/microvm.toml", "--format", "cmdline")
    _, canonical, _ = call("show", "profiles/microvm.yaml")
    import shlex

    status, document, _ = call("translate", "--", *shlex.split(flags))

    assert status == 0
    assert document == canonical.replace('"../', '"profiles/../')


def test_diff_tells_what_machines_differ_in_and_not_how_they_are_written(tmp_path: Path) -> None:
    one, same, other = tmp_path / "one.toml", tmp_path / "same.yaml", tmp_path / "other.json"
    one.write_text('version = 1\n[memory]\nsize = "384M"\n[boot]\nkernel = "k"\n[drive.a]\nfile = "a"\n')
    same.write_text("boot: {kernel: k}\ndrive: {a: {file: a}}\nmemory: {size: 384M}\nversion: 1\n")
    other.write_text('{"version": 1, "memory": {"size": "512M"}, "boot": {"kernel": "k"}, "balloon": {}}')

    assert call("diff", one, same) == (0, "", "")
    status, output, _ = call("diff", one, other)
    assert status == 1
    assert output.splitlines() == [
        '- memory.size = "384M"',
        '+ memory.size = "512M"',
        '- drive.a.file = "a"',
        "+ balloon = {}",
    ]


def test_diff_of_what_is_no_profile_ends_with_2(wrong: Path, tmp_path: Path) -> None:
    assert call("diff", wrong, wrong)[0] == 2
    assert call("diff", wrong, tmp_path / "none.toml")[0] == 2


def test_doctor_says_what_the_host_has() -> None:
    status, output, _ = call("doctor")
    rows = dict(line.split(maxsplit=1) for line in output.splitlines() if not line.startswith(" "))

    assert {"machines", "taps", "vhost-net", "vhost-vsock"} <= rows.keys()
    assert (rows["machines"] == "yes") == (status == 0)
    assert all(row == "yes" or row.startswith("no: ") for name, row in rows.items() if name != "huge")


WITHOUT_KVM = """
from stratovirt.app import main
from stratovirt.core import kvm
kvm.open_device.__defaults__ = ("/dev/none",)
raise SystemExit(main(["doctor"]))
"""


def test_doctor_tells_the_next_step_about_what_is_missing() -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_KVM], capture_output=True, text=True, check=False, cwd=ROOT
    )
    first, second, *_ = run.stdout.splitlines()

    assert run.returncode == 1
    assert first.split(maxsplit=1) == ["machines", "no: open /dev/none: No such file or directory"]
    assert second.strip().startswith("load the module (modprobe kvm_intel")


def test_schema_and_init_print_what_they_promise() -> None:
    assert json.loads(call("schema", "drive")[1])["title"] == "drive"
    profile = call("init")[1]
    schema, _, rest = profile.partition("\n")
    assert Path(schema.removeprefix("#:schema ")).is_file()
    assert 'kernel = "small-bzImage"' in rest  # beside the profile, wherever that is
    assert ".." not in profile
    assert "SV102" in call("explain", "sv102")[1]


def test_help_and_version_of_the_legacy_flags() -> None:
    assert call("-V")[:2] == (0, "StratoVirt 0.3.0\n")
    status, output, _ = call("-h")
    assert status == 0
    assert "-kernel" in output


@pytest.mark.parametrize(("words", "chosen"), [("run x", "0"), ("-kernel x", "0"), ("check x", "True")])
def test_ctrl_c_ends_a_start_at_once_and_unwinds_a_command(words: str, chosen: str) -> None:
    tell = "print(h if (h := _signal.getsignal(2)) == 0 else h is _signal.default_int_handler)"
    code = (
        "import sys, _signal, stratovirt.cli as c, stratovirt.app as a\n"
        f"def told(*_): {tell}; return 0\n"
        f"c._run_profile = c._run_flags = a.main = told; sys.argv[1:] = {words.split()!r}; c.main()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)

    assert run.stdout == f"{chosen}\n"


def test_ctrl_c_ends_a_command_without_a_traceback() -> None:
    code = "import stratovirt.cli as c\ndef stop(_): raise KeyboardInterrupt\nc.dispatch = stop; c.main()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)

    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


@pytest.mark.parametrize("words", ["-h", "translate -- -h", "check profiles/microvm.toml", "schema"])
def test_output_that_cannot_be_written_is_told(words: str) -> None:
    command = [sys.executable, "-m", "stratovirt", *words.split()]
    with open("/dev/full", "w") as full:
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)

    assert (run.returncode, "No space left on device\n  hint: " in run.stderr) == (1, True), run.stderr


def test_a_command_whose_output_is_closed_does_its_work() -> None:
    words = [sys.executable, "-m", "stratovirt", "check", "profiles/microvm.toml"]
    run = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *words], stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT
    )

    assert (run.returncode, run.stderr) == (0, "")


def test_a_reader_that_has_enough_ends_a_command_without_a_word() -> None:
    words = [sys.executable, "-m", "stratovirt", "-h"]
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    os.close(write)

    assert (run.returncode, run.stderr) == (1, "")
