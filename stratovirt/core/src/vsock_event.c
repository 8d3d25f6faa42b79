#include <errno.h>

#include "vsock.h"

#define EVENT_TRANSPORT_RESET 0u /* VIRTIO 1.2, 5.10.6.7: struct virtio_vsock_event is its 32-bit id */

bool vsock_is_guest_cid(uint64_t cid)
{
	return cid > VSOCK_CID_HOST && cid < UINT32_MAX; /* 5.10.4 */
}

struct virtio_plan vsock_plan(struct vsock_base *base, const struct virtio_ops *ops)
{
	return (struct virtio_plan){.ops = ops,
				    .queue_count = VSOCK_QUEUE_COUNT,
				    .queue_size = VSOCK_QUEUE_SIZE,
				    .config = &base->guest_cid,
				    .config_size = sizeof(base->guest_cid)};
}

/* Tells the driver that every connection is gone; waits for a buffer where there is none. */
static bool send_reset(struct vsock_base *base)
{
	struct virtq *ring = &base->device.queues[VSOCK_EVENT].ring;
	struct iovec iov[VSOCK_IOV_MAX];
	struct chain chain = {.iov = iov, .capacity = VSOCK_IOV_MAX};
	const uint32_t id = EVENT_TRANSPORT_RESET;
	enum virtq_result result;
	struct span space;
	uint32_t written;

	do
		result = virtq_pop(ring, &chain);
	while (result == VQ_EMPTY && virtq_enable_notification(ring));
	if (result == VQ_BROKEN) {
		virtio_broken(&base->device, VSOCK_EVENT, ring->error);
		return false;
	}
	base->reset_owed = result == VQ_EMPTY;
	if (base->reset_owed)
		return true;
	space = span_of(iov + chain.readable, chain.writable);
	written = space.bytes >= sizeof(id) ? sizeof(id) : 0;
	span_put(&space, &id, written);
	virtq_push(ring, chain.head, written);
	if (virtq_needs_notify(ring))
		virtio_interrupt(&base->device, VIRTIO_INTERRUPT_QUEUE);
	return true;
}

bool vsock_event_process(struct vsock_base *base)
{
	return base->reset_owed ? send_reset(base) : true;
}

static void transport_reset_here(void *context)
{
	struct vsock_base *base = context;

	if (!base->device.queues[VSOCK_EVENT].runs)
		return; /* no driver: nobody has a connection */
	if (base->forget)
		base->forget(base);
	send_reset(base);
}

int sv_vsock_transport_reset(struct sv_virtio *device)
{
	if (device->ops->type != VIRTIO_ID_VSOCK)
		return -EINVAL;
	iothread_call(device->io, transport_reset_here, device);
	return 0;
}
