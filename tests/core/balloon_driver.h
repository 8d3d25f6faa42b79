/* A driver for a virtio-balloon device with up to five queues, over memory whose pages can be looked at. */
#ifndef BALLOON_DRIVER_H
#define BALLOON_DRIVER_H

#include "balloon.h"
#include "driver.h"

#define MIB       ((uint64_t)1 << 20)
#define HUGE      (2 * MIB)
#define MEMORY    (16 * MIB)
#define QUEUES    5u
#define PFN(gpa)  ((uint32_t)((gpa) / PAGE))
#define QUEUE(q)  (RAM_GPA + (q) * 0x4000) /* descriptors, available ring, used ring: a page each */
#define LIST      (RAM_GPA + MIB)          /* for lists of page numbers, and for statistics */
#define VICTIMS   (RAM_GPA + 4 * MIB)      /* pages that nothing of the driver's is in */
#define FILL      0x5a
#define HUGE_2MB  (21 << 26)     /* <linux/mman.h>: log2 of the page size */
#define R_GUEST   (R_CONFIG + 4) /* actual */
#define MUST_TELL VIRTIO_BALLOON_F_MUST_TELL_HOST

struct balloon_driver {
	struct driver d; /* for registers and interrupts; its ring is not used */
	uint8_t *ram;
	uint16_t avail[QUEUES]; /* published */
	int file;               /* of shared memory, or -1 */
};

struct balloon_plan {
	struct sv_balloon_config config;
	uint64_t page_size; /* 0 for the host's */
	bool shared;
	bool hugetlb;
};

static inline void *ram_at(struct balloon_driver *b, uint64_t gpa)
{
	return b->ram + (gpa - RAM_GPA);
}

