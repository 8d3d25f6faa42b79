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

#define REQUESTS_QUEUE 1u

/* Ours is a split ring as the transport knows it; nothing else is passed on. */
#define FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)

/* VIRTIO 1.2, 5.11.4 */
struct fs_config_space {
	char tag[SV_FS_TAG_SIZE]; /* without a NUL when it fills it */
	uint32_t num_request_queues;
};

struct fs {
	struct sv_virtio device; /* first: the device is its fs */
	struct vhost_user user;
	struct io_source connection; /* whether somebody is still there */
	int memory_fd;               /* the chassis's */
	struct fs_config_space config;
	bool given[QUEUES]; /* the queues that the daemon has */
};

static bool runs(const struct fs *fs)
{
	return fs->given[0] || fs->given[1];
}

/* Takes a queue back; -errno when the daemon did not let go in time, and was cut off. */
static int take_back(struct fs *fs, uint32_t queue)
{
	if (!fs->given[queue])
		return 0;
	fs->given[queue] = false;
	vhost_user_begin(&fs->user);
	return vhost_user_take_queue(&fs->user, &fs->device.queues[queue], queue);
}

/* Gives the daemon the queues that run; when it fails, it has some of them, perhaps. */
static int start_daemon(struct fs *fs)
{
	int error;

	vhost_user_begin(&fs->user);
	error = vhost_user_set_up(&fs->user, &fs->device, fs->memory_fd);
	for (uint32_t i = 0; error == 0 && i < QUEUES; i++) {
		fs->given[i] = fs->device.queues[i].runs;
		if (fs->given[i])
			error = vhost_user_give_queue(&fs->user, &fs->device.queues[i], i);
	}
	return error;
}

/* A driver may do without the queue of high priority, as firmware does. */
static void activate(struct sv_virtio *device)
{
	struct fs *fs = (struct fs *)device;
	int error;

	if (!device->queues[REQUESTS_QUEUE].runs) {
		virtio_broken(device, REQUESTS_QUEUE, VIRTQ_BAD_RING);
		return;
	}
	error = start_daemon(fs);
	if (error == 0)
		return;
	for (uint32_t i = 0; i < QUEUES; i++)
		take_back(fs, i);
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
	int error = take_back((struct fs *)device, queue);

	/* It may write to the buffers of its requests still: whoever reads the log has to know. */
	if (error < 0)
		virtio_refused(device, -error);
}

static void free_device(struct sv_virtio *device)
{
	struct fs *fs = (struct fs *)device;

	vhost_user_close(&fs->user);
	free(fs);
}

/* The daemon has ended, or wants to hear no more: what it holds of the guest's requests is lost. */
static void on_hang_up(void *context, uint32_t epoll_events)
{
	struct fs *fs = context;

	(void)epoll_events;
	vhost_user_cut(&fs->user);
	if (!runs(fs))
		return;
	fs->given[0] = fs->given[1] = false;
	virtio_refused(&fs->device, EPIPE);
}

static const struct virtio_ops fs_ops = {
    .type = VIRTIO_ID_FS, .activate = activate, .process = process, .stop = stop, .free = free_device};

static int init(struct fs *fs, struct sv_vm *vm, uint64_t features)
{
	struct virtio_plan plan = {.ops = &fs_ops,
				   .features = FEATURES,
				   .queue_count = QUEUES,
				   .queue_size = QUEUE_SIZE,
				   .config = &fs->config,
				   .config_size = sizeof(fs->config),
				   .external = true,
				   .kicks_shared = true};
	int error = iothread_main(vm, &plan.io);

	if (error == 0)
		error = virtio_init(&fs->device, vm, &plan);
	if (error == 0)
		fs->device.offered &= features; /* the daemon walks the ring */
	return error;
}

int sv_fs_create(struct sv_vm *vm, const struct sv_fs_config *config, struct sv_virtio **out)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	uint64_t features;
	int error;

	if (!fs)
		return -ENOMEM;
	memcpy(fs->config.tag, config->tag, sizeof(fs->config.tag));
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
