"""The `stratovirt` command as a program that has Python in it: what it finds, and what it does without."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from stratovirt import __version__
from stratovirt.launcher import build
from tests.guest import tiny

ROOT = Path(__file__).parents[3]
PACKAGE = str(ROOT / "stratovirt")
COMMAND = Path(sys.executable).parent / "stratovirt"
OTHERS = Path(sysconfig.get_path("purelib"))

needs_library = pytest.mark.skipif(build.libpython() is None, reason="this Python is no shared library")


def said_by(*words: str | bytes | Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(words), capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload,no-any-return] # passed on


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where a command can be built: in an environment whose packages `site` finds, which says so."""
    monkeypatch.chdir(ROOT)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "new"], check=True)
    (libraries,) = (tmp_path / "new" / "lib").glob("python*/site-packages")
    (libraries / "others.pth").write_text(f"import sys; sys.stderr.write('site ran\\n')\n{OTHERS}\n{ROOT}\n")
    for backend in OTHERS.glob("_cffi_backend*.so"):
        (libraries / backend.name).symlink_to(backend)
    return tmp_path / "new" / "bin" / "stratovirt"


@needs_library
def test_the_command_of_a_checkout_is_a_program() -> None:
    assert COMMAND.read_bytes()[:4] == b"\x7fELF"
    assert said_by(COMMAND, "-V").stdout == f"StratoVirt {__version__}\n"


@needs_library
@pytest.mark.kvm
def test_a_guest_runs_before_anybody_looks_for_packages(place: Path) -> None:
    build.build(place, PACKAGE)
    kernel, socket = tiny.build_pvh("pvh_hello"), place.with_name("qmp")
    words = [str(place), "-kernel", str(kernel), "-serial", "stdio", "-qmp", f"unix:{socket}"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=-2) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 1)
        process.kill()

    assert first == b"!"


@needs_library
def test_a_package_that_only_site_knows_of_is_found(place: Path) -> None:
    build.build(place, PACKAGE)
    said = said_by(place, "--version")

    assert said.stdout == f"StratoVirt {__version__}\n"
    assert said.stderr.startswith("site ran\n")


@needs_library
def test_nothing_but_the_command_line_steers_it(tmp_path: Path) -> None:
    (tmp_path / "stratovirt.py").write_text("raise SystemExit('not ours')\n")
    said = said_by(
        COMMAND,
        "-V",
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere", "LC_ALL": "C"},
    )

    assert (said.stdout, said.stderr) == (f"StratoVirt {__version__}\n", "")


@needs_library
def test_an_environment_of_another_build_of_python_has_its_own_interpreter_executed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "base_exec_prefix", "/usr/lib")  # the builder's Python was elsewhere
    build.build(place, PACKAGE)
    said = said_by(place, "-V")

    assert said.stdout == f"StratoVirt {__version__}\n"
    assert said.stderr.startswith("site ran\n")


@needs_library
def test_without_proc_it_finds_its_environment(place: Path) -> None:
    apart = ("unshare", "--map-root-user", "--mount", "sh", "-c")
    if said_by(*apart, "mount -t tmpfs none /proc").returncode != 0:
        pytest.skip("needs a mount namespace, which tests before this one may have given up")
    build.build(place, PACKAGE)
    said = said_by(*apart, f"mount -t tmpfs none /proc && {place} -V")

    assert (said.stdout, said.stderr) == (f"StratoVirt {__version__}\n", "")


@needs_library
def test_words_are_completed() -> None:
    asked = {"_STRATOVIRT_COMPLETE": "complete_bash", "COMP_WORDS": "stratovirt ch", "COMP_CWORD": "1"}
    said = said_by(COMMAND, env={**os.environ, **asked})

    assert (said.returncode, said.stdout, said.stderr) == (0, "check\n", "")


@needs_library
def test_a_link_to_the_command_is_the_command(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(COMMAND)

    assert said_by(tmp_path / "elsewhere", "-V").stdout == f"StratoVirt {__version__}\n"


@needs_library
def test_a_name_that_is_no_utf_8_is_only_a_name(tmp_path: Path) -> None:
    said = subprocess.run([COMMAND, "check", b"\xff.toml"], cwd=tmp_path, capture_output=True, check=False)

    assert said.returncode == 2
    assert said.stderr == b"stratovirt: read profile \\udcff.toml: No such file or directory\n"


@needs_library
def test_without_the_library_the_interpreter_is_executed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "libpython", lambda: Path("/nowhere/libpython.so"))
    build.build(place, PACKAGE)
    (tmp_path / "json.py").write_text("raise SystemExit('not ours')\n")
    said = said_by(place, "check", "-", input="version = 2\n", cwd=tmp_path)

    assert said.returncode == 1
    assert "version is 2" in said.stdout


@needs_library
def test_an_interpreter_that_is_gone_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "libpython", lambda: Path("/nowhere/libpython.so"))
    build.build(place, PACKAGE)
    interpreter = place.with_name(f"python{sysconfig.get_python_version()}")
    interpreter.unlink()
    interpreter.write_text("")
    said = said_by(place, "-V", env={"PATH": "/nowhere"})

    assert said.returncode == 1
    assert said.stderr == (
        f"stratovirt: execute {interpreter}: No such file or directory\n  hint: install the package again\n"
    )


@needs_library
def test_it_compiles_without_a_warning(tmp_path: Path) -> None:
    library = build.libpython()
    assert library is not None
    (tmp_path / "built.h").write_text(build._header(library, PACKAGE))
    includes = [f"-I{tmp_path}", f"-I{sysconfig.get_path('include')}"]
    words = ["gcc", "-fsyntax-only", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", *includes]

    assert said_by(*words, ROOT / "stratovirt/launcher/launcher.c").stderr == ""


def test_a_python_that_is_no_library_gets_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "libpython", lambda: None)
    build.build(tmp_path / "stratovirt", PACKAGE, sys.executable)

    assert said_by(tmp_path / "stratovirt", "-V").stdout == f"StratoVirt {__version__}\n"


@needs_library
def test_a_package_that_cannot_be_read_is_told_in_words(place: Path, tmp_path: Path) -> None:
    (tmp_path / "stratovirt").mkdir()
    build.build(place, str(tmp_path / "stratovirt"))
    said = said_by(place, "-V")

    assert said.returncode == 1
    assert said.stderr.endswith(
        "stratovirt: load the program: No module named 'stratovirt.cli'\n  hint: install the package again\n"
    )
