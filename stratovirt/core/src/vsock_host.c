#include "vsock_host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "vsock_muxer.h"

#define CONNECT_WORD "CONNECT "
#define LINE_SIZE    20 /* of the longest line, its newline included: a port has up to 10 digits */

#define RETRY_NS 1000000000u /* after the host had no more descriptors for us */

int vsock_host_connect(const char *path, uint32_t port)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "%.96s_%u", path, port);
	/* At once or not at all: a listener with a full backlog counts as one that refuses. */
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

/* 1 for a line that names a port, -1 for another. */
static int parse_connect(const char *line, size_t length, uint32_t *port)
{
	const size_t start = sizeof(CONNECT_WORD) - 1;
	uint64_t value = 0;

	if (length <= start || strncasecmp(line, CONNECT_WORD, start) != 0)
		return -1;
	for (size_t i = start; i < length; i++) {
		if (line[i] < '0' || line[i] > '9')
			return -1;
		value = value * 10 + (uint64_t)(line[i] - '0'); /* below 10^13: LINE_SIZE bounds it */
	}
	*port = (uint32_t)value;
	return value < VSOCK_PORT_ANY ? 1 : -1;
}

int vsock_host_read_connect(int fd, uint32_t *port)
{
	char line[LINE_SIZE];
	ssize_t got = recv(fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
	const char *newline;
	size_t length;

	if (got < 0 && errno == EAGAIN)
		return 0;
	if (got <= 0)
		return -1;
	newline = memchr(line, '\n', (size_t)got);
	if (!newline)
		return got == LINE_SIZE ? -1 : 0;
	length = (size_t)(newline - line);
	if (recv(fd, line, length + 1, MSG_DONTWAIT) != (ssize_t)length + 1)
		return -1;
	return parse_connect(line, length, port);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* 0 disarms it. */
static void set_timer(struct vsock_muxer *muxer, uint64_t when)
{
	struct itimerspec timer = {
	    .it_value = {.tv_sec = (time_t)(when / 1000000000), .tv_nsec = (long)(when % 1000000000)}};

	timerfd_settime(muxer->timer.fd, TFD_TIMER_ABSTIME, &timer, NULL);
}

/* Sets the timer for the next handshake that can end, and for a listener that has to be tried again. */
static void await(struct vsock_muxer *muxer)
{
	uint64_t next = muxer->listening ? UINT64_MAX : now() + RETRY_NS;

	for (uint32_t i = 0; i < VSOCK_CONNECTIONS; i++) {
		const struct vsock_conn *conn = &muxer->connections[i];

		if (conn->state == VSOCK_HANDSHAKE && conn->deadline < next)
			next = conn->deadline;
	}
	set_timer(muxer, next == UINT64_MAX ? 0 : next);
}

static void on_timer(void *context, uint32_t epoll_events)
{
	struct vsock_muxer *muxer = context;
	uint64_t time = now();

	(void)epoll_events;
	if (!muxer->open)
		return;
	for (uint32_t i = 0; i < VSOCK_CONNECTIONS; i++) {
		struct vsock_conn *conn = &muxer->connections[i];

		if (conn->state == VSOCK_HANDSHAKE && conn->deadline <= time)
			vsock_muxer_drop(conn);
	}
	vsock_host_listen(muxer);
	await(muxer);
}

/* One program for each event: the other devices of the thread have a turn. */
static void on_client(void *context, uint32_t epoll_events)
{
	struct vsock_muxer *muxer = context;
	int fd = accept4(muxer->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)epoll_events;
	if (fd >= 0)
		vsock_muxer_meet(muxer, fd, now() + muxer->handshake_ns);
	else if (errno != EAGAIN && errno != ECONNABORTED)
		vsock_host_ignore(muxer); /* or the thread would spin */
	await(muxer);
	muxer->wake(muxer->context); /* somebody may have made room */
}

void vsock_host_listen(struct vsock_muxer *muxer)
{
	if (!muxer->listening)
		muxer->listening = iothread_add(muxer->io, &muxer->listener, EPOLLIN) == 0;
}

void vsock_host_ignore(struct vsock_muxer *muxer)
{
	if (muxer->listening)
		iothread_remove(muxer->io, &muxer->listener);
	muxer->listening = false;
	if (!muxer->open)
		set_timer(muxer, 0);
}

int vsock_host_init(struct vsock_muxer *muxer, int listener)
{
	muxer->handshake_ns = VSOCK_HANDSHAKE_NS;
	muxer->timer = (struct io_source){-1, on_timer, muxer};
	muxer->listener = (struct io_source){fcntl(listener, F_DUPFD_CLOEXEC, 0), on_client, muxer};
	if (muxer->listener.fd < 0)
		return -errno;
	muxer->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (muxer->timer.fd < 0)
		return -errno;
	/* Edge-triggered: setting it again clears its counter. */
	return iothread_add(muxer->io, &muxer->timer, EPOLLIN | EPOLLET);
}

void vsock_host_free(struct vsock_muxer *muxer)
{
	if (muxer->timer.fd >= 0)
		close(muxer->timer.fd);
	if (muxer->listener.fd >= 0)
		close(muxer->listener.fd);
}
