#include "bus.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

int bus_add(struct bus *bus, uint64_t base, uint64_t length, const struct bus_ops *ops, void *device)
{
	uint32_t at = 0;

	if (length == 0 || base + length < base)
		return -EINVAL;
	if (bus->count == BUS_MAX_RANGES)
		return -ENOSPC;
	while (at < bus->count && bus->ranges[at].base < base)
		at++;
	if (at > 0 && base - bus->ranges[at - 1].base < bus->ranges[at - 1].length)
		return -EEXIST;
	if (at < bus->count && bus->ranges[at].base - base < length)
		return -EEXIST;
	memmove(&bus->ranges[at + 1], &bus->ranges[at], (bus->count - at) * sizeof(bus->ranges[0]));
	bus->ranges[at] = (struct bus_range){.base = base, .length = length, .ops = ops, .device = device};
	bus->count++;
	return 0;
}

/* The range that holds the whole access, or NULL. */
static const struct bus_range *find(const struct bus *bus, uint64_t address, uint32_t size)
{
	uint32_t low = 0;
	uint32_t high = bus->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		const struct bus_range *range = &bus->ranges[middle];

		if (address < range->base) {
			high = middle;
		} else if (address - range->base >= range->length) {
			low = middle + 1;
		} else {
			return size <= range->length - (address - range->base) ? range : NULL;
		}
	}
	return NULL;
}

uint64_t bus_read(const struct bus *bus, uint64_t address, uint32_t size)
{
	const struct bus_range *range = find(bus, address, size);

	return range ? range->ops->read(range->device, address - range->base, size) : UINT64_MAX;
}

void bus_write(const struct bus *bus, uint64_t address, uint32_t size, uint64_t value)
{
	const struct bus_range *range = find(bus, address, size);

	if (range)
		range->ops->write(range->device, address - range->base, size, value);
}
