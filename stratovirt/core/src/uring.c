/* io_uring without a library: two rings shared with the kernel, one system call. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "aio.h"

struct uring {
	int fd;
	uint8_t *rings; /* both, in one mapping */
	uint64_t rings_size;
	struct io_uring_sqe *entries;
	uint64_t entries_size;
	uint32_t sq_mask;
	uint32_t sq_size;
	uint32_t cq_mask;
	const uint32_t *sq_head; /* the kernel's */
	uint32_t *sq_tail;
	uint32_t *sq_array;
	uint32_t *cq_head;
	const uint32_t *cq_tail; /* the kernel's */
	const struct io_uring_cqe *completions;
	uint32_t tail; /* our copy of *sq_tail */
};

static uint32_t *at(const struct uring *uring, uint32_t offset)
{
	return (uint32_t *)(void *)(uring->rings + offset);
}

static int map_rings(struct uring *uring, const struct io_uring_params *params)
{
	uint64_t sq_end = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
	uint64_t cq_end = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
	int protection = PROT_READ | PROT_WRITE;

	uring->rings_size = sq_end > cq_end ? sq_end : cq_end;
	uring->entries_size = params->sq_entries * sizeof(struct io_uring_sqe);
	uring->rings = mmap(NULL, uring->rings_size, protection, MAP_SHARED, uring->fd, IORING_OFF_SQ_RING);
	if (uring->rings == MAP_FAILED)
		return -errno;
	uring->entries = mmap(NULL, uring->entries_size, protection, MAP_SHARED, uring->fd, IORING_OFF_SQES);
	if (uring->entries == MAP_FAILED) {
		int error = -errno;

		munmap(uring->rings, uring->rings_size);
		return error;
	}
	return 0;
}

static void find_parts(struct uring *uring, const struct io_uring_params *params)
{
	uring->sq_head = at(uring, params->sq_off.head);
	uring->sq_tail = at(uring, params->sq_off.tail);
	uring->sq_array = at(uring, params->sq_off.array);
	uring->sq_mask = *at(uring, params->sq_off.ring_mask);
	uring->sq_size = params->sq_entries;
	uring->cq_head = at(uring, params->cq_off.head);
	uring->cq_tail = at(uring, params->cq_off.tail);
	uring->cq_mask = *at(uring, params->cq_off.ring_mask);
	uring->completions = (const struct io_uring_cqe *)(const void *)(uring->rings + params->cq_off.cqes);
	uring->tail = *uring->sq_tail;
	/* The indirection of the submission ring is of no use to us: entry n is always in slot n. */
	for (uint32_t i = 0; i < uring->sq_size; i++)
		uring->sq_array[i] = i;
}

/* A ring does what fill() asks for and nothing else, whoever writes entries: filters of system calls do not
 * see them. */
