#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net.h"

/* What a tap is told to do (<linux/if_tun.h>), and the features that stand for it, frame by direction. */
static const struct {
	uint32_t tap;
	uint64_t host;  /* the driver sends such frames */
	uint64_t guest; /* the driver receives such frames */
} offload_table[] = {
    {TUN_F_CSUM, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM},
    {TUN_F_TSO4, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4},
    {TUN_F_TSO6, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6},
    {TUN_F_TSO_ECN, VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_ECN},
    {TUN_F_UFO, VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_GUEST_UFO},
};

#define OFFLOADS (sizeof(offload_table) / sizeof(offload_table[0]))

uint64_t net_offload_features(uint32_t offloads)
{
	uint64_t features = 0;

	for (uint32_t i = 0; i < OFFLOADS; i++)
		if (offloads & offload_table[i].tap)
			features |= offload_table[i].host | offload_table[i].guest;
	return features;
}

/* What the tap may leave undone in frames to this driver. */
static uint32_t accepted_offloads(const struct net *net)
{
	uint32_t offloads = 0;

	if (!net_has(net, VIRTIO_NET_F_GUEST_CSUM)) /* VIRTIO 1.2, 5.1.3.1: all others need it */
		return 0;
	for (uint32_t i = 0; i < OFFLOADS; i++)
		if (net_has(net, offload_table[i].guest))
			offloads |= offload_table[i].tap;
	if (!(offloads & (TUN_F_TSO4 | TUN_F_TSO6))) /* a tap takes ECN with one of the two only */
		offloads &= ~(uint32_t)TUN_F_TSO_ECN;
	return offloads;
}

/* 0 or -errno; what is no tap leaves nothing undone. */
static int set_offloads(const struct net *net, int fd)
{
	unsigned long offloads = accepted_offloads(net);

	return ioctl(fd, TUNSETOFFLOAD, offloads) < 0 && errno != ENOTTY ? -errno : 0;
}

