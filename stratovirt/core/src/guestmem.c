#include "guestmem.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define REGION_ALIGNMENT 16 /* what rings need, so that a checked guest address is an aligned pointer too */

int guestmem_add(struct guestmem *mem, uint64_t gpa, uint64_t size, void *host)
{
	uint64_t last = gpa + (size - 1);

	if (size == 0 || last < gpa || !host)
		return -EINVAL;
	if (gpa % REGION_ALIGNMENT != 0 || (uintptr_t)host % REGION_ALIGNMENT != 0)
		return -EINVAL;
	for (uint32_t i = 0; i < mem->count; i++) {
		const struct guestmem_region *other = &mem->regions[i];

		/* A region never wraps, so its last byte can be named without overflow. */
		if (gpa <= other->gpa + (other->size - 1) && other->gpa <= last)
			return -EINVAL;
	}
	if (mem->count == GUESTMEM_MAX_REGIONS)
		return -ENOSPC;
	mem->regions[mem->count++] = (struct guestmem_region){.gpa = gpa, .size = size, .host = host};
	return 0;
}

void *guestmem_prefix(const struct guestmem *mem, uint64_t gpa, uint64_t *len)
{
	if (*len == 0)
		return NULL;
	for (uint32_t i = 0; i < mem->count; i++) {
		const struct guestmem_region *region = &mem->regions[i];
		uint64_t offset = gpa - region->gpa;

		/* Below the region, offset wraps to a value that no region is large enough for: none wraps
		 * itself. */
		if (offset >= region->size)
			continue;
		if (*len > region->size - offset)
			*len = region->size - offset;
		return region->host + offset;
	}
	return NULL;
}

void *guestmem_slice(const struct guestmem *mem, uint64_t gpa, uint64_t len)
{
	uint64_t inside = len;
	void *host = guestmem_prefix(mem, gpa, &inside);

	return inside == len ? host : NULL;
}

/* True when [gpa, gpa+len) is guest memory, however many regions it takes. */
static bool is_memory(const struct guestmem *mem, uint64_t gpa, uint64_t len)
{
	if (len > 0 && gpa + (len - 1) < gpa)
		return false;
	while (len > 0) {
		uint64_t piece = len;

		if (!guestmem_prefix(mem, gpa, &piece))
			return false;
		gpa += piece;
		len -= piece;
	}
	return true;
}

bool guestmem_read(const struct guestmem *mem, uint64_t gpa, void *to, uint64_t len)
{
	uint8_t *at = to;

	if (!is_memory(mem, gpa, len))
		return false;
	while (len > 0) {
		uint64_t piece = len;
		const void *host = guestmem_prefix(mem, gpa, &piece);

		memcpy(at, host, piece);
		at += piece;
		gpa += piece;
		len -= piece;
	}
	return true;
}

bool guestmem_write(const struct guestmem *mem, uint64_t gpa, const void *from, uint64_t len)
{
	const uint8_t *at = from;

	if (!is_memory(mem, gpa, len))
		return false;
	while (len > 0) {
		uint64_t piece = len;
		void *host = guestmem_prefix(mem, gpa, &piece);

		memcpy(host, at, piece);
		at += piece;
		gpa += piece;
		len -= piece;
	}
	return true;
}
