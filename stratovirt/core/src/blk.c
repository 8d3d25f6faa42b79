#include "blk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define VIRTIO_ID_BLOCK 2 /* VIRTIO 1.2, 5 */

/* The plain engine blocks on each request: a driver that waits hears of those that ended after this long, not
 * only when the batch is through. */
#define SIGNAL_AFTER_NS 100000

/* A timer for each single request would cost more than the requests; what comes later is in the bucket. */
#define THROTTLE_TICK_NS 1000000

#define DISCARD_ALIGNMENT 4096 /* what most file systems can punch out */

#define CONFIG_SIZE 60 /* VIRTIO 1.2, 5.2.4: up to max_secure_erase_sectors */

_Static_assert(offsetof(struct blk_config_space, unused1) + 3 == CONFIG_SIZE, "no padding inside");

enum outcome { DRAINED, HELD };

uint64_t blk_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct virtq *ring_of(struct blk *blk)
{
	return &blk->device.queues[0].ring;
}

/* NULL when all are in flight. */
static struct blk_request *request_take(struct blk *blk)
{
	struct blk_request *request = blk->free;

	if (request) {
		blk->free = request->next_free;
		return request;
	}
	if (blk->fresh == BLK_QUEUE_SIZE)
		return NULL;
	request = &blk->requests[blk->fresh++];
	request->blk = blk;
	return request;
}

static void give_back(struct blk_request *request)
{
	request->next_free = request->blk->free;
	request->blk->free = request;
}

void blk_complete(struct blk_request *request, uint8_t status)
{
	uint32_t written = status == BLK_S_OK ? request->written : 0;

	/* The status is published by the push, like the data. A chain without room for one has nothing
	 * written. */
	if (request->status)
		*request->status = status;
	virtq_push(ring_of(request->blk), request->head, request->status ? written + 1 : 0);
	give_back(request);
}

void blk_reap(struct blk *blk)
{
	struct aio_op *op;

	while ((op = aio_reap(&blk->aio)))
		if (!virtio_is_stopping(&blk->device)) /* else stop() forgets it */
			blk_request_continue((struct blk_request *)op);
}

static void signal_driver(struct blk *blk)
{
	if (virtq_needs_notify(ring_of(blk)))
		virtio_interrupt(&blk->device, VIRTIO_INTERRUPT_QUEUE);
}

static void set_timer(struct blk *blk, uint64_t wait_ns)
{
	struct itimerspec when = {
	    .it_value = {.tv_sec = (time_t)(wait_ns / 1000000000), .tv_nsec = (long)(wait_ns % 1000000000)}};

	timerfd_settime(blk->timer.fd, 0, &when, NULL);
}

/* False when the rate limit holds the next request back; the timer then comes back to it. */
static bool rate_allows(struct blk *blk)
{
	uint64_t wait = blk->limit.rate ? ratelimit_wait(&blk->limit, blk_now()) : 0;

	if (wait == 0)
		return true;
	set_timer(blk, wait > THROTTLE_TICK_NS ? wait : THROTTLE_TICK_NS);
	return false;
}

/* Takes one chain and begins it. */
static enum virtq_result take_one(struct blk *blk, struct blk_request *request)
{
	struct chain chain = {.iov = request->iov, .capacity = BLK_IOV_MAX};
	enum virtq_result result = virtq_pop(ring_of(blk), &chain);

	if (result == VQ_CHAIN) {
		ratelimit_take(&blk->limit);
		blk_request_begin(request, &chain);
		return VQ_CHAIN;
	}
	give_back(request);
	if (result == VQ_BROKEN)
		virtio_broken(&blk->device, 0, ring_of(blk)->error);
	return result;
}

/* Begins requests until the ring is empty (DRAINED), or something else calls process() again (HELD). */
static enum outcome take_requests(struct blk *blk, uint32_t *budget)
{
	uint64_t signalled = blk->aio.uring ? 0 : blk_now();

	while (!virtio_is_stopping(&blk->device)) {
		struct blk_request *request;
		enum virtq_result result;

		if ((*budget)-- == 0) { /* the other devices of the thread have a turn */
			virtio_process_later(&blk->device, 0);
			return HELD;
		}
		if (!rate_allows(blk))
			return HELD;
		request = request_take(blk);
		blk->starved = !request;
		if (blk->starved)
			return HELD;
		result = take_one(blk, request);
		if (result != VQ_CHAIN)
			return result == VQ_EMPTY ? DRAINED : HELD;
		blk_reap(blk);
		if (!blk->aio.uring && blk_now() - signalled > SIGNAL_AFTER_NS) {
			signal_driver(blk);
			signalled = blk_now();
		}
	}
	return HELD;
}

static void process(struct sv_virtio *device, uint32_t queue)
{
	struct blk *blk = (struct blk *)device;
	struct virtq *ring = ring_of(blk);
	uint32_t budget = ring->size;
	enum outcome outcome;

	(void)queue;
	do {
		virtq_disable_notification(ring);
		outcome = take_requests(blk, &budget);
		aio_submit(&blk->aio);
		blk_reap(blk);
	} while (outcome == DRAINED && virtq_enable_notification(ring));
	aio_submit(&blk->aio); /* what was reaped may have begun a further step */
	signal_driver(blk);
}

static void on_completions(void *context, uint32_t epoll_events)
{
	struct blk *blk = context;

	(void)epoll_events;
	blk_reap(blk);
	aio_submit(&blk->aio);
	if (blk->starved && blk->device.queues[0].runs)
		process(&blk->device, 0);
	else
		signal_driver(blk);
}

