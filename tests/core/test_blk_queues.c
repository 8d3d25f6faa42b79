/* Two queues over one image. */
#include <pthread.h>

#include "fault.h"

/* The second ring is like the first one, so much further up. Its requests have slots 8 and up. */
#define SHIFT 0x200000u
#define SLOT  8u

static int engine;

static struct ring second_of(struct driver *d)
{
	return (struct ring){.ram = d->ring.ram + SHIFT, .size = QUEUE_SIZE};
}

static void write_second_queue(struct driver *d)
{
	struct virtq_layout layout = {QUEUE_SIZE, RING_DESC + SHIFT, RING_AVAIL + SHIFT, RING_USED + SHIFT};

	reg_write(d, R_QUEUE_SEL, 1);
	reg_write(d, R_QUEUE_SIZE, layout.size);
	reg_write(d, R_DESC, (uint32_t)layout.desc);
	reg_write(d, R_AVAIL, (uint32_t)layout.avail);
	reg_write(d, R_USED, (uint32_t)layout.used);
	reg_write(d, R_QUEUE_READY, 1);
}

static void start_both(struct driver *d)
{
	driver_prepare(d, ALL_FEATURES);
	memset(d->ring.ram + SHIFT, 0, TABLES - RAM_GPA);
	write_second_queue(d);
	reg_write(d, R_STATUS, S_READY | S_DRIVER_OK);
	EQUAL(reg_read(d, R_STATUS), S_READY | S_DRIVER_OK);
}

static struct driver started(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;

	config.engine = engine;
	config.queues = 2;
	d = driver_open(&config);
	start_both(&d);
	return d;
}

static void put_second(struct driver *d, struct ring *ring, uint32_t sector, uint64_t data)
{
	uint32_t slot = SLOT + ring->avail % 4u;
	uint32_t first = 3 * (slot - SLOT);

	put_header(d, slot, T_IN, sector);
	put_desc(ring, first, HEADER_OF(slot), 16, F_NEXT, (int)first + 1);
	put_desc(ring, first + 1, data, 512, F_NEXT | F_WRITE, (int)first + 2);
	put_desc(ring, first + 2, STATUS_OF(slot), 1, F_WRITE, 0);
	publish(ring, first);
}

static void wait_second(struct driver *d, struct ring *ring, uint16_t used)
{
	struct pollfd line = {.fd = d->device->irq_fd, .events = POLLIN};

	while (used_index(ring) != used) {
		CHECK(poll(&line, 1, 20000) >= 0);
		settle(d);
	}
}

static void both_queues_are_offered_and_served(void)
{
	struct driver d = started();
	struct ring second = second_of(&d);

	CHECK(d.device->offered & 1 << 12);
	EQUAL(reg_read_sized(&d, R_CONFIG + 34, 2), 2);
	EQUAL(request(&d, T_IN, 3, DATA, 512), 0);
	EQUAL(number_in_ram(&d, DATA), 3);
	put_second(&d, &second, 4, DATA + PAGE);
	reg_write(&d, R_NOTIFY, 1);
	wait_second(&d, &second, 1);
	EQUAL(status_of(&d, SLOT), 0);
	EQUAL(number_in_ram(&d, DATA + PAGE), 4);
	EQUAL(used_index(&d.ring), 1);
	driver_close(&d);
}

static void one_queue_is_not_several(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct sv_virtio *device;
	struct driver d;

	config.queues = 0;
	d = driver_open(&config);
	CHECK(!(d.device->offered & 1 << 12));
	EQUAL(reg_read_sized(&d, R_CONFIG + 34, 2), 1);
	config.queues = 17;
	EQUAL(sv_blk_create(d.vm, &config, &device), -EINVAL);
	driver_close(&d);
}

static void a_driver_may_leave_a_queue_out(void)
{
	struct driver d = started();

	driver_start(&d, ALL_FEATURES); /* the first one only */
	EQUAL(request(&d, T_IN, 3, DATA, 512), 0);
	reg_write(&d, R_NOTIFY, 1);
	settle(&d);
	EQUAL(reg_read(&d, R_STATUS), S_READY | S_DRIVER_OK);
	driver_close(&d);
}

static void sixteen_queues_come_and_go(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;

	config.engine = engine;
	config.queues = 16;
	d = driver_open(&config);
	start_both(&d);
	EQUAL(reg_read_sized(&d, R_CONFIG + 34, 2), 16);
	EQUAL(request(&d, T_IN, 3, DATA, 512), 0);
	driver_close(&d);
}

