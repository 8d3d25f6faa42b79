/* Large pages that the host gave away: a driver that takes them back hears of it when they are there. */
#include <sys/syscall.h>
#include <time.h>

#include "balloon_driver.h"

/* Stands in for the C library's: as if there were no page. */
static atomic_int lack; /* errno, or 0 */

int madvise(void *address, size_t length, int advice)
{
	if (advice == MADV_POPULATE_WRITE && lack) {
		errno = lack;
		return -1;
	}
	return (int)syscall(SYS_madvise, address, length, advice);
}

static atomic_int later; /* seconds that the clock is ahead */

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int status = (int)syscall(SYS_clock_gettime, clock, now);

	now->tv_sec += later;
	return status;
}

static struct balloon_driver huge(void)
{
	struct balloon_driver b = balloon_open(&(struct balloon_plan){.page_size = HUGE});

	balloon_start(&b, ALL_FEATURES);
	return b;
}

/* Names the pages from VICTIMS to a queue, without waiting for the answer. */
static void name_pages(struct balloon_driver *b, uint32_t queue, uint64_t length)
{
	uint64_t own = LIST + MIB; /* it is read again when it is tried again */
	uint32_t *list = ram_at(b, own);

	for (uint32_t i = 0; i < length / PAGE; i++)
		list[i] = PFN(VICTIMS) + i;
	balloon_desc(b, queue, 0, (struct desc){.addr = own, .len = (uint32_t)(length / PAGE) * 4});
	balloon_put(b, queue, 0);
	settle(&b->d);
}

static void ask_back(struct balloon_driver *b)
{
	name_pages(b, DEFLATE_QUEUE, HUGE);
}

static void a_large_page_is_there_again_before_the_driver_hears_that_it_may_use_it(void)
{
	struct balloon_driver b = huge();

	send_range(&b, INFLATE_QUEUE, VICTIMS, 512);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 0);
	send_range(&b, DEFLATE_QUEUE, VICTIMS, 1);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 512);
	balloon_close(&b);
}

static void a_driver_waits_for_a_large_page_that_the_host_has_not(void)
{
	struct balloon_driver b = huge();

	send_range(&b, INFLATE_QUEUE, VICTIMS, 512);
	lack = EFAULT;
	ask_back(&b);
	EQUAL(next_event(&b.d).kind, SV_EVENT_BALLOON_WAITS);
	reg_write(&b.d, R_NOTIFY, DEFLATE_QUEUE); /* a driver may ask as often as it likes */
	settle(&b.d);
	EQUAL(balloon_used(&b, DEFLATE_QUEUE), 0);
	send_range(&b, INFLATE_QUEUE, VICTIMS + HUGE, 1); /* the other queues go on */
	lack = 0;
	balloon_settle(&b, DEFLATE_QUEUE);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 512);
	EQUAL(next_event(&b.d).kind, 0);
	balloon_close(&b);
}

static void wait_once(struct balloon_driver *b)
{
	send_range(b, INFLATE_QUEUE, VICTIMS, 512);
	lack = EFAULT;
	ask_back(b);
	EQUAL(balloon_used(b, DEFLATE_QUEUE), (uint16_t)(b->avail[DEFLATE_QUEUE] - 1));
	lack = 0;
	balloon_settle(b, DEFLATE_QUEUE);
}

static void a_shortage_is_told_once_however_many_pages_are_waited_for(void)
{
	struct balloon_driver b = huge();

	wait_once(&b);
	wait_once(&b);
	EQUAL(next_event(&b.d).kind, SV_EVENT_BALLOON_WAITS);
	EQUAL(next_event(&b.d).kind, 0);
	later += 60;
	wait_once(&b);
	EQUAL(next_event(&b.d).kind, SV_EVENT_BALLOON_WAITS);
	balloon_close(&b);
}

static void requests_before_the_one_that_waits_are_answered(void)
{
	struct balloon_driver b = huge();

	send_range(&b, INFLATE_QUEUE, VICTIMS, 512);
	lack = EFAULT;
	send_range(&b, DEFLATE_QUEUE, VICTIMS + HUGE, 1); /* is not in the balloon */
	ask_back(&b);
	EQUAL(next_event(&b.d).kind, SV_EVENT_BALLOON_WAITS);
	EQUAL(balloon_used(&b, DEFLATE_QUEUE), 1);
	lack = 0;
	balloon_settle(&b, DEFLATE_QUEUE);
	EQUAL(balloon_used(&b, DEFLATE_QUEUE), 2);
	balloon_close(&b);
}

