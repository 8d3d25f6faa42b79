/* A driver's side of a split ring in plain memory, between two pages that nobody may touch. */
#ifndef RING_H
#define RING_H

#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

#include "check.h"
#include "guestmem.h"
#include "virtq.h"

#define PAGE     4096u
#define RAM_GPA  0x10000000u
#define RAM_SIZE 0x400000u /* 4 MiB */

#define RING_DESC  (RAM_GPA + 0x0000) /* room for 1024 entries each */
#define RING_AVAIL (RAM_GPA + 0x4000)
#define RING_USED  (RAM_GPA + 0x5000)
#define TABLES     (RAM_GPA + 0x8000)  /* for indirect tables */
#define BUFFERS    (RAM_GPA + 0x10000) /* for data */

#define F_NEXT     1
#define F_WRITE    2
#define F_INDIRECT 4

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct used_elem {
	uint32_t id;
	uint32_t len;
};

struct ring {
	uint8_t *ram;
	uint32_t size;
	uint16_t avail; /* published */
	uint16_t used;  /* seen */
};

static inline uint8_t *ram_map(size_t size)
{
	uint8_t *map = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(map != MAP_FAILED);
	CHECK(mprotect(map + PAGE, size, PROT_READ | PROT_WRITE) == 0);
	return map + PAGE;
}

static inline void ram_unmap(uint8_t *ram, size_t size)
{
	munmap(ram - PAGE, size + 2 * PAGE);
}

static inline void *at_gpa(const struct ring *ring, uint64_t gpa)
{
	return ring->ram + (gpa - RAM_GPA);
}

static inline struct desc *desc_at(const struct ring *ring, uint32_t index)
{
	return (struct desc *)at_gpa(ring, RING_DESC) + index;
}

static inline uint16_t *avail_words(const struct ring *ring)
{
	return at_gpa(ring, RING_AVAIL); /* flags, idx, ring, used_event */
}

static inline uint16_t *used_words(const struct ring *ring)
{
	return at_gpa(ring, RING_USED); /* flags, idx, ring, avail_event */
}

static inline uint16_t *used_event_of(const struct ring *ring)
{
	return avail_words(ring) + 2 + ring->size;
}

static inline uint16_t *avail_event_of(const struct ring *ring)
{
	return used_words(ring) + 2 + 4 * ring->size;
}

static inline struct virtq_layout ring_layout(const struct ring *ring)
{
	return (struct virtq_layout){ring->size, RING_DESC, RING_AVAIL, RING_USED};
}

static inline void put_desc(struct ring *ring, uint32_t index, uint64_t addr, uint32_t len, int flags,
			    int next)
{
	*desc_at(ring, index) = (struct desc){addr, len, (uint16_t)flags, (uint16_t)next};
}

/* Publishes a chain by its head, as VIRTIO 1.2, 2.7.13 says. */
static inline void publish(struct ring *ring, uint32_t head)
{
	avail_words(ring)[2 + ring->avail % ring->size] = (uint16_t)head;
	ring->avail++;
	__atomic_store_n(&avail_words(ring)[1], ring->avail, __ATOMIC_RELEASE);
}

static inline uint16_t used_index(const struct ring *ring)
{
	return __atomic_load_n(&used_words(ring)[1], __ATOMIC_ACQUIRE);
}

/* The used entry with the given position, counted without wrapping. */
static inline struct used_elem used_at(const struct ring *ring, uint32_t position)
{
	struct used_elem elem;

	memcpy(&elem, used_words(ring) + 2 + 4 * (position % ring->size), sizeof(elem));
	return elem;
}

#endif
