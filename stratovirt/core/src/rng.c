/* virtio-rng (VIRTIO 1.2, 5.4): one queue of buffers, filled from a character device of the host.
 *
 * A request is completed with what the source gives at once, if only a part of it. A source that has nothing,
 * has ended or fails leaves the request waiting: the device must give at least one byte (5.4.6.2), and bytes
 * that nobody wrote would be no entropy. The I/O thread never waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "clock.h"
#include "iov.h"
#include "ratelimit.h"
#include "virtio.h"

#define VIRTIO_ID_ENTROPY 4 /* VIRTIO 1.2, 5 */
#define QUEUE_SIZE        256
#define IOV_MAX_COUNT     (QUEUE_SIZE + GUESTMEM_MAX_REGIONS) /* a buffer may cross regions */

/* A request gets no more than this: a chain can claim 4 GiB, and the host pays for each byte. */
#define MAX_REQUEST 65536
/* Requests after which the other devices of the thread have a turn. */
#define TURN 4
/* With a rate, no request gets more than this part of a second's bytes: else the lowest rates would come in
 * lumps that are more than their second. */
#define PARTS_OF_A_SECOND 32

#define THROTTLE_TICK_NS 1000000 /* a timer for each small request would cost more than the request */
#define RETRY_NS         CLOCK_SECOND

enum outcome { DRAINED, HELD };

struct rng {
	struct sv_virtio device; /* first: the device is its rng */
	int fd;
	bool pollable;           /* epoll can tell when the source has bytes */
	struct io_source source; /* armed while a request waits for bytes */
	struct io_source timer;  /* fires when the rate allows the next request, or a source is tried again */
	struct ratelimit limit;  /* in bytes */
	uint32_t max_bytes;      /* of one request */
	uint64_t last_report;    /* time of the last SV_EVENT_HOST_ERROR, in ns; 0 for none */

	bool holds; /* a request was taken off the queue and has got no byte yet */
	uint16_t head;
	struct span space;
	struct iovec iov[IOV_MAX_COUNT];
};

static struct virtq *ring_of(struct rng *rng)
{
	return &rng->device.queues[0].ring;
}

static void complete(struct rng *rng, uint32_t written)
{
	virtq_push(ring_of(rng), rng->head, written);
	rng->holds = false;
}

/* Tells Python, at most once for each retry: a guest may ask for ever. */
static void report(struct rng *rng, int error)
{
	struct sv_event event = {
	    .kind = SV_EVENT_HOST_ERROR, .source = rng->device.id, .data = {(uint64_t)error}};
	uint64_t now = clock_now();

	if (rng->last_report != 0 && now - rng->last_report < RETRY_NS)
		return;
	rng->last_report = now;
	events_post(&rng->device.vm->events, &event);
}

static void wait_for_source(struct rng *rng, int error)
{
	if (error == EAGAIN && rng->pollable &&
	    iothread_modify(rng->device.io, &rng->source, EPOLLIN | EPOLLONESHOT) == 0)
		return;
	if (error != EAGAIN)
		report(rng, error);
	clock_arm(rng->timer.fd, RETRY_NS);
}

/* Completes the request at hand with what the source gives; false when it has to wait for bytes. */
static bool fill(struct rng *rng)
{
	ssize_t got;

	if (rng->space.bytes == 0) { /* nothing to write to: what the driver must not do (5.4.6.1) */
		complete(rng, 0);
		return true;
	}
	do
		got = readv(rng->fd, rng->space.iov, (int)rng->space.count);
	while (got < 0 && errno == EINTR);
	if (got <= 0) {
		wait_for_source(rng, got == 0 ? ENODATA : errno);
		return false;
	}
	ratelimit_take_units(&rng->limit, (uint32_t)got); /* at most MAX_REQUEST */
	complete(rng, (uint32_t)got);
	return true;
}

/* False when the rate limit holds the next request back; the timer then comes back to it. */
static bool rate_allows(struct rng *rng)
{
	uint64_t wait = rng->limit.rate ? ratelimit_wait(&rng->limit, clock_now()) : 0;

	if (wait == 0)
		return true;
	clock_arm(rng->timer.fd, wait > THROTTLE_TICK_NS ? wait : THROTTLE_TICK_NS);
	return false;
}

static enum virtq_result take_one(struct rng *rng)
{
	struct chain chain = {.iov = rng->iov, .capacity = IOV_MAX_COUNT};
	enum virtq_result result = virtq_pop(ring_of(rng), &chain);

