#include <sys/timerfd.h>

#include "clock.h"
#include "driver.h"

#define FILLER 0xa5

/* A machine with an entropy device whose source is `fd`, which it takes over. */
static struct driver opened(int fd, uint32_t bytes_per_sec)
{
	struct sv_rng_config config = {.fd = fd, .bytes_per_sec = bytes_per_sec};
	struct driver d = driver_without_device();

	EQUAL(sv_rng_create(d.vm, &config, &d.device), 0);
	EQUAL(sv_mmio_place(d.vm, d.device, WINDOW, 5), 0);
	memset(at_gpa(&d.ring, DATA), FILLER, 0x40000);
	close(fd);
	driver_start(&d, ALL_FEATURES);
	return d;
}

struct pipe {
	int read;
	int write;
};

static struct pipe new_pipe(void)
{
	int ends[2];

	CHECK(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
	return (struct pipe){ends[0], ends[1]};
}

static int zeroes(void)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	CHECK(fd >= 0);
	return fd;
}

static void ask(struct driver *d, uint32_t slot, uint64_t data, uint32_t length)
{
	put_desc(&d->ring, slot, data, length, F_WRITE, 0);
	publish(&d->ring, slot);
	driver_notify(d);
}

static uint8_t byte_at(struct driver *d, uint64_t gpa)
{
	return *(uint8_t *)at_gpa(&d->ring, gpa);
}

static void a_request_gets_what_the_source_has_and_no_more(void)
{
	struct pipe source = new_pipe();
	struct driver d = opened(source.read, 0);

	CHECK(write(source.write, "abcdef", 6) == 6);
	ask(&d, 0, DATA, 64);
	wait_used(&d, 1);
	EQUAL(last_used_length(&d), 6);
	EQUAL(memcmp(at_gpa(&d.ring, DATA), "abcdef", 6), 0);
	EQUAL(byte_at(&d, DATA + 6), FILLER);
	driver_close(&d);
	close(source.write);
}

static void a_request_may_have_many_buffers(void)
{
	struct pipe source = new_pipe();
	struct driver d = opened(source.read, 0);

	CHECK(write(source.write, "abcdefgh", 8) == 8);
	put_desc(&d.ring, 0, DATA, 1, F_WRITE | F_NEXT, 1);
	put_desc(&d.ring, 1, DATA + 100, 2, F_WRITE | F_NEXT, 2);
	put_desc(&d.ring, 2, DATA + 200, 3, F_WRITE, 0);
	publish(&d.ring, 0);
	driver_notify(&d);
	wait_used(&d, 1);
	EQUAL(last_used_length(&d), 6);
	EQUAL(byte_at(&d, DATA), 'a');
	EQUAL(memcmp(at_gpa(&d.ring, DATA + 100), "bc\xa5", 3), 0);
	EQUAL(memcmp(at_gpa(&d.ring, DATA + 200), "def\xa5", 4), 0);
	driver_close(&d);
	close(source.write);
}

static void a_request_gets_64_kib_at_most(void)
{
	struct driver d = opened(zeroes(), 0);

	put_desc(&d.ring, 0, DATA, 40000, F_WRITE | F_NEXT, 1);
	put_desc(&d.ring, 1, DATA + 40000, 40000, F_WRITE | F_NEXT, 2);
	put_desc(&d.ring, 2, DATA + 80000, 40000, F_WRITE, 0);
	publish(&d.ring, 0);
	driver_notify(&d);
	wait_used(&d, 1);
	EQUAL(last_used_length(&d), 65536);
	EQUAL(byte_at(&d, DATA + 65535), 0);
	EQUAL(byte_at(&d, DATA + 65536), FILLER);
	driver_close(&d);
}

static void every_request_of_a_full_queue_is_served(void)
{
	struct driver d = opened(zeroes(), 0);

	for (uint32_t slot = 0; slot < QUEUE_SIZE; slot++) {
		put_desc(&d.ring, slot, DATA, 65536, F_WRITE, 0);
		publish(&d.ring, slot);
	}
	driver_notify(&d);
	wait_used(&d, QUEUE_SIZE);
	driver_close(&d);
}

static void a_source_that_has_nothing_holds_only_its_request(void)
{
	struct pipe source = new_pipe();
	struct driver d = opened(source.read, 0);

	for (int round = 0; round < 3; round++) {
		ask(&d, 0, DATA, 64);
		settle(&d); /* the I/O thread is not held up */
		EQUAL(used_index(&d.ring), d.waited);
		EQUAL(byte_at(&d, DATA + 1), FILLER);
		CHECK(write(source.write, "z", 1) == 1);
		wait_used(&d, 1);
		EQUAL(last_used_length(&d), 1);
		EQUAL(byte_at(&d, DATA), 'z');
	}
	EQUAL(next_event(&d).kind, 0);
	driver_close(&d);
	close(source.write);
}

