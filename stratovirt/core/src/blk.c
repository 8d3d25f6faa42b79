#include "blk.h"

#define VIRTIO_ID_BLOCK 2 /* VIRTIO 1.2, 5 */

/* The plain engine blocks on each request: a driver that waits hears of those that ended after this long, not
 * only when the batch is through. */
#define SIGNAL_AFTER_NS 100000

/* Looking at the clock is a tenth of a request that the host answers from memory: while such come, and the
 * kernel's tick, which costs next to nothing, stays the same, only each of so many looks at it.
 */
#define LOOK_EACH 8
#define QUICK_NS  20000

/* A timer for each single request would cost more than the requests; what comes later is in the bucket. */
#define THROTTLE_TICK_NS 1000000

/* Requests after which a driver that looks sees those that ended, and can fill the queue up. */
#define PUBLISH_EACH 8

enum outcome { DRAINED, HELD };

void blk_append(struct blk_list *list, struct blk_request *request)
{
	request->next = NULL;
	if (list->first)
		list->last->next = request;
	else
		list->first = request;
	list->last = request;
}

struct blk_request *blk_first(struct blk_list *list)
{
	struct blk_request *request = list->first;

	if (request)
		list->first = request->next;
	return request;
}

void blk_forget(struct blk_list *list, const struct blk_queue *queue)
{
	struct blk_list others = {0};
	struct blk_request *request;

	while ((request = blk_first(list)))
		if (request->queue != queue)
			blk_append(&others, request);
	*list = others;
}

/* NULL when all are taken. */
static struct blk_request *request_take(struct blk *blk, struct blk_queue *queue)
{
	struct blk_request *request = queue->free;

	if (request) {
		queue->free = request->next;
		return request;
	}
	if (queue->fresh == BLK_QUEUE_SIZE)
		return NULL;
	request = &queue->requests[queue->fresh++];
	request->blk = blk;
	request->queue = queue;
	return request;
}

static void give_back(struct blk_request *request)
{
	request->next = request->queue->free;
	request->queue->free = request;
}

void blk_complete(struct blk_request *request, uint8_t status)
{
	struct virtq *ring = request->queue->ring;
	uint32_t written = status == BLK_S_OK ? request->written : 0;

	/* A chain without room for a status has nothing written. */
	if (request->status)
		*request->status = status;
	virtq_put(ring, request->head, request->status ? written + 1 : 0);
	if (ring->next_used % PUBLISH_EACH == 0)
		virtq_publish(ring);
	give_back(request);
}

void blk_start(struct blk_request *request)
{
	request->queue->in_flight++;
	aio_start(&request->blk->aio, &request->op);
}

/* Takes back what the engine has ended; NULL when there is nothing. */
static struct blk_request *take_back(struct blk *blk)
{
	struct blk_request *request = (struct blk_request *)aio_reap(&blk->aio);

	if (request)
		request->queue->in_flight--;
	return request;
}

void blk_reap(struct blk *blk)
{
	/* What a stop leaves in place is either forgotten by it, or taken up when it is over. */
	while (!virtio_is_stopping(&blk->device)) {
		struct blk_request *request = blk_first(&blk->ended);

		if (!request)
			request = take_back(blk);
		if (!request)
			return;
		blk_request_continue(request);
	}
}

void blk_drain(struct blk *blk)
{
	struct blk_request *request;

	while (blk->aio.in_flight > 0) {
		aio_wait(&blk->aio);
		while ((request = take_back(blk)))
			blk_append(&blk->ended, request);
	}
}

void blk_signal(struct blk *blk)
{
	bool wanted = false;

	for (uint32_t i = 0; i < blk->queue_count; i++) {
		if (!blk->device.queues[i].runs)
			continue;
		virtq_publish(blk->queues[i].ring);
		wanted |= virtq_needs_notify(blk->queues[i].ring);
	}
	if (wanted)
		virtio_interrupt(&blk->device, VIRTIO_INTERRUPT_QUEUE);
}

/* Begins what the limits allow by now; the timer comes back for the rest. */
static void begin_held(struct blk *blk)
{
	struct blk_request *request;
	uint64_t wait = 0;

	if (!blk->limits.any)
		return;
	while (!virtio_is_stopping(&blk->device) && (request = blk_limit_next(blk, &wait)))
		blk_request_begin(request);
	if (wait > 0)
		clock_arm(blk->timer.fd, wait > THROTTLE_TICK_NS ? wait : THROTTLE_TICK_NS);
}

/* Takes one chain and begins it, unless a limit holds it back. */
static enum virtq_result take_one(struct blk *blk, struct blk_request *request)
{
	struct blk_queue *queue = request->queue;
	struct chain chain = {.iov = request->iov, .capacity = BLK_IOV_MAX};
	enum virtq_result result = virtq_pop(queue->ring, &chain);

