/* What a hostile driver does to any device: registers, descriptors and ring indices of its choosing. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "driver.h"
#include "fuzz.h"

static inline uint64_t odd_value(struct input *input)
{
	static const uint64_t values[] = {
	    0,          1,         2,          3,           11,
	    15,         16,        256,        65535,       RING_DESC,
	    RING_AVAIL, RING_USED, UINT32_MAX, RAM_GPA - 4, RAM_GPA + RAM_SIZE - 64,
	    BUFFERS};
	uint8_t which = (uint8_t)take(input, 1);

	return which & 0x80 ? take(input, 4) : values[which % 16];
}

static inline void access_register(struct driver *d, struct input *input, bool writes)
{
	static const uint16_t common[] = {R_STATUS, R_NOTIFY, R_QUEUE_READY, R_QUEUE_SIZE, R_DESC, R_INT_ACK};
	uint8_t which = (uint8_t)take(input, 1);
	uint32_t sizes = (uint32_t)take(input, 1);
	uint32_t size = sizes < 0xe0 ? 4 : 1u << (sizes % 4);
	uint64_t offset = which < 0x80 ? which * 4u : common[which % 6];

	if (writes)
		bus_write(&d->vm->mmio, WINDOW + offset, size, odd_value(input));
	else
		bus_read(&d->vm->mmio, WINDOW + offset + sizes % 2, size);
}

static inline void write_desc(struct driver *d, struct input *input)
{
	static const uint64_t places[] = {HEADER_OF(0), HEADER_OF(1), STATUS_OF(0), DATA,
					  TABLES,       RING_DESC,    RING_USED,    RAM_GPA + RAM_SIZE - 512};
	uint32_t index = (uint32_t)take(input, 1) % 32;
	uint64_t place = places[take(input, 1) % 8] + (take(input, 1) & 0x81);
	uint32_t length = (uint32_t)odd_value(input);
	struct desc desc = {place, length, (uint16_t)(take(input, 1) & 7), (uint16_t)(take(input, 1) % 18)};
	struct desc *table = at_gpa(&d->ring, index < 16 ? RING_DESC : TABLES);

	table[index % 16] = desc;
}

/* All features most of the time, else some. */
static inline uint64_t odd_features(struct input *input)
{
	return take(input, 1) % 4 ? ALL_FEATURES : VIRTIO_F_VERSION_1 | take(input, 4);
}

#endif