	if (result == VQ_CHAIN) {
		rng->holds = true;
		rng->head = chain.head;
		rng->space = span_of(rng->iov + chain.readable, chain.writable);
		span_limit(&rng->space, rng->max_bytes);
	} else if (result == VQ_BROKEN) {
		virtio_broken(&rng->device, 0, ring_of(rng)->error);
	}
	return result;
}

/* Fills requests until the ring is empty (DRAINED), or something else calls process() again (HELD). */
static enum outcome fill_requests(struct rng *rng, uint32_t *budget)
{
	while (!virtio_is_stopping(&rng->device)) {
		enum virtq_result result;

		if ((*budget)-- == 0) {
			virtio_process_later(&rng->device, 0);
			return HELD;
		}
		if (!rate_allows(rng))
			return HELD;
		result = rng->holds ? VQ_CHAIN : take_one(rng);
		if (result != VQ_CHAIN)
			return result == VQ_EMPTY ? DRAINED : HELD;
		if (!fill(rng))
			return HELD;
	}
	return HELD;
}

static void process(struct sv_virtio *device, uint32_t queue)
{
	struct rng *rng = (struct rng *)device;
	struct virtq *ring = ring_of(rng);
	uint32_t budget = TURN;
	enum outcome outcome;

	(void)queue;
	do {
		virtq_disable_notification(ring);
		outcome = fill_requests(rng, &budget);
	} while (outcome == DRAINED && virtq_enable_notification(ring));
	if (virtq_needs_notify(ring))
		virtio_interrupt(device, VIRTIO_INTERRUPT_QUEUE);
}

/* The source may have bytes, or the rate may allow some. */
static void on_chance(void *context, uint32_t epoll_events)
{
	struct rng *rng = context;

	(void)epoll_events;
	if (rng->device.queues[0].runs && !virtio_is_stopping(&rng->device))
		process(&rng->device, 0);
}

static void stop(struct sv_virtio *device, uint32_t queue)
{
	struct rng *rng = (struct rng *)device;

	(void)queue;
	rng->holds = false;
	clock_arm(rng->timer.fd, 0);
}

static void destroy(struct rng *rng)
{
	if (rng->timer.fd >= 0)
		close(rng->timer.fd);
	if (rng->fd >= 0)
		close(rng->fd);
	free(rng);
}

static void free_device(struct sv_virtio *device)
{
	destroy((struct rng *)device);
}

static const struct virtio_ops rng_ops = {
    .type = VIRTIO_ID_ENTROPY, .process = process, .stop = stop, .free = free_device};

static int open_both(struct rng *rng, int fd)
{
	rng->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (rng->fd < 0)
		return -errno;
	rng->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return rng->timer.fd < 0 ? -errno : 0;
}

static void set_rate(struct rng *rng, uint32_t bytes_per_sec)
{
	uint32_t part = bytes_per_sec / PARTS_OF_A_SECOND;

	ratelimit_init(&rng->limit, bytes_per_sec, clock_now());
	rng->max_bytes = MAX_REQUEST;
	if (bytes_per_sec != 0 && part < MAX_REQUEST)
		rng->max_bytes = part > 0 ? part : 1;
}

static int add_sources(struct rng *rng)
{
	int error;

	rng->source = (struct io_source){rng->fd, on_chance, rng};
	rng->timer = (struct io_source){rng->timer.fd, on_chance, rng};
	error = iothread_add(rng->device.io, &rng->source, EPOLLONESHOT); /* for nothing yet */
	rng->pollable = error == 0;
	if (error < 0 &&
	    error != -EPERM) /* epoll_ctl(2): EPERM for what it cannot wait for, as /dev/urandom */
		return error;
	return iothread_add(rng->device.io, &rng->timer, EPOLLIN | EPOLLET); /* setting it clears it */
}

int sv_rng_create(struct sv_vm *vm, const struct sv_rng_config *config, struct sv_virtio **out)
{
	struct virtio_plan plan = {
	    .ops = &rng_ops, .io = config->iothread, .queue_count = 1, .queue_size = QUEUE_SIZE};
	struct rng *rng;
	int error = iothread_or_main(vm, &plan.io);

	if (error < 0)
		return error;
	rng = calloc(1, sizeof(*rng));
	if (!rng)
		return -ENOMEM;
	rng->fd = -1;
	rng->timer.fd = -1;
	set_rate(rng, config->bytes_per_sec);
	error = open_both(rng, config->fd);
	if (error == 0)
		error = virtio_init(&rng->device, vm, &plan);
	if (error < 0) {
		destroy(rng);
		return error;
	}
	*out = &rng->device;
	return add_sources(rng); /* whatever it returns: the machine frees the device */
}
