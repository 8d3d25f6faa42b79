#include "vsock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum outcome { DRAINED, HELD };

static struct virtq *ring_of(struct vsock *vsock, uint32_t queue)
{
	return &vsock->base.device.queues[queue].ring;
}

static void signal_driver(struct vsock *vsock, uint32_t queue)
{
	if (virtq_needs_notify(ring_of(vsock, queue)))
		virtio_interrupt(&vsock->base.device, VIRTIO_INTERRUPT_QUEUE);
}

static void forget(struct vsock *vsock)
{
	vsock_muxer_close(&vsock->muxer);
	vsock->tx_waits = false;
}

static void break_device(struct vsock *vsock, uint32_t queue)
{
	virtio_broken(&vsock->base.device, queue, ring_of(vsock, queue)->error);
	forget(vsock);
}

/* Sees to it that a chain is held that has room for a header and data. */
static bool hold_chain(struct vsock *vsock, uint32_t *budget)
{
	struct virtq *ring = ring_of(vsock, VSOCK_RX);
	struct chain *chain = &vsock->chain;

	while (!vsock->held) {
		enum virtq_result result;

		if ((*budget)-- == 0) { /* the other devices of the thread have a turn */
			virtio_process_later(&vsock->base.device, VSOCK_RX);
			return false;
		}
		*chain = (struct chain){.iov = vsock->iov, .capacity = VSOCK_IOV_MAX};
		result = virtq_pop(ring, chain);
		if (result == VQ_BROKEN)
			break_device(vsock, VSOCK_RX);
		if (result == VQ_BROKEN || (result == VQ_EMPTY && !virtq_enable_notification(ring)))
			return false;
		if (result == VQ_EMPTY)
			continue;
		vsock->held =
		    span_of(chain->iov + chain->readable, chain->writable).bytes > VSOCK_HEADER_SIZE;
		if (!vsock->held)
			virtq_push(ring, chain->head, 0);
	}
	return true;
}

/* Fills the held chain with the next packet; false when there is none, and the chain stays. */
static bool fill_chain(struct vsock *vsock)
{
	struct iovec *writable = vsock->iov + vsock->chain.readable;
	struct iovec copy[VSOCK_IOV_MAX];
	struct vsock_header header;
	struct span space;

	/* The data first, behind where the header will be. */
	memcpy(copy, writable, vsock->chain.writable * sizeof(*copy));
	space = span_of(copy, vsock->chain.writable);
	span_skip(&space, VSOCK_HEADER_SIZE);
	if (!vsock_muxer_next(&vsock->muxer, &header, &space))
		return false;
	space = span_of(writable, vsock->chain.writable);
	vsock_packet_put(&space, &header);
	virtq_push(ring_of(vsock, VSOCK_RX), vsock->chain.head, VSOCK_HEADER_SIZE + header.len);
	vsock->held = false;
	return true;
}

/* Gives the guest what waits for it, as far as it has buffers. */
static void send_packets(struct vsock *vsock)
{
	struct sv_virtio *device = &vsock->base.device;
	struct virtq *ring = ring_of(vsock, VSOCK_RX);
	uint32_t budget = ring->size;

	if (!device->queues[VSOCK_RX].runs)
		return;
	virtq_disable_notification(ring);
	while (!virtio_is_stopping(device) && vsock_muxer_is_ready(&vsock->muxer))
		if (!hold_chain(vsock, &budget) || !fill_chain(vsock))
			break;
	signal_driver(vsock, VSOCK_RX);
	if (vsock->tx_waits && vsock_muxer_has_room(&vsock->muxer)) {
		vsock->tx_waits = false;
		virtio_process_later(device, VSOCK_TX);
	}
}

/* Takes one packet of the guest. */
static enum virtq_result take_packet(struct vsock *vsock)
{
	struct iovec iov[VSOCK_IOV_MAX];
	struct chain chain = {.iov = iov, .capacity = VSOCK_IOV_MAX};
	struct virtq *ring = ring_of(vsock, VSOCK_TX);
	enum virtq_result result = virtq_pop(ring, &chain);
	enum vsock_verdict verdict;
	struct vsock_header header;
	struct span data;

