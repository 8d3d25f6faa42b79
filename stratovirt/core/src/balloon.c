#include "balloon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VIRTIO_ID_BALLOON 5 /* VIRTIO 1.2, 5 */

enum role { INFLATE, DEFLATE, STATS, REPORTING, NO_ROLE };

/* Requests that are served before the other devices of the thread have a turn. */
#define REQUESTS_PER_TURN 8

enum outcome { SERVED, GOES_ON, WAITS, NONSENSE };

static uint32_t pages_of(uint64_t bytes)
{
	uint64_t pages = bytes / BALLOON_PAGE;

	return pages > UINT32_MAX ? UINT32_MAX : (uint32_t)pages;
}

/* At most one event waits: the guest changes its balloon as often as it likes. */
static void announce(struct balloon *balloon)
{
	struct sv_event event = {.kind = SV_EVENT_BALLOON, .source = balloon->device.id};

	if (!atomic_exchange(&balloon->announced, true))
		events_post(&balloon->device.vm->events, &event);
}

static void tell_refusal(struct balloon *balloon)
{
	struct sv_event event = {.kind = SV_EVENT_BALLOON_KEPT,
				 .source = balloon->device.id,
				 .data = {(uint64_t)balloon->memory.error}};

	if (balloon->memory.error == 0 || balloon->refusal_told)
		return;
	balloon->refusal_told = true;
	events_post(&balloon->device.vm->events, &event);
}

void balloon_signal(struct balloon *balloon, uint32_t queue)
{
	if (virtq_needs_notify(&balloon->device.queues[queue].ring))
		virtio_interrupt(&balloon->device, VIRTIO_INTERRUPT_QUEUE);
}

static enum role role_of(const struct sv_virtio *device, uint32_t queue)
{
	switch (queue) {
	case INFLATE_QUEUE:
		return INFLATE;
	case DEFLATE_QUEUE:
		return DEFLATE;
	case STATS_QUEUE: /* without statistics the next queue of a driver that counts */
		if (device->features & VIRTIO_BALLOON_F_STATS_VQ)
			return STATS;
		break;
	default:
		break;
	}
	return device->features & VIRTIO_BALLOON_F_PAGE_REPORTING ? REPORTING : NO_ROLE;
}

static enum outcome take_pages(struct balloon *balloon, const struct chain *chain, bool inflate)
{
	struct span pfns = span_of(chain->iov, chain->readable);

	if (pfns.bytes > BALLOON_MAX_PFNS * sizeof(uint32_t)) /* more than a driver may ask for */
		return NONSENSE;
	if (inflate) {
		balloon_memory_inflate(&balloon->memory, &pfns);
		return SERVED;
	}
	switch (balloon_memory_deflate(&balloon->memory, &pfns)) {
	case BALLOON_LACKS:
		return WAITS;
	case BALLOON_MORE:
		return GOES_ON;
	default:
		balloon_wait_end(balloon);
		return SERVED;
	}
}

/* VIRTIO 1.2, 5.5.6.7: the buffers themselves are the free memory. */
static void take_reported(struct balloon *balloon, const struct chain *chain)
{
	const struct iovec *free_ranges = chain->iov + chain->readable;

	for (uint32_t i = 0; i < chain->writable; i++)
		balloon_memory_give(&balloon->memory, free_ranges[i].iov_base, free_ranges[i].iov_len);
}

static enum outcome serve(struct balloon *balloon, uint32_t queue, const struct chain *chain)
{
	struct virtq *ring = &balloon->device.queues[queue].ring;
	enum role role = role_of(&balloon->device, queue);
	enum outcome outcome = SERVED;

	if (role == STATS) {
		balloon_stats_take(balloon, chain);
		return SERVED;
	}
	if (role == REPORTING)
		take_reported(balloon, chain);
	else if (role != NO_ROLE)
		outcome = take_pages(balloon, chain, role == INFLATE);
	tell_refusal(balloon);
	if (outcome == SERVED)
		virtq_push(ring, chain->head, 0);
	return outcome;
}

/* True when the ring is empty; else something else calls process() again, or a reset does away with it. */
static bool serve_some(struct balloon *balloon, uint32_t queue)
{
	struct virtq *ring = &balloon->device.queues[queue].ring;

	balloon->memory.taken = 0;
	for (int i = 0; i < REQUESTS_PER_TURN; i++) {
		struct chain chain = {.iov = balloon->iov, .capacity = BALLOON_IOV_MAX};
		enum virtq_result result;

		if (virtio_is_stopping(&balloon->device))
			return false;
		result = virtq_pop(ring, &chain);
		if (result == VQ_EMPTY)
			return true;
		if (result == VQ_BROKEN) {
			virtio_broken(&balloon->device, queue, ring->error);
			return false;
		}
		switch (serve(balloon, queue, &chain)) {
		case SERVED:
			break;
		case GOES_ON:
			virtq_unpop(ring);
			virtio_process_later(&balloon->device, queue);
			return false;
		case WAITS: /* with those behind it */
			virtq_unpop(ring);
			balloon_wait_begin(balloon);
			return false;
		case NONSENSE:
			virtio_broken(&balloon->device, queue, VIRTQ_TOO_LARGE);
			return false;
		}
	}
	virtio_process_later(&balloon->device, queue);
	return false;
}

static void process(struct sv_virtio *device, uint32_t queue)
{
	struct balloon *balloon = (struct balloon *)device;
	struct virtq *ring = &device->queues[queue].ring;
	bool drained;

	do {
		virtq_disable_notification(ring);
		drained = serve_some(balloon, queue);
	} while (drained && virtq_enable_notification(ring));
	balloon_signal(balloon, queue);
}

