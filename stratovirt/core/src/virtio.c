#include "virtio.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Bits that a driver may set; it never clears one but by a reset. */
#define DRIVER_BITS                                                                                          \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK |                        \
	 VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

static void close_fds(struct sv_virtio *device)
{
	if (device->lost.fd >= 0)
		close(device->lost.fd);
	for (uint32_t i = 0; i < device->queue_count; i++)
		if (device->queues[i].kick.fd >= 0)
			close(device->queues[i].kick.fd);
}

/* On the I/O thread: the driver notified, or the device asked to be called again. */
static void on_kick(void *context, uint32_t epoll_events)
{
	struct virtio_queue *queue = context;
	struct sv_virtio *device = queue->device;

	(void)epoll_events;
	if (queue->runs && !virtio_is_stopping(device))
		device->ops->process(device, queue->index);
}

static int open_queue(struct sv_virtio *device, uint32_t index, uint32_t max_size)
{
	struct virtio_queue *queue = &device->queues[index];

	queue->device = device;
	queue->index = index;
	queue->max_size = max_size;
	queue->kick = (struct io_source){
	    .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .run = on_kick, .context = queue};
	if (queue->kick.fd < 0)
		return -errno;
	if (device->external)
		return 0;
	/* Edge-triggered: each notification is an event, and the counter need not be read. */
	return iothread_add(device->io, &queue->kick, EPOLLIN | EPOLLET);
}

static int open_fds(struct sv_virtio *device, const struct virtio_plan *plan)
{
	int error = 0;

	for (uint32_t i = 0; i < plan->queue_count && error == 0; i++) {
		device->queue_count++;
		error = open_queue(device, i, plan->queue_size);
	}
	if (error < 0 || !device->external)
		return error;
	device->lost.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return device->lost.fd < 0 ? -errno : iothread_add(device->io, &device->lost, EPOLLIN | EPOLLET);
}

int virtio_init(struct sv_virtio *device, struct sv_vm *vm, const struct virtio_plan *plan)
{
	int error;

	if (vm->device_count == SV_MAX_VIRTIO)
		return -ENOSPC;
	device->vm = vm;
	device->ops = plan->ops;
	device->io = plan->io;
	device->id = (uint32_t)vm->device_count;
	device->offered = plan->features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
	device->external = plan->external;
	device->kicks_shared = plan->kicks_shared;
	device->config = plan->config;
	device->config_size = plan->config_size;
	device->irq_fd = -1;
	device->lost = (struct io_source){.fd = -1, .run = virtio_on_lost, .context = device};
	error = open_fds(device, plan);
	if (error < 0) {
		close_fds(device); /* and with them their place in the epoll */
		return error;
	}
	pthread_mutex_init(&device->lock, NULL);
	pthread_mutex_init(&device->config_lock, NULL);
	vm->devices[vm->device_count++] = device;
	return 0;
}

void virtio_free(struct sv_virtio *device)
{
	close_fds(device);
	if (device->irq_fd >= 0)
		close(device->irq_fd);
	pthread_mutex_destroy(&device->config_lock);
	pthread_mutex_destroy(&device->lock);
	device->ops->free(device);
}

int sv_virtio_id(struct sv_virtio *device)
{
	return (int)device->id;
}

void virtio_interrupt(struct sv_virtio *device, uint32_t cause)
{
	atomic_fetch_or(&device->interrupt_status, cause);
	if (device->irq_fd >= 0)
		irq_raise(device->irq_fd);
}

bool virtio_is_stopping(struct sv_virtio *device)
{
	return atomic_load_explicit(&device->stopping, memory_order_relaxed);
}

void virtio_process_later(struct sv_virtio *device, uint32_t queue)
{
	irq_raise(device->queues[queue].kick.fd);
}

static void activate_here(void *context)
{
	struct sv_virtio *device = context;
	uint64_t stale;

	for (uint32_t i = 0; i < device->queue_count; i++) {
		struct virtio_queue *queue = &device->queues[i];
		struct virtq_limits limits = {.max_size = queue->max_size,
					      .indirect = device->features & VIRTIO_F_INDIRECT_DESC,
					      .event_idx = device->features & VIRTIO_F_EVENT_IDX};
		enum virtq_error error;

		/* A notification from before DRIVER_OK counts for nothing (3.1.1). */
		if (!device->kicks_shared && read(queue->kick.fd, &stale, sizeof(stale)) < 0)
			stale = 0;
		if (!queue->ready)
			continue;
		error = virtq_start(&queue->ring, &device->vm->memory, &queue->layout, &limits);
		if (error != VIRTQ_OK) {
			virtio_broken(device, i, error);
			return;
		}
		queue->runs = true;
	}
	if (device->external && read(device->lost.fd, &stale, sizeof(stale)) < 0)
		stale = 0; /* and neither does what became of the driver before */
	if (device->ops->activate)
		device->ops->activate(device);
}

static void stop_queue(struct virtio_queue *queue)
{
	struct sv_virtio *device = queue->device;

	device->ops->stop(device, queue->index);
	virtq_stop(&queue->ring);
	queue->runs = false;
}

static void stop_one_here(void *context)
{
	struct virtio_queue *stopped = context;
	struct sv_virtio *device = stopped->device;

	stop_queue(stopped);
	/* The others go on; what they were told while the device was stopping is told again. It stops no
	 * longer: else that could be let pass too, before the vCPU gets to say so. */
	atomic_store(&device->stopping, false);
	for (uint32_t i = 0; i < device->queue_count && !device->kicks_shared; i++)
		if (device->queues[i].runs)
			virtio_process_later(device, i);
}

void virtio_stop_here(void *context)
{
	struct sv_virtio *device = context;

	for (uint32_t i = 0; i < device->queue_count; i++)
		stop_queue(&device->queues[i]);
}

