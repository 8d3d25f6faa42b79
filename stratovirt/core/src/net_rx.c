/* Chains are taken off the ring before there is a frame for them, until the longest one fits: readv() then
 * puts it where it belongs. What finds no room goes to the spill and waits there for more chains, so that no
 * frame is lost for want of buffers; while there are none, frames stay in the tap.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "net.h"

enum outcome {
	QUIET,   /* there is no frame, or none that may be taken now */
	STARVED, /* the driver has to give buffers first */
	SPENT,   /* the budget is used up */
};

static bool can_hold_more(const struct net_rx *rx)
{
	return rx->chain_count < NET_QUEUE_SIZE && rx->buffer_count + NET_CHAIN_IOV <= NET_RX_IOV;
}

/* Without mergeable buffers a frame is in one chain (VIRTIO 1.2, 5.1.6.3). */
static bool wants_chain(const struct net *net, const struct net_rx *rx)
{
	if (!net_has(net, VIRTIO_NET_F_MRG_RXBUF))
		return rx->chain_count == 0;
	return rx->room < NET_FRAME_MAX && can_hold_more(rx);
}

/* Takes chains off the ring as long as they are wanted; false when the queue is broken. */
static bool fill(struct net *net, struct net_rx *rx, uint32_t queue)
{
	struct virtq *ring = net_ring(net, queue);

	while (wants_chain(net, rx)) {
		struct chain chain = {.iov = &rx->iov[rx->buffer_count], .capacity = NET_CHAIN_IOV};
		enum virtq_result result = virtq_pop(ring, &chain);

		if (result == VQ_EMPTY)
			return true;
		/* 5.1.6.3.1: a buffer is for writing, and a header fits into it. */
		if (result == VQ_BROKEN || chain.readable > 0 || chain.bytes < NET_HEADER_SIZE) {
			virtio_broken(&net->device, queue,
				      result == VQ_BROKEN ? ring->error : VIRTQ_BAD_CHAIN);
			return false;
		}
		rx->chains[rx->chain_count++] = (struct net_chain){
		    .head = chain.head, .buffers = (uint16_t)chain.writable, .bytes = chain.bytes};
		rx->buffer_count += chain.writable;
		rx->room += chain.bytes;
	}
	return true;
}

/* Copies bytes to the place `offset` of the chains' buffers, which have room for them. */
static void put(const struct net_rx *rx, uint64_t offset, const uint8_t *from, uint64_t length)
{
	const struct iovec *buffer = rx->iov;

	while (offset >= buffer->iov_len) {
		offset -= buffer->iov_len;
		buffer++;
	}
	while (length > 0) {
		uint64_t piece = buffer->iov_len - offset;

		if (piece > length)
			piece = length;
		memcpy((uint8_t *)buffer->iov_base + offset, from, piece);
		from += piece;
		length -= piece;
		offset = 0;
		buffer++;
	}
}

/* Drops the first chains, which are the driver's again. */
static void release(struct net_rx *rx, uint32_t chains)
{
	uint32_t buffers = 0;

	for (uint32_t i = 0; i < chains; i++) {
		buffers += rx->chains[i].buffers;
		rx->room -= rx->chains[i].bytes;
	}
	rx->chain_count -= chains;
	rx->buffer_count -= buffers;
	memmove(rx->chains, rx->chains + chains, rx->chain_count * sizeof(*rx->chains));
	memmove(rx->iov, rx->iov + buffers, rx->buffer_count * sizeof(*rx->iov));
}

/* Gives the chains that hold the frame to the driver, all at once: it counts on each of them as soon as it
 * sees the first. */
static void deliver(struct net_rx *rx, struct virtq *ring, uint32_t frame)
{
	uint32_t written[NET_QUEUE_SIZE];
	uint16_t chains = 0;

	for (uint64_t left = frame; left > 0; chains++) {
		written[chains] =
		    (uint32_t)(left < rx->chains[chains].bytes ? left : rx->chains[chains].bytes);
		left -= written[chains];
	}
	/* 5.1.6.4: num_buffers is 1 without mergeable buffers; the tap leaves its place as it was. */
	put(rx, NET_NUM_BUFFERS, (const uint8_t *)&chains, sizeof(chains));
	for (uint32_t i = 0; i < chains; i++)
		virtq_put(ring, rx->chains[i].head, written[i]);
	virtq_publish(ring);
	release(rx, chains);
}

/* Ends the frame whose rest is in the spill; false while it has to wait for chains. One that no number of
 * chains can hold is lost, as it would be on a card whose driver's buffers are too small. */
static bool end_spilled(struct net *net, struct net_rx *rx, struct virtq *ring)
{
	bool hopeless =
	    !net_has(net, VIRTIO_NET_F_MRG_RXBUF) || !can_hold_more(rx) || rx->chain_count == ring->size;

	if (rx->room >= rx->frame) {
		put(rx, rx->frame - rx->spilled, rx->spill, rx->spilled);
		deliver(rx, ring, rx->frame);
	} else if (!hopeless) {
		return false;
	}
	rx->frame = 0;
	return true;
}

/* Reads a frame; false when there is none. */
static bool read_frame(struct net *net, struct net_rx *rx, uint32_t pair)
{
	uint64_t room = rx->room;
	ssize_t length;

	rx->iov[rx->buffer_count] = (struct iovec){rx->spill, NET_FRAME_MAX + 1};
	do
		length = readv(net->ports[pair].source.fd, rx->iov, (int)rx->buffer_count + 1);
	while (length < 0 && errno == EINTR);
	if (length > NET_HEADER_SIZE && length <= NET_FRAME_MAX) {
		rx->frame = (uint32_t)length;
		rx->spilled = rx->frame > room ? rx->frame - (uint32_t)room : 0;
		return true;
	}
	if (length > 0)
		return true; /* no frame that Ethernet knows: the next one goes to the same buffers */
	if (length == 0 || errno != EAGAIN)
		net_port_lost(net, length == 0 ? ESHUTDOWN : errno);
	return false;
}

static enum outcome receive(struct net *net, uint32_t pair)
{
	struct net_rx *rx = &net->pairs[pair].rx;
	struct virtq *ring = net_ring(net, 2 * pair);

	for (uint32_t budget = NET_BUDGET; budget > 0; budget--) {
		if (virtio_is_stopping(&net->device) || !fill(net, rx, 2 * pair))
			return QUIET;
		if (rx->frame > 0) {
			if (!end_spilled(net, rx, ring))
				return STARVED;
			continue;
		}
		if (rx->chain_count == 0)
			return STARVED;
		if (!read_frame(net, rx, pair))
			return QUIET;
		if (rx->frame > 0 && rx->spilled == 0) {
			deliver(rx, ring, rx->frame);
			rx->frame = 0;
		}
	}
	return SPENT;
}

void net_rx_run(struct net *net, uint32_t pair)
{
	struct virtq *ring = net_ring(net, 2 * pair);
	enum outcome outcome;

	/* Only what the pairs in use have a descriptor for; the others of a tap are detached. */
	if (pair >= net->port_count || pair >= net->active_pairs)
		return;
	do {
		virtq_disable_notification(ring);
		outcome = receive(net, pair);
	} while (outcome == STARVED && virtq_enable_notification(ring));
	if (outcome == SPENT)
		net_later(net, 2 * pair);
	net_signal_pair(net, pair);
}

void net_rx_stop(struct net_rx *rx)
{
	rx->chain_count = 0;
	rx->buffer_count = 0;
	rx->room = 0;
	rx->frame = 0;
}
