/* A bus: address ranges and who answers in them. Filled before the vCPUs start and only read afterwards. */
#ifndef SV_BUS_H
#define SV_BUS_H

#include <stdbool.h>
#include <stdint.h>

#define BUS_MAX_RANGES 48

/* offset is inside the range; size is 1, 2, 4 or 8 and never crosses its end. */
struct bus_ops {
	uint64_t (*read)(void *device, uint64_t offset, uint32_t size);
	void (*write)(void *device, uint64_t offset, uint32_t size, uint64_t value);
};

struct bus_range {
	uint64_t base;
	uint64_t length;
	const struct bus_ops *ops;
	void *device;
};

struct bus {
	struct bus_range ranges[BUS_MAX_RANGES]; /* sorted by base */
	uint32_t count;
};

int bus_add(struct bus *bus, uint64_t base, uint64_t length, const struct bus_ops *ops, void *device);
/* Accesses that nobody answers read all ones and write nothing, as on an empty bus. */
uint64_t bus_read(const struct bus *bus, uint64_t address, uint32_t size);
void bus_write(const struct bus *bus, uint64_t address, uint32_t size, uint64_t value);

#endif
