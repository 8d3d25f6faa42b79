#include "disk.h"

/* Keeps as many writes in flight as it has slots, each of a record of its own, and says which are done: in
 * what order the disk likes.
 */

#define SLOTS   32u
#define SIZE    128 /* three descriptors for each slot, up to a power of two */
#define SECTORS 2048u

#define table ((volatile struct desc *)0x4000000)
#define given ((volatile struct { uint16_t flags, index, ring[SIZE], used_event; } *)0x4001000)
#define done                                                                                                 \
	((volatile struct {                                                                                  \
		uint16_t flags, index;                                                                       \
		struct {                                                                                     \
			uint32_t id, length;                                                                 \
		} ring[SIZE];                                                                                \
	} *)0x4002000)
#define headers                                                                                              \
	((volatile struct {                                                                                  \
		uint32_t type, reserved;                                                                     \
		uint64_t sector;                                                                             \
	} *)0x4003000)
#define statuses ((volatile uint8_t *)0x4004000)
#define DATA     0x4010000ull

static uint64_t numbers[SLOTS];

static void put(int i, uint64_t address, uint32_t length, uint16_t flags)
{
	table[i].address = address;
	table[i].length = length;
	table[i].flags = flags;
	table[i].next = (uint16_t)(i + 1);
}

static void write_record(uint32_t slot, uint64_t number)
{
	volatile uint64_t *data = (volatile uint64_t *)(DATA + slot * 512);

	numbers[slot] = number;
	for (int i = 0; i < 64; i++)
		data[i] = number;
	headers[slot].type = 1;
	headers[slot].sector = number % SECTORS;
	statuses[slot] = 0xee;
	put((int)(3 * slot), (uint64_t)&headers[slot], 16, NEXT);
	put((int)(3 * slot + 1), (uint64_t)data, 512, NEXT);
	put((int)(3 * slot + 2), (uint64_t)&statuses[slot], 1, WRITE);
	given->ring[given->index % SIZE] = (uint16_t)(3 * slot);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	given->index++;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	reg_write(QUEUE_NOTIFY, 0);
}

void guest_main(void *zero_page)
{
	uint64_t next = 1;
	uint16_t seen = 0;

	(void)zero_page;
	start_disk(); /* finds the window */
	negotiate(BLK_F_FLUSH);
	set_queue(SIZE, (uint64_t)table, (uint64_t)given, (uint64_t)done);
	reg_write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		write_record(slot, next++);
	for (;;) {
		uint32_t slot;

		while (done->index == seen)
			;
		slot = done->ring[seen++ % SIZE].id / 3;
		print(statuses[slot] == 0 ? "done " : "fail ");
		print_hex(numbers[slot]);
		print("\n");
		write_record(slot, next++);
	}
}
