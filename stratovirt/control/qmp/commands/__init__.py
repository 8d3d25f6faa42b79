"""The commands of QMP, a module for each subject; nothing lists them. Importing this declares them all."""

from __future__ import annotations

import os


def _declare() -> None:
    for name in sorted(os.listdir(os.path.dirname(__file__))):
        stem, dot, suffix = name.partition(".")
        if (dot, suffix) == (".", "py") and stem != "__init__":
            __import__(f"{__name__}.{stem}")


_declare()