/* Memory in the upper half of what would be a page of 2 * MEMORY. */
static inline uint8_t *map_memory(int file, bool shared)
{
	int flags = (shared ? MAP_SHARED : MAP_PRIVATE) | (file < 0 ? MAP_ANONYMOUS : 0);
	uint8_t *space =
	    mmap(NULL, 4 * MEMORY, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t place = (((uintptr_t)space + MEMORY) | MEMORY) & ~(MEMORY - 1);
	uintptr_t end = (uintptr_t)space + 4 * MEMORY;

	CHECK(space != MAP_FAILED);
	munmap(space, place - (uintptr_t)space);
	munmap((void *)(place + MEMORY), end - place - MEMORY);
	CHECK(mmap((void *)place, MEMORY, PROT_READ | PROT_WRITE, flags | MAP_FIXED, file, 0) != MAP_FAILED);
	return (void *)place;
}

static inline struct balloon_driver balloon_open(const struct balloon_plan *plan)
{
	struct balloon_driver b = {.file = -1};

	if (plan->shared || plan->hugetlb) {
		b.file = memfd_create("ram", MFD_CLOEXEC | (plan->hugetlb ? MFD_HUGETLB | HUGE_2MB : 0));
		CHECK(b.file >= 0);
		CHECK(ftruncate(b.file, (off_t)MEMORY) == 0);
	}
	b.ram = map_memory(b.file, plan->shared);
	memset(b.ram, FILL, MEMORY);
	CHECK(sv_vm_create(-1, &b.d.vm) == 0);
	/* Two regions that touch: what crosses from one to the other is found too. */
	CHECK(sv_mem_add(b.d.vm, RAM_GPA, MEMORY / 2, b.ram) == 0);
	CHECK(sv_mem_add(b.d.vm, RAM_GPA + MEMORY / 2, MEMORY / 2, b.ram + MEMORY / 2) == 0);
	CHECK(sv_mem_kind(b.d.vm, plan->page_size ? plan->page_size : PAGE, plan->shared) == 0);
	CHECK(sv_balloon_create(b.d.vm, &plan->config, &b.d.device) == 0);
	CHECK(sv_mmio_place(b.d.vm, b.d.device, WINDOW, 5) == 0);
	return b;
}

static inline void balloon_close(struct balloon_driver *b)
{
	sv_vm_destroy(b->d.vm);
	munmap(b->ram, MEMORY);
	if (b->file >= 0)
		close(b->file);
}

/* VIRTIO 1.2, 3.1.1, up to where the queues could be used. */
static inline void balloon_prepare(struct balloon_driver *b, uint64_t features)
{
	struct driver *d = &b->d;

	reg_write(d, R_STATUS, 0);
	reg_write(d, R_STATUS, S_ACKNOWLEDGE);
	reg_write(d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER);
	driver_write_features(d, features);
	reg_write(d, R_STATUS, S_READY);
	for (uint32_t q = 0; q < QUEUES; q++) {
		uint64_t base = QUEUE(q);

		memset(ram_at(b, base), 0, 3 * PAGE);
		b->avail[q] = 0;
		reg_write(d, R_QUEUE_SEL, q);
		if (reg_read(d, R_QUEUE_MAX) == 0)
			continue;
		reg_write(d, R_QUEUE_SIZE, QUEUE_SIZE);
		reg_write(d, R_DESC, base);
		reg_write(d, R_AVAIL, base + PAGE);
		reg_write(d, R_USED, base + 2 * PAGE);
		reg_write(d, R_QUEUE_READY, 1);
	}
}

static inline void balloon_start(struct balloon_driver *b, uint64_t features)
{
	balloon_prepare(b, features);
	reg_write(&b->d, R_STATUS, S_READY | S_DRIVER_OK);
}

static inline uint16_t *avail_of(struct balloon_driver *b, uint32_t queue)
{
	return ram_at(b, QUEUE(queue) + PAGE);
}

static inline uint16_t balloon_used(struct balloon_driver *b, uint32_t queue)
{
	uint16_t *used = ram_at(b, QUEUE(queue) + 2 * PAGE);

	return __atomic_load_n(&used[1], __ATOMIC_ACQUIRE);
}

static inline void balloon_desc(struct balloon_driver *b, uint32_t queue, uint32_t index, struct desc desc)
{
	struct desc *table = ram_at(b, QUEUE(queue));

	table[index] = desc;
}

/* Publishes a chain and has the device look. */
static inline void balloon_put(struct balloon_driver *b, uint32_t queue, uint32_t head)
{
	uint16_t *words = avail_of(b, queue);

	words[2 + b->avail[queue] % QUEUE_SIZE] = (uint16_t)head;
	b->avail[queue]++;
	__atomic_store_n(&words[1], b->avail[queue], __ATOMIC_RELEASE);
	reg_write(&b->d, R_NOTIFY, queue);
}

/* Waits until the queue's requests are used up to a number. */
static inline void balloon_wait(struct balloon_driver *b, uint32_t queue, uint16_t target)
{
	uint16_t seen;

	/* Read once: an index that came between two readings would be waited for. */
	while ((int16_t)((seen = balloon_used(b, queue)) - target) < 0) {
		/* used_event, for a driver with EVENT_IDX */
		__atomic_store_n(avail_of(b, queue) + 2 + QUEUE_SIZE, seen, __ATOMIC_SEQ_CST);
		if (balloon_used(b, queue) == seen)
			wait_interrupt(&b->d);
	}
	settle(&b->d);
	if (interrupt_pending(&b->d))
		wait_interrupt(&b->d);
}

static inline void balloon_settle(struct balloon_driver *b, uint32_t queue)
{
	balloon_wait(b, queue, b->avail[queue]);
}

/* Sends a list of page numbers, and waits until the device is through with it. */
static inline void send_list(struct balloon_driver *b, uint32_t queue, const uint32_t *pfns, uint32_t count)
{
	memcpy(ram_at(b, LIST), pfns, count * sizeof(*pfns));
	balloon_desc(b, queue, 0, (struct desc){.addr = LIST, .len = count * 4});
	balloon_put(b, queue, 0);
	balloon_settle(b, queue);
}

static inline void send_range(struct balloon_driver *b, uint32_t queue, uint64_t gpa, uint32_t count)
{
	uint32_t pfns[1024];

	CHECK(count <= 1024);
	for (uint32_t i = 0; i < count; i++)
		pfns[i] = PFN(gpa) + i;
	send_list(b, queue, pfns, count);
}

static inline struct sv_balloon_state balloon_state(struct balloon_driver *b)
{
	struct sv_balloon_state state;

	sv_balloon_read(b->d.device, &state);
	return state;
}

/* Pages of [gpa, gpa + length) that the host still keeps, without touching them. */
static inline uint32_t kept_pages(struct balloon_driver *b, uint64_t gpa, uint64_t length)
{
	unsigned char resident[MEMORY / PAGE];
	uint32_t kept = 0;

	CHECK(mincore(ram_at(b, gpa), length, resident) == 0);
	for (uint32_t i = 0; i < length / PAGE; i++)
		kept += resident[i] & 1;
	return kept;
}

#endif
