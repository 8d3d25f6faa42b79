/* What a balloon says and is told: configuration, statistics, reported pages, changes. */
#include <time.h>

#include "balloon_driver.h"

#define STATS_F     VIRTIO_BALLOON_F_STATS_VQ
#define REPORTING_F VIRTIO_BALLOON_F_PAGE_REPORTING

static const struct balloon_plan full = {.config = {.deflate_on_oom = 1, .reporting = 1}};

static struct balloon_driver started(uint64_t features)
{
	struct balloon_driver b = balloon_open(&full);

	balloon_start(&b, features);
	return b;
}

static uint64_t offered(struct balloon_driver *b)
{
	reg_write(&b->d, R_FEATURES_SEL, 0);
	return reg_read(&b->d, R_FEATURES) & 0xffffff;
}

static uint32_t queue_max(struct balloon_driver *b, uint32_t queue)
{
	reg_write(&b->d, R_QUEUE_SEL, queue);
	return reg_read(&b->d, R_QUEUE_MAX);
}

static void set_actual(struct balloon_driver *b, uint32_t pages)
{
	bus_write(&b->d.vm->mmio, WINDOW + R_GUEST, 4, pages);
}

static void the_device_offers_what_it_was_made_with(void)
{
	struct balloon_plan huge = {.page_size = HUGE};
	struct balloon_driver b = balloon_open(&(struct balloon_plan){0});

	EQUAL(reg_read(&b.d, R_DEVICE_ID), 5);
	EQUAL(offered(&b), STATS_F);
	EQUAL(queue_max(&b, STATS_QUEUE), 256);
	EQUAL(queue_max(&b, REPORTING_QUEUE), 0);
	balloon_close(&b);
	b = balloon_open(&full);
	EQUAL(offered(&b), STATS_F | VIRTIO_BALLOON_F_DEFLATE_ON_OOM | REPORTING_F);
	EQUAL(queue_max(&b, LAST_QUEUE), 256);
	EQUAL(queue_max(&b, LAST_QUEUE + 1), 0);
	balloon_close(&b);
	b = balloon_open(&huge);
	EQUAL(offered(&b), STATS_F | MUST_TELL);
	balloon_close(&b);
}

static void a_target_is_told_to_the_driver(void)
{
	struct balloon_driver b = started(ALL_FEATURES);
	uint32_t generation = reg_read(&b.d, 0x0fc);

	EQUAL(sv_balloon_set_target(b.d.device, MEMORY - 10 * PAGE), 0);
	EQUAL(wait_interrupt(&b.d), VIRTIO_INTERRUPT_CONFIG);
	EQUAL(reg_read(&b.d, R_CONFIG), 10);
	CHECK(reg_read(&b.d, 0x0fc) != generation);
	balloon_close(&b);
}

static void a_target_is_no_more_than_there_is_and_never_takes_too_much(void)
{
	struct balloon_driver b = started(ALL_FEATURES);

	sv_balloon_set_target(b.d.device, UINT64_MAX);
	EQUAL(reg_read(&b.d, R_CONFIG), 0);
	sv_balloon_set_target(b.d.device, MEMORY);
	EQUAL(reg_read(&b.d, R_CONFIG), 0);
	sv_balloon_set_target(b.d.device, MEMORY - PAGE + 1);
	EQUAL(reg_read(&b.d, R_CONFIG), 0);
	sv_balloon_set_target(b.d.device, 1);
	EQUAL(reg_read(&b.d, R_CONFIG), MEMORY / PAGE - 1);
	balloon_close(&b);
}

static void what_the_guest_has_is_never_more_or_less_than_there_is(void)
{
	struct balloon_driver b = started(ALL_FEATURES);

	EQUAL(balloon_state(&b).actual, MEMORY);
	set_actual(&b, 3);
	EQUAL(balloon_state(&b).actual, MEMORY - 3 * PAGE);
	set_actual(&b, UINT32_MAX);
	EQUAL(balloon_state(&b).actual, 0);
	EQUAL(reg_read(&b.d, R_GUEST), MEMORY / PAGE);
	balloon_close(&b);
}

