"""The commands beside running a machine, from check to console. Cold path."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stratovirt import __version__
from stratovirt.errors import DocumentError, StratovirtError, UsageError
from stratovirt.paths import room

if TYPE_CHECKING:
    from stratovirt.document.loader import Source
    from stratovirt.document.vm import Vm

app = typer.Typer(
    name="stratovirt",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Run KVM virtual machines from profiles. StratoVirt's flags (-machine, ...) work too: see -help.",
)


class Language(StrEnum):
    """What a document is written in."""

    toml = "toml"
    yaml = "yaml"
    json = "json"


class ShowFormat(StrEnum):
    """What `show` prints."""

    toml = "toml"
    yaml = "yaml"
    json = "json"
    cmdline = "cmdline"


class ReportFormat(StrEnum):
    """How `check` reports."""

    text = "text"
    short = "short"
    json = "json"
    sarif = "sarif"
    github = "github"


class Colour(StrEnum):
    """When to use colours."""

    auto = "auto"
    always = "always"
    never = "never"


def main(arguments: list[str]) -> int:
    """Run a command; return its exit status."""
    if sys.stdout is None:  # closed before we came: what is printed goes nowhere
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    command = typer.main.get_command(app)
    try:
        result = command.main(args=arguments, prog_name="stratovirt", standalone_mode=False)
    except StratovirtError:
        raise
    except Exception as error:  # noqa: BLE001 - click's own: wrong usage, aborts; others are raised again
        return _usage_status(error)
    return result if isinstance(result, int) else 0


def _usage_status(error: Exception) -> int:
    show = getattr(error, "show", None)
    if show is None:
        raise error
    show()
    return int(getattr(error, "exit_code", 2))


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer's callback shape
    if asked:
        typer.echo(f"StratoVirt {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[  # noqa: FBT002 - typer's way to say a default
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options before the command."""


@app.command()
def run(
    profile: Annotated[Path, typer.Argument(help="TOML, YAML or JSON file that describes the machine.")],
) -> int:
    """Start the machine of a profile and serve it until it ends."""
    from stratovirt.start import start_profile

    return start_profile(str(profile))


@app.command()
def check(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Profiles, folders of them, or - for stdin.")
    ],
    output: Annotated[ReportFormat, typer.Option("--format", help="How to report.")] = ReportFormat.text,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,  # noqa: FBT002
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the exit status.")] = False,  # noqa: FBT002
    colour: Annotated[Colour, typer.Option("--color", help="When to use colours.")] = Colour.auto,
    language: Annotated[Language, typer.Option("--lang", help="What stdin is written in.")] = Language.toml,
) -> int:
    """Check profiles without looking at the host. Exit status: 0 fine, 1 findings, 2 unreadable."""
    from stratovirt.document import check as checking

    return checking.run(
        files,
        output.value,
        strict=strict,
        quiet=quiet,
        colour=_wants_colour(colour),
        language=language.value,
    )


def _wants_colour(colour: Colour) -> bool:
    if colour is Colour.auto:
        return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return colour is Colour.always


@app.command()
def fmt(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Profiles, folders of them, or - for stdin.")
    ],
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if one would.")] = False,  # noqa: FBT002
    language: Annotated[Language, typer.Option("--lang", help="What stdin is written in.")] = Language.toml,
) -> int:
    """Lay profiles out in one way; comments, order and values stay.

    Exit status: 0 done, 1 with --check some would change, 2 some cannot be read or written.
    """
    from stratovirt.document import layout

    return layout.run(files, check=check, language=language.value)


@app.command()
def explain(code: Annotated[str, typer.Argument(help="A finding's code, like SV102.")]) -> None:
    """Say what a finding means, with an example that has it and one that has not."""
    from stratovirt.document import codes

    text = codes.explain(code)
    if text is None:
        raise UsageError(f"there is no finding {code}", hint=f"known: {', '.join(codes.CODES)}")
    typer.echo(text, nl=False)


@app.command()
def schema(table: Annotated[str, typer.Argument(help="vm, or a device table like drive.")] = "vm") -> None:
    """Print a JSON Schema of the document."""
    from stratovirt.document.schema import path_of

    typer.echo(path_of(table).read_text(), nl=False)