static void a_driver_that_waits_can_be_reset(void)
{
	struct balloon_driver b = huge();

	send_range(&b, INFLATE_QUEUE, VICTIMS, 512);
	lack = ENOMEM;
	ask_back(&b);
	EQUAL(next_event(&b.d).kind, SV_EVENT_BALLOON_WAITS);
	balloon_start(&b, ALL_FEATURES);
	send_range(&b, INFLATE_QUEUE, VICTIMS, 512);
	ask_back(&b); /* waits anew, with what its predecessor left of the timer */
	EQUAL(balloon_used(&b, DEFLATE_QUEUE), 0);
	lack = 0;
	balloon_settle(&b, DEFLATE_QUEUE);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 512);
	balloon_close(&b);
}

static void no_turn_takes_more_back_than_it_may(void)
{
	static struct balloon_memory memory;
	static uint32_t pfns[2 * BALLOON_TAKEN_MOST / PAGE];
	struct balloon_driver b = huge();
	struct iovec list[3] = {{pfns, sizeof(pfns)}, {pfns, sizeof(pfns)}, {pfns, sizeof(pfns)}};
	struct span span = span_of(&list[0], 1);

	for (uint32_t i = 0; i < sizeof(pfns) / sizeof(pfns[0]); i++)
		pfns[i] = PFN(VICTIMS) + i;
	EQUAL(balloon_memory_open(&memory, b.d.vm), 0);
	balloon_memory_begin(&memory, true);
	balloon_memory_inflate(&memory, &span);
	EQUAL(kept_pages(&b, VICTIMS, 2 * BALLOON_TAKEN_MOST), 0);
	span = span_of(&list[1], 1);
	EQUAL(balloon_memory_deflate(&memory, &span), BALLOON_MORE);
	EQUAL(kept_pages(&b, VICTIMS, 2 * BALLOON_TAKEN_MOST), BALLOON_TAKEN_MOST / PAGE);
	memory.taken = 0; /* the next turn */
	span = span_of(&list[2], 1);
	EQUAL(balloon_memory_deflate(&memory, &span), BALLOON_TAKEN);
	EQUAL(kept_pages(&b, VICTIMS, 2 * BALLOON_TAKEN_MOST), 2 * BALLOON_TAKEN_MOST / PAGE);
	balloon_memory_close(&memory);
	balloon_close(&b);
}

static void a_list_that_takes_several_turns_is_answered(void)
{
	struct balloon_driver b = huge();

	for (uint32_t queue = INFLATE_QUEUE; queue <= DEFLATE_QUEUE; queue++) {
		name_pages(&b, queue, 2 * BALLOON_TAKEN_MOST);
		balloon_settle(&b, queue);
	}
	EQUAL(kept_pages(&b, VICTIMS, 2 * BALLOON_TAKEN_MOST), 2 * BALLOON_TAKEN_MOST / PAGE);
	balloon_close(&b);
}

static void a_host_that_cannot_look_for_pages_leaves_it_to_the_first_access(void)
{
	struct balloon_driver b = huge();

	send_range(&b, INFLATE_QUEUE, VICTIMS, 512);
	lack = EINVAL;
	send_range(&b, DEFLATE_QUEUE, VICTIMS, 512);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 0);
	lack = 0;
	balloon_close(&b);
}

int main(int argc, char **argv)
{
	RUN(a_large_page_is_there_again_before_the_driver_hears_that_it_may_use_it);
	RUN(a_driver_waits_for_a_large_page_that_the_host_has_not);
	RUN(a_shortage_is_told_once_however_many_pages_are_waited_for);
	RUN(requests_before_the_one_that_waits_are_answered);
	RUN(a_driver_that_waits_can_be_reset);
	RUN(no_turn_takes_more_back_than_it_may);
	RUN(a_list_that_takes_several_turns_is_answered);
	RUN(a_host_that_cannot_look_for_pages_leaves_it_to_the_first_access);
	return 0;
}