/* Has the I/O thread stop what it does for the device; it sees `stopping` between two requests. */
static void stop_on_io_thread(struct sv_virtio *device, void (*work)(void *), void *context)
{
	atomic_store(&device->stopping, true);
	iothread_call(device->io, work, context);
	atomic_store(&device->stopping, false);
}

void virtio_stop(struct sv_virtio *device)
{
	/* Before DRIVER_OK the I/O thread has nothing of the device: most resets cost no switch of threads.
	 */
	if (device->status & VIRTIO_STATUS_DRIVER_OK)
		stop_on_io_thread(device, virtio_stop_here, device);
}

static void reset(struct sv_virtio *device)
{
	virtio_stop(device);
	for (uint32_t i = 0; i < device->queue_count; i++) {
		device->queues[i].layout = (struct virtq_layout){0};
		device->queues[i].ready = false;
	}
	device->status = 0;
	device->features = 0;
	device->device_feature_select = 0;
	device->driver_feature_select = 0;
	device->queue_select = 0;
	atomic_store(&device->has_driver, false);
	atomic_store(&device->needs_reset, false);
	atomic_store(&device->interrupt_status, 0);
}

uint32_t virtio_read_status(struct sv_virtio *device)
{
	return device->status | (atomic_load(&device->needs_reset) ? VIRTIO_STATUS_NEEDS_RESET : 0);
}

/* VIRTIO 1.2, 3.1.1: the bits in their order; one that comes too early is not taken. */
static bool may_set(const struct sv_virtio *device, uint32_t bit)
{
	switch (bit) {
	case VIRTIO_STATUS_DRIVER:
		return device->status & VIRTIO_STATUS_ACKNOWLEDGE;
	case VIRTIO_STATUS_FEATURES_OK: /* 6.1: a driver that does not know VERSION_1 is refused */
		return (device->status & VIRTIO_STATUS_DRIVER) && (device->features & VIRTIO_F_VERSION_1);
	case VIRTIO_STATUS_DRIVER_OK:
		return device->status & VIRTIO_STATUS_FEATURES_OK;
	default:
		return true;
	}
}

void virtio_write_status(struct sv_virtio *device, uint32_t value)
{
	static const uint32_t order[] = {VIRTIO_STATUS_FAILED, VIRTIO_STATUS_ACKNOWLEDGE,
					 VIRTIO_STATUS_DRIVER, VIRTIO_STATUS_FEATURES_OK,
					 VIRTIO_STATUS_DRIVER_OK};
	uint32_t fresh = value & DRIVER_BITS & ~device->status;

	if (value == 0) {
		if (device->status != 0)
			virtio_trace(device, SV_DRIVER_RESET, device->status, 0);
		reset(device);
		return;
	}
	for (uint32_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (device->status & VIRTIO_STATUS_FAILED)
			return; /* the driver has given up: only a reset goes on from here */
		if ((fresh & order[i]) && may_set(device, order[i]))
			device->status |= order[i];
	}
	atomic_store(&device->has_driver, device->status != 0);
	if (fresh & device->status & VIRTIO_STATUS_FEATURES_OK)
		virtio_trace(device, SV_DRIVER_FEATURES, device->features, device->offered);
	virtio_trace(device, SV_DRIVER_STATUS, device->status, value);
	if (fresh & device->status & VIRTIO_STATUS_DRIVER_OK)
		iothread_call(device->io, activate_here, device);
}

uint32_t virtio_offered_page(const struct sv_virtio *device, uint32_t page)
{
	return page < 2 ? (uint32_t)(device->offered >> (32 * page)) : 0;
}

void virtio_accept_page(struct sv_virtio *device, uint32_t page, uint32_t value)
{
	uint64_t mask = (uint64_t)UINT32_MAX << (32 * (page & 1));
	uint64_t bits = (uint64_t)value << (32 * (page & 1));

	if (page > 1 || !(device->status & VIRTIO_STATUS_DRIVER) ||
	    (device->status & VIRTIO_STATUS_FEATURES_OK))
		return;
	device->features = (device->features & ~mask) | (bits & device->offered);
}

struct virtio_queue *virtio_selected_queue(struct sv_virtio *device)
{
	return device->queue_select < device->queue_count ? &device->queues[device->queue_select] : NULL;
}

bool virtio_queue_is_open(const struct sv_virtio *device)
{
	return (device->status & VIRTIO_STATUS_FEATURES_OK) &&
	       !(device->status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FAILED));
}

void virtio_write_ready(struct sv_virtio *device, struct virtio_queue *queue, bool ready)
{
	if (ready) {
		queue->ready = queue->ready || virtio_queue_is_open(device);
		virtio_trace(device, queue->ready ? SV_DRIVER_QUEUE_READY : SV_DRIVER_QUEUE_REFUSED,
			     queue->index, queue->layout.size);
		return;
	}
	if (queue->ready)
		virtio_trace(device, SV_DRIVER_QUEUE_STOPPED, queue->index, 0);
	/* VIRTIO 1.2, 4.2.2.1: from here on the ring is not touched; it takes a reset to use it again. */
	if (queue->ready && (device->status & VIRTIO_STATUS_DRIVER_OK))
		stop_on_io_thread(device, stop_one_here, queue);
	queue->ready = false;
}

void virtio_notify(struct sv_virtio *device, uint32_t queue)
{
	if (queue < device->queue_count && (device->status & VIRTIO_STATUS_DRIVER_OK))
		irq_raise(device->queues[queue].kick.fd);
}

uint32_t virtio_read_interrupt_status(const struct sv_virtio *device)
{
	uint32_t status = atomic_load(&device->interrupt_status);

	return device->external ? status | VIRTIO_INTERRUPT_QUEUE : status;
}
