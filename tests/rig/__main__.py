"""`python3 -m tests.rig VERB`: prepares this machine, makes guest images, runs what needs Linux guests."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import TYPE_CHECKING

from tests.rig import assets, debian, host
from tests.rig.job import DEFAULT_TIMEOUT, Job, writable_folders
from tests.rig.run import NO_RIG, run
from tests.rig.say import RigError, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Verb = Callable[[argparse.Namespace], int]


def packages(asked: argparse.Namespace) -> int:
    """Install the Debian packages that are missing."""
    debian.install(asked.groups)
    return 0


def make_assets(asked: argparse.Namespace) -> int:
    """Make guest assets and link them into build/guest."""
    assets.prepare(asked.groups)
    return 0


def inside(asked: argparse.Namespace) -> int:
    """Run the command inside the rig."""
    at_terminal = os.isatty(0) and os.isatty(1)
    size = shutil.get_terminal_size()
    limit = 0 if at_terminal else DEFAULT_TIMEOUT
    job = Job(
        command=_command(asked),
        cwd=os.getcwd(),
        environment=os.environ,
        cpus=asked.cpus,
        writable=writable_folders(asked.writable),
        timeout=limit if asked.timeout is None else asked.timeout,
        terminal=(size.lines, size.columns) if at_terminal else None,
    )
    return run(job)


def where_linux_runs(asked: argparse.Namespace) -> int:
    """Run the command on this host when it can run Linux guests, else inside the rig."""
    command = _command(asked)
    if host.runs_directly():
        say("this host has hardware virtualization: running directly")
        try:
            os.execvp(command[0], command)
        except OSError as error:
            raise RigError(f"{command[0]} cannot be started: {error.strerror}") from error
    say("this host has no usable hardware virtualization: running inside the nested rig (QEMU, emulated)")
    debian.install(["rig"])
    return inside(asked)


def _command(asked: argparse.Namespace) -> tuple[str, ...]:
    command = tuple(asked.command[1:] if asked.command[:1] == ["--"] else asked.command)
    if not command:
        raise RigError("no command was given", f"write: python3 -m tests.rig {asked.verb} -- COMMAND...")
    return command


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    top = argparse.ArgumentParser(prog="python3 -m tests.rig", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb, groups in (
        ("packages", packages, debian.GROUPS),
        ("assets", make_assets, assets.GROUPS),
    ):
        each = verbs.add_parser(name, help=verb.__doc__)
        each.set_defaults(run=verb)
        each.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(groups)}; all if none")
    for name, verb in (("run", inside), ("linux", where_linux_runs)):
        each = verbs.add_parser(name, help=verb.__doc__)
        each.set_defaults(run=verb)
        each.add_argument(
            "--writable",
            action="append",
            default=[],
            metavar="DIR",
            help="what is written there stays; repeatable",
        )
        each.add_argument("--cpus", type=int, default=1, help="of the rig; several can hang (README)")
        each.add_argument("--timeout", type=float, metavar="S", help="end a hanging rig; 0 is never")
        each.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND...")
    return top


def check_groups(asked: argparse.Namespace) -> None:
    """Refuse groups that do not exist."""
    known = debian.GROUPS if asked.verb == "packages" else assets.GROUPS
    unknown = [group for group in getattr(asked, "groups", []) if group not in known]
    if unknown:
        raise RigError(f"there is no group {unknown[0]}", f"the groups are {', '.join(known)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; a failure is one message and its hint."""
    asked = parser().parse_args(arguments)
    verb: Verb = asked.run
    try:
        check_groups(asked)
        return verb(asked)
    except RigError as error:
        say(f"error: {error}")
        if error.hint:
            say(f"hint: {error.hint}")
        return NO_RIG if asked.verb in {"run", "linux"} else 1
    except BrokenPipeError:
        return 141  # what a program killed by SIGPIPE gives


if __name__ == "__main__":
    sys.exit(main())
