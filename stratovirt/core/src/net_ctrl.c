/* VIRTIO 1.2, 5.1.6.5: the driver's commands. Of all classes only that of multiqueue is offered. */
#include "iov.h"
#include "net.h"

#define VIRTIO_NET_CTRL_MQ              4 /* 5.1.6.5.5 */
#define VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET 0

enum { VIRTIO_NET_OK = 0, VIRTIO_NET_ERR = 1 }; /* 5.1.6.5 */

struct command {
	uint8_t class;
	uint8_t command;
	uint8_t pairs[2]; /* virtqueue_pairs, little-endian */
};

static uint8_t set_pairs(struct net *net, uint32_t pairs)
{
	uint32_t before = net->active_pairs;

	if (!net_has(net, VIRTIO_NET_F_MQ) || pairs == 0 || pairs > net->pair_count)
		return VIRTIO_NET_ERR;
	net->active_pairs = pairs;
	for (uint32_t queue = 2 * pairs; net->vhost && queue < 2 * before; queue++)
		net_vhost_stop(net, queue);
	if (net_port_attach(net) < 0)
		return VIRTIO_NET_ERR;
	if (net->vhost)
		net_serve_by_vhost(net);
	for (uint32_t pair = before; pair < pairs && !net->vhost; pair++)
		net_later(net, 2 * pair); /* frames may be there already */
	return VIRTIO_NET_OK;
}

static uint8_t execute(struct net *net, struct span *message)
{
	struct command command;

	if (message->bytes < sizeof(command))
		return VIRTIO_NET_ERR;
	span_take(message, &command, sizeof(command));
	if (command.class != VIRTIO_NET_CTRL_MQ || command.command != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET)
		return VIRTIO_NET_ERR;
	return set_pairs(net, command.pairs[0] | (uint32_t)command.pairs[1] << 8);
}

/* Does what one chain asks; false when the queue is empty or broken. */
static bool serve_one(struct net *net)
{
	struct virtq *ring = net_ring(net, net->control);
	struct iovec iov[NET_CHAIN_IOV];
	struct chain chain = {.iov = iov, .capacity = NET_CHAIN_IOV};
	enum virtq_result result = virtq_pop(ring, &chain);
	struct span message;
	struct span answer;
	uint8_t ack;

	if (result == VQ_BROKEN)
		virtio_broken(&net->device, net->control, ring->error);
	if (result != VQ_CHAIN)
		return false;
	message = span_of(iov, chain.readable);
	answer = span_of(iov + chain.readable, chain.writable);
	ack = execute(net, &message);
	if (answer.bytes > 0)
		span_put(&answer, &ack, sizeof(ack));
	virtq_push(ring, chain.head, chain.writable > 0 ? sizeof(ack) : 0);
	return true;
}

void net_ctrl_run(struct net *net)
{
	struct virtq *ring = net_ring(net, net->control);
	uint32_t budget = NET_BUDGET;

	do {
		virtq_disable_notification(ring);
		while (budget > 0 && net_is_running(net, net->control) && serve_one(net))
			budget--;
	} while (budget > 0 && net_is_running(net, net->control) && virtq_enable_notification(ring));
	if (budget == 0)
		net_later(net, net->control);
	net_signal(net, net->control);
}
