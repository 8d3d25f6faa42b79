#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "blk.h"

#define DISCARD_ALIGNMENT 4096 /* what most file systems can punch out */

#define CONFIG_SIZE 60 /* VIRTIO 1.2, 5.2.4: up to max_secure_erase_sectors */

_Static_assert(offsetof(struct blk_config_space, unused1) + 3 == CONFIG_SIZE, "no padding inside");

/* Closes the image; nothing of it is in flight. */
static void close_image(struct blk *blk)
{
	if (blk->watched)
		iothread_remove(blk->watched, &blk->completions);
	blk->watched = NULL;
	aio_close(&blk->aio);
	blk->aio.fd = -1; /* what a stop left over fails */
	if (blk->fd >= 0)
		close(blk->fd);
	blk->fd = -1;
}

void blk_destroy(struct blk *blk)
{
	close_image(blk);
	aio_free(&blk->aio);
	if (blk->timer.fd >= 0)
		close(blk->timer.fd);
	for (uint32_t i = 0; i < blk->queue_count; i++)
		free(blk->queues[i].requests);
	free(blk->bounce);
	free(blk);
}

static bool is_valid(const struct sv_blk_config *config)
{
	uint32_t alignment = config->alignment;

	if (config->fd < 0)
		return true;
	return config->size <= INT64_MAX && alignment != 0 && (alignment & (alignment - 1)) == 0 &&
	       alignment <= BLK_MAX_ALIGNMENT;
}

/* Opens the engine of an image and has the I/O thread watch it. */
static int open_engine(struct blk *blk, struct sv_iothread *io, int engine)
{
	int error = aio_open(&blk->aio, blk->fd, engine, BLK_QUEUE_SIZE * blk->queue_count);

	if (error < 0 || !blk->aio.uring)
		return error;
	blk->completions = (struct io_source){aio_event_fd(&blk->aio), blk_on_completions, blk};
	error = iothread_add(io, &blk->completions, EPOLLIN);
	if (error == 0)
		blk->watched = io;
	return error;
}

static int open_image(struct blk *blk, struct sv_iothread *io, const struct sv_blk_config *config)
{
	int error;

	if (config->alignment > 1 && !blk->bounce) {
		blk->bounce = aligned_alloc(BLK_MAX_ALIGNMENT, BLK_BOUNCE_SIZE);
		if (!blk->bounce)
			return -ENOMEM;
	}
	blk->fd = fcntl(config->fd, F_DUPFD_CLOEXEC, 0);
	if (blk->fd < 0)
		return -errno;
	blk->readonly = config->readonly != 0;
	blk->discard = config->discard != 0;
	blk->alignment = config->alignment;
	error = open_engine(blk, io, config->engine);
	if (error < 0)
		close_image(blk);
	return error;
}

static void set_id(struct blk *blk, const char *serial)
{
	memset(blk->id, 0, BLK_ID_SIZE);
	memcpy(blk->id, serial, strnlen(serial, BLK_ID_SIZE));
}

static uint64_t fill_config(struct blk_config_space *space, const struct sv_blk_config *config,
			    uint32_t queues)
{
	uint64_t features =
	    VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_TOPOLOGY;
	uint32_t physical = config->alignment > SECTOR_SIZE ? config->alignment : SECTOR_SIZE;

	space->capacity = config->fd >= 0 ? config->size / SECTOR_SIZE : 0;
	space->seg_max = BLK_SEG_MAX;
	space->blk_size = SECTOR_SIZE;
	space->physical_block_exp = (uint8_t)__builtin_ctz(physical / SECTOR_SIZE);
	space->min_io_size = (uint16_t)(physical / SECTOR_SIZE);
	space->num_queues = (uint16_t)queues;
	if (queues > 1)
		features |= VIRTIO_BLK_F_MQ;
	if (config->fd >= 0 && config->readonly)
		return features | VIRTIO_BLK_F_RO;
	if (config->fd >= 0 && !config->discard)
		return features;
	space->max_discard_sectors = BLK_MAX_DISCARD_SECTORS;
	space->max_discard_seg = 1;
	space->discard_sector_alignment = DISCARD_ALIGNMENT / SECTOR_SIZE;
	space->max_write_zeroes_sectors = BLK_MAX_DISCARD_SECTORS;
	space->max_write_zeroes_seg = 1;
	space->write_zeroes_may_unmap = 1;
	return features | VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES;
}

static int add_timer(struct blk *blk, struct sv_iothread *io)
{
	blk->timer = (struct io_source){timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
					blk_on_timer, blk};
	if (blk->timer.fd < 0)
		return -errno;
	return iothread_add(io, &blk->timer, EPOLLIN | EPOLLET); /* setting it again clears its counter */
}

/* NULL when there is no memory. Most guests use few of them at a time: a huge page under them all would be
 * paid for by the first, and finding one holds up every thread that changes the process's mappings. */