struct stopper {
	struct driver *d;
	int done;
};

static void *stop_first_queue(void *context)
{
	struct stopper *stopper = context;

	reg_write(stopper->d, R_QUEUE_SEL, 0);
	reg_write(stopper->d, R_QUEUE_READY, 0);
	__atomic_store_n(&stopper->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Both queues have a request that waits for the same page. */
static void a_queue_that_is_stopped_takes_nothing_from_the_other_one(void)
{
	struct driver d = started();
	struct ring second = second_of(&d);
	struct stopper stopper = {&d, 0};
	struct pollfd never = {.fd = -1};
	int fault = hold_page(&d, DATA);
	pthread_t thread;

	if (fault < 0 || engine != SV_AIO_URING) {
		if (fault >= 0)
			close(fault);
		driver_close(&d);
		return;
	}
	put_request(&d, 0, T_IN, 8, DATA, 512);
	put_second(&d, &second, 9, DATA + 512);
	driver_notify(&d);
	reg_write(&d, R_NOTIFY, 1);
	wait_fault(fault);
	settle(&d);
	EQUAL(pthread_create(&thread, NULL, stop_first_queue, &stopper), 0);
	while (!atomic_load(&d.device->stopping))
		poll(&never, 1, 1);
	poll(&never, 1, 20); /* long enough for a stop that does not wait */
	EQUAL(__atomic_load_n(&stopper.done, __ATOMIC_ACQUIRE), 0);
	release_page(fault, &d, DATA);
	pthread_join(thread, NULL);
	wait_second(&d, &second, 1);
	EQUAL(number_in_ram(&d, DATA + 512), 9);
	EQUAL(used_index(&d.ring), 0);
	put_second(&d, &second, 10, DATA + PAGE);
	reg_write(&d, R_NOTIFY, 1);
	wait_second(&d, &second, 2);
	driver_close(&d);
}

/* Stops the first queue, again and again, while the second one is kept busy: nothing of it gets lost. */
static void a_busy_queue_survives_stops_of_the_other_one(void)
{
	for (uint32_t round = 0; round < 100; round++) {
		struct driver d = started();
		struct ring second = second_of(&d);
		struct stopper stopper = {&d, 0};
		pthread_t thread;
		uint16_t count = 1;

		put_request(&d, 0, T_IN, 8, DATA, 0x8000);
		driver_notify(&d);
		EQUAL(pthread_create(&thread, NULL, stop_first_queue, &stopper), 0);
		for (; count <= 8 || !__atomic_load_n(&stopper.done, __ATOMIC_ACQUIRE); count++) {
			put_second(&d, &second, 9, DATA + 0x10000);
			reg_write(&d, R_NOTIFY, 1);
			wait_second(&d, &second, count);
		}
		pthread_join(thread, NULL);
		driver_close(&d);
	}
}

static void a_broken_ring_stops_both_queues_until_a_reset(void)
{
	struct driver d = started();
	struct ring second = second_of(&d);

	publish(&second, 77);
	reg_write(&d, R_NOTIFY, 1);
	CHECK(wait_interrupt(&d) & 2);
	CHECK(reg_read(&d, R_STATUS) & S_NEEDS_RESET);
	settle(&d);
	EQUAL(next_event(&d).data[0], 1);
	put_request(&d, 0, T_IN, 8, DATA, 512);
	driver_notify(&d);
	settle(&d);
	EQUAL(used_index(&d.ring), 0);
	start_both(&d);
	EQUAL(request(&d, T_IN, 8, DATA, 512), 0);
	driver_close(&d);
}

int main(int argc, char **argv)
{
	for (engine = SV_AIO_SYNC; engine <= SV_AIO_URING; engine++) {
		if (!engine_works(engine)) {
			printf("skipped: this host has no io_uring\n");
			return 0;
		}
		RUN(both_queues_are_offered_and_served);
		RUN(one_queue_is_not_several);
		RUN(a_driver_may_leave_a_queue_out);
		RUN(sixteen_queues_come_and_go);
		RUN(a_queue_that_is_stopped_takes_nothing_from_the_other_one);
		RUN(a_busy_queue_survives_stops_of_the_other_one);
		RUN(a_broken_ring_stops_both_queues_until_a_reset);
	}
	return 0;
}