static int restrict_to_images(int fd)
{
	struct io_uring_restriction allowed[] = {
	    {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ},
	    {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE},
	    {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
	    {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
	    {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC},
	    {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE},
	};
	unsigned int count = sizeof(allowed) / sizeof(allowed[0]);

	if (syscall(__NR_io_uring_register, fd, IORING_REGISTER_RESTRICTIONS, allowed, count) < 0)
		return -errno;
	return syscall(__NR_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0 ? -errno : 0;
}

/* Returns the descriptor of a ring, which closes on exec by itself, or -errno. */
static int set_up(uint32_t depth, struct io_uring_params *params)
{
	int fd;
	int error;

	*params = (struct io_uring_params){.flags = IORING_SETUP_R_DISABLED};
	fd = (int)syscall(__NR_io_uring_setup, depth, params);
	if (fd < 0 && errno == EINVAL) { /* before Linux 5.10, which has no restrictions */
		*params = (struct io_uring_params){0};
		fd = (int)syscall(__NR_io_uring_setup, depth, params);
		return fd < 0 ? -errno : fd;
	}
	if (fd < 0)
		return -errno;
	error = restrict_to_images(fd);
	if (error == 0)
		return fd;
	close(fd);
	return error;
}

int uring_open(struct uring **out, uint32_t depth)
{
	/* One mapping for both rings, entries that are copied at submission, no completion that gets lost,
	 * and, with Linux 5.6, fallocate: the last bit stands for it. */
	const uint32_t needed =
	    IORING_FEAT_SINGLE_MMAP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_NODROP | IORING_FEAT_RW_CUR_POS;
	struct io_uring_params params;
	struct uring *uring = calloc(1, sizeof(*uring));
	int error;

	if (!uring)
		return -ENOMEM;
	uring->fd = set_up(depth, &params);
	if (uring->fd < 0) {
		error = uring->fd;
		goto free_uring;
	}
	error = -ENOSYS;
	if ((params.features & needed) != needed)
		goto close_fd;
	error = map_rings(uring, &params);
	if (error < 0)
		goto close_fd;
	find_parts(uring, &params);
	*out = uring;
	return 0;

close_fd:
	close(uring->fd);
free_uring:
	free(uring);
	return error;
}

void uring_close(struct uring *uring)
{
	munmap(uring->entries, uring->entries_size);
	munmap(uring->rings, uring->rings_size);
	close(uring->fd);
	free(uring);
}

int uring_fd(const struct uring *uring)
{
	return uring->fd;
}

/* A list of one buffer, the usual case, would cost the kernel a copy of the list. */
static void fill_transfer(struct io_uring_sqe *entry, const struct aio_op *op)
{
	bool single = op->iov_count == 1;

	if (op->kind == AIO_READ)
		entry->opcode = single ? IORING_OP_READ : IORING_OP_READV;
	else
		entry->opcode = single ? IORING_OP_WRITE : IORING_OP_WRITEV;
	entry->addr = single ? (uintptr_t)op->iov->iov_base : (uintptr_t)op->iov;
	entry->len =
	    single ? (uint32_t)op->iov->iov_len : op->iov_count; /* a buffer is below 2^32: see virtq */
	entry->rw_flags = op->durable ? RWF_DSYNC : 0;
}

static void fill(struct io_uring_sqe *entry, int fd, struct aio_op *op)
{
	memset(entry, 0, sizeof(*entry));
	entry->fd = fd;
	entry->off = op->offset;
	entry->user_data = (uintptr_t)op;
	switch (op->kind) {
	case AIO_READ:
	case AIO_WRITE:
		fill_transfer(entry, op);
		break;
	case AIO_SYNC:
		entry->opcode = IORING_OP_FSYNC;
		entry->off = 0; /* with len 0: all of the file */
		entry->fsync_flags = IORING_FSYNC_DATASYNC;
		break;
	default:
		entry->opcode = IORING_OP_FALLOCATE;
		entry->addr = op->length;
		entry->len = FALLOC_FL_KEEP_SIZE |
			     (op->kind == AIO_ZERO ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE);
		break;
	}
}

bool uring_queue(struct uring *uring, int fd, struct aio_op *op)
{
	/* Pairs with the kernel's release of the head: it has copied the entries before. */
	uint32_t head = __atomic_load_n(uring->sq_head, __ATOMIC_ACQUIRE);

	if (uring->tail - head == uring->sq_size)
		return false;
	fill(&uring->entries[uring->tail & uring->sq_mask], fd, op);
	uring->tail++;
	/* Pairs with the kernel's acquire of the tail in io_uring_enter. */
	__atomic_store_n(uring->sq_tail, uring->tail, __ATOMIC_RELEASE);
	return true;
}

int uring_enter(struct uring *uring, uint32_t wait)
{
	uint32_t queued = uring->tail - __atomic_load_n(uring->sq_head, __ATOMIC_ACQUIRE);
	uint32_t flags = wait > 0 ? IORING_ENTER_GETEVENTS : 0;
	long accepted;

	if (queued == 0 && wait == 0)
		return 0;
	accepted = syscall(__NR_io_uring_enter, uring->fd, queued, wait, flags, NULL, 0);
	if (accepted < 0)
		return -errno;
	return accepted < (long)queued ? -EAGAIN : 0;
}

struct aio_op *uring_take_back(struct uring *uring)
{
	uint32_t head = __atomic_load_n(uring->sq_head, __ATOMIC_ACQUIRE);

	/* Without a kernel thread that polls, the kernel reads the ring inside io_uring_enter only: the
	 * newest entry can be withdrawn. */
	if (uring->tail == head)
		return NULL;
	uring->tail--;
	__atomic_store_n(uring->sq_tail, uring->tail, __ATOMIC_RELEASE);
	return (struct aio_op *)(uintptr_t)uring->entries[uring->tail & uring->sq_mask].user_data;
}

struct aio_op *uring_reap(struct uring *uring)
{
	uint32_t head = *uring->cq_head; /* ours to write */
	const struct io_uring_cqe *entry = &uring->completions[head & uring->cq_mask];
	struct aio_op *op;

	/* Pairs with the kernel's release of the tail after it filled the entry. */
	if (head == __atomic_load_n(uring->cq_tail, __ATOMIC_ACQUIRE))
		return NULL;
	op = (struct aio_op *)(uintptr_t)entry->user_data;
	op->result = entry->res;
	/* Pairs with the kernel's acquire of the head before it fills the slot again. */
	__atomic_store_n(uring->cq_head, head + 1, __ATOMIC_RELEASE);
	return op;
}
