"""A command's declaration is what checks its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stratovirt.control.qmp.registry import Command, Nothing, Target, execute
from stratovirt.errors import QmpError
from stratovirt.record import Record, flag, integer, table, text
from tests.unit.control.fake_machine import FakeMachine

if TYPE_CHECKING:
    from stratovirt.control.qmp.events import Event


class File(Record):
    driver: str = text("Kind of file")
    no_flush: bool = flag("Never flush", default=False)


class Arguments(Record):
    node_name: str = text("Name of the block device")
    value: int = integer("How much", default=7, minimum=0, maximum=9)
    file: File | None = table("What stands behind it", File)


def target() -> Target:
    def ignore(event: Event) -> None:
        _ = event

    return Target(FakeMachine(None), ignore, ignore)  # type: ignore[arg-type]


def received(**data: object) -> Arguments:
    seen: list[Arguments] = []

    def handler(_target: Target, arguments: Arguments) -> object:
        """Do something."""
        seen.append(arguments)
        return {}

    Command("do-it", Arguments, handler).execute(
        target(), {key.replace("_", "-"): v for key, v in data.items()}
    )
    return seen[0]


def refusal(**data: object) -> str:
    with pytest.raises(QmpError) as caught:
        received(**data)
    assert caught.value.kind == "GenericError"
    return caught.value.message


def test_arguments_arrive_typed_and_with_their_defaults() -> None:
    assert received(node_name="a") == Arguments(node_name="a", value=7, file=None)


def test_keys_with_dashes_are_found_in_nested_objects_too() -> None:
    arguments = received(node_name="a", file={"driver": "file", "no-flush": True})

    assert arguments.file == File(driver="file", no_flush=True)


def test_an_unknown_argument_is_named_with_the_known_ones() -> None:
    assert refusal(node_name="a", x=1) == "do-it has no argument 'x'; it takes node-name, value, file"


def test_a_missing_argument_is_named_with_its_meaning() -> None:
    assert refusal() == "do-it needs the argument 'node-name': name of the block device"


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ({"node_name": 3}, "node_name must be text, not 3"),
        ({"node_name": "a", "value": "1"}, "value must be a whole number, not the text '1'"),
        ({"node_name": "a", "value": 10}, "value is 10, not in 0..9"),
        ({"node_name": "a", "value": True}, "value must be a whole number, not true"),
        ({"node_name": "a", "file": 3}, "must be a table, not 3"),
        ({"node_name": "a", "file": {}}, "needs 'driver'"),
    ],
)
def test_a_wrong_value_is_a_sentence(data: dict[str, object], part: str) -> None:
    assert part in refusal(**data)


def test_a_command_without_arguments_says_so() -> None:
    def handler(_target: Target, _arguments: Nothing) -> object:
        return None

    with pytest.raises(QmpError, match="do-it has no argument 'x'; it takes none"):
        Command("do-it", Nothing, handler).execute(target(), {"x": 1})


def test_an_unknown_command_has_a_class_of_its_own_and_is_not_repeated_at_length() -> None:
    with pytest.raises(QmpError) as caught:
        execute("x" * 1_000_000, target(), {})

    assert caught.value.kind == "CommandNotFound"
    assert len(caught.value.message) < 120
