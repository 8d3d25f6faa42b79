"""Sizes, numbers and addresses as users write them, and back."""

from __future__ import annotations

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
DESCRIPTOR_MAX = (1 << 31) - 1  # an int of C

_UNITS = {"": 1, "K": KIB, "KIB": KIB, "M": MIB, "MIB": MIB, "G": GIB, "GIB": GIB}
_LARGEST_FIRST = (("G", GIB), ("M", MIB), ("K", KIB))
_MAX_DIGITS = 20  # enough for 2**64 - 1


def parse_size(text: str) -> int | None:
    """Read "512M", "1GiB" or "4096" as bytes; None when it is no size."""
    digits = text.rstrip("BGIKMbgikm")
    scale = _UNITS.get(text[len(digits) :].upper())
    if scale is None or not is_decimal(digits):
        return None
    return int(digits) * scale


def format_size(size: int) -> str:
    """Write bytes with the largest unit that divides them: "256M", "1G", "4097"."""
    for letter, scale in _LARGEST_FIRST:
        if size and size % scale == 0:
            return f"{size // scale}{letter}"
    return str(size)


def is_decimal(text: str) -> bool:
    """Tell whether text is a plain decimal number: ASCII digits, at most 20 of them."""
    return 0 < len(text) <= _MAX_DIGITS and text.isascii() and text.isdigit()


def is_mac(text: str) -> bool:
    """Tell whether text is six two-digit hexadecimal groups with colons."""
    groups = text.split(":")
    return len(groups) == 6 and all(len(group) == 2 and is_hex(group) for group in groups)


def is_tag(text: str) -> bool:
    """Tell whether the text can be a folder's tag: 1 to 36 ASCII characters (VIRTIO 1.2, 5.11.4)."""
    return 1 <= len(text) <= 36 and all(" " <= sign <= "~" for sign in text)


def is_uuid(text: str) -> bool:
    """Tell whether text is 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12 (RFC 9562)."""
    groups = text.split("-")
    return [len(group) for group in groups] == [8, 4, 4, 4, 12] and all(is_hex(group) for group in groups)


def is_card_mac(mac: str) -> bool:
    """Tell whether one card can have it: an address of no group (IEEE 802, the first bit sent), not all 0."""
    digits = mac.replace(":", "")
    return not int(digits[:2], 16) & 1 and int(digits, 16) > 0


def is_hex(text: str) -> bool:
    """Tell whether text consists of hexadecimal digits only."""
    return bool(text) and all(letter in "0123456789abcdefABCDEF" for letter in text)


def parse_pci_address(text: str) -> tuple[int, int] | None:
    """Read "0x1f.0x7" or "3" as slot (0..31) and function (0..7); None when it is no PCI address."""
    slot_text, _, function_text = text.partition(".")
    slot = _parse_hex(slot_text)
    function = _parse_hex(function_text or "0")
    if slot is None or function is None or slot > 31 or function > 7 or text.endswith("."):
        return None
    return slot, function


def _parse_hex(text: str) -> int | None:
    digits = text[2:] if text[:2] in {"0x", "0X"} else text
    return int(digits, 16) if is_hex(digits) and len(digits) <= 4 else None
