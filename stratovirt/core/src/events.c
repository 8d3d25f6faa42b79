#include "events.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int events_init(struct events *events)
{
	memset(events, 0, sizeof(*events));
	pthread_mutex_init(&events->lock, NULL);
	events->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return events->fd < 0 ? -errno : 0;
}

void events_close(struct events *events)
{
	if (events->fd >= 0)
		close(events->fd);
	events->fd = -1;
	pthread_mutex_destroy(&events->lock);
}

static bool is_vital(uint32_t kind)
{
	return kind == SV_EVENT_SHUTDOWN || kind == SV_EVENT_VCPU_FAILED;
}

static bool add_locked(struct events *events, const struct sv_event *event, uint32_t room)
{
	if (events->count >= room)
		return false;
	events->ring[(events->head + events->count) % EVENTS_CAPACITY] = *event;
	events->count++;
	return true;
}

static void announce(const struct events *events)
{
	uint64_t one = 1;

	/* A full counter is readable already, which is all that the reader needs. */
	if (write(events->fd, &one, sizeof(one)) < 0)
		return;
}

void events_post(struct events *events, const struct sv_event *event)
{
	uint32_t room = is_vital(event->kind) ? EVENTS_CAPACITY : EVENTS_CAPACITY - EVENTS_RESERVED;

	pthread_mutex_lock(&events->lock);
	if (!add_locked(events, event, room))
		events->lost++;
	pthread_mutex_unlock(&events->lock);
	announce(events);
}

bool events_offer(struct events *events, const struct sv_event *event)
{
	bool added;

	pthread_mutex_lock(&events->lock);
	added = add_locked(events, event, EVENTS_OFFERED);
	pthread_mutex_unlock(&events->lock);
	if (added)
		announce(events);
	return added;
}

static int take_locked(struct events *events, struct sv_event *out, int count)
{
	int taken = 0;

	while (taken < count && events->count > 0) {
		out[taken++] = events->ring[events->head];
		events->head = (events->head + 1) % EVENTS_CAPACITY;
		events->count--;
	}
	if (taken < count && events->lost > 0) {
		out[taken++] = (struct sv_event){.kind = SV_EVENT_LOST, .data = {events->lost}};
		events->lost = 0;
	}
	return taken;
}

int events_take(struct events *events, struct sv_event *out, int count)
{
	uint64_t seen;
	uint64_t one = 1;
	bool more;
	int taken;

	if (read(events->fd, &seen, sizeof(seen)) < 0 && errno != EAGAIN)
		return -errno;
	pthread_mutex_lock(&events->lock);
	taken = take_locked(events, out, count);
	more = events->count > 0 || events->lost > 0;
	pthread_mutex_unlock(&events->lock);
	/* What did not fit into out stays announced. */
	if (more && write(events->fd, &one, sizeof(one)) < 0)
		return -errno;
	return taken;
}