static void a_driver_writes_only_what_is_its_own(void)
{
	struct balloon_driver b = started(ALL_FEATURES);

	sv_balloon_set_target(b.d.device, MEMORY - 10 * PAGE);
	bus_write(&b.d.vm->mmio, WINDOW + R_CONFIG, 4, 77);
	EQUAL(reg_read(&b.d, R_CONFIG), 10);
	bus_write(&b.d.vm->mmio, WINDOW + R_CONFIG, 8, (uint64_t)5 << 32 | 99);
	EQUAL(reg_read(&b.d, R_CONFIG), 10);
	EQUAL(reg_read(&b.d, R_GUEST), 5);
	bus_write(&b.d.vm->mmio, WINDOW + R_GUEST, 1, 7);
	EQUAL(balloon_state(&b).actual, MEMORY - 7 * PAGE);
	bus_write(&b.d.vm->mmio, WINDOW + R_CONFIG + 8, 4, 1);
	EQUAL(reg_read(&b.d, R_CONFIG + 8), 0);
	balloon_close(&b);
}

static void however_often_a_guest_changes_its_balloon_one_event_waits(void)
{
	struct balloon_driver b = started(ALL_FEATURES);

	for (uint32_t i = 1; i < 1000; i++)
		set_actual(&b, i);
	EQUAL(next_event(&b.d).kind, SV_EVENT_BALLOON);
	EQUAL(next_event(&b.d).kind, 0);
	set_actual(&b, 1);
	EQUAL(next_event(&b.d).kind, 0);
	EQUAL(balloon_state(&b).actual, MEMORY - PAGE);
	set_actual(&b, 1); /* no change */
	EQUAL(next_event(&b.d).kind, 0);
	set_actual(&b, 2);
	EQUAL(next_event(&b.d).kind, SV_EVENT_BALLOON);
	balloon_close(&b);
}

static void a_balloon_is_active_while_a_driver_serves_it(void)
{
	struct balloon_driver b = balloon_open(&full);

	EQUAL(balloon_state(&b).active, 0);
	balloon_start(&b, ALL_FEATURES);
	EQUAL(balloon_state(&b).active, 1);
	set_actual(&b, 9);
	reg_write(&b.d, R_STATUS, 0);
	EQUAL(balloon_state(&b).active, 0);
	balloon_start(&b, ALL_FEATURES);
	EQUAL(balloon_state(&b).active, 1);
	EQUAL(balloon_state(&b).actual, MEMORY);
	EQUAL(reg_read(&b.d, R_GUEST), 0);
	balloon_close(&b);
}