static void a_source_that_ended_is_told_once_and_tried_again(void)
{
	struct pipe source = new_pipe();
	int again = dup(source.read);
	struct driver d = opened(source.read, 0);
	char name[32];
	struct sv_event event;
	int writer;

	close(source.write);
	ask(&d, 0, DATA, 64);
	for (int i = 0; i < 20; i++) {
		driver_notify(&d);
		settle(&d);
	}
	EQUAL(used_index(&d.ring), 0);
	EQUAL(byte_at(&d, DATA), FILLER);
	event = next_event(&d);
	EQUAL(event.kind, SV_EVENT_HOST_ERROR);
	EQUAL(event.source, sv_virtio_id(d.device));
	EQUAL(event.data[0], ENODATA);
	EQUAL(next_event(&d).kind, 0);
	settle(&d); /* the I/O thread's next try comes after our look at the buffer */
	snprintf(name, sizeof(name), "/proc/self/fd/%d", again);
	writer = open(name, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
	CHECK(writer >= 0);
	CHECK(write(writer, "q", 1) == 1);
	wait_used(&d, 1);
	EQUAL(last_used_length(&d), 1);
	EQUAL(byte_at(&d, DATA), 'q');
	EQUAL(reg_read(&d, R_STATUS), S_READY | S_DRIVER_OK);
	driver_close(&d);
	close(writer);
	close(again);
}

static void a_source_that_fails_is_told_with_its_reason(void)
{
	struct driver d = opened(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0);
	struct sv_event event;

	ask(&d, 0, DATA, 64);
	settle(&d);
	event = next_event(&d);
	EQUAL(event.kind, SV_EVENT_HOST_ERROR);
	EQUAL(event.data[0], EISDIR);
	EQUAL(used_index(&d.ring), 0);
	EQUAL(byte_at(&d, DATA), FILLER);
	driver_close(&d);
}

static void a_reset_forgets_the_request_that_waits(void)
{
	struct pipe source = new_pipe();
	struct driver d = opened(source.read, 0);

	ask(&d, 0, DATA, 64);
	settle(&d);
	reg_write(&d, R_STATUS, 0);
	CHECK(write(source.write, "new", 3) == 3);
	settle(&d);
	EQUAL(byte_at(&d, DATA), FILLER);
	driver_start(&d, ALL_FEATURES);
	settle(&d);
	EQUAL(used_index(&d.ring), 0);
	ask(&d, 3, DATA + 64, 64);
	wait_used(&d, 1);
	EQUAL(used_at(&d.ring, 0).id, 3);
	EQUAL(memcmp(at_gpa(&d.ring, DATA + 64), "new\xa5", 4), 0);
	EQUAL(byte_at(&d, DATA), FILLER);
	driver_close(&d);
	close(source.write);
}

static void a_request_without_room_ends_with_nothing(void)
{
	struct driver d = opened(zeroes(), 0);

	put_desc(&d.ring, 0, DATA, 64, 0, 0);
	publish(&d.ring, 0);
	driver_notify(&d);
	wait_used(&d, 1);
	EQUAL(last_used_length(&d), 0);
	EQUAL(byte_at(&d, DATA), FILLER);
	driver_close(&d);
}

static void a_broken_ring_asks_for_a_reset(void)
{
	struct driver d = opened(zeroes(), 0);

	publish(&d.ring, 999);
	driver_notify(&d);
	wait_interrupt(&d);
	CHECK(reg_read(&d, R_STATUS) & S_NEEDS_RESET);
	driver_start(&d, ALL_FEATURES);
	ask(&d, 0, DATA, 8);
	wait_used(&d, 1);
	driver_close(&d);
}

/* Asks for 64 bytes again and again, as Linux does; returns how many came within a time. */
static uint64_t bytes_within(struct driver *d, uint64_t duration_ns)
{
	uint64_t end = clock_now() + duration_ns;
	uint64_t bytes = 0;

	while (clock_now() < end) {
		ask(d, 0, DATA, 64);
		wait_used(d, 1);
		CHECK(last_used_length(d) > 0 && last_used_length(d) <= 64);
		bytes += last_used_length(d);
	}
	return bytes;
}

static void the_rate_is_kept(void)
{
	static const uint32_t rates[] = {64, 1000, 20000};

	for (uint32_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct driver d = opened(zeroes(), rates[i]);
		uint64_t bytes = bytes_within(&d, 2ull * CLOCK_SECOND);

		/* A busy host wakes its threads late by more than the burst; test_ratelimit.c is exact. */
		CHECK(bytes >= rates[i]);
		CHECK(bytes <= 2 * rates[i] * 105ull / 100 + 64);
		driver_close(&d);
	}
}

int main(int argc, char **argv)
{
	RUN(a_request_gets_what_the_source_has_and_no_more);
	RUN(a_request_may_have_many_buffers);
	RUN(a_request_gets_64_kib_at_most);
	RUN(every_request_of_a_full_queue_is_served);
	RUN(a_source_that_has_nothing_holds_only_its_request);
	RUN(a_source_that_ended_is_told_once_and_tried_again);
	RUN(a_source_that_fails_is_told_with_its_reason);
	RUN(a_reset_forgets_the_request_that_waits);
	RUN(a_request_without_room_ends_with_nothing);
	RUN(a_broken_ring_asks_for_a_reset);
	RUN(the_rate_is_kept);
	return 0;
}
