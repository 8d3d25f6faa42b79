#include "driver.h"

#define TOLD_AT_MOST 64 /* in ten seconds, of each device */
#define ROOM_LEFT    64 /* of the 128 events that wait */

static struct driver traced(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d = driver_open(&config);

	sv_trace(d.vm);
	return d;
}

static void expect(struct driver *d, uint32_t step, uint64_t first, uint64_t second)
{
	struct sv_event event = next_event(d);

	EQUAL(event.kind, SV_EVENT_DRIVER);
	EQUAL(event.source, d->device->id);
	EQUAL(event.data[0], step);
	EQUAL(event.data[1], first);
	EQUAL(event.data[2], second);
	EQUAL(event.data[3], 0);
}

static void nothing_is_told_unless_asked_for(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d = driver_open(&config);

	driver_start(&d, ALL_FEATURES);
	reg_write(&d, R_STATUS, 0);
	EQUAL(next_event(&d).kind, 0);
	driver_close(&d);
}

static void each_step_of_a_driver_is_told_in_its_order(void)
{
	struct driver d = traced();
	uint64_t offered = d.device->offered;

	driver_start(&d, ALL_FEATURES);
	expect(&d, SV_DRIVER_STATUS, S_ACKNOWLEDGE, S_ACKNOWLEDGE);
	expect(&d, SV_DRIVER_STATUS, S_ACKNOWLEDGE | S_DRIVER, S_ACKNOWLEDGE | S_DRIVER);
	expect(&d, SV_DRIVER_FEATURES, offered, offered);
	expect(&d, SV_DRIVER_STATUS, S_READY, S_READY);
	expect(&d, SV_DRIVER_QUEUE_READY, 0, QUEUE_SIZE);
	expect(&d, SV_DRIVER_STATUS, S_READY | S_DRIVER_OK, S_READY | S_DRIVER_OK);
	reg_write(&d, R_QUEUE_READY, 0);
	expect(&d, SV_DRIVER_QUEUE_STOPPED, 0, 0);
	reg_write(&d, R_STATUS, 0);
	expect(&d, SV_DRIVER_RESET, S_READY | S_DRIVER_OK, 0);
	EQUAL(next_event(&d).kind, 0);
	driver_close(&d);
}

static void what_was_refused_is_told(void)
{
	struct driver d = traced();

	reg_write(&d, R_STATUS, S_DRIVER_OK);
	expect(&d, SV_DRIVER_STATUS, 0, S_DRIVER_OK);
	reg_write(&d, R_QUEUE_READY, 1);
	expect(&d, SV_DRIVER_QUEUE_REFUSED, 0, 0);
	driver_close(&d);
}

static void a_reset_of_what_is_reset_is_no_step(void)
{
	struct driver d = traced();

	reg_write(&d, R_STATUS, 0);
	EQUAL(next_event(&d).kind, 0);
	driver_close(&d);
}

static uint32_t told(struct driver *d)
{
	uint32_t count = 0;

	for (struct sv_event event = next_event(d); event.kind != 0; event = next_event(d)) {
		EQUAL(event.kind, SV_EVENT_DRIVER);
		count++;
	}
	return count;
}

static void a_driver_that_never_ends_is_told_of_a_few_times_and_the_rest_is_counted(void)
{
	struct driver d = traced();
	uint32_t count = 0;

	for (int i = 0; i < 1000; i++) {
		reg_write(&d, R_STATUS, S_ACKNOWLEDGE);
		count += told(&d);
	}
	EQUAL(count, TOLD_AT_MOST);
	d.device->trace.since -= 10000000000ull; /* as if ten seconds had passed */
	reg_write(&d, R_STATUS, S_ACKNOWLEDGE);
	EQUAL(next_event(&d).data[3], 1000 - TOLD_AT_MOST);
	reg_write(&d, R_STATUS, S_ACKNOWLEDGE);
	EQUAL(next_event(&d).data[3], 0);
	driver_close(&d);
}

static void steps_leave_room_for_the_events_of_others(void)
{
	struct driver d = traced();
	struct sv_event other = {.kind = SV_EVENT_IO_ERROR};

	for (int i = 0; i < ROOM_LEFT; i++)
		events_post(&d.vm->events, &other);
	driver_start(&d, ALL_FEATURES);
	for (int i = 0; i < ROOM_LEFT; i++)
		EQUAL(next_event(&d).kind, SV_EVENT_IO_ERROR);
	EQUAL(next_event(&d).kind, 0); /* and none counts as lost */
	EQUAL(d.device->trace.untold, 6);
	driver_close(&d);
}

int main(int argc, char **argv)
{
	RUN(nothing_is_told_unless_asked_for);
	RUN(each_step_of_a_driver_is_told_in_its_order);
	RUN(what_was_refused_is_told);
	RUN(a_reset_of_what_is_reset_is_no_step);
	RUN(a_driver_that_never_ends_is_told_of_a_few_times_and_the_rest_is_counted);
	RUN(steps_leave_room_for_the_events_of_others);
	return 0;
}
