/* A started queue in memory of its own, and the driver's side of it. */
#ifndef VIRTQ_RIG_H
#define VIRTQ_RIG_H

#include <string.h>

#include "ring.h"

struct rig {
	struct ring ring;
	struct guestmem mem;
	struct virtq q;
	struct iovec iov[64];
	struct chain chain;
};

static inline struct rig rig_new(uint32_t size, bool indirect, bool event_idx)
{
	struct rig rig = {.ring = {.ram = ram_map(RAM_SIZE), .size = size}};
	struct virtq_layout layout = ring_layout(&rig.ring);
	struct virtq_limits limits = {
	    .max_size = VIRTQ_MAX_SIZE, .indirect = indirect, .event_idx = event_idx};

	EQUAL(guestmem_add(&rig.mem, RAM_GPA, RAM_SIZE, rig.ring.ram), 0);
	EQUAL(virtq_start(&rig.q, &rig.mem, &layout, &limits), VIRTQ_OK);
	return rig;
}

static inline void rig_free(struct rig *rig)
{
	ram_unmap(rig->ring.ram, RAM_SIZE);
}

static inline enum virtq_result pop(struct rig *rig)
{
	rig->q.mem = &rig->mem; /* the rig was moved when it was returned */
	rig->chain.iov = rig->iov;
	rig->chain.capacity = sizeof(rig->iov) / sizeof(rig->iov[0]);
	return virtq_pop(&rig->q, &rig->chain);
}

/* Publishes descriptor 0, expects the queue to break for the reason, and to stay broken. */
static inline void expect_broken(struct rig *rig, enum virtq_error why)
{
	publish(&rig->ring, 0);
	EQUAL(pop(rig), VQ_BROKEN);
	EQUAL(rig->q.error, why);
	EQUAL(pop(rig), VQ_BROKEN);
	virtq_push(&rig->q, 0, 1);
	EQUAL(used_index(&rig->ring), 0);
	CHECK(!virtq_needs_notify(&rig->q));
	CHECK(!virtq_enable_notification(&rig->q));
	rig_free(rig);
}

#endif