	if (result != VQ_CHAIN)
		return result;
	data = span_of(iov, chain.readable);
	verdict = vsock_packet_take(&data, vsock->base.guest_cid, &header);
	if (verdict != VSOCK_DROP)
		vsock_muxer_receive(&vsock->muxer, verdict, &header, &data);
	virtq_push(ring, chain.head, 0);
	return VQ_CHAIN;
}

static enum outcome take_packets(struct vsock *vsock, uint32_t *budget)
{
	struct sv_virtio *device = &vsock->base.device;

	while (!virtio_is_stopping(device)) {
		enum virtq_result result;

		if ((*budget)-- == 0) {
			virtio_process_later(device, VSOCK_TX);
			return HELD;
		}
		/* A guest that takes no answers is asked no more: send_packets() goes on. */
		vsock->tx_waits = !vsock_muxer_has_room(&vsock->muxer);
		if (vsock->tx_waits)
			return HELD;
		result = take_packet(vsock);
		if (result == VQ_BROKEN)
			break_device(vsock, VSOCK_TX);
		if (result != VQ_CHAIN)
			return result == VQ_EMPTY ? DRAINED : HELD;
	}
	return HELD;
}

static void receive_packets(struct vsock *vsock)
{
	struct virtq *ring = ring_of(vsock, VSOCK_TX);
	uint32_t budget = ring->size;
	enum outcome outcome;

	do {
		virtq_disable_notification(ring);
		outcome = take_packets(vsock, &budget);
	} while (outcome == DRAINED && virtq_enable_notification(ring));
	signal_driver(vsock, VSOCK_TX);
}

static void process(struct sv_virtio *device, uint32_t queue)
{
	struct vsock *vsock = (struct vsock *)device;

	if (queue == VSOCK_TX)
		receive_packets(vsock);
	else if (queue == VSOCK_EVENT && !vsock_event_process(&vsock->base))
		forget(vsock);
	send_packets(vsock);
}

static void on_sockets(void *context)
{
	send_packets(context);
}

static void activate(struct sv_virtio *device)
{
	struct vsock *vsock = (struct vsock *)device;

	vsock->base.reset_owed = false;
	if (device->queues[VSOCK_RX].runs && device->queues[VSOCK_TX].runs)
		vsock_muxer_open(&vsock->muxer);
}

static void stop(struct sv_virtio *device, uint32_t queue)
{
	struct vsock *vsock = (struct vsock *)device;

	if (queue == VSOCK_RX)
		vsock->held = false;
	if (queue != VSOCK_EVENT)
		forget(vsock);
}

static void forget_connections(struct vsock_base *base)
{
	struct vsock *vsock = (struct vsock *)base;

	forget(vsock);
	activate(&base->device);
}

static void free_device(struct sv_virtio *device)
{
	struct vsock *vsock = (struct vsock *)device;

	forget(vsock);
	vsock_muxer_free(&vsock->muxer);
	free(vsock);
}

static const struct virtio_ops vsock_ops = {
    .type = VIRTIO_ID_VSOCK, .activate = activate, .process = process, .stop = stop, .free = free_device};

static bool is_valid(const struct sv_vsock_config *config)
{
	size_t length = strnlen(config->path, sizeof(config->path));

	return vsock_is_guest_cid(config->guest_cid) && length > 0 && length < sizeof(config->path);
}

int sv_vsock_create(struct sv_vm *vm, const struct sv_vsock_config *config, struct sv_virtio **out)
{
	struct virtio_plan plan;
	struct vsock *vsock;
	int error;

	if (!is_valid(config))
		return -EINVAL;
	vsock = calloc(1, sizeof(*vsock));
	if (!vsock)
		return -ENOMEM;
	vsock->base.guest_cid = config->guest_cid;
	vsock->base.forget = forget_connections;
	plan = vsock_plan(&vsock->base, &vsock_ops);
	plan.io = config->iothread;
	error = iothread_or_main(vm, &plan.io);
	if (error < 0)
		goto free_it;
	vsock->muxer.wake = on_sockets;
	vsock->muxer.context = vsock;
	error = vsock_muxer_init(&vsock->muxer, plan.io, config);
	if (error == 0)
		error = virtio_init(&vsock->base.device, vm, &plan);
	if (error < 0)
		goto free_muxer;
	*out = &vsock->base.device;
	return 0;

free_muxer:
	vsock_muxer_free(&vsock->muxer);
free_it:
	free(vsock);
	return error;
}
