"""Debian packages: installed on the host when missing, or only downloaded and unpacked (no root needed)."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.rig.say import RigError, step
from tests.rig.shell import tool

GROUPS: dict[str, tuple[str, ...]] = {
    "python": (),  # decided by what the interpreter lacks
    "build": ("gcc", "libc6-dev", "make"),
    "guest": ("e2fsprogs",),
    "kernel": ("bc", "bison", "flex", "gcc", "libc6-dev", "libelf-dev", "lz4", "make", "xz-utils"),
    "rig": ("qemu-system-x86",),
    # The compiler for the other architecture: 45 MB.
    "test": ("acpica-tools", "gcc-aarch64-linux-gnu", "iproute2", "libc6-dev-arm64-cross", "qemu-system-x86"),
    "bench": ("iperf3", "iproute2", "qemu-system-x86"),
}

APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=2")


def python_packages() -> list[str]:
    """Return what the running interpreter lacks for virtual environments and C extensions.

    Only Debian's own interpreter is completed: another one brings its own headers and modules.
    """
    if sys.base_prefix != "/usr":
        return []
    lacking = []
    if importlib.util.find_spec("ensurepip") is None:
        lacking.append("python3-venv")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        lacking.append("python3-dev")
    return lacking


def missing(names: list[str]) -> list[str]:
    """Return the packages of `names` that are not installed, in order and once each."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError as error:
        raise RigError(
            "this is not a Debian system: dpkg-query is missing",
            f"install by hand what these packages hold: {' '.join(names)}",
        ) from error
    installed = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    return [name for name in dict.fromkeys(names) if name not in installed]


def install(groups: list[str]) -> None:
    """Install what the named groups of packages lack on this machine; all groups when none is named."""
    chosen = groups or list(GROUPS)
    wanted = [name for group in chosen for name in GROUPS[group]]
    if "python" in chosen:
        wanted += python_packages()
    lacking = missing(wanted) if wanted else []
    if not lacking:
        return
    by_hand = f"as root: apt-get update && apt-get install --no-install-recommends {' '.join(lacking)}"
    if os.geteuid() != 0:
        raise RigError(f"packages are missing and only root can install them: {' '.join(lacking)}", by_hand)
    with step(f"installing {' '.join(lacking)}"):
        _with_lists(["install", "--yes", "--no-install-recommends", *lacking], Path.cwd(), by_hand)


def download(names: list[str], where: Path) -> list[Path]:
    """Download packages into a folder and return their files."""
    before = set(where.glob("*.deb"))
    hint = f"the machine must reach a Debian 12 mirror for: apt-get download {' '.join(names)}"
    _with_lists(["download", *names], where, hint)
    return sorted(set(where.glob("*.deb")) - before)


def unpack(package: Path, where: Path) -> None:
    """Unpack a package's files into a folder."""
    tool(["dpkg-deb", "--extract", str(package), str(where)])


def kernel_of(meta: str, where: Path) -> str:
    """Return the kernel package that a meta package such as linux-image-amd64 stands for."""
    _with_lists(["download", "--print-uris", meta], where, f"the machine must know the package {meta}")
    depends = tool(["apt-cache", "depends", "--important", meta])
    for line in depends.splitlines():
        if line.strip().startswith("Depends: linux-image-"):
            return line.split()[-1]
    raise RigError(f"the package {meta} names no kernel", "is this Debian 12?")


def _with_lists(arguments: list[str], where: Path, hint: str) -> None:
    """Run apt-get; when it fails and we are root, fetch the package lists once and try again."""
    root = os.geteuid() == 0
    command = [*APT, "-o", "APT::Sandbox::User=root", *arguments] if root else [*APT, *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        tool(command, cwd=where, env=environment, hint=hint)
    except RigError:
        if not root:
            raise
        tool([*APT, "update"], env=environment, hint=hint)
        tool(command, cwd=where, env=environment, hint=hint)