static void on_timer(void *context, uint32_t epoll_events)
{
	struct blk *blk = context;

	(void)epoll_events;
	if (blk->device.queues[0].runs)
		process(&blk->device, 0);
}

static void stop(struct sv_virtio *device, uint32_t queue)
{
	struct blk *blk = (struct blk *)device;

	(void)queue;
	while (blk->aio.in_flight > 0) {
		aio_wait(&blk->aio);
		while (aio_reap(&blk->aio))
			continue;
	}
	blk->free = NULL;
	blk->fresh = 0;
	blk->starved = false;
	if (blk->timer.fd >= 0)
		set_timer(blk, 0);
}

/* Releases what there is of a device, also one that was never finished. */
static void destroy(struct blk *blk)
{
	aio_close(&blk->aio);
	if (blk->timer.fd >= 0)
		close(blk->timer.fd);
	if (blk->fd >= 0)
		close(blk->fd);
	free(blk->bounce);
	free(blk->requests);
	free(blk);
}

static void free_device(struct sv_virtio *device)
{
	stop(device, 0);
	destroy((struct blk *)device);
}

static const struct virtio_ops blk_ops = {
    .type = VIRTIO_ID_BLOCK, .process = process, .stop = stop, .free = free_device};

static bool is_valid(const struct sv_blk_config *config)
{
	uint32_t alignment = config->alignment;

	return config->size <= INT64_MAX && alignment != 0 && (alignment & (alignment - 1)) == 0 &&
	       alignment <= BLK_MAX_ALIGNMENT;
}

static uint64_t fill_config(struct blk_config_space *space, const struct sv_blk_config *config)
{
	uint64_t features =
	    VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_TOPOLOGY;
	uint32_t physical = config->alignment > SECTOR_SIZE ? config->alignment : SECTOR_SIZE;

	space->capacity = config->size / SECTOR_SIZE;
	space->seg_max = BLK_SEG_MAX;
	space->blk_size = SECTOR_SIZE;
	space->physical_block_exp = (uint8_t)__builtin_ctz(physical / SECTOR_SIZE);
	space->min_io_size = (uint16_t)(physical / SECTOR_SIZE);
	space->num_queues = 1;
	if (config->readonly)
		return features | VIRTIO_BLK_F_RO;
	if (!config->discard)
		return features;
	space->max_discard_sectors = BLK_MAX_DISCARD_SECTORS;
	space->max_discard_seg = 1;
	space->discard_sector_alignment = DISCARD_ALIGNMENT / SECTOR_SIZE;
	space->max_write_zeroes_sectors = BLK_MAX_DISCARD_SECTORS;
	space->max_write_zeroes_seg = 1;
	space->write_zeroes_may_unmap = 1;
	return features | VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES;
}

static int open_image(struct blk *blk, const struct sv_blk_config *config)
{
	blk->fd = fcntl(config->fd, F_DUPFD_CLOEXEC, 0);
	if (blk->fd < 0)
		return -errno;
	blk->readonly = config->readonly != 0;
	blk->alignment = config->alignment;
	memcpy(blk->id, config->serial, strnlen(config->serial, BLK_ID_SIZE));
	blk->requests = calloc(BLK_QUEUE_SIZE, sizeof(*blk->requests));
	if (!blk->requests)
		return -ENOMEM;
	if (blk->alignment > 1) {
		blk->bounce = aligned_alloc(BLK_MAX_ALIGNMENT, BLK_BOUNCE_SIZE);
		if (!blk->bounce)
			return -ENOMEM;
	}
	return aio_open(&blk->aio, blk->fd, config->engine, BLK_QUEUE_SIZE);
}

/* Has the I/O thread watch the engine and, with a rate limit, the timer. */
static int add_sources(struct blk *blk, struct sv_iothread *io, uint32_t iops)
{
	int error = 0;

	ratelimit_init(&blk->limit, iops, blk_now());
	blk->completions = (struct io_source){aio_event_fd(&blk->aio), on_completions, blk};
	if (blk->completions.fd >= 0)
		error = iothread_add(io, &blk->completions, EPOLLIN);
	if (error < 0 || iops == 0)
		return error;
	blk->timer =
	    (struct io_source){timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), on_timer, blk};
	if (blk->timer.fd < 0)
		return -errno;
	return iothread_add(io, &blk->timer, EPOLLIN | EPOLLET); /* setting it again clears its counter */
}

int sv_blk_create(struct sv_vm *vm, const struct sv_blk_config *config, struct sv_virtio **out)
{
	struct virtio_plan plan = {.ops = &blk_ops, .io = config->iothread, .queue_count = 1};
	struct blk *blk;
	int error = 0;

	if (!is_valid(config))
		return -EINVAL;
	if (!plan.io)
		error = iothread_main(vm, &plan.io);
	if (error < 0)
		return error;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	blk->fd = -1;
	blk->timer.fd = -1;
	error = open_image(blk, config);
	if (error < 0)
		goto fail;
	error = add_sources(blk, plan.io, config->iops);
	if (error < 0)
		goto fail;
	plan.features = fill_config(&blk->config, config);
	plan.queue_size = BLK_QUEUE_SIZE;
	plan.config = &blk->config;
	plan.config_size = CONFIG_SIZE;
	error = virtio_init(&blk->device, vm, &plan);
	if (error < 0)
		goto fail;
	*out = &blk->device;
	return 0;

fail:
	destroy(blk);
	return error;
}
