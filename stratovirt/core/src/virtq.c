#include "virtq.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#define DESC_F_NEXT     1 /* VIRTIO 1.2, 2.7.5 */
#define DESC_F_WRITE    2
#define DESC_F_INDIRECT 4

#define AVAIL_F_NO_INTERRUPT 1 /* 2.7.6 */
#define USED_F_NO_NOTIFY     1 /* 2.7.8 */

#define CHAIN_MAX_BYTES ((uint64_t)1 << 32) /* 2.7.5.2: a chain is no longer in total */

struct virtq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct virtq_used_elem {
	uint32_t id;
	uint32_t len;
};

/* The table that a walk is in: the queue's own, or an indirect one at any alignment. */
struct table {
	const uint8_t *base;
	uint32_t count;
	bool indirect;
};

static uint16_t load(const uint16_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void store(uint16_t *at, uint16_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
}

/* Copies a descriptor out of the guest's reach; only the copy is looked at. */
static struct virtq_desc fetch(const struct table *table, uint32_t index)
{
	struct virtq_desc copy;

	memcpy(&copy, table->base + index * sizeof(copy), sizeof(copy));
	/* Keeps the compiler from reading the guest's memory again in place of the copy. */
	atomic_signal_fence(memory_order_seq_cst);
	return copy;
}

/* VIRTIO 1.2, 2.7.5.3: the last descriptor of the ring's chain may name a table that holds the rest of it. */
static enum virtq_error enter_indirect(const struct virtq *q, const struct virtq_desc *desc,
				       struct table *table)
{
	if (!q->indirect || table->indirect || (desc->flags & DESC_F_NEXT))
		return VIRTQ_BAD_INDIRECT;
	if (desc->len % sizeof(*desc) != 0)
		return VIRTQ_BAD_INDIRECT;
	table->base = guestmem_slice(q->mem, desc->addr, desc->len); /* NULL for an empty one too */
	table->count = desc->len / (uint32_t)sizeof(*desc);
	table->indirect = true;
	return table->base ? VIRTQ_OK : VIRTQ_BAD_INDIRECT;
}

/* Appends a buffer, in as many pieces as it touches regions of memory. */
static enum virtq_error add_buffer(const struct virtq *q, const struct virtq_desc *desc, struct chain *chain)
{
	bool writable = desc->flags & DESC_F_WRITE;
	uint64_t gpa = desc->addr;
	uint64_t left = desc->len;

	if (!writable && chain->writable > 0) /* 2.7.4.2 */
		return VIRTQ_BAD_ORDER;
	if (left == 0 || gpa + (left - 1) < gpa)
		return VIRTQ_BAD_ADDRESS;
	chain->bytes += left; /* no overflow: at most 2^32 before, and left is 32 bits wide */
	if (chain->bytes > CHAIN_MAX_BYTES)
		return VIRTQ_TOO_LARGE;
	do {
		uint64_t piece = left;
		void *host = guestmem_prefix(q->mem, gpa, &piece);
		uint32_t at = chain->readable + chain->writable;

		if (!host)
			return VIRTQ_BAD_ADDRESS;
		if (at == chain->capacity)
			return VIRTQ_TOO_LONG;
		chain->iov[at] = (struct iovec){.iov_base = host, .iov_len = piece};
		if (writable)
			chain->writable++;
		else
			chain->readable++;
		gpa += piece;
		left -= piece;
	} while (left > 0);
	return VIRTQ_OK;
}

static enum virtq_error walk(const struct virtq *q, struct chain *chain)
{
	struct table table = {.base = (const uint8_t *)q->desc, .count = q->size};
	uint32_t index = chain->head;
	uint32_t steps = 0;

	chain->readable = 0;
	chain->writable = 0;
	chain->bytes = 0;
	for (;;) {
		struct virtq_desc desc;
		enum virtq_error error;

		if (index >= table.count)
			return VIRTQ_BAD_INDEX;
		if (steps++ == table.count) /* time to live: no descriptor is met twice */
			return VIRTQ_TOO_LONG;
		desc = fetch(&table, index);
		if (desc.flags & DESC_F_INDIRECT) {
			error = enter_indirect(q, &desc, &table);
			if (error != VIRTQ_OK)
				return error;
			index = 0;
			steps = 0;
			continue;
		}
		error = add_buffer(q, &desc, chain); /* bounds an indirect table's walk by the capacity */
		if (error != VIRTQ_OK || !(desc.flags & DESC_F_NEXT))
			return error;
		index = desc.next;
	}
}

static bool is_usable(const struct virtq *q)
{
	return q->size != 0 && q->error == VIRTQ_OK;
}

static bool is_valid_size(uint32_t size, uint32_t max_size)
{
	return size != 0 && (size & (size - 1)) == 0 && size <= max_size && size <= VIRTQ_MAX_SIZE;
}

/* VIRTIO 1.2, 2.7: the sizes and alignments of the three parts. */
static void *ring_part(const struct guestmem *mem, uint64_t gpa, uint64_t length, uint32_t alignment)
{
	return gpa % alignment == 0 ? guestmem_slice(mem, gpa, length) : NULL;
}

enum virtq_error virtq_start(struct virtq *q, const struct guestmem *mem, const struct virtq_layout *layout,
			     const struct virtq_limits *limits)
{
	uint32_t size = layout->size;
	const void *desc;
	const uint16_t *avail;
	uint8_t *used;

	virtq_stop(q);
	if (!is_valid_size(size, limits->max_size))
		return VIRTQ_BAD_SIZE;
	/* flags, idx, ring and, with or without EVENT_IDX, room for the event */
	desc = ring_part(mem, layout->desc, size * sizeof(struct virtq_desc), 16);
	avail = ring_part(mem, layout->avail, (size + 3) * sizeof(uint16_t), 2);
	used = ring_part(mem, layout->used, size * sizeof(struct virtq_used_elem) + 6, 4);
	if (!desc || !avail || !used)
		return VIRTQ_BAD_RING;
	q->mem = mem;
	q->size = (uint16_t)size;
	q->indirect = limits->indirect;
	q->event_idx = limits->event_idx;
	q->desc = desc;
	q->avail_flags = avail;
	q->avail_idx = avail + 1;
	q->avail_ring = avail + 2;
	q->used_event = avail + 2 + size;
	q->used_flags = (uint16_t *)(void *)used;
	q->used_idx = q->used_flags + 1;
	q->used_ring = (struct virtq_used_elem *)(void *)(used + 4);
	q->avail_event = (uint16_t *)(void *)(q->used_ring + size);
	return VIRTQ_OK;
}

void virtq_stop(struct virtq *q)
{
	memset(q, 0, sizeof(*q));
}

void virtq_resume(struct virtq *q)
{
	if (q->size == 0)
		return;
	q->next_avail = q->next_used = q->checked_used = load(q->used_idx);
}

static enum virtq_result break_queue(struct virtq *q, enum virtq_error error)
{
	q->error = error;
	return VQ_BROKEN;
}

enum virtq_result virtq_pop(struct virtq *q, struct chain *chain)
{
	enum virtq_error error;
	uint16_t avail;

	if (!is_usable(q))
		return q->error == VIRTQ_OK ? VQ_EMPTY : VQ_BROKEN;
	/* Pairs with the driver's release of the index after it filled descriptors and ring entry (2.7.13.3).
	 */
	avail = __atomic_load_n(q->avail_idx, __ATOMIC_ACQUIRE);
	if (avail == q->next_avail)
		return VQ_EMPTY;
	if ((uint16_t)(avail - q->next_avail) > q->size)
		return break_queue(q, VIRTQ_BAD_AVAIL);
	chain->head = load(&q->avail_ring[q->next_avail & (q->size - 1)]);
	error = walk(q, chain);
	if (error != VIRTQ_OK)
		return break_queue(q, error);
	q->next_avail++;
	return VQ_CHAIN;
}

void virtq_unpop(struct virtq *q)
{
	q->next_avail--;
}

void virtq_put(struct virtq *q, uint16_t head, uint32_t written)
{
	struct virtq_used_elem elem = {.id = head, .len = written};

	if (!is_usable(q))
		return;
	memcpy(&q->used_ring[q->next_used & (q->size - 1)], &elem, sizeof(elem));
	q->next_used++;
}

void virtq_publish(struct virtq *q)
{
	/* Pairs with the driver's acquire of the index before it reads the entries and the buffers (2.7.14).
	 */
	if (is_usable(q))
		__atomic_store_n(q->used_idx, q->next_used, __ATOMIC_RELEASE);
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
	virtq_put(q, head, written);
	virtq_publish(q);
}

bool virtq_needs_notify(struct virtq *q)
{
	uint16_t before = q->checked_used;
	uint16_t now = q->next_used;

	if (!is_usable(q) || now == before)
		return false;
	q->checked_used = now;
	/* Pairs with the driver's full barrier between asking for interrupts and looking at the used index
	 * once more: one of the two sees what the other wrote (2.7.7.2). */
	atomic_thread_fence(memory_order_seq_cst);
	if (!q->event_idx)
		return !(load(q->avail_flags) & AVAIL_F_NO_INTERRUPT);
	/* 2.7.10: did the index pass used_event on its way from before to now? */
	return (uint16_t)(now - load(q->used_event) - 1) < (uint16_t)(now - before);
}

void virtq_disable_notification(struct virtq *q)
{
	/* With EVENT_IDX the driver stays silent by itself: avail_event is left behind. */
	if (is_usable(q) && !q->event_idx)
		store(q->used_flags, USED_F_NO_NOTIFY);
}

bool virtq_enable_notification(struct virtq *q)
{
	if (!is_usable(q))
		return false;
	if (q->event_idx)
		store(q->avail_event, q->next_avail);
	else
		store(q->used_flags, 0);
	/* Pairs with the driver's full barrier between publishing the available index and asking whether to
	 * notify (2.7.13.4.1). */
	atomic_thread_fence(memory_order_seq_cst);
	return load(q->avail_idx) != q->next_avail;
}
