#include <errno.h>
#include <unistd.h>

#include "net.h"

enum outcome {
	DRAINED, /* the ring is empty */
	HELD,    /* something else runs the queue again */
	SPENT,   /* the budget is used up */
};

/* Through which port a pair sends; NULL when the link is down. */
static struct net_port *port_of(struct net *net, uint32_t pair)
{
	return net->port_count > 0 ? &net->ports[pair % net->port_count] : NULL;
}

/* Gives the frame to the descriptor; false when it has no room for it. A frame that the host refuses for
 * another reason is lost, and so is one that is sent without a link: that is what a wire does. */
static bool send_frame(const struct net_tx *tx, struct net_port *port)
{
	ssize_t sent;

	if (!port || tx->count == 0)
		return true;
	do
		sent = writev(port->source.fd, tx->iov, (int)tx->count);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0 || errno != EAGAIN)
		return true;
	net_port_wait_for_room(port);
	return false;
}

/* Takes the next frame off the ring. */
static enum virtq_result take(struct net *net, struct net_tx *tx, uint32_t queue)
{
	struct virtq *ring = net_ring(net, queue);
	struct chain chain = {.iov = tx->iov, .capacity = NET_CHAIN_IOV};
	enum virtq_result result = virtq_pop(ring, &chain);
	uint64_t bytes = 0;

	if (result == VQ_EMPTY)
		return result;
	for (uint32_t i = 0; result == VQ_CHAIN && i < chain.readable; i++)
		bytes += tx->iov[i].iov_len;
	if (result == VQ_BROKEN || bytes < NET_HEADER_SIZE) { /* 5.1.6.2: a header is always there */
		virtio_broken(&net->device, queue, result == VQ_BROKEN ? ring->error : VIRTQ_BAD_CHAIN);
		return VQ_BROKEN;
	}
	tx->busy = true;
	tx->head = chain.head;
	tx->count = bytes <= NET_FRAME_MAX ? chain.readable : 0; /* longer than any frame: not sent */
	return VQ_CHAIN;
}

static enum outcome transmit(struct net *net, uint32_t pair)
{
	struct net_tx *tx = &net->pairs[pair].tx;
	uint32_t queue = 2 * pair + 1;

	for (uint32_t budget = NET_BUDGET; budget > 0; budget--) {
		if (virtio_is_stopping(&net->device))
			return HELD;
		if (!tx->busy) {
			enum virtq_result result = take(net, tx, queue);

			if (result != VQ_CHAIN)
				return result == VQ_EMPTY ? DRAINED : HELD;
		}
		if (!send_frame(tx, port_of(net, pair)))
			return HELD;
		tx->busy = false;
		virtq_push(net_ring(net, queue), tx->head, 0);
	}
	return SPENT;
}

void net_tx_run(struct net *net, uint32_t pair)
{
	uint32_t queue = 2 * pair + 1;
	struct virtq *ring = net_ring(net, queue);
	enum outcome outcome;

	do {
		virtq_disable_notification(ring);
		outcome = transmit(net, pair);
	} while (outcome == DRAINED && virtq_enable_notification(ring));
	if (outcome == SPENT)
		net_later(net, queue);
	/* What was sent is often answered by the time it is gone, as TCP does: one interrupt for both. */
	if (outcome == DRAINED && net_is_running(net, queue - 1))
		net_rx_run(net, pair);
	net_signal_pair(net, pair);
}
