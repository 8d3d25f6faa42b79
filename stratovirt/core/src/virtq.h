/* A split virtqueue, device side (VIRTIO 1.2, 2.7): memory in, chains out. It knows no device, transport,
 * thread or KVM, allocates nothing, and has one owner thread, so it has no lock.
 *
 * The guest owns the rings and may do anything to them at any time. The promise: nothing outside guest memory
 * is touched, each descriptor is read once, every loop ends, and a ring that breaks a rule is broken for
 * good: it gives VQ_BROKEN and is neither read nor written until virtq_start().
 */
#ifndef SV_VIRTQ_H
#define SV_VIRTQ_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "guestmem.h"

#define VIRTQ_MAX_SIZE 1024

enum virtq_result { VQ_EMPTY, VQ_CHAIN, VQ_BROKEN };

enum virtq_error {
	VIRTQ_OK,
	VIRTQ_BAD_SIZE,     /* size is 0, no power of two, or above what the device offers */
	VIRTQ_BAD_RING,     /* a ring is misaligned or not in guest memory */
	VIRTQ_BAD_AVAIL,    /* the available index is more than one ring ahead */
	VIRTQ_BAD_INDEX,    /* a descriptor index is outside its table */
	VIRTQ_BAD_ADDRESS,  /* a buffer is empty or not in guest memory */
	VIRTQ_BAD_ORDER,    /* a readable buffer after a writable one */
	VIRTQ_BAD_INDIRECT, /* not negotiated, nested, of odd length, not last, or not in guest memory */
	VIRTQ_TOO_LONG,     /* more descriptors than a chain can have: it loops */
	VIRTQ_TOO_LARGE,    /* more bytes than 2^32 in all */
	VIRTQ_BAD_CHAIN,    /* whole, and of no use to its device: for devices, the walk never gives it */
};

/* What the driver writes to the transport. */
struct virtq_layout {
	uint32_t size;
	uint64_t desc;
	uint64_t avail;
	uint64_t used;
};

struct virtq_limits {
	uint32_t max_size;
	bool indirect;  /* VIRTIO_F_INDIRECT_DESC was negotiated */
	bool event_idx; /* VIRTIO_F_EVENT_IDX was negotiated */
};

struct virtq_desc;
struct virtq_used_elem;

struct virtq {
	const struct guestmem *mem;
	uint16_t size; /* 0: not started */
	bool indirect;
	bool event_idx;
	enum virtq_error error; /* why it is broken */
	uint16_t next_avail;    /* the entry of the available ring to take next */
	uint16_t next_used;     /* the used index that virtq_publish() shows */
	uint16_t checked_used;  /* next_used when virtq_needs_notify() was last asked */
	/* host addresses inside guest memory, checked by virtq_start() */
	const struct virtq_desc *desc;
	const uint16_t *avail_flags;
	const uint16_t *avail_idx;
	const uint16_t *avail_ring;
	const uint16_t *used_event;
	uint16_t *used_flags;
	uint16_t *used_idx;
	struct virtq_used_elem *used_ring;
	uint16_t *avail_event;
};

/* A chain: `readable` buffers from the driver, then `writable` ones for it. iov belongs to the caller. */
struct chain {
	struct iovec *iov;
	uint32_t capacity; /* of iov; a chain that needs more breaks the queue */
	uint16_t head;
	uint32_t readable;
	uint32_t writable;
	uint64_t bytes; /* of all buffers, at most 2^32 */
};

/* Checks the rings and starts at index 0; the queue stays stopped unless it returns VIRTQ_OK. */
enum virtq_error virtq_start(struct virtq *q, const struct guestmem *mem, const struct virtq_layout *layout,
			     const struct virtq_limits *limits);
void virtq_stop(struct virtq *q);
/* Goes on where somebody else left the ring, who gives entries back in the order of the available ring: what
 * he took and did not give back is taken again. */
void virtq_resume(struct virtq *q);

/* Takes the next chain off the ring; a queue that is not started is empty. */
enum virtq_result virtq_pop(struct virtq *q, struct chain *chain);
/* Undoes the last virtq_pop(), which gave a chain: it is the next one again. */
void virtq_unpop(struct virtq *q);
/* Gives a chain back; `written` bytes of it are new. Nothing happens on a broken or stopped queue. */
void virtq_push(struct virtq *q, uint16_t head, uint32_t written);
/* The same in two steps, for chains that the driver has to find all at once. */
void virtq_put(struct virtq *q, uint16_t head, uint32_t written);
void virtq_publish(struct virtq *q);
/* True when the driver wants an interrupt for what was pushed since the last call. */
bool virtq_needs_notify(struct virtq *q);

/* Asks the driver not to notify us. It may do so all the same. */
void virtq_disable_notification(struct virtq *q);
/* Asks it to notify us again; true when there is a chain already, of which no notification will tell. */
bool virtq_enable_notification(struct virtq *q);

#endif
