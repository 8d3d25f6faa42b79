/* Guest memory: the only way from a guest's address to a pointer. No KVM, no threads, no allocation. */
#ifndef SV_GUESTMEM_H
#define SV_GUESTMEM_H

#include <stdbool.h>
#include <stdint.h>

#define GUESTMEM_MAX_REGIONS 8

struct guestmem_region {
	uint64_t gpa;
	uint64_t size;
	uint8_t *host;
};

struct guestmem {
	struct guestmem_region regions[GUESTMEM_MAX_REGIONS];
	uint32_t count;
};

/* Adds a region; -EINVAL for an empty, wrapping, overlapping or misaligned (16) one, -ENOSPC when there are
 * too many. */
int guestmem_add(struct guestmem *mem, uint64_t gpa, uint64_t size, void *host);
/* Returns the host address of [gpa, gpa+len), or NULL when any byte of it is outside one region. len 0 gives
 * NULL. */
void *guestmem_slice(const struct guestmem *mem, uint64_t gpa, uint64_t len);
/* Returns the host address of gpa and shortens *len to what its region still holds; NULL when gpa is outside
 * or *len is 0. For ranges that may cross regions that touch. */
void *guestmem_prefix(const struct guestmem *mem, uint64_t gpa, uint64_t *len);
/* Copies; false, and nothing copied, when the range is not guest memory. A range may cross regions that
 * touch. */
bool guestmem_read(const struct guestmem *mem, uint64_t gpa, void *to, uint64_t len);
bool guestmem_write(const struct guestmem *mem, uint64_t gpa, const void *from, uint64_t len);

#endif
