#include <errno.h>
#include <string.h>

#include "blk.h"

/* O_DIRECT wants offsets, lengths and host addresses aligned; a guest owes us whole sectors and no more. Such
 * requests go through one buffer for each device, piece by piece and synchronously: they are rare, and
 * nothing is allocated on a guest's word.
 */
bool blk_needs_bounce(const struct blk_request *request)
{
	uint64_t odd = request->op.offset;

	if (request->blk->alignment <= 1)
		return false;
	for (uint32_t i = 0; i < request->data.count; i++)
		odd |= (uintptr_t)request->data.iov[i].iov_base | request->data.iov[i].iov_len;
	return odd % request->blk->alignment != 0;
}

/* A piece of the image that starts and ends aligned, and the part of it that the request wants. */
struct window {
	uint64_t start;
	uint64_t length;
	uint64_t before; /* bytes of the window in front of the wanted ones */
	uint64_t wanted;
};

static struct window next_window(const struct blk_request *request)
{
	uint64_t alignment = request->blk->alignment;
	struct window window = {.before = request->op.offset % alignment};
	uint64_t room = BLK_BOUNCE_SIZE - window.before;

	window.wanted = request->data.bytes < room ? request->data.bytes : room;
	window.start = request->op.offset - window.before;
	window.length = (window.before + window.wanted + alignment - 1) / alignment * alignment;
	return window;
}

/* Reads the window as far as the image goes; returns the bytes got or -errno. */
static int64_t read_window(struct blk *blk, const struct window *window)
{
	uint64_t got = 0;

	while (got < window->length) {
		struct iovec iov = {blk->bounce + got, window->length - got};
		struct aio_op op = {
		    .kind = AIO_READ, .iov = &iov, .iov_count = 1, .offset = window->start + got};
		int64_t result = aio_run(blk->fd, &op);

		if (result < 0)
			return result;
		got += (uint64_t)result;
		/* The end of an image that is no multiple of the alignment: reading on from there is refused.
		 */
		if (result == 0 || got % blk->alignment != 0)
			break;
	}
	return (int64_t)got;
}

static int write_window(struct blk_request *request, const struct window *window)
{
	struct blk *blk = request->blk;
	uint64_t put = 0;

	while (put < window->length) {
		struct iovec iov = {blk->bounce + put, window->length - put};
		struct aio_op op = {.kind = AIO_WRITE,
				    .durable = request->op.durable,
				    .iov = &iov,
				    .iov_count = 1,
				    .offset = window->start + put};
		int64_t result = aio_run(blk->fd, &op);

		if (result <= 0)
			return result < 0 ? (int)result : -ENOSPC;
		put += (uint64_t)result;
	}
	return 0;
}

static int bounce_in(struct blk_request *request, const struct window *window)
{
	int64_t got = read_window(request->blk, window);

	if (got < 0)
		return (int)got;
	if ((uint64_t)got < window->before + window->wanted)
		return -ENODATA;
	span_put(&request->data, request->blk->bounce + window->before, window->wanted);
	return 0;
}

/* A window that is wanted in part is read first. Requests in flight that write its other part would be
 * undone, so they end before.
 */
static int bounce_out(struct blk_request *request, const struct window *window)
{
	struct blk *blk = request->blk;

	if (window->wanted != window->length) {
		int64_t got;

		while (blk->aio.in_flight > 0) {
			if (virtio_is_stopping(&blk->device))
				return -ECANCELED;
			aio_wait(&blk->aio);
			blk_reap(blk);
		}
		got = read_window(blk, window);
		if (got < 0)
			return (int)got;
		memset(blk->bounce + got, 0, window->length - (uint64_t)got);
	}
	span_take(&request->data, blk->bounce + window->before, window->wanted);
	return write_window(request, window);
}

int blk_bounce(struct blk_request *request)
{
	while (request->data.bytes > 0) {
		struct window window = next_window(request);
		int error;

		if (virtio_is_stopping(&request->blk->device))
			return -ECANCELED;
		if (request->op.kind == AIO_READ)
			error = bounce_in(request, &window);
		else
			error = bounce_out(request, &window);
		if (error < 0)
			return error;
		request->op.offset += window.wanted;
	}
	return 0;
}
