#include "chance.h"
#include "virtio.h"

/* Does what the host has to be told of, as fast as it can: breaks its devices, changes its balloon, fills its
 * serial port's output. The command line is the number of rounds.
 */
#define CMD_LINE       0x228 /* of the zero page */
#define BALLOON        5
#define BALLOON_ACTUAL (CONFIG + 4) /* VIRTIO 1.2, 5.5.4 */

static void put(uint64_t base, uint32_t offset, uint32_t value)
{
	mmio_write(base + offset, value);
}

/* Queue 0 has no size: the device asks for a reset as soon as it is started. */
static void break_device(uint64_t base)
{
	put(base, STATUS, 0);
	put(base, STATUS, ACKNOWLEDGE | DRIVER);
	put(base, DRIVER_FEATURES_SEL, 1);
	put(base, DRIVER_FEATURES, 1);
	put(base, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	put(base, QUEUE_SEL, 0);
	put(base, QUEUE_READY, 1);
	put(base, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

void guest_main(void *zero_page)
{
	const char *words = (const char *)(uint64_t)(*(uint32_t *)((uint8_t *)zero_page + CMD_LINE));
	uint64_t rounds = number(&words);

	for (uint64_t round = 0; round < rounds; round++) {
		for (uint64_t base = MMIO_BASE; mmio_read(base + MAGIC) == 0x74726976; base += MMIO_STRIDE) {
			break_device(base);
			if (mmio_read(base + DEVICE_ID) == BALLOON)
				for (uint32_t i = 0; i < 16; i++)
					put(base, BALLOON_ACTUAL, (uint32_t)round * 16 + i);
		}
		if (round % 64 == 63) {
			print("@round ");
			print_hex(round + 1);
			print("@\n");
		}
	}
	print("@sound@\n");
	for (;;)
		__asm__ volatile("hlt");
}
