/* The kernel has the rings and the taps; ours are features, link status and the control queue. */
#include "clock.h"
#include "net.h"
#include "vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* How often a tap is looked at. One that is deleted wakes who reads it, as a frame does, and the reader is
 * the module, which tells nobody. */
#define LOOK_NS CLOCK_SECOND

int net_vhost_open(struct net *net, const struct sv_net_backend *backend)
{
	net->vhost = true;
	net->vhost_features = UINT64_MAX;
	for (int i = 0; i < backend->count; i++) {
		uint64_t known;
		int error;

		net->vhost_fds[i] = fcntl(backend->vhost_fds[i], F_DUPFD_CLOEXEC, 0);
		if (net->vhost_fds[i] < 0)
			return -errno;
		error = vhost_claim(net->vhost_fds[i], &known);
		if (error < 0)
			return error;
		net->vhost_features &= known;
	}
	return 0;
}

/* The control queue is the third one, or the last: the driver's features say which. */
static int watch_control(struct net *net)
{
	struct sv_virtio *device = &net->device;
	int error = iothread_add(device->io, &device->queues[2].kick, EPOLLIN | EPOLLET);

	if (error < 0)
		return error;
	return iothread_add(device->io, &device->queues[2 * net->pair_count].kick, EPOLLIN | EPOLLET);
}

/* A tap without its interface has an error for whoever polls it, which a macvtap has not; the first one of a
 * card is never detached. TUNGETIFF would tell of both, but waits for the lock that all changes of the host's
 * network take. */
static bool is_gone(const struct net *net)
{
	struct pollfd tap = {.fd = net->ports[0].source.fd};

	return poll(&tap, 1, 0) == 1 && (tap.revents & POLLERR);
}

void net_vhost_leave(struct net *net)
{
	struct sv_virtio *device = &net->device;

	clock_arm(net->watch.fd, 0);
	for (uint32_t queue = 0; queue < 2 * net->pair_count; queue++) {
		if (queue == net->control)
			continue; /* of a driver that knows one pair: it was never a module's */
		net_vhost_stop(net, queue);
		/* vhost-net takes and gives back in order; frames that a tap without its interface refuses
		 * it takes only. */
		virtq_resume(net_ring(net, queue));
		/* The third one is watched already (watch_control). A host that has no memory for another
		 * one leaves frames in the ring; that the tap is gone is told in any case. */
		iothread_add(device->io, &device->queues[queue].kick, EPOLLIN | EPOLLET);
	}
	net->left = true;
}

bool net_vhost_lost(struct net *net)
{
	if (net->left)
		return true;
	if (!is_gone(net))
		return false;
	net_port_lost(net, EBADFD);
	return true;
}

static void look(void *context, uint32_t epoll_events)
{
	struct net *net = context;

	(void)epoll_events;
	if (!net_vhost_lost(net))
		clock_arm(net->watch.fd, LOOK_NS);
}

int net_vhost_watch(struct net *net)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int error;

	if (fd < 0)
		return -errno;
	net->watch = (struct io_source){.fd = fd, .run = look, .context = net};
	error = iothread_add(net->device.io, &net->watch, EPOLLIN);
	if (error < 0) {
		close(fd);
		net->watch.fd = -1;
		return error;
	}
	clock_arm(fd, LOOK_NS);
	return net->pair_count > 1 ? watch_control(net) : 0;
}

static int set_backend(struct net *net, uint32_t queue, int fd)
{
	struct vhost_vring_file file = {.index = queue % 2, .fd = fd};

	return ioctl(net->vhost_fds[queue / 2], VHOST_NET_SET_BACKEND, &file) < 0 ? -errno : 0;
}

static int start_pair(struct net *net, uint32_t pair)
{
	int fd = net->vhost_fds[pair];
	int error = vhost_set_up(fd, &net->device, net->features & net->vhost_features);

	for (uint32_t i = 0; i < 2 && error == 0; i++) {
		uint32_t queue = 2 * pair + i;

		error = vhost_give_queue(fd, &net->device.queues[queue], i);
		if (error < 0)
			break;
		net->vhost_serves[queue] = true;
		error = set_backend(net, queue, net->ports[pair].source.fd);
	}
	return error;
}

static bool is_served(const struct net *net, uint32_t pair)
{
	return net->vhost_serves[2 * pair] || net->vhost_serves[2 * pair + 1];
}

int net_vhost_start(struct net *net)
{
	if (net->port_count == 0)
		return 0;
	for (uint32_t pair = 0; pair < net->active_pairs; pair++) {
		int error;

		if (is_served(net, pair) || !net_is_running(net, 2 * pair) ||
		    !net_is_running(net, 2 * pair + 1))
			continue;
		error = start_pair(net, pair);
		if (error == 0)
			continue;
		net_vhost_stop(net, 2 * pair);
		net_vhost_stop(net, 2 * pair + 1);
		return error;
	}
	return 0;
}

/* Without a tap nothing that our thread takes off a ring stays with it. */
int net_vhost_join(struct net *net)
{
	uint64_t stale;

	for (uint32_t queue = 0; queue < 2 * net->pair_count; queue++)
		if (queue != 2) /* which may be a driver's control queue */
			iothread_remove(net->device.io, &net->device.queues[queue].kick);
	if (read(net->device.lost.fd, &stale, sizeof(stale)) < 0)
		stale = 0; /* what became of the last tap counts for nothing */
	net->left = false;
	clock_arm(net->watch.fd, LOOK_NS);
	return net_vhost_start(net);
}

void net_vhost_stop(struct net *net, uint32_t queue)
{
	if (!net->vhost_serves[queue])
		return;
	/* Waits for what the module does with the ring. */
	set_backend(net, queue, -1);
	vhost_take_queue(net->vhost_fds[queue / 2], &net->device.queues[queue], queue % 2);
	net->vhost_serves[queue] = false;
}

void net_vhost_close(struct net *net)
{
	if (net->watch.fd >= 0) {
		iothread_remove(net->device.io, &net->watch);
		close(net->watch.fd);
	}
	for (uint32_t i = 0; i < SV_NET_MAX_PAIRS; i++)
		if (net->vhost_fds[i] >= 0)
			close(net->vhost_fds[i]);
}
