/* Disks wherever they are among the virtio-mmio windows; one is driven at a time. */
#ifndef DISK_H
#define DISK_H

#include "virtio.h"

#define WINDOWS  16
#define ID_BLOCK 2 /* VIRTIO 1.2, 5 */

/* Starts the disk that so many others are before, with a driver that knows flushes. */
static inline void start_disk_after(uint64_t others)
{
	for (uint64_t i = 0; i < WINDOWS; i++) {
		window = MMIO_BASE + i * MMIO_STRIDE;
		if (reg_read(DEVICE_ID) == ID_BLOCK && others-- == 0)
			break;
	}
	start_device_with(BLK_F_FLUSH);
}

static inline void start_disk(void)
{
	start_disk_after(0);
}

#endif
