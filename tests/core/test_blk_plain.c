/* Plain system calls, which hold the I/O thread for as long as they take: who waits hears of what has ended.
 */
#include <semaphore.h>
#include <sys/syscall.h>
#include <time.h>

#include "driver.h"

static atomic_int reads; /* that have begun */
static int held;         /* the number of the read that waits */
static int slow;         /* from this one on each takes a second by the clock */
static atomic_int late;  /* seconds that the clock is ahead */
static sem_t go_on;

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int status = (int)syscall(SYS_clock_gettime, clock, now);

	now->tv_sec += late;
	return status;
}

ssize_t pread(int fd, void *to, size_t size, off_t offset)
{
	int number = ++reads;

	late += number >= slow;
	while (number == held && sem_wait(&go_on) < 0)
		continue;
	return syscall(SYS_pread64, fd, to, size, offset);
}

/* Publishes so many reads, of which the last is held until the driver has heard of all others. */
static void hear_of_all_but_the_last(int count, int slow_from)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;

	config.engine = SV_AIO_SYNC;
	reads = 0;
	held = count;
	slow = slow_from;
	d = driver_open(&config);
	d.ring.size = 128;
	driver_start(&d, ALL_FEATURES & ~VIRTIO_F_EVENT_IDX);
	for (int i = 0; i < count; i++)
		put_request(&d, (uint32_t)i, T_IN, (uint32_t)i, DATA + (uint32_t)i * 512, 512);
	driver_notify(&d);
	while (used_index(&d.ring) < count - 1)
		wait_interrupt(&d);
	sem_post(&go_on);
	while (used_index(&d.ring) < count)
		wait_interrupt(&d);
	EQUAL(reads, count);
	driver_close(&d);
}

static void slow_requests_are_told_while_the_next_one_takes_its_time(void)
{
	hear_of_all_but_the_last(3, 1);
}

static void slow_requests_are_told_that_come_after_quick_ones(void)
{
	hear_of_all_but_the_last(14, 6);
}

int main(int argc, char **argv)
{
	CHECK(sem_init(&go_on, 0, 0) == 0);
	RUN(slow_requests_are_told_while_the_next_one_takes_its_time);
	RUN(slow_requests_are_told_that_come_after_quick_ones);
	return 0;
}
