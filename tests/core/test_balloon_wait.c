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
	uint32_t *list = ram_at(b, LIST);

	for (uint32_t i = 0; i < 512; i++)
		list[i] = PFN(VICTIMS) + i;
	balloon_desc(b, DEFLATE_QUEUE, 0, (struct desc){.addr = LIST, .len = 4 * 512});
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

static void a_driver_that_waits_can_be_reset(void)
{
	struct balloon_driver b = huge(ALL_FEATURES);

	send_range(&b, INFLATE_QUEUE, VICTIMS, 512);
	lack = ENOMEM;
	ask_back(&b);
	EQUAL(next_event(&b.d).kind, SV_EVENT_BALLOON_WAITS);
	balloon_start(&b, ALL_FEATURES);
	lack = 0;
	send_range(&b, DEFLATE_QUEUE, VICTIMS, 512);
	EQUAL(balloon_used(&b, DEFLATE_QUEUE), 1);
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
	RUN(a_driver_that_waits_can_be_reset);
	RUN(a_host_that_cannot_look_for_pages_leaves_it_to_the_first_access);
	return 0;
}
