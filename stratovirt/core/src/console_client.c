#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "console.h"

#define MAX_READ 65536 /* of a client, at once: a chain can claim 4 GiB */

static bool is_there(const struct console *console)
{
	return console->client.fd >= 0;
}

/* Tells Python, at most once for each retry. */
static void report(struct console *console, int error)
{
	struct sv_event event = {
	    .kind = SV_EVENT_HOST_ERROR, .source = console->device.id, .data = {(uint64_t)error}};
	uint64_t now = clock_now();

	if (console->last_report != 0 && now - console->last_report < CONSOLE_RETRY_NS)
		return;
	console->last_report = now;
	events_post(&console->device.vm->events, &event);
}

/* Accepts no more until the timer comes: the reason may stay for long, and epoll would not wait. */
static void pause_listening(struct console *console, int error)
{
	report(console, error);
	iothread_modify(console->device.io, &console->listener, 0);
	clock_arm(console->timer.fd, CONSOLE_RETRY_NS);
}

static void listen_again(struct console *console)
{
	int error = iothread_modify(console->device.io, &console->listener, EPOLLIN);

	if (error < 0)
		pause_listening(console, -error);
}

/* Keeps what the client has sent and the guest has not taken, as far as there is room. */
static void keep_leftover(struct console *console)
{
	struct iovec room[2];
	int count;
	ssize_t got;

	while ((count = bytering_room(&console->leftover, room)) > 0) {
		got = readv(console->client.fd, room, count);
		if (got <= 0)
			return; /* its end, an error, or nothing more */
		bytering_added(&console->leftover, (uint32_t)got);
	}
}

/* The client has gone, or is of no use any more; the next one may come. */
static void hang_up(struct console *console)
{
	keep_leftover(console);
	iothread_remove(console->device.io, &console->client);
	close(console->client.fd);
	console->client.fd = -1;
	console->wants_room = false;
	console->given_up = false;
	clock_arm(console->timer.fd, 0);
	listen_again(console);
	for (uint32_t queue = 0; queue < 2; queue++)
		virtio_process_later(&console->device, queue); /* they need not wait for it any more */
}

static void run_both(struct console *console)
{
	console_run(console, CONSOLE_TX);
	console_run(console, CONSOLE_RX);
}

static void on_client(void *context, uint32_t epoll_events)
{
	struct console *console = context;

	if (epoll_events & (EPOLLHUP | EPOLLERR)) {
		hang_up(console);
		return;
	}
	if (epoll_events & EPOLLOUT) { /* it reads: its time begins anew */
		console->given_up = false;
		console->wants_room = false;
	}
	run_both(console);
}

static void welcome(struct console *console, int fd)
{
	int error;

	console->client = (struct io_source){fd, on_client, console};
	console->watched = 0;
	console->input_ended = false;
	error = iothread_add(console->device.io, &console->client, 0);
	if (error < 0) {
		close(fd);
		console->client.fd = -1;
		pause_listening(console, -error);
		return;
	}
	iothread_modify(console->device.io, &console->listener, 0); /* others wait */
	run_both(console);
}

static void on_listener(void *context, uint32_t epoll_events)
{
	struct console *console = context;
	int fd;

	(void)epoll_events;
	if (is_there(console))
		return;
	fd = accept4(console->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		welcome(console, fd);
	else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		pause_listening(console, errno);
}

static void on_timer(void *context, uint32_t epoll_events)
{
	struct console *console = context;

	(void)epoll_events;
	if (!is_there(console)) {
		listen_again(console);
	} else if (console->wants_room) {
		console->given_up = true;
		console_run(console, CONSOLE_TX);
	}
}

/* Notes that the client takes nothing at the moment; its time runs from the first such moment on. */
static void wait_for_room(struct console *console)
{
	if (!console->wants_room)
		clock_arm(console->timer.fd, CONSOLE_PATIENCE_NS);
	console->wants_room = true;
}

static void took_some(struct console *console)
{
	console->wants_room = false;
	console->given_up = false;
	clock_arm(console->timer.fd, 0);
}

/* Sends pieces to the client; returns how many bytes it took, at least 1, or 0: it takes none, or has gone.
 */
static uint64_t send_pieces(struct console *console, struct iovec *pieces, uint32_t count)
{
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
	ssize_t sent;

	do
		sent = sendmsg(console->client.fd, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent > 0) {
		if (console->wants_room)
			took_some(console);
		return (uint64_t)sent;
	}
	if (sent < 0 && errno != EAGAIN)
		hang_up(console);
	else
		wait_for_room(console);
	return 0;
}

/* True when nothing waits for the client any more. */
static bool send_unread(struct console *console)
{
	struct iovec pieces[2];
	int count;

	while (is_there(console) && (count = bytering_filled(&console->unread, pieces)) > 0) {
		uint64_t sent = send_pieces(console, pieces, (uint32_t)count);

		if (sent == 0)
			return false;
		bytering_drop(&console->unread, (uint32_t)sent);
	}
	return true;
}

bool console_client_send(struct console *console, struct span *span)
{
	if (!console->given_up && send_unread(console) && is_there(console) && span->bytes > 0) {
		uint64_t sent = send_pieces(console, span->iov, span->count);

		span_skip(span, sent);
		/* One call for each visit, or a fast client would keep the thread in a chain of 4 GiB. */
		if (sent > 0 && span->bytes > 0)
			wait_for_room(console);
	}
	if (!is_there(console) || console->given_up)
		bytering_keep_newest(&console->unread, span);
	else
		bytering_add(&console->unread, span);
	return span->bytes == 0;
}

uint32_t console_client_receive(struct console *console, struct span *span)
{
	ssize_t got;

	console->wants_input = false;
	if (console->leftover.count > 0)
		return bytering_move(&console->leftover, span);
	if (!is_there(console) || console->input_ended)
		return 0;
	span_limit(span, MAX_READ);
	do
		got = readv(console->client.fd, span->iov, (int)span->count);
	while (got < 0 && errno == EINTR);
	if (got > 0)
		return (uint32_t)got;
	console->input_ended = got == 0;
	console->wants_input = got < 0; /* anything but EAGAIN comes with EPOLLERR */
	return 0;
}

void console_client_rewatch(struct console *console)
{
	uint32_t wanted = (console->wants_input && !console->input_ended ? (uint32_t)EPOLLIN : 0) |
			  (console->wants_room ? (uint32_t)EPOLLOUT : 0);

	if (!is_there(console) || wanted == console->watched)
		return;
	if (iothread_modify(console->device.io, &console->client, wanted) == 0)
		console->watched = wanted;
}

int console_client_open(struct console *console, int listener_fd)
{
	console->listener = (struct io_source){fcntl(listener_fd, F_DUPFD_CLOEXEC, 0), on_listener, console};
	if (console->listener.fd < 0)
		return -errno;
	console->timer = (struct io_source){timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
					    on_timer, console};
	return console->timer.fd < 0 ? -errno : 0;
}

int console_client_watch(struct console *console)
{
	/* Setting the timer again clears its counter. */
	int error = iothread_add(console->device.io, &console->timer, EPOLLIN | EPOLLET);

	return error < 0 ? error : iothread_add(console->device.io, &console->listener, EPOLLIN);
}

void console_client_close(struct console *console)
{
	int fds[] = {console->client.fd, console->timer.fd, console->listener.fd};

	for (uint32_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}