int net_port_attach(struct net *net)
{
	int error = 0;

	for (uint32_t i = 0; i < net->port_count; i++) {
		struct net_port *port = &net->ports[i];
		bool wanted = i < net->active_pairs;
		struct ifreq request = {.ifr_flags = wanted ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

		if (port->attached == wanted)
			continue;
		if (ioctl(port->source.fd, TUNSETQUEUE, &request) == 0)
			port->attached = wanted;
		else if (wanted)
			error = -errno;
	}
	return error;
}

void net_port_activate(struct net *net)
{
	for (uint32_t i = 0; i < net->port_count; i++)
		set_offloads(net, net->ports[i].source.fd); /* what was offered it can do */
	net_port_attach(net);
}

void net_port_wait_for_room(struct net_port *port)
{
	port->wants_room = true;
	/* Also looks whether there is room by now, so no edge is missed. */
	iothread_modify(port->net->device.io, &port->source, EPOLLIN | EPOLLOUT | EPOLLET);
}

static void on_room(struct net_port *port)
{
	struct net *net = port->net;
	uint32_t step = net->port_count; /* of which one may turn out to be lost here */

	port->wants_room = false;
	iothread_modify(net->device.io, &port->source, EPOLLIN | EPOLLET);
	for (uint32_t pair = port->index; pair < net->pair_count; pair += step)
		if (net->pairs[pair].tx.busy && net_is_running(net, 2 * pair + 1))
			net_tx_run(net, pair);
}

static void on_port(void *context, uint32_t epoll_events)
{
	struct net_port *port = context;
	struct net *net = port->net;

	if ((epoll_events & EPOLLOUT) && port->wants_room)
		on_room(port);
	if (net_is_running(net, 2 * port->index))
		net_rx_run(net, port->index);
}

static void remove_here(void *context)
{
	struct net *net = context;

	for (uint32_t i = 0; i < net->port_count; i++) {
		if (!net->vhost)
			iothread_remove(net->device.io, &net->ports[i].source);
		close(net->ports[i].source.fd);
	}
	net->port_count = 0;
}

void net_port_close(struct net *net)
{
	iothread_call(net->device.io, remove_here, net);
}

static void close_all(const int *fds, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		close(fds[i]);
}

struct swap {
	struct net *net;
	uint32_t count;
	int fds[SV_NET_MAX_PAIRS];
	int error;
};

static int duplicate(const struct sv_net_backend *backend, struct swap *swap)
{
	for (swap->count = 0; swap->count < (uint32_t)backend->count; swap->count++) {
		int fd = fcntl(backend->fds[swap->count], F_DUPFD_CLOEXEC, 0);
		int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

		if (fd >= 0 && flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0) {
			swap->fds[swap->count] = fd;
			continue;
		}
		swap->error = -errno;
		if (fd >= 0)
			close(fd);
		close_all(swap->fds, swap->count);
		return swap->error;
	}
	return 0;
}

static int add_port(struct net *net, int fd)
{
	uint32_t index = net->port_count;
	struct net_port *port = &net->ports[index];

	*port = (struct net_port){.source = {.fd = fd, .run = on_port, .context = port},
				  .net = net,
				  .index = index,
				  .attached = true};
	if (!net->vhost) {
		/* Edge-triggered: a frame that nobody wants yet waits in the tap without a sound. */
		int error = iothread_add(net->device.io, &port->source, EPOLLIN | EPOLLET);

		if (error < 0)
			return error;
	}
	net->port_count++;
	return 0;
}

/* The frames that the old descriptor did not take go the new way, or nowhere. */
static void resume_queues(struct net *net)
{
	for (uint32_t i = 0; i < 2 * net->pair_count; i++)
		if (net_is_running(net, i))
			net_later(net, i);
}

static bool do_what_is_promised(struct swap *swap)
{
	for (uint32_t i = 0; i < swap->count && swap->error == 0; i++)
		swap->error = set_offloads(swap->net, swap->fds[i]);
	if (swap->error < 0)
		close_all(swap->fds, swap->count);
	return swap->error == 0;
}

static void install(struct swap *swap)
{
	struct net *net = swap->net;

	remove_here(net);
	for (uint32_t i = 0; i < swap->count && swap->error == 0; i++) {
		swap->error = add_port(net, swap->fds[i]);
		if (swap->error < 0) {
			close_all(swap->fds + i, swap->count - i);
			remove_here(net);
		}
	}
}

static void open_here(void *context)
{
	if (do_what_is_promised(context))
		install(context);
}

int net_port_open(struct net *net, const struct sv_net_backend *backend)
{
	struct swap swap = {.net = net};
	int error = duplicate(backend, &swap);

	if (error == 0)
		iothread_call(net->device.io, open_here, &swap);
	return swap.error;
}

static void set_link(struct net *net)
{
	uint16_t status = net->port_count > 0 ? VIRTIO_NET_S_LINK_UP : 0;
	uint16_t before;

	virtio_copy_config(&net->device, offsetof(struct net_config_space, status), &before, sizeof(before));
	if (status != before)
		virtio_change_config(&net->device, offsetof(struct net_config_space, status), &status,
				     sizeof(status));
}

static void replace_here(void *context)
{
	struct swap *swap = context;
	struct net *net = swap->net;

	if (!do_what_is_promised(swap))
		return;
	if (net_is_external(net))
		net_vhost_leave(net);
	install(swap);
	if (net->active_pairs > 0)
		net_port_attach(net);
	if (net->vhost && net->port_count > 0)
		swap->error = net_vhost_join(net);
	if (net->vhost && swap->error < 0) {
		remove_here(net);
		net_vhost_leave(net);
	}
	resume_queues(net);
	set_link(net);
}

/* net_port_open() for a device that a driver may use: its queues go on, and the link follows. */
static int replace(struct net *net, const struct sv_net_backend *backend)
{
	struct swap swap = {.net = net};
	int error = duplicate(backend, &swap);

	if (error == 0)
		iothread_call(net->device.io, replace_here, &swap);
	return swap.error;
}

void net_port_lost(struct net *net, int error)
{
	remove_here(net);
	if (net->vhost)
		net_vhost_leave(net);
	set_link(net);
	resume_queues(net);
	net_failed(net, error, SV_NET_TAP_LOST);
}

int sv_net_plug(struct sv_virtio *device, const struct sv_net_backend *backend)
{
	struct net *net = net_of(device);

	if (!net || backend->count < 1 || (uint32_t)backend->count > net->pair_count)
		return -EINVAL;
	if (net->vhost && (uint32_t)backend->count < net->pair_count)
		return -EINVAL;
	return backend->vhost ? -ENOTSUP : replace(net, backend);
}

int sv_net_unplug(struct sv_virtio *device)
{
	struct net *net = net_of(device);
	struct sv_net_backend none = {.count = 0};

	return net ? replace(net, &none) : -EINVAL;
}
