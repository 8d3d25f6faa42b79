/* Large pages that the host gave away: a driver that takes them back hears of it when they are there. */
#include <sys/syscall.h>

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

static struct balloon_driver huge(uint64_t features)
{
	struct balloon_driver b = balloon_open(&(struct balloon_plan){.page_size = HUGE});

	balloon_start(&b, features);
	return b;
}

/* Sends the deflation of the large page at VICTIMS, without waiting for the answer. */
static void ask_back(struct balloon_driver *b)
{
	uint64_t own = LIST + MIB; /* it is read again when it is tried again */
	uint32_t *list = ram_at(b, own);

	for (uint32_t i = 0; i < 512; i++)
		list[i] = PFN(VICTIMS) + i;
	balloon_desc(b, DEFLATE_QUEUE, 0, (struct desc){.addr = own, .len = 4 * 512});
	balloon_put(b, DEFLATE_QUEUE, 0);
	settle(&b->d);
}

static void a_large_page_is_there_again_before_the_driver_hears_that_it_may_use_it(void)
{
	struct balloon_driver b = huge(ALL_FEATURES);

	send_range(&b, INFLATE_QUEUE, VICTIMS, 512);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 0);
	send_range(&b, DEFLATE_QUEUE, VICTIMS, 1);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 512);
	balloon_close(&b);
}

static void a_driver_waits_for_a_large_page_that_the_host_has_not(void)
{
	struct balloon_driver b = huge(ALL_FEATURES);

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

static void each_wait_is_told(void)
{
	struct balloon_driver b = huge(ALL_FEATURES);

	for (int i = 0; i < 2; i++) {
		send_range(&b, INFLATE_QUEUE, VICTIMS, 512);
		lack = EFAULT;
		ask_back(&b);
		EQUAL(next_event(&b.d).kind, SV_EVENT_BALLOON_WAITS);
		lack = 0;
		balloon_settle(&b, DEFLATE_QUEUE);
	}
	EQUAL(next_event(&b.d).kind, 0);
	balloon_close(&b);
}

static void requests_before_the_one_that_waits_are_answered(void)
{
	struct balloon_driver b = huge(ALL_FEATURES);

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
	struct balloon_driver b = huge(ALL_FEATURES);

	send_range(&b, INFLATE_QUEUE, VICTIMS, 512);
	lack = ENOMEM;
	ask_back(&b);
	EQUAL(next_event(&b.d).kind, SV_EVENT_BALLOON_WAITS);
	balloon_start(&b, ALL_FEATURES);
	send_range(&b, INFLATE_QUEUE, VICTIMS, 512);
	ask_back(&b); /* waits anew, with what its predecessor left of the timer */
	EQUAL(next_event(&b.d).kind, SV_EVENT_BALLOON_WAITS);
	EQUAL(balloon_used(&b, DEFLATE_QUEUE), 0);
	lack = 0;
	balloon_settle(&b, DEFLATE_QUEUE);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 512);
	balloon_close(&b);
}

/* More in one list than is taken back in one turn: each turn takes up where the last one was. */
static void a_long_list_takes_several_turns(void)
{
	struct balloon_driver b = huge(ALL_FEATURES);
	uint64_t length = 2 * BALLOON_TAKEN_MOST;
	uint64_t own = LIST + MIB;
	uint32_t *list = ram_at(&b, own);

	for (uint32_t i = 0; i < length / PAGE; i++)
		list[i] = PFN(VICTIMS) + i;
	for (uint32_t queue = INFLATE_QUEUE; queue <= DEFLATE_QUEUE; queue++) {
		balloon_desc(&b, queue, 0, (struct desc){.addr = own, .len = (uint32_t)(length / PAGE) * 4});
		balloon_put(&b, queue, 0);
		balloon_settle(&b, queue);
		EQUAL(kept_pages(&b, VICTIMS, length), queue == INFLATE_QUEUE ? 0 : length / PAGE);
	}
	balloon_close(&b);
}

static void a_host_that_cannot_look_for_pages_leaves_it_to_the_first_access(void)
{
	struct balloon_driver b = huge(ALL_FEATURES);

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
	RUN(each_wait_is_told);
	RUN(requests_before_the_one_that_waits_are_answered);
	RUN(a_driver_that_waits_can_be_reset);
	RUN(a_long_list_takes_several_turns);
	RUN(a_host_that_cannot_look_for_pages_leaves_it_to_the_first_access);
	return 0;
}