static struct blk_request *new_requests(void)
{
	struct blk_request *requests = calloc(BLK_QUEUE_SIZE, sizeof(*requests));
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t begin = ((uintptr_t)requests + page - 1) & ~(page - 1);
	uintptr_t end = ((uintptr_t)requests + BLK_QUEUE_SIZE * sizeof(*requests)) & ~(page - 1);

	if (requests) /* a kernel that refuses has no huge pages */
		madvise((void *)begin, end - begin, MADV_NOHUGEPAGE);
	return requests;
}

static int make_queues(struct blk *blk, uint32_t count)
{
	for (; blk->queue_count < count; blk->queue_count++) {
		struct blk_queue *queue = &blk->queues[blk->queue_count];

		queue->ring = &blk->device.queues[blk->queue_count].ring;
		queue->requests = new_requests();
		if (!queue->requests)
			return -ENOMEM;
	}
	return 0;
}

static int fill(struct blk *blk, struct sv_vm *vm, struct sv_iothread *io, const struct sv_blk_config *config)
{
	struct virtio_plan plan = {.ops = &blk_ops,
				   .io = io,
				   .queue_count = config->queues > 0 ? config->queues : 1,
				   .queue_size = BLK_QUEUE_SIZE,
				   .config = &blk->config,
				   .config_size = CONFIG_SIZE};
	int error = make_queues(blk, plan.queue_count);

	if (error < 0)
		return error;
	set_id(blk, config->serial);
	if (config->fd >= 0) {
		error = open_image(blk, io, config);
		if (error < 0)
			return error;
	}
	blk_limit_init(blk, config);
	if (blk->limits.any) {
		error = add_timer(blk, io);
		if (error < 0)
			return error;
	}
	plan.features = fill_config(&blk->config, config, plan.queue_count);
	return virtio_init(&blk->device, vm, &plan);
}

int sv_blk_create(struct sv_vm *vm, const struct sv_blk_config *config, struct sv_virtio **out)
{
	struct sv_iothread *io = config->iothread;
	struct blk *blk;
	int error;

	if (!is_valid(config) || config->queues > BLK_MAX_QUEUES)
		return -EINVAL;
	error = iothread_or_main(vm, &io);
	if (error < 0)
		return error;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	blk->fd = -1;
	blk->aio.fd = -1;
	blk->timer.fd = -1;
	error = fill(blk, vm, io, config);
	if (error < 0) {
		blk_destroy(blk);
		return error;
	}
	*out = &blk->device;
	return 0;
}

struct handover {
	struct blk *blk;
	struct uring *ring;
};

static void keep_ring(void *context)
{
	struct handover *handover = context;

	handover->blk->aio.kept = handover->ring;
}

int sv_blk_prepare(struct sv_virtio *device)
{
	struct blk *blk = (struct blk *)device;
	struct handover handover = {blk, NULL};
	int error;

	if (device->ops != &blk_ops)
		return -EINVAL;
	if (blk->aio.uring || blk->aio.kept)
		return 0;
	error = uring_open(&handover.ring, BLK_QUEUE_SIZE * blk->queue_count);
	if (error == 0)
		iothread_call(device->io, keep_ring, &handover);
	return error;
}

static void show_capacity(struct blk *blk, uint64_t sectors)
{
	virtio_change_config(&blk->device, offsetof(struct blk_config_space, capacity), &sectors,
			     sizeof(sectors));
}

struct change {
	struct blk *blk;
	const struct sv_blk_config *config;
	int result;
};

static void plug_here(void *context)
{
	struct change *change = context;
	struct blk *blk = change->blk;

	change->result = blk->fd >= 0 ? -EBUSY : open_image(blk, blk->device.io, change->config);
	if (change->result < 0)
		return;
	if (change->config->serial[0])
		set_id(blk, change->config->serial);
	show_capacity(blk, change->config->size / SECTOR_SIZE);
}

int sv_blk_plug(struct sv_virtio *device, const struct sv_blk_config *config)
{
	struct change change = {(struct blk *)device, config, 0};

	if (device->ops != &blk_ops || config->fd < 0 || !is_valid(config))
		return -EINVAL;
	iothread_call(device->io, plug_here, &change);
	return change.result;
}

static void unplug_here(void *context)
{
	struct change *change = context;
	struct blk *blk = change->blk;

	if (blk->fd < 0) {
		change->result = -ENODEV;
		return;
	}
	/* A request may take several steps. Those that a stop leaves over fail, as later ones do. */
	do {
		blk_drain(blk);
		blk_reap(blk);
	} while (blk->aio.in_flight > 0 && !virtio_is_stopping(&blk->device));
	blk_drain(blk);
	close_image(blk);
	show_capacity(blk, 0);
	for (uint32_t i = 0; i < blk->queue_count; i++)
		if (blk->device.queues[i].runs)
			virtio_process_later(&blk->device, i); /* tells the driver, and of what still waits */
}

int sv_blk_unplug(struct sv_virtio *device)
{
	struct change change = {(struct blk *)device, NULL, 0};

	if (device->ops != &blk_ops)
		return -EINVAL;
	iothread_call(device->io, unplug_here, &change);
	return change.result;
}
