#include "uart_output.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

/* POLLOUT promises one byte's room on a terminal, a page's on a pipe: small writes do not block on either. */
#define PIECE 64u

int uart_output_open(struct uart_output *output, struct sv_vm *vm, int fd,
		     void (*on_room)(void *context, uint32_t epoll_events), void *context)
{
	output->source = (struct io_source){.fd = dup(fd), .run = on_room, .context = context};
	return output->source.fd < 0 ? -errno : iothread_main(vm, &output->io);
}

void uart_output_close(struct uart_output *output)
{
	if (output->source.fd >= 0)
		close(output->source.fd);
	output->source.fd = -1;
}

bool uart_output_full(const struct uart_output *output)
{
	return output->waiting.count == BYTERING_SIZE;
}

static bool writable_now(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

	return poll(&poll_fd, 1, 0) == 1;
}

static bool try_later(void)
{
	return errno == EAGAIN || errno == EINTR;
}

void uart_output_put(struct uart_output *output, uint8_t byte)
{
	struct iovec room[2];

	if (output->waiting.count == 0 && writable_now(output->source.fd)) {
		/* One byte after POLLOUT does not block; what a broken output does not take is lost. */
		if (write(output->source.fd, &byte, 1) == 1 || !try_later())
			return;
	}
	if (bytering_room(&output->waiting, room) == 0)
		return; /* the guest wrote although the holding register was not empty */
	*(uint8_t *)room[0].iov_base = byte;
	bytering_added(&output->waiting, 1);
	if (!output->watched && iothread_add(output->io, &output->source, EPOLLOUT) == 0)
		output->watched = true;
}

void uart_output_drain(struct uart_output *output)
{
	struct iovec pieces[2];

	if (bytering_filled(&output->waiting, pieces) > 0) {
		size_t piece = pieces[0].iov_len < PIECE ? pieces[0].iov_len : PIECE;
		ssize_t put = write(output->source.fd, pieces[0].iov_base, piece);

		if (put < 0)
			put = try_later() ? 0 : (ssize_t)piece;
		bytering_drop(&output->waiting, (uint32_t)put);
	}
	if (output->waiting.count == 0 && output->watched) {
		iothread_remove(output->io, &output->source);
		output->watched = false;
	}
}
