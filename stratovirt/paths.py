"""Paths: as the kernel takes them, and of the data rooms, which a wheel has inside the package."""

from __future__ import annotations

import sys


def encoded(path: str) -> bytes:
    """Return a path as the kernel takes it, like os.fsencode."""
    return path.encode(sys.getfilesystemencoding(), "surrogateescape")


def room(name: str) -> str:
    """Return the folder of `schemas`, `profiles` or `compat`."""
    import os

    package = os.path.dirname(__file__)
    inside = f"{package}/data/{name}"
    return inside if os.path.isdir(inside) else f"{os.path.dirname(package)}/{name}"
