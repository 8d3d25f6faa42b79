/* A driver that takes a page out of its balloon, and the host has none for it: the request is looked at
 * again. */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "balloon.h"

/* When the host is asked again: each time later, since it may search for long. */
#define FIRST_NS 100000000
#define LAST_NS  1600000000
/* A guest that lacks pages again within this time of the last look suffers the same shortage, told already:
 * a pool that fills page by page would have each of them told.
 */
#define SAME_NS 30000000000

static void on_timer(void *context, uint32_t epoll_events)
{
	struct balloon *balloon = context;
	uint64_t expired;

	(void)epoll_events;
	if (read(balloon->retry.fd, &expired, sizeof(expired)) < 0)
		return; /* armed anew meanwhile */
	if (balloon->wait_ns < LAST_NS)
		balloon->wait_ns *= 2;
	if (balloon->wait_ns > 0) /* else it is over */
		virtio_process_later(&balloon->device, DEFLATE_QUEUE);
}

int balloon_wait_open(struct balloon *balloon, struct sv_iothread *io)
{
	balloon->retry = (struct io_source){timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
					    on_timer, balloon};
	return balloon->retry.fd < 0 ? -errno : iothread_add(io, &balloon->retry, EPOLLIN);
}

void balloon_wait_close(struct balloon *balloon)
{
	if (balloon->retry.fd > 0)
		close(balloon->retry.fd);
}

void balloon_wait_begin(struct balloon *balloon)
{
	struct sv_event event = {.kind = SV_EVENT_BALLOON_WAITS, .source = balloon->device.id};
	uint64_t now = clock_now();

	if (balloon->wait_ns == 0)
		balloon->wait_ns = FIRST_NS;
	if (balloon->lacked_ns == 0 || now - balloon->lacked_ns > SAME_NS)
		events_post(&balloon->device.vm->events, &event);
	balloon->lacked_ns = now;
	clock_arm(balloon->retry.fd, balloon->wait_ns);
}

void balloon_wait_end(struct balloon *balloon)
{
	balloon->wait_ns = 0;
}