/* On a vCPU thread. Only `actual` is the driver's to write, and it is no more than there is. */
static void config_written(struct sv_virtio *device)
{
	struct balloon *balloon = (struct balloon *)device;
	uint32_t actual;

	pthread_mutex_lock(&device->config_lock);
	balloon->config.num_pages = atomic_load(&balloon->target);
	if (balloon->config.actual > pages_of(balloon->ram))
		balloon->config.actual = pages_of(balloon->ram);
	actual = balloon->config.actual;
	pthread_mutex_unlock(&device->config_lock);
	if (atomic_exchange(&balloon->actual, actual) != actual)
		announce(balloon);
}

/* A driver begins with an empty balloon, whatever its predecessor had. */
static void activate(struct sv_virtio *device)
{
	struct balloon *balloon = (struct balloon *)device;

	balloon_memory_begin(&balloon->memory, device->features & VIRTIO_BALLOON_F_MUST_TELL_HOST);
	balloon_stats_begin(balloon);
	pthread_mutex_lock(&device->config_lock);
	balloon->config.actual = 0;
	pthread_mutex_unlock(&device->config_lock);
	if (atomic_exchange(&balloon->actual, 0) != 0)
		announce(balloon);
	/* Linux gives its first statistics, and notifies, before DRIVER_OK, when it counts for nothing. */
	if (device->queues[STATS_QUEUE].runs)
		virtio_process_later(device, STATS_QUEUE);
	atomic_store(&balloon->active, device->queues[INFLATE_QUEUE].runs);
}

static void stop(struct sv_virtio *device, uint32_t queue)
{
	struct balloon *balloon = (struct balloon *)device;

	if (queue == INFLATE_QUEUE)
		atomic_store(&balloon->active, false);
	else if (queue == DEFLATE_QUEUE)
		balloon_wait_end(balloon);
	else if (queue == STATS_QUEUE)
		balloon_stats_stop(balloon);
}

/* Releases what there is of a device, also one that was never finished. */
static void destroy(struct balloon *balloon)
{
	balloon_memory_close(&balloon->memory);
	balloon_wait_close(balloon);
	balloon_stats_close(balloon);
	free(balloon);
}

static void free_device(struct sv_virtio *device)
{
	destroy((struct balloon *)device);
}

static const struct virtio_ops balloon_ops = {.type = VIRTIO_ID_BALLOON,
					      .config_written = config_written,
					      .activate = activate,
					      .process = process,
					      .stop = stop,
					      .free = free_device};

static uint64_t features_of(const struct balloon *balloon, const struct sv_balloon_config *config)
{
	uint64_t features = VIRTIO_BALLOON_F_STATS_VQ;

	if (config->deflate_on_oom)
		features |= VIRTIO_BALLOON_F_DEFLATE_ON_OOM;
	if (config->reporting)
		features |= VIRTIO_BALLOON_F_PAGE_REPORTING;
	if (balloon->memory.inflated)
		features |= VIRTIO_BALLOON_F_MUST_TELL_HOST;
	return features;
}

static int set_up(struct balloon *balloon, struct sv_vm *vm, struct sv_iothread *io)
{
	int error = balloon_stats_open(balloon, io);

	if (error == 0)
		error = balloon_memory_open(&balloon->memory, vm);
	if (error == 0 && balloon->memory.inflated)
		error = balloon_wait_open(balloon, io);
	for (uint32_t i = 0; i < vm->memory.count; i++)
		balloon->ram += vm->memory.regions[i].size;
	return error;
}

int sv_balloon_create(struct sv_vm *vm, const struct sv_balloon_config *config, struct sv_virtio **out)
{
	struct virtio_plan plan = {.ops = &balloon_ops,
				   .io = config->iothread,
				   .queue_count = config->reporting ? LAST_QUEUE + 1 : STATS_QUEUE + 1,
				   .queue_size = BALLOON_QUEUE_SIZE,
				   .config_size = sizeof(struct balloon_config_space)};
	struct balloon *balloon;
	int error = iothread_or_main(vm, &plan.io);

	if (error < 0)
		return error;
	balloon = calloc(1, sizeof(*balloon));
	if (!balloon)
		return -ENOMEM;
	balloon->stats_interval = config->stats_interval;
	error = set_up(balloon, vm, plan.io);
	if (error < 0)
		goto fail;
	plan.config = &balloon->config;
	plan.features = features_of(balloon, config);
	error = virtio_init(&balloon->device, vm, &plan);
	if (error < 0)
		goto fail;
	*out = &balloon->device;
	return 0;

fail:
	destroy(balloon);
	return error;
}

int sv_balloon_set_target(struct sv_virtio *device, uint64_t bytes)
{
	struct balloon *balloon = (struct balloon *)device;
	uint32_t pages = bytes < balloon->ram ? pages_of(balloon->ram - bytes) : 0;

	/* First the target: a driver that writes its config space at this moment gets it too. */
	atomic_store(&balloon->target, pages);
	virtio_change_config(device, offsetof(struct balloon_config_space, num_pages), &pages, sizeof(pages));
	return 0;
}

void sv_balloon_read(struct sv_virtio *device, struct sv_balloon_state *out)
{
	struct balloon *balloon = (struct balloon *)device;

	/* First the mark: what changes from here on is an event, or is read below. */
	atomic_store(&balloon->announced, false);
	out->actual = balloon->ram - (uint64_t)atomic_load(&balloon->actual) * BALLOON_PAGE;
	out->active = atomic_load(&balloon->active) && !atomic_load(&device->needs_reset);
	pthread_mutex_lock(&balloon->stats_lock);
	out->stats_time = balloon->stats_time;
	out->stats_known = balloon->stats_known;
	memcpy(out->stats, balloon->stats, sizeof(out->stats));
	pthread_mutex_unlock(&balloon->stats_lock);
}
