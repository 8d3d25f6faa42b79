#include "virtio.h"

#define DISK 2 /* VIRTIO 1.2, 5 */

/* Writes and reads its disk for ever, and says so: a guest that has a bad neighbour. */
void guest_main(void *zero_page)
{
	(void)zero_page;
	while (reg_read(DEVICE_ID) != DISK)
		window += MMIO_STRIDE;
	start_device();
	for (uint64_t n = 1;; n++) {
		buffer[0] = (uint8_t)n;
		buffer[511] = (uint8_t)(n >> 8);
		if (request(1, n % 64) != 0)
			break;
		buffer[0] = 0;
		if (request(0, n % 64) != 0 || buffer[0] != (uint8_t)n || buffer[511] != (uint8_t)(n >> 8))
			break;
		if (n % 64 == 0) {
			print("@done ");
			print_hex(n);
			print("@\n");
		}
	}
	print("@broken@\n");
	for (;;)
		__asm__ volatile("pause");
}