struct stat_entry {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

/* Puts the driver's buffer with statistics; the device keeps it. */
static void put_stats(struct balloon_driver *b, uint32_t index, const struct stat_entry *entries,
		      uint32_t count)
{
	uint64_t place = LIST + index * PAGE;

	memcpy(ram_at(b, place), entries, count * sizeof(*entries));
	balloon_desc(b, STATS_QUEUE, index, (struct desc){place, count * 10, 0, 0});
	balloon_put(b, STATS_QUEUE, index);
	settle(&b->d);
}

static void statistics_are_known_when_the_driver_has_told(void)
{
	struct balloon_driver b = started(ALL_FEATURES);

	EQUAL(balloon_state(&b).stats_known, 0);
	EQUAL(balloon_state(&b).stats_time, 0);
	put_stats(&b, 0, (struct stat_entry[]){{5, MEMORY}, {4, 1234}, {10, 1}, {0xffff, 2}, {4, 5678}}, 5);
	EQUAL(balloon_state(&b).stats_known, 1 << 5 | 1 << 4);
	EQUAL(balloon_state(&b).stats[5], MEMORY);
	EQUAL(balloon_state(&b).stats[4], 5678);
	CHECK(balloon_state(&b).stats_time + 60 > (uint64_t)time(NULL));
	EQUAL(balloon_used(&b, STATS_QUEUE), 0);
	balloon_close(&b);
}

static void statistics_from_before_the_driver_was_ready_are_taken(void)
{
	struct balloon_driver b = balloon_open(&full);

	balloon_prepare(&b, ALL_FEATURES);
	put_stats(&b, 0, (struct stat_entry[]){{4, 1}}, 1);
	EQUAL(balloon_state(&b).stats_known, 0);
	reg_write(&b.d, R_STATUS, S_READY | S_DRIVER_OK);
	settle(&b.d);
	EQUAL(balloon_state(&b).stats_known, 1 << 4);
	balloon_close(&b);
}

static void asking_gives_the_buffer_back_and_the_driver_fills_it_anew(void)
{
	struct balloon_driver b = started(ALL_FEATURES);

	put_stats(&b, 0, (struct stat_entry[]){{4, 1}}, 1);
	for (uint16_t round = 1; round < 5; round++) {
		EQUAL(sv_balloon_ask_stats(b.d.device), 0);
		balloon_wait(&b, STATS_QUEUE, round);
		put_stats(&b, 0, (struct stat_entry[]){{4, 100 + (uint64_t)round}}, 1);
		EQUAL(balloon_state(&b).stats[4], 100 + round);
		EQUAL(balloon_used(&b, STATS_QUEUE), round);
	}
	balloon_close(&b);
}

static void asking_a_driver_that_has_no_buffer_there_does_nothing(void)
{
	struct balloon_driver b = balloon_open(&full);

	EQUAL(sv_balloon_ask_stats(b.d.device), 0);
	balloon_start(&b, ALL_FEATURES);
	EQUAL(sv_balloon_ask_stats(b.d.device), 0);
	settle(&b.d);
	put_stats(&b, 0, (struct stat_entry[]){{4, 1}}, 1);
	EQUAL(balloon_state(&b).stats[4], 1);
	balloon_close(&b);
}

static void a_second_buffer_sends_the_first_one_back(void)
{
	struct balloon_driver b = started(ALL_FEATURES);

	put_stats(&b, 0, (struct stat_entry[]){{4, 1}}, 1);
	put_stats(&b, 1, (struct stat_entry[]){{4, 2}}, 1);
	EQUAL(balloon_used(&b, STATS_QUEUE), 1);
	EQUAL(balloon_state(&b).stats[4], 2);
	balloon_close(&b);
}

static void with_an_interval_the_driver_is_asked_again_and_again(void)
{
	struct balloon_driver b = balloon_open(&(struct balloon_plan){.config = {.stats_interval = 1}});

	balloon_start(&b, ALL_FEATURES);
	put_stats(&b, 0, (struct stat_entry[]){{4, 1}}, 1);
	balloon_wait(&b, STATS_QUEUE, 1);
	put_stats(&b, 0, (struct stat_entry[]){{4, 2}}, 1);
	balloon_wait(&b, STATS_QUEUE, 2);
	balloon_close(&b);
}

static void statistics_end_with_their_driver(void)
{
	struct balloon_driver b = started(ALL_FEATURES);

	put_stats(&b, 0, (struct stat_entry[]){{4, 1}}, 1);
	balloon_start(&b, ALL_FEATURES);
	EQUAL(balloon_state(&b).stats_known, 0);
	sv_balloon_ask_stats(b.d.device);
	settle(&b.d);
	EQUAL(balloon_used(&b, STATS_QUEUE), 0); /* the buffer was the other driver's */
	balloon_close(&b);
}

static void bad_statistics_are_read_as_far_as_they_go(void)
{
	struct balloon_driver b = started(ALL_FEATURES);

	balloon_desc(&b, STATS_QUEUE, 0, (struct desc){LIST, 9, 0, 0});
	balloon_put(&b, STATS_QUEUE, 0);
	settle(&b.d);
	EQUAL(balloon_state(&b).stats_known, 0);
	memset(ram_at(&b, LIST), 0, PAGE);
	memset(ram_at(&b, LIST + 320), 1, 10); /* beyond what is read: tag 0x0101 anyway */
	balloon_desc(&b, STATS_QUEUE, 1, (struct desc){LIST, 8 * MIB, 0, 0});
	balloon_put(&b, STATS_QUEUE, 1);
	settle(&b.d);
	EQUAL(balloon_state(&b).stats_known, 1);
	EQUAL(reg_read(&b.d, R_STATUS), S_READY | S_DRIVER_OK);
	balloon_close(&b);
}

static void report(struct balloon_driver *b, uint32_t queue)
{
	balloon_desc(b, queue, 0, (struct desc){VICTIMS, 4 * PAGE, F_WRITE | F_NEXT, 1});
	balloon_desc(b, queue, 1, (struct desc){VICTIMS + 8 * PAGE + 1, 2 * PAGE, F_WRITE, 0});
	balloon_put(b, queue, 0);
	balloon_settle(b, queue);
}

static void check_report(uint32_t queue, uint64_t features, uint32_t kept)
{
	struct balloon_driver b = started(features);

	report(&b, queue);
	EQUAL(kept_pages(&b, VICTIMS, 16 * PAGE), kept);
	balloon_close(&b);
}

static void reported_pages_go_by_the_specifications_number_and_by_linuxs(void)
{
	check_report(4, ALL_FEATURES, 11); /* of a range that begins inside a page only whole pages */
	check_report(3, ALL_FEATURES, 11);
	check_report(2, ALL_FEATURES & ~STATS_F, 11);
}

static void pages_are_not_reported_unless_that_was_negotiated(void)
{
	check_report(4, ALL_FEATURES & ~REPORTING_F, 16);
	check_report(3, ALL_FEATURES & ~REPORTING_F, 16);
	check_report(2, ALL_FEATURES & ~(REPORTING_F | STATS_F), 16);
}

static void a_report_over_the_border_of_two_regions_goes_whole(void)
{
	struct balloon_driver b = started(ALL_FEATURES);
	uint64_t place = RAM_GPA + MEMORY / 2 - 2 * PAGE;

	balloon_desc(&b, 3, 0, (struct desc){place, 4 * PAGE, F_WRITE, 0});
	balloon_put(&b, 3, 0);
	balloon_settle(&b, 3);
	EQUAL(kept_pages(&b, place, 4 * PAGE), 0);
	balloon_close(&b);
}

static void a_report_of_a_part_of_a_large_page_gives_nothing(void)
{
	struct balloon_driver b =
	    balloon_open(&(struct balloon_plan){.config = {.reporting = 1}, .page_size = HUGE});

	balloon_start(&b, ALL_FEATURES);
	balloon_desc(&b, 3, 0, (struct desc){VICTIMS + PAGE, 2 * HUGE, F_WRITE, 0});
	balloon_put(&b, 3, 0);
	balloon_settle(&b, 3);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 512);
	EQUAL(kept_pages(&b, VICTIMS + HUGE, HUGE), 0);
	EQUAL(kept_pages(&b, VICTIMS + 2 * HUGE, HUGE), 512);
	balloon_close(&b);
}

