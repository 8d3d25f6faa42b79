"""Builds the `stratovirt` command: the launcher, or a script where this Python cannot be had as a library.

`make core` and setup.py run it with the project's root as working directory.
"""

from __future__ import annotations

import json
import marshal
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from runpy import run_path

ROOM = Path("stratovirt/launcher")
SOURCES = (
    ROOM / "launcher.c",
    ROOM / "api.h",
    ROOM / "begin.py",
    ROOM / "build.py",
    Path("stratovirt/image.py"),
    Path("stratovirt/core/switches.py"),
    *Path("stratovirt/core/src").glob("*/switches"),
)
SCRIPT = """\
#!{python}
import sys
from stratovirt.cli import main
sys.exit(main())
"""


def build(target: Path, package: str, python: str = "python") -> None:
    """Write the command. `package` is the folder of a package that stays here, empty for one to be installed.

    `python` is the interpreter for a script; pip puts its own in the place of the word "python".
    """
    library = libpython()
    if library is None:
        target.write_text(SCRIPT.format(python=python))
    else:
        _compile(target, library, package)
    target.chmod(0o755)


def libpython() -> Path | None:
    """Return this Python as a shared library, if it is there."""
    name, folder = sysconfig.get_config_var("INSTSONAME"), sysconfig.get_config_var("LIBDIR")
    if not name or not folder or not name.endswith((".so", ".so.1.0")):
        return None
    places = [Path(folder), Path(folder, sysconfig.get_config_var("MULTIARCH") or "")]
    return next((place / name for place in places if (place / name).is_file()), None)


def _compile(target: Path, library: Path, package: str) -> None:
    switches = run_path("stratovirt/core/switches.py")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "built.h").write_text(_header(library, package))
        subprocess.run(
            [
                *compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", *switches["HARDENED"],
                "-D_GNU_SOURCE", f"-I{folder}", f"-I{ROOM}", f"-I{sysconfig.get_path('include')}",
                str(ROOM / "launcher.c"), "-o", str(target), *switches["LINKED"], "-ldl",
            ],
            check=True,
        )  # fmt: skip


def _header(library: Path, package: str) -> str:
    places = {
        "SV_LIBPYTHON": str(library),
        "SV_PYTHON": str(Path(sys.base_exec_prefix, "bin", f"python{sysconfig.get_python_version()}")),
        "SV_VERSION": f"python{sysconfig.get_python_version()}",
        "SV_LIB": sys.platlibdir,
        "SV_PACKAGE": package,
    }
    defined = "".join(f"#define {name} {json.dumps(value)}\n" for name, value in places.items())
    return defined + _frozen()


def _frozen() -> str:
    """Return the modules that the launcher carries, as C."""
    library = Path(sysconfig.get_path("stdlib"))
    modules = {
        "encodings": library / "encodings" / "__init__.py",
        "encodings.aliases": library / "encodings" / "aliases.py",
        "encodings.utf_8": library / "encodings" / "utf_8.py",
        "__future__": library / "__future__.py",
        "_stratovirt_image": Path("stratovirt/image.py"),
        "_stratovirt_begin": ROOM / "begin.py",
    }
    arrays, table = [], []
    for number, (name, path) in enumerate(modules.items()):
        code = marshal.dumps(compile(path.read_bytes(), f"<{name}>", "exec", dont_inherit=True))
        arrays.append(f"static const unsigned char code{number}[] = {{{','.join(map(str, code))}}};\n")
        table.append(f'{{"{name}", code{number}, {len(code)}, {int(path.name == "__init__.py")}, 0}},')
    return f"{''.join(arrays)}static const struct _frozen frozen[] = {{{''.join(table)}{{0}}}};\n"


def main() -> None:
    """Write the command of a checkout's own environment, unless it is newer than all that it is made of."""
    target = Path(sys.executable).parent / "stratovirt"
    newest = max(path.stat().st_mtime_ns for path in SOURCES)
    if not target.exists() or target.stat().st_mtime_ns < newest:
        part = target.with_suffix(".part")
        build(part, os.path.abspath("stratovirt"), sys.executable)
        part.replace(target)


if __name__ == "__main__":
    main()
