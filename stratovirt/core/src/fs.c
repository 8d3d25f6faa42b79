/* virtio-fs (VIRTIO 1.2, 5.11): a folder of the host in the guest. A process of the host (virtiofsd) serves
 * the queues by vhost-user; what is here is the device that it stands behind.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "vhost_user.h"

#define VIRTIO_ID_FS 26

#define QUEUES     2 /* high priority and requests; daemons have no more */
#define QUEUE_SIZE 1024
#define TAG_SIZE   36

/* Features of a daemon that are no driver's business: legacy, for migration, for an IOMMU. */
#define F_NOTIFY_ON_EMPTY ((uint64_t)1 << 24) /* VIRTIO 1.2, 6.3 */
#define F_LOG_ALL         ((uint64_t)1 << 26)
#define F_ANY_LAYOUT      ((uint64_t)1 << 27)
#define F_ACCESS_PLATFORM ((uint64_t)1 << 33) /* 6 */
#define F_NOTIFICATION    ((uint64_t)1 << 0)  /* 5.11.3: wants one more queue */
#define HIDDEN_FEATURES   (F_NOTIFY_ON_EMPTY | F_LOG_ALL | F_ANY_LAYOUT | F_ACCESS_PLATFORM | F_NOTIFICATION)

/* VIRTIO 1.2, 5.11.4 */
struct fs_config_space {
	char tag[TAG_SIZE]; /* without a NUL when it fills it */
	uint32_t num_request_queues;
};

struct fs {
	struct sv_virtio device; /* first: the device is its fs */
	struct vhost_user user;
	struct io_source connection; /* whether somebody is still there */
	int memory_fd;               /* the chassis's */
	struct fs_config_space config;
	bool running;
};

static void stop_daemon(struct fs *fs)
{
	int error = 0;

	if (!fs->running)
		return;
	fs->running = false;
	/* One that does not let go in time is cut off: there is nobody to tell. */
	for (uint32_t i = 0; error == 0 && i < QUEUES; i++)
		error = vhost_user_take_queue(&fs->user, &fs->device.queues[i], i);
}

static int start_daemon(struct fs *fs)
{
	int error = vhost_user_set_up(&fs->user, &fs->device, fs->memory_fd);

	fs->running = true; /* also half-way: there is something to take back */
	for (uint32_t i = 0; error == 0 && i < QUEUES; i++)
		error = vhost_user_give_queue(&fs->user, &fs->device.queues[i], i);
	return error;
}

static void activate(struct sv_virtio *device)
{
	struct fs *fs = (struct fs *)device;
	int error;

	for (uint32_t i = 0; i < QUEUES; i++) {
		if (device->queues[i].runs)
			continue;
		virtio_broken(device, i, VIRTQ_BAD_RING);
		return;
	}
	error = start_daemon(fs);
	if (error == 0)
		return;
	stop_daemon(fs);
	virtio_refused(device, -error);
}

/* The daemon reads the notifications: none comes here. */
static void process(struct sv_virtio *device, uint32_t queue)
{
	(void)device;
	(void)queue;
}

static void stop(struct sv_virtio *device, uint32_t queue)
{
	(void)queue;
	stop_daemon((struct fs *)device);
}

static void free_device(struct sv_virtio *device)
{
	struct fs *fs = (struct fs *)device;

	stop_daemon(fs);
	vhost_user_close(&fs->user);
	free(fs);
}

/* The daemon has ended, or was cut off: what it holds of the guest's requests is lost. */
static void on_hang_up(void *context, uint32_t epoll_events)
{
	struct fs *fs = context;

	(void)epoll_events;
	if (!fs->running)
		return;
	fs->running = false;
	virtio_refused(&fs->device, EPIPE);
}

static const struct virtio_ops fs_ops = {
    .type = VIRTIO_ID_FS, .activate = activate, .process = process, .stop = stop, .free = free_device};

static int init(struct fs *fs, struct sv_vm *vm, uint64_t features)
{
	struct virtio_plan plan = {.ops = &fs_ops,
				   .features = features & ~HIDDEN_FEATURES,
				   .queue_count = QUEUES,
				   .queue_size = QUEUE_SIZE,
				   .config = &fs->config,
				   .config_size = sizeof(fs->config),
				   .external = true};
	int error = iothread_main(vm, &plan.io);

	if (error == 0)
		error = virtio_init(&fs->device, vm, &plan);
	if (error == 0)
		fs->device.offered &= features; /* also those of the ring: the daemon walks it */
	return error;
}

int sv_fs_create(struct sv_vm *vm, const struct sv_fs_config *config, struct sv_virtio **out)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	uint64_t features;
	int error;

	if (!fs)
		return -ENOMEM;
	memcpy(fs->config.tag, config->tag, TAG_SIZE);
	fs->config.num_request_queues = QUEUES - 1;
	fs->memory_fd = config->memory_fd;
	error = vhost_user_claim(&fs->user, config->connection, &features);
	if (error < 0)
		goto free_it;
	error = features & VIRTIO_F_VERSION_1 ? init(fs, vm, features) : -EPROTONOSUPPORT;
	if (error < 0)
		goto close_it;
	*out = &fs->device;
	fs->connection = (struct io_source){fs->user.fd, on_hang_up, fs};
	return iothread_add(fs->device.io, &fs->connection, EPOLLRDHUP | EPOLLET); /* the machine's by now */

close_it:
	vhost_user_close(&fs->user);
free_it:
	free(fs);
	return error;
}
