"""The commands that name descriptors which came over the socket (guidebook, 3.3.5)."""

from __future__ import annotations

import os

from stratovirt.control.qmp.registry import command
from stratovirt.errors import QmpError
from stratovirt.record import Record, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.control.qmp.registry import Target


class Named(Record):
    """The arguments of `getfd` and `closefd`."""

    fdname: str = text("Name of the descriptor; it does not begin with a digit", max_length=255)


@command("getfd", Named)
def getfd(target: Target, arguments: Named) -> object:
    """Name the descriptor that came with this message, or the oldest that came and has no name."""
    name = arguments.fdname
    if not name or name[0].isdigit():  # `fds` of netdev_add takes names and numbers
        raise QmpError("Parameter 'fdname' expects a name not starting with a digit")
    target.descriptors.name_next(name)
    return {}


@command("closefd", Named)
def closefd(target: Target, arguments: Named) -> object:
    """Close a descriptor by its name."""
    os.close(target.descriptors.take(arguments.fdname))
    return {}
