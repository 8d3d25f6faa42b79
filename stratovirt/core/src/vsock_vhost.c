#include "vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vsock.h"

#define SERVED_QUEUES 2 /* rx and tx, numbered as in the device; the event queue stays with us */

/* Features of a module that are no driver's business: what is for migration, for an IOMMU, or legacy. */
#define F_NOTIFY_ON_EMPTY ((uint64_t)1 << 24) /* VIRTIO 1.2, 6.3 */
#define F_ANY_LAYOUT      ((uint64_t)1 << 27)
#define F_ACCESS_PLATFORM ((uint64_t)1 << 33) /* 6 */
#define HIDDEN_FEATURES                                                                                      \
	(F_NOTIFY_ON_EMPTY | ((uint64_t)1 << VHOST_F_LOG_ALL) | F_ANY_LAYOUT | F_ACCESS_PLATFORM)

struct vsock_vhost {
	struct vsock_base base; /* first */
	int fd;
	bool running;
};

static int set_running(struct vsock_vhost *vsock, int running)
{
	return ioctl(vsock->fd, VHOST_VSOCK_SET_RUNNING, &running) < 0 ? -errno : 0;
}

static void stop_module(struct vsock_vhost *vsock)
{
	if (!vsock->running)
		return;
	vsock->running = false;
	set_running(vsock, 0); /* a module that refuses has let go of the rings already */
	for (uint32_t i = 0; i < SERVED_QUEUES; i++)
		vhost_take_queue(vsock->fd, &vsock->base.device.queues[i], i);
}

static int start_module(struct vsock_vhost *vsock)
{
	struct sv_virtio *device = &vsock->base.device;
	int error = vhost_set_up(vsock->fd, device, device->features);

	vsock->running = true; /* also half-way: there is something to take back */
	for (uint32_t i = 0; error == 0 && i < SERVED_QUEUES; i++)
		error = vhost_give_queue(vsock->fd, &device->queues[i], i);
	return error < 0 ? error : set_running(vsock, 1);
}

static void activate(struct sv_virtio *device)
{
	struct vsock_vhost *vsock = (struct vsock_vhost *)device;
	int error;

	vsock->base.reset_owed = false;
	for (uint32_t i = 0; i < SERVED_QUEUES; i++) {
		if (device->queues[i].runs)
			continue;
		virtio_broken(device, i, VIRTQ_BAD_RING);
		return;
	}
	error = start_module(vsock);
	if (error == 0)
		return;
	stop_module(vsock);
	virtio_refused(device, -error);
}

/* The kernel serves the others: only the event queue's notifications come here. */
static void process(struct sv_virtio *device, uint32_t queue)
{
	struct vsock_vhost *vsock = (struct vsock_vhost *)device;

	(void)queue;
	if (!vsock_event_process(&vsock->base))
		stop_module(vsock);
}

static void stop(struct sv_virtio *device, uint32_t queue)
{
	if (queue != VSOCK_EVENT)
		stop_module((struct vsock_vhost *)device);
}

static void free_device(struct sv_virtio *device)
{
	struct vsock_vhost *vsock = (struct vsock_vhost *)device;

	stop_module(vsock);
	close(vsock->fd);
	free(vsock);
}

static const struct virtio_ops vhost_ops = {
    .type = VIRTIO_ID_VSOCK, .activate = activate, .process = process, .stop = stop, .free = free_device};

/* Takes the module and gives it the guest's context id, which no other guest of this host may have. */
static int claim(struct vsock_vhost *vsock, int fd, uint64_t *features)
{
	int error;

	vsock->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (vsock->fd < 0)
		return -errno;
	error = vhost_claim(vsock->fd, features);
	if (error == 0 && ioctl(vsock->fd, VHOST_VSOCK_SET_GUEST_CID, &vsock->base.guest_cid) < 0)
		error = -errno;
	if (error < 0)
		close(vsock->fd);
	return error;
}

int sv_vsock_vhost_create(struct sv_vm *vm, int vhost_fd, uint64_t guest_cid, struct sv_virtio **out)
{
	struct vsock_vhost *vsock = calloc(1, sizeof(*vsock));
	struct virtio_plan plan;
	struct io_source *event;
	uint64_t features = 0;
	int error;

	if (!vsock)
		return -ENOMEM;
	vsock->base.guest_cid = guest_cid;
	plan = vsock_plan(&vsock->base, &vhost_ops);
	plan.external = true;
	error = vsock_is_guest_cid(guest_cid) ? iothread_main(vm, &plan.io) : -EINVAL;
	if (error < 0)
		goto free_it;
	error = claim(vsock, vhost_fd, &features);
	if (error < 0)
		goto free_it;
	plan.features = features & ~HIDDEN_FEATURES;
	error = virtio_init(&vsock->base.device, vm, &plan);
	if (error < 0)
		goto close_it;
	*out = &vsock->base.device;
	event = &vsock->base.device.queues[VSOCK_EVENT].kick;
	return iothread_add(plan.io, event, EPOLLIN | EPOLLET); /* from here on the machine owns the device */

close_it:
	close(vsock->fd);
free_it:
	free(vsock);
	return error;
}
