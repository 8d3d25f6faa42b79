#include "aio.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

#include "api.h"

/* One buffer is the usual case, and a list of one costs the kernel a copy of the list. */
static int64_t read_once(int fd, const struct aio_op *op)
{
	if (op->iov_count == 1)
		return pread(fd, op->iov->iov_base, op->iov->iov_len, (off_t)op->offset);
	return preadv(fd, op->iov, (int)op->iov_count, (off_t)op->offset);
}

static int64_t write_once(int fd, const struct aio_op *op)
{
	if (op->iov_count == 1 && !op->durable)
		return pwrite(fd, op->iov->iov_base, op->iov->iov_len, (off_t)op->offset);
	return pwritev2(fd, op->iov, (int)op->iov_count, (off_t)op->offset, op->durable ? RWF_DSYNC : 0);
}

static int64_t run_once(int fd, const struct aio_op *op)
{
	off_t offset = (off_t)op->offset;

	switch (op->kind) {
	case AIO_READ:
		return read_once(fd, op);
	case AIO_WRITE:
		return write_once(fd, op);
	case AIO_SYNC:
		return fdatasync(fd);
	case AIO_PUNCH:
		return fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, (off_t)op->length);
	default:
		return fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE, offset, (off_t)op->length);
	}
}

int64_t aio_run(int fd, const struct aio_op *op)
{
	for (;;) {
		int64_t result = run_once(fd, op);

		if (result >= 0)
			return result;
		if (errno != EINTR)
			return -errno;
	}
}

int aio_open(struct aio *aio, int fd, int engine, uint32_t depth)
{
	int error = 0;

	*aio = (struct aio){.fd = fd, .kept = aio->kept};
	if (engine == SV_AIO_SYNC)
		return 0;
	if (engine != SV_AIO_URING && engine != SV_AIO_AUTO)
		return -EINVAL;
	if (aio->kept)
		aio->uring = aio->kept;
	else
		error = uring_open(&aio->uring, depth);
	aio->kept = NULL;
	/* Not built in, forbidden, or over a limit of locked memory: plain system calls always work. */
	return engine == SV_AIO_AUTO ? 0 : error;
}

void aio_close(struct aio *aio)
{
	if (aio->uring)
		aio->kept = aio->uring;
	aio->uring = NULL;
}

void aio_free(struct aio *aio)
{
	aio_close(aio);
	if (aio->kept)
		uring_close(aio->kept);
	aio->kept = NULL;
}

int aio_event_fd(const struct aio *aio)
{
	return aio->uring ? uring_fd(aio->uring) : -1;
}

static void run_here(struct aio *aio, struct aio_op *op)
{
	op->result = aio_run(aio->fd, op);
	op->next = aio->done;
	aio->done = op;
}

void aio_start(struct aio *aio, struct aio_op *op)
{
	aio->in_flight++;
	if (!aio->uring) {
		run_here(aio, op);
		return;
	}
	if (uring_queue(aio->uring, aio->fd, op))
		return;
	aio_submit(aio);
	if (!uring_queue(aio->uring, aio->fd, op))
		run_here(aio, op);
}

void aio_submit(struct aio *aio)
{
	struct aio_op *op;
	int error = aio->uring ? uring_enter(aio->uring, 0) : 0;

	while (error == -EINTR)
		error = uring_enter(aio->uring, 0);
	/* The kernel is short of something (EAGAIN, EBUSY): what it did not take is done here, so it always
	 * ends. */
	while (error < 0 && (op = uring_take_back(aio->uring)))
		run_here(aio, op);
}

struct aio_op *aio_reap(struct aio *aio)
{
	struct aio_op *op = aio->done;

	if (op)
		aio->done = op->next;
	else if (aio->uring)
		op = uring_reap(aio->uring);
	if (!op)
		return NULL;
	/* The kernel could not do it without waiting, or was interrupted: it is done here. */
	if (op->result == -EAGAIN || op->result == -EINTR)
		op->result = aio_run(aio->fd, op);
	aio->in_flight--;
	return op;
}

void aio_wait(struct aio *aio)
{
	aio_submit(aio);
	/* With nothing in the kernel this would wait for ever: all that is in flight is done already. */
	if (!aio->done && aio->uring)
		uring_enter(aio->uring, 1);
}
