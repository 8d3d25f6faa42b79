"""Wheel, sdist and editable install: each carries what it needs and no more."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from stratovirt import __version__
from tests.contract.test_hardening import missing, readelf

ROOT = Path(__file__).parents[2]
LEFT_OUT = ignore_patterns(
    ".git", ".venv", "build", "*.so", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis"
)


def run(*words: str | Path, cwd: Path) -> str:
    result = subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clean copy of the sources."""
    copy = tmp_path_factory.mktemp("package") / "checkout"
    copytree(ROOT, copy, ignore=LEFT_OUT)
    return copy


@pytest.fixture(scope="module")
def sdist(checkout: Path) -> Path:
    """Return the source archive, built by the build backend itself."""
    code = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    name = run(sys.executable, "-c", code, cwd=checkout).splitlines()[-1]
    return checkout / "dist" / name


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel built from the sdist, so that both are shown to be whole."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    code = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    name = run(sys.executable, "-c", code, cwd=source).splitlines()[-1]
    return source / "dist" / name


def test_the_wheel_is_for_the_python_that_built_it(wheel: Path) -> None:
    """The command has Python in it, and `start.image` its byte code."""
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"

    assert f"-{version}-{version}-linux_" in wheel.name


def test_the_wheel_carries_data_rooms_and_no_sources_of_the_core(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert "stratovirt/data/schemas/vm.schema.json" in names
    assert "stratovirt/start.image" in names
    assert "stratovirt/data/profiles/microvm.toml" in names
    assert any(name.startswith("stratovirt/core/_core.") and name.endswith(".so") for name in names)
    assert [name for name in names if name.endswith((".c", ".h"))] == []
    assert {name.split("/")[0].split("-")[0] for name in names} == {"stratovirt"}


@pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf")
@pytest.mark.parametrize("end", [".so", ".data/scripts/stratovirt"])
def test_what_is_compiled_in_a_wheel_has_every_protection(wheel: Path, tmp_path: Path, end: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (binary,) = [name for name in archive.namelist() if name.endswith(end)]
        archive.extract(binary, tmp_path)
    if (tmp_path / binary).read_bytes().startswith(b"#!"):
        pytest.skip("this Python is no shared library: the command is a script")

    assert missing(str(tmp_path / binary)) == []
    assert "BIND_NOW" in readelf("-d", file=str(tmp_path / binary))


def test_an_installed_wheel_runs_and_finds_its_data(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "import stratovirt.cli, stratovirt.core, stratovirt.paths as p; print(p.room('schemas'))"
    said = run(
        sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}", cwd=tmp_path
    )

    assert said.strip() == str(tmp_path / "stratovirt" / "data" / "schemas")


def test_pip_installs_the_wheel_and_its_command_runs(wheel: Path, tmp_path: Path) -> None:
    """Other packages are those of the tests: what is shown is our wheel, and nothing is fetched."""
    run(sys.executable, "-m", "venv", "--without-pip", "new", cwd=tmp_path)
    pip = (sys.executable, "-m", "pip", "--python", "new/bin/python", "install", "-q", "--no-deps")
    run(*pip, "--no-index", wheel, cwd=tmp_path)
    (libraries,) = (tmp_path / "new" / "lib").glob("python*/site-packages")
    (libraries / "others.pth").write_text(sysconfig.get_path("purelib"))
    said = [run("new/bin/stratovirt", word, cwd=tmp_path) for word in ("-V", "--version")]
    code = "import stratovirt.core, stratovirt; print(stratovirt.__file__)"
    place = run("new/bin/python", "-c", code, cwd=tmp_path)

    assert said == [f"StratoVirt {__version__}\n"] * 2
    assert Path(place.strip()).is_relative_to(tmp_path / "new")


def test_an_editable_install_is_a_plain_path(checkout: Path, tmp_path: Path) -> None:
    """An import hook would cost 16 ms at every start of Python."""
    code = f"from setuptools import build_meta; print(build_meta.build_editable({str(tmp_path)!r}))"
    name = run(sys.executable, "-c", code, cwd=checkout).splitlines()[-1]
    names = zipfile.ZipFile(tmp_path / name).namelist()

    assert [n for n in names if n.endswith(".py")] == []
    assert any(n.endswith(".pth") for n in names)
