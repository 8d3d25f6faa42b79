/* Host I/O of one image: io_uring by raw system calls, or plain system calls that have ended when they
 * return. One thread owns it. The owner of an operation keeps it, and its buffers, until aio_reap() hands it
 * back.
 */
#ifndef SV_AIO_H
#define SV_AIO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum aio_kind { AIO_READ, AIO_WRITE, AIO_SYNC, AIO_PUNCH, AIO_ZERO };

struct aio_op {
	struct aio_op *next; /* aio.c's */
	enum aio_kind kind;
	bool durable; /* of a write: on stable storage when it ends */
	const struct iovec *iov;
	uint32_t iov_count;
	uint64_t offset;
	uint64_t length; /* of AIO_PUNCH and AIO_ZERO */
	int64_t result;  /* bytes, 0, or -errno; once reaped */
};

struct uring;

struct aio {
	int fd;              /* of the image; not owned */
	struct uring *uring; /* NULL for plain system calls */
	struct uring *kept;  /* a ring that no image uses at the moment */
	struct aio_op *done; /* ended and not reaped */
	uint32_t in_flight;  /* started and not reaped */
};

/* engine is an SV_AIO_*; depth bounds the operations in flight. SV_AIO_URING fails where the host has none.
 * Before the first call *aio is all zeroes. */
int aio_open(struct aio *aio, int fd, int engine, uint32_t depth);
/* Nothing may be in flight. A ring is kept for the next aio_open(): by then none can be made any more. */
void aio_close(struct aio *aio);
/* Closes what is kept too. */
void aio_free(struct aio *aio);
/* A descriptor that is readable when there is something to reap, or -1 when aio_reap() never has to wait. */
int aio_event_fd(const struct aio *aio);

/* Starts an operation; with io_uring it begins at aio_submit(), at the latest. */
void aio_start(struct aio *aio, struct aio_op *op);
/* One system call for all that was started since, or none. */
void aio_submit(struct aio *aio);
/* Returns an operation that has ended, or NULL; makes no system call. */
struct aio_op *aio_reap(struct aio *aio);
/* Waits until aio_reap() has something; something is in flight. */
void aio_wait(struct aio *aio);

/* aio.c: runs an operation with plain system calls; returns its result. */
int64_t aio_run(int fd, const struct aio_op *op);

/* uring.c */
int uring_open(struct uring **out, uint32_t depth);
void uring_close(struct uring *uring);
int uring_fd(const struct uring *uring);
/* False when the submission ring is full. */
bool uring_queue(struct uring *uring, int fd, struct aio_op *op);
/* Hands the queued entries to the kernel and waits for `wait` completions; -errno when some were not
 * accepted. */
int uring_enter(struct uring *uring, uint32_t wait);
/* Takes back the newest entry that the kernel has not accepted, or NULL. */
struct aio_op *uring_take_back(struct uring *uring);
struct aio_op *uring_reap(struct uring *uring);

#endif