static void a_report_of_memory_that_is_none_breaks_the_device(void)
{
	struct balloon_driver b = started(ALL_FEATURES);

	balloon_desc(&b, 3, 0, (struct desc){RAM_GPA + MEMORY - PAGE, 2 * PAGE, F_WRITE, 0});
	balloon_put(&b, 3, 0);
	CHECK(wait_interrupt(&b.d) & VIRTIO_INTERRUPT_CONFIG);
	CHECK(reg_read(&b.d, R_STATUS) & S_NEEDS_RESET);
	settle(&b.d);
	EQUAL(next_event(&b.d).data[1], VIRTQ_BAD_ADDRESS);
	EQUAL(kept_pages(&b, RAM_GPA + MEMORY - PAGE, PAGE), 1);
	balloon_close(&b);
}

static void a_queue_that_is_stopped_leaves_the_others_their_requests(void)
{
	struct balloon_driver b = started(ALL_FEATURES);

	reg_write(&b.d, R_QUEUE_SEL, STATS_QUEUE);
	reg_write(&b.d, R_QUEUE_READY, 0);
	EQUAL(balloon_state(&b).active, 1);
	send_range(&b, INFLATE_QUEUE, VICTIMS, 1);
	EQUAL(kept_pages(&b, VICTIMS, PAGE), 0);
	balloon_close(&b);
}

int main(int argc, char **argv)
{
	RUN(the_device_offers_what_it_was_made_with);
	RUN(a_target_is_told_to_the_driver);
	RUN(a_target_is_no_more_than_there_is_and_never_takes_too_much);
	RUN(what_the_guest_has_is_never_more_or_less_than_there_is);
	RUN(a_driver_writes_only_what_is_its_own);
	RUN(however_often_a_guest_changes_its_balloon_one_event_waits);
	RUN(a_balloon_is_active_while_a_driver_serves_it);
	RUN(statistics_are_known_when_the_driver_has_told);
	RUN(statistics_from_before_the_driver_was_ready_are_taken);
	RUN(asking_gives_the_buffer_back_and_the_driver_fills_it_anew);
	RUN(asking_a_driver_that_has_no_buffer_there_does_nothing);
	RUN(a_second_buffer_sends_the_first_one_back);
	RUN(with_an_interval_the_driver_is_asked_again_and_again);
	RUN(statistics_end_with_their_driver);
	RUN(bad_statistics_are_read_as_far_as_they_go);
	RUN(reported_pages_go_by_the_specifications_number_and_by_linuxs);
	RUN(pages_are_not_reported_unless_that_was_negotiated);
	RUN(a_report_over_the_border_of_two_regions_goes_whole);
	RUN(a_report_of_a_part_of_a_large_page_gives_nothing);
	RUN(a_report_of_memory_that_is_none_breaks_the_device);
	RUN(a_queue_that_is_stopped_leaves_the_others_their_requests);
	return 0;
}
