/* A disk wherever it is: the first virtio-blk among the virtio-mmio windows. */
#ifndef DISK_H
#define DISK_H

#include "virtio.h"

#define WINDOWS  16
#define ID_BLOCK 2 /* VIRTIO 1.2, 5 */

/* Starts it with a driver that knows flushes. */
static inline void start_disk(void)
{
	for (uint64_t i = 0; i < WINDOWS; i++) {
		window = MMIO_BASE + i * MMIO_STRIDE;
		if (reg_read(DEVICE_ID) == ID_BLOCK)
			break;
	}
	start_device_with(BLK_F_FLUSH);
}

#endif