	if (result == VQ_CHAIN) {
		if (blk_request_read(request, &chain) && !blk_limit_holds(request))
			blk_request_begin(request);
		return VQ_CHAIN;
	}
	give_back(request);
	if (result == VQ_BROKEN)
		virtio_broken(&blk->device, (uint32_t)(queue - blk->queues), queue->ring->error);
	return result;
}

/* When the plain engine's driver heard of its requests last, and when that was looked at. */
struct watch {
	uint64_t signalled;
	uint64_t looked;
	uint64_t tick; /* of the kernel, then */
	uint32_t due;  /* requests until the next look */
};

static void look(struct blk *blk, struct watch *watch)
{
	uint64_t tick = clock_tick();
	uint64_t now;

	if (--watch->due > 0 && tick == watch->tick)
		return;
	watch->tick = tick;
	now = clock_now();
	watch->due = now - watch->looked < QUICK_NS ? LOOK_EACH : 1;
	watch->looked = now;
	if (now - watch->signalled <= SIGNAL_AFTER_NS)
		return;
	blk_signal(blk);
	watch->signalled = now;
}

/* Begins requests until the ring is empty (DRAINED), or something else calls process() again (HELD). */
static enum outcome take_requests(struct blk *blk, struct blk_queue *queue, uint32_t *budget)
{
	struct watch watch = {.due = 1};

	if (!blk->aio.uring)
		watch.signalled = watch.looked = clock_now();
	while (!virtio_is_stopping(&blk->device)) {
		struct blk_request *request;
		enum virtq_result result;

		if ((*budget)-- == 0) { /* other queues and devices of the thread have a turn */
			queue->starved = false;
			virtio_process_later(&blk->device, (uint32_t)(queue - blk->queues));
			return HELD;
		}
		request = request_take(blk, queue);
		queue->starved = !request;
		if (queue->starved)
			return HELD;
		result = take_one(blk, request);
		if (result != VQ_CHAIN)
			return result == VQ_EMPTY ? DRAINED : HELD;
		blk_reap(blk);
		if (!blk->aio.uring)
			look(blk, &watch);
	}
	return HELD;
}

/* More was asked than there were requests for, and some have come back. */
static bool can_go_on(const struct blk_queue *queue)
{
	return queue->starved && queue->free;
}

static void serve(struct blk *blk, struct blk_queue *queue)
{
	uint32_t budget = queue->ring->size;
	enum outcome outcome;

	do {
		virtq_disable_notification(queue->ring);
		outcome = take_requests(blk, queue, &budget);
		begin_held(blk);
		aio_submit(&blk->aio);
		blk_reap(blk);
	} while ((outcome == DRAINED && virtq_enable_notification(queue->ring)) || can_go_on(queue));
}

/* Requests have ended: queues that waited for that go on, and the driver hears of it. */
static void go_on(struct blk *blk)
{
	for (uint32_t i = 0; i < blk->queue_count; i++)
		if (blk->device.queues[i].runs && can_go_on(&blk->queues[i]))
			serve(blk, &blk->queues[i]);
	aio_submit(&blk->aio); /* what was reaped may have begun a further step */
	blk_signal(blk);
}

static void process(struct sv_virtio *device, uint32_t queue)
{
	struct blk *blk = (struct blk *)device;

	serve(blk, &blk->queues[queue]);
	go_on(blk);
}

void blk_on_completions(void *context, uint32_t epoll_events)
{
	struct blk *blk = context;

	(void)epoll_events;
	blk_reap(blk);
	go_on(blk);
}

void blk_on_timer(void *context, uint32_t epoll_events)
{
	struct blk *blk = context;

	(void)epoll_events;
	begin_held(blk);
	aio_submit(&blk->aio);
	blk_reap(blk);
	go_on(blk);
}

static void stop(struct sv_virtio *device, uint32_t index)
{
	struct blk *blk = (struct blk *)device;
	struct blk_queue *queue = &blk->queues[index];

	/* The engine is waited for as a whole; what it held of other queues goes on afterwards. */
	if (queue->in_flight > 0)
		blk_drain(blk);
	blk_forget(&blk->ended, queue);
	blk_limit_forget(blk, queue);
	queue->free = NULL;
	queue->fresh = 0;
	queue->starved = false;
}

static void free_device(struct sv_virtio *device)
{
	struct blk *blk = (struct blk *)device;

	blk_drain(blk);
	blk_destroy(blk);
}

const struct virtio_ops blk_ops = {
    .type = VIRTIO_ID_BLOCK, .process = process, .stop = stop, .free = free_device};
