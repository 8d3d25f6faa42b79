#include "net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VIRTIO_ID_NET 1 /* VIRTIO 1.2, 5 */
#define CONFIG_SIZE   10

#define NO_QUEUE UINT32_MAX

_Static_assert(sizeof(struct net_config_space) == CONFIG_SIZE, "no padding inside");
_Static_assert(2 * SV_NET_MAX_PAIRS + 1 <= VIRTIO_MAX_QUEUES, "all pairs and a control queue");

void net_signal(struct net *net, uint32_t queue)
{
	if (virtq_needs_notify(net_ring(net, queue)))
		virtio_interrupt(&net->device, VIRTIO_INTERRUPT_QUEUE);
}

void net_signal_pair(struct net *net, uint32_t pair)
{
	bool received = virtq_needs_notify(net_ring(net, 2 * pair));
	bool sent = virtq_needs_notify(net_ring(net, 2 * pair + 1));

	if (received || sent)
		virtio_interrupt(&net->device, VIRTIO_INTERRUPT_QUEUE);
}

bool net_is_running(struct net *net, uint32_t queue)
{
	return net->device.queues[queue].runs;
}

void net_failed(struct net *net, int error, uint32_t what)
{
	struct sv_event event = {
	    .kind = SV_EVENT_NET_FAILED, .source = net->device.id, .data = {(uint64_t)error, what}};

	events_post(&net->device.vm->events, &event);
}

void net_serve_by_vhost(struct net *net)
{
	int error = net_vhost_start(net);

	if (error < 0)
		virtio_refused(&net->device, -error);
}

static void activate(struct sv_virtio *device)
{
	struct net *net = (struct net *)device;

	net->features = device->features;
	net->active_pairs = 1; /* VIRTIO 1.2, 5.1.6.5.5: until the driver says more */
	net->control = NO_QUEUE;
	if (net_has(net, VIRTIO_NET_F_CTRL_VQ)) /* 5.1.2 */
		net->control = net_has(net, VIRTIO_NET_F_MQ) ? 2 * net->pair_count : 2;
	net_port_activate(net);
	if (net->vhost)
		net_serve_by_vhost(net);
	else
		net_later(net, 0); /* frames that came before the driver */
}

static void process(struct sv_virtio *device, uint32_t queue)
{
	struct net *net = (struct net *)device;

	if (queue == net->control)
		net_ctrl_run(net);
	else if (net_is_external(net) || queue >= 2 * net->pair_count)
		return;
	else if (queue % 2 == 0)
		net_rx_run(net, queue / 2);
	else
		net_tx_run(net, queue / 2);
}

static void stop(struct sv_virtio *device, uint32_t queue)
{
	struct net *net = (struct net *)device;

	if (queue >= 2 * net->pair_count)
		return;
	if (net_is_external(net))
		net_vhost_stop(net, queue);
	else if (queue % 2 == 0)
		net_rx_stop(&net->pairs[queue / 2].rx);
	else
		net->pairs[queue / 2].tx.busy = false;
}

/* Releases what there is of a device, also one that was never finished. */
static void destroy(struct net *net)
{
	net_vhost_close(net);
	net_port_close(net);
	for (uint32_t i = 0; net->pairs && i < net->pair_count; i++)
		free(net->pairs[i].rx.spill);
	free(net->pairs);
	free(net);
}

static void free_device(struct sv_virtio *device)
{
	destroy((struct net *)device);
}

static bool lost(struct sv_virtio *device)
{
	return net_vhost_lost((struct net *)device);
}

static const struct virtio_ops net_ops = {.type = VIRTIO_ID_NET,
					  .activate = activate,
					  .process = process,
					  .stop = stop,
					  .lost = lost,
					  .free = free_device};

struct net *net_of(struct sv_virtio *device)
{
	return device->ops == &net_ops ? (struct net *)device : NULL;
}

static bool is_valid(const struct sv_net_config *config)
{
	const struct sv_net_backend *backend = &config->backend;

	return config->pairs >= 1 && config->pairs <= SV_NET_MAX_PAIRS && backend->count >= 0 &&
	       backend->count <= config->pairs && (!backend->vhost || backend->count == config->pairs);
}

static uint64_t fill_config(struct net_config_space *space, const struct sv_net_config *config)
{
	uint64_t features =
	    net_offload_features(config->offloads) | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS;

	space->status = config->backend.count > 0 ? VIRTIO_NET_S_LINK_UP : 0;
	space->max_virtqueue_pairs = (uint16_t)config->pairs;
	if (config->pairs > 1)
		features |= VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ;
	if (!config->has_mac)
		return features;
	memcpy(space->mac, config->mac, sizeof(space->mac));
	return features | VIRTIO_NET_F_MAC;
}

/* What the module has to know of; checksums and the like are the tap's affair. */
static int open_vhost(struct net *net, const struct sv_net_backend *backend, uint64_t *features)
{
	uint64_t needed = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
	int error = net_vhost_open(net, backend);

	if (error < 0)
		return error;
	if (needed & ~net->vhost_features)
		return -ENOTSUP;
	if (!(net->vhost_features & VIRTIO_NET_F_MRG_RXBUF))
		*features &= ~VIRTIO_NET_F_MRG_RXBUF;
	return 0;
}

static struct net *allocate(uint32_t pairs, struct sv_iothread *io)
{
	struct net *net = calloc(1, sizeof(*net));

	if (!net)
		return NULL;
	net->device.io = io;
	net->pair_count = pairs;
	net->control = NO_QUEUE;
	net->watch.fd = -1;
	for (uint32_t i = 0; i < SV_NET_MAX_PAIRS; i++)
		net->vhost_fds[i] = -1;
	net->pairs = calloc(pairs, sizeof(*net->pairs));
	for (uint32_t i = 0; net->pairs && i < pairs; i++) {
		net->pairs[i].rx.spill = malloc(NET_FRAME_MAX + 1); /* its pages cost nothing until used */
		if (!net->pairs[i].rx.spill) {
			destroy(net);
			return NULL;
		}
	}
	if (net->pairs)
		return net;
	free(net);
	return NULL;
}

int sv_net_create(struct sv_vm *vm, const struct sv_net_config *config, struct sv_virtio **out)
{
	struct virtio_plan plan = {.ops = &net_ops,
				   .io = config->iothread,
				   .queue_size = NET_QUEUE_SIZE,
				   .config_size = CONFIG_SIZE};
	struct net *net;
	int error;

	if (!is_valid(config))
		return -EINVAL;
	error = iothread_or_main(vm, &plan.io);
	if (error < 0)
		return error;
	net = allocate((uint32_t)config->pairs, plan.io);
	if (!net)
		return -ENOMEM;
	plan.features = fill_config(&net->config, config);
	plan.config = &net->config;
	plan.queue_count = config->pairs > 1 ? 2 * (uint32_t)config->pairs + 1 : 2;
	plan.external = config->backend.vhost != 0;
	if (plan.external)
		error = open_vhost(net, &config->backend, &plan.features);
	if (error == 0 && config->backend.count > 0)
		error = net_port_open(net, &config->backend);
	if (error == 0)
		error = virtio_init(&net->device, vm, &plan);
	if (error < 0) {
		destroy(net);
		return error;
	}
	*out = &net->device;
	return plan.external ? net_vhost_watch(net) : 0;
}
