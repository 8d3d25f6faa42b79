"""Where the data rooms are: inside the package when installed from a wheel, beside it in a checkout."""

from __future__ import annotations

import os


def room(name: str) -> str:
    """Return the folder of `schemas`, `profiles` or `compat`."""
    package = os.path.dirname(__file__)
    inside = f"{package}/data/{name}"
    return inside if os.path.isdir(inside) else f"{os.path.dirname(package)}/{name}"
