"""Devices: one module for each, named after its table in the document; nothing else lists them."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.devices.device import Device

_loaded: dict[str, type[Device]] = {}


def tables() -> dict[str, type[Device]]:
    """Return the record of each device table by its name: what the modules here define as DEVICE."""
    if not _loaded:
        for name in sorted(posix.listdir(__path__[0])):
            stem, dot, suffix = name.partition(".")
            if (dot, suffix) != (".", "py") or stem in {"__init__", "device", "image"}:
                continue
            module = __import__(f"{__name__}.{stem}", fromlist=["DEVICE"])
            _loaded[stem] = module.DEVICE
    return _loaded
