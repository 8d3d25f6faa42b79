"""What x86_64 can start: a bzImage, an ELF vmlinux, or a flat image."""

from __future__ import annotations

from stratovirt.boot.kernel import KernelPlan, Segment, first_bytes, refuse_others
from stratovirt.boot.x86_64 import bzimage, layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.boot.kernel import KernelImage

WANTED = "a bzImage or an ELF vmlinux for x86_64"
_ELF = b"\x7fELF"
_FOREIGN = ((0x38, b"ARM\x64", "is for another processor: aarch64"),)


def plan_kernel(image: KernelImage) -> KernelPlan:
    """Tell how to start a kernel file; KernelError when it cannot be one."""
    start = first_bytes(image)
    if start.startswith(_ELF):
        from stratovirt.boot.x86_64 import elf

        return elf.plan(image)
    if bzimage.is_bzimage(image):
        return bzimage.plan(image)
    refuse_others(image, start, _FOREIGN)
    # What nobody knows is a flat image.
    segment = Segment(0, layout.FLAT_ADDRESS, image.size, image.size)
    return KernelPlan("flat", layout.FLAT_ADDRESS, (segment,), limits=layout.KERNEL_LIMITS)
