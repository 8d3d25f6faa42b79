#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "balloon.h"

#define STAT_SIZE       10 /* VIRTIO 1.2, 5.5.6.3: tag and value, packed */
#define STATS_READ_MOST 32 /* of one buffer; more than there are tags */

static void set_timer(struct balloon *balloon, struct itimerspec when)
{
	timerfd_settime(balloon->timer.fd, 0, &when, NULL);
}

static void on_timer(void *context, uint32_t epoll_events)
{
	struct balloon *balloon = context;
	struct virtio_queue *queue = &balloon->device.queues[STATS_QUEUE];
	uint64_t expired;

	(void)epoll_events;
	/* timerfd_create(2) does not say it: the kernel winds an interval up again when it is read. */
	if (read(balloon->timer.fd, &expired, sizeof(expired)) < 0)
		return; /* set anew or stopped meanwhile */
	if (!balloon->stats_held || !queue->runs)
		return; /* the driver is at it */
	balloon->stats_held = false;
	virtq_push(&queue->ring, balloon->stats_head, 0);
	balloon_signal(balloon, STATS_QUEUE);
}

int balloon_stats_open(struct balloon *balloon, struct sv_iothread *io)
{
	pthread_mutex_init(&balloon->stats_lock, NULL);
	balloon->timer = (struct io_source){timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
					    on_timer, balloon};
	if (balloon->timer.fd < 0)
		return -errno;
	return iothread_add(io, &balloon->timer, EPOLLIN);
}

void balloon_stats_close(struct balloon *balloon)
{
	if (balloon->timer.fd >= 0)
		close(balloon->timer.fd);
	pthread_mutex_destroy(&balloon->stats_lock);
}

void balloon_stats_begin(struct balloon *balloon)
{
	time_t interval = (time_t)balloon->stats_interval;

	pthread_mutex_lock(&balloon->stats_lock);
	balloon->stats_known = 0;
	balloon->stats_time = 0;
	pthread_mutex_unlock(&balloon->stats_lock);
	set_timer(balloon, (struct itimerspec){.it_interval.tv_sec = interval, .it_value.tv_sec = interval});
}

void balloon_stats_stop(struct balloon *balloon)
{
	balloon->stats_held = false;
	set_timer(balloon, (struct itimerspec){0});
}

/* VIRTIO 1.2, 5.5.6.3: a list of tags and values; unknown tags are skipped. */
static void read_stats(struct balloon *balloon, struct span *span)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	pthread_mutex_lock(&balloon->stats_lock);
	for (int i = 0; i < STATS_READ_MOST && span->bytes >= STAT_SIZE; i++) {
		uint16_t tag;
		uint64_t value;

		span_take(span, &tag, sizeof(tag));
		span_take(span, &value, sizeof(value));
		if (tag >= SV_BALLOON_STATS)
			continue;
		balloon->stats[tag] = value;
		balloon->stats_known |= 1u << tag;
	}
	balloon->stats_time = (uint64_t)now.tv_sec;
	pthread_mutex_unlock(&balloon->stats_lock);
}

void balloon_stats_take(struct balloon *balloon, const struct chain *chain)
{
	struct span span = span_of(chain->iov, chain->readable);

	read_stats(balloon, &span);
	if (balloon->stats_held) /* it should have one buffer only (5.5.6.3.1); an older one goes back */
		virtq_push(&balloon->device.queues[STATS_QUEUE].ring, balloon->stats_head, 0);
	balloon->stats_held = true;
	balloon->stats_head = chain->head;
}

int sv_balloon_ask_stats(struct sv_virtio *device)
{
	struct balloon *balloon = (struct balloon *)device;
	struct itimerspec now = {.it_interval.tv_sec = (time_t)balloon->stats_interval,
				 .it_value.tv_nsec = 1};

	return timerfd_settime(balloon->timer.fd, 0, &now, NULL) < 0 ? -errno : 0;
}