@app.command()
def show(
    profile: Annotated[Path, typer.Argument(help="Profile to show.")],
    output: Annotated[ShowFormat, typer.Option("--format", help="What to print.")] = ShowFormat.toml,
) -> None:
    """Print the machine of a profile in canonical form, or as StratoVirt flags."""
    from stratovirt.document.write import dump

    source, vm = _machine_of(profile)
    if output is not ShowFormat.cmdline:
        typer.echo(dump(vm, output.value), nl=False)
        return
    import shlex

    from stratovirt.compat.write import to_flags

    typer.echo(shlex.join(to_flags(vm.with_paths(os.path.dirname(source.path)))))


def _machine_of(profile: Path) -> tuple[Source, Vm]:
    """Return a profile that is right; any other one is told with its findings."""
    from stratovirt.document.loader import Source, examine
    from stratovirt.document.report import text_report

    source = Source.read(str(profile))
    vm, findings = examine(source)
    if vm is None:
        raise DocumentError(f"profile {profile} is not right\n{text_report(source, findings)}".rstrip())
    return source, vm


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="Profile to compare.")],
    after: Annotated[Path, typer.Argument(help="Profile to compare it with.")],
) -> int:
    """Print what the machines of two profiles differ in, whatever language and order they are written in.

    One line for each key that only one of them has, two for one with another value. Exit status: 0 no
    difference, 1 some, 2 a profile that is not right.
    """
    from stratovirt.document.write import assignments

    try:
        old, new = (assignments(_machine_of(profile)[1]) for profile in (before, after))
    except StratovirtError as error:
        error.exit_status = 2
        raise
    differ = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    for key in differ:
        for sign, values in (("-", old), ("+", new)):
            if key in values:
                typer.echo(f"{sign} {key} = {values[key]}")
    return 1 if differ else 0


@app.command(context_settings={"ignore_unknown_options": True})
def translate(
    flags: Annotated[list[str], typer.Argument(metavar="-- FLAGS...", help="StratoVirt's flags, behind --.")],
    output: Annotated[Language, typer.Option("--format", help="What to print.")] = Language.toml,
) -> int:
    """Print the document that StratoVirt flags describe. Exit status 1 when they describe none."""
    from stratovirt.compat.translate import translate as to_document
    from stratovirt.document.write import dump

    try:
        typer.echo(dump(to_document(flags), output.value), nl=False)
    except UsageError as error:
        error.exit_status = 1
        raise
    return 0


@app.command()
def doctor() -> int:
    """Say what this host has for machines, and what to do about the rest. Exit status 1: none can run."""
    from stratovirt.doctor import report

    text, able = report()
    typer.echo(text)
    return 0 if able else 1


@app.command()
def init() -> None:
    """Print a profile to start from: its images lie beside it."""
    text = Path(room("profiles"), "microvm.toml").read_text()
    text = text.replace("../build/guest/", "").replace("../schemas", room("schemas"))
    typer.echo(text, nl=False)


@app.command()
def qmp(
    socket: Annotated[str, typer.Argument(help="QMP socket of a running machine.")],
    command: Annotated[str, typer.Argument(help="Command, like query-status.")],
    arguments: Annotated[str | None, typer.Argument(metavar="[JSON]", help="Its arguments as JSON.")] = None,
) -> None:
    """Send one QMP command and print what it returns."""
    from stratovirt.control.qmp.client import call

    try:
        given = json.loads(arguments) if arguments else None
    except ValueError as error:
        raise UsageError(f"the arguments are not JSON: {error}", hint='like: {"value": 268435456}') from error
    typer.echo(json.dumps(call(socket, command, given), indent=2))


@app.command()
def console(
    socket: Annotated[str, typer.Argument(help="Socket of a console of a running machine.")],
    qmp: Annotated[
        str | None,
        typer.Option(metavar="SOCKET", help="Its QMP socket: the guest learns the size of the window."),
    ] = None,
) -> None:
    """Connect the terminal, or standard input and output, to a console of a running machine.

    It ends with the machine, or when a user types Ctrl-A x; the end of a piped input does not end it.
    """
    from stratovirt.control.attach import attach

    attach(socket, qmp)
