/* A device that cannot go on, through its driver or whoever serves its rings: what is told of it, and to
 * whom. */
#include <unistd.h>

#include "clock.h"
#include "virtio.h"

#define TELL_AGAIN_NS CLOCK_SECOND

/* Tells Python, at most once a second for each device: a guest can reset and break it for ever, and each
 * event costs the control thread more than it costs the guest. */
static void tell_broken(struct sv_virtio *device, struct sv_event *event)
{
	uint64_t now = clock_now();

	if (device->broken_told != 0 && now - device->broken_told < TELL_AGAIN_NS) {
		device->broken_untold++;
		return;
	}
	event->source = device->id;
	event->data[2] = device->broken_untold;
	device->broken_told = now;
	device->broken_untold = 0;
	events_post(&device->vm->events, event);
}

/* VIRTIO 1.2, 2.1.2: tells the driver, once; no queue is served until it resets the device. */
static void ask_for_reset(struct sv_virtio *device, struct sv_event *event)
{
	for (uint32_t i = 0; i < device->queue_count; i++)
		device->queues[i].runs = false;
	if (atomic_exchange(&device->needs_reset, true))
		return;
	tell_broken(device, event);
	virtio_interrupt(device, VIRTIO_INTERRUPT_CONFIG);
}

void virtio_broken(struct sv_virtio *device, uint32_t queue, enum virtq_error why)
{
	struct sv_event event = {.kind = SV_EVENT_DEVICE_BROKEN, .data = {queue, why}};

	ask_for_reset(device, &event);
}

void virtio_refused(struct sv_virtio *device, int error)
{
	struct sv_event event = {.kind = SV_EVENT_VHOST_FAILED, .data = {(uint64_t)error}};

	ask_for_reset(device, &event);
}

static bool runs(const struct sv_virtio *device)
{
	for (uint32_t i = 0; i < device->queue_count; i++)
		if (device->queues[i].runs)
			return true;
	return false;
}

/* Whoever serves the rings has given one up. An event from before a reset has left nothing to be read. */
void virtio_on_lost(void *context, uint32_t epoll_events)
{
	struct sv_virtio *device = context;
	uint64_t count;

	(void)epoll_events;
	if (read(device->lost.fd, &count, sizeof(count)) < 0 || !runs(device) || virtio_is_stopping(device))
		return;
	if (device->ops->lost && device->ops->lost(device))
		return;
	virtio_stop_here(device);
	virtio_broken(device, SV_QUEUE_OF_VHOST, VIRTQ_BAD_RING);
}
