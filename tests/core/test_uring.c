/* Rings serve images and nothing else: filters of system calls do not see what goes through them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "aio.h"
#include "blk.h"
#include "fault.h"

#define DEPTH 4

static uint8_t text[512];
static struct iovec halves[] = {{text, 256}, {text + 256, 256}};
static struct iovec buffer = {text, sizeof(text)};

/* Does a transfer of the image, whose entry somebody has changed before the kernel sees it. */
static int64_t changed(struct aio_op op, uint8_t opcode, uint8_t flags)
{
	int image = numbered_image();
	struct io_uring_sqe *entries;
	struct uring *uring;

	EQUAL(uring_open(&uring, DEPTH), 0);
	entries = mmap(NULL, DEPTH * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, uring_fd(uring),
		       IORING_OFF_SQES);
	CHECK(entries != MAP_FAILED);
	CHECK(uring_queue(uring, image, &op));
	entries[0].opcode = opcode;
	entries[0].flags = flags;
	EQUAL(uring_enter(uring, 1), 0);
	CHECK(uring_reap(uring) == &op);
	munmap(entries, DEPTH * sizeof(*entries));
	uring_close(uring);
	close(image);
	return op.result;
}

static int64_t result_of(uint8_t opcode, uint8_t flags)
{
	return changed((struct aio_op){.kind = AIO_READ, .iov = halves, .iov_count = 2}, opcode, flags);
}

static void a_ring_reads_and_writes_one_buffer_or_several(void)
{
	static const struct {
		enum aio_kind kind;
		uint8_t one;
		uint8_t several;
	} cases[] = {{AIO_READ, IORING_OP_READ, IORING_OP_READV},
		     {AIO_WRITE, IORING_OP_WRITE, IORING_OP_WRITEV}};

	for (uint32_t i = 0; i < 2; i++) {
		struct aio_op one = {.kind = cases[i].kind, .iov = &buffer, .iov_count = 1};
		struct aio_op several = {.kind = cases[i].kind, .iov = halves, .iov_count = 2};

		EQUAL(changed(one, cases[i].one, 0), sizeof(text));
		EQUAL(changed(several, cases[i].several, 0), sizeof(text));
	}
}

static void a_ring_opens_sends_and_connects_nothing(void)
{
	EQUAL(result_of(IORING_OP_OPENAT, 0), -EACCES);
	EQUAL(result_of(IORING_OP_SENDMSG, 0), -EACCES);
	EQUAL(result_of(IORING_OP_CONNECT, 0), -EACCES);
	EQUAL(result_of(IORING_OP_NOP, 0), -EACCES);
}

static void a_ring_takes_no_flags_of_entries(void)
{
	EQUAL(result_of(IORING_OP_READV, IOSQE_ASYNC), -EACCES);
	EQUAL(result_of(IORING_OP_READV, IOSQE_FIXED_FILE), -EACCES);
}

static void nothing_more_is_registered_with_a_ring(void)
{
	struct uring *uring;
	long result;

	EQUAL(uring_open(&uring, DEPTH), 0);
	result = syscall(__NR_io_uring_register, uring_fd(uring), IORING_REGISTER_BUFFERS, &buffer, 1);
	EQUAL(result, -1);
	EQUAL(errno, EACCES);
	uring_close(uring);
}

static struct blk *disk_without_image(struct driver *d)
{
	struct sv_blk_config config = {.fd = -1};

	*d = driver_open(&config);
	driver_start(d, ALL_FEATURES);
	return (struct blk *)d->device;
}

static void a_disk_that_is_prepared_makes_no_ring_for_its_images(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;
	struct blk *blk = disk_without_image(&d);
	struct uring *ring;

	EQUAL(sv_blk_prepare(d.device), 0);
	ring = blk->aio.kept;
	CHECK(ring);
	EQUAL(sv_blk_prepare(d.device), 0);
	for (uint32_t i = 0; i < 3; i++) {
		CHECK(blk->aio.kept == ring);
		EQUAL(sv_blk_plug(d.device, &config), 0);
		CHECK(blk->aio.uring == ring && !blk->aio.kept);
		EQUAL(request(&d, T_IN, i, DATA, 512), 0);
		EQUAL(number_in_ram(&d, DATA), i);
		EQUAL(sv_blk_unplug(d.device), 0);
	}
	d.image = config.fd;
	driver_close(&d);
}

int main(int argc, char **argv)
{
	if (!engine_works(SV_AIO_URING)) {
		printf("skipped: this host has no io_uring\n");
		return 0;
	}
	RUN(a_ring_reads_and_writes_one_buffer_or_several);
	RUN(a_ring_opens_sends_and_connects_nothing);
	RUN(a_ring_takes_no_flags_of_entries);
	RUN(nothing_more_is_registered_with_a_ring);
	RUN(a_disk_that_is_prepared_makes_no_ring_for_its_images);
	return 0;
}
