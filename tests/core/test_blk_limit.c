/* Rate limits of a disk. */
#include "driver.h"

#define KIB 1024u

static int engine;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static struct driver started(struct sv_blk_config *config)
{
	struct driver d;

	config->engine = engine;
	d = driver_open(config);
	driver_start(&d, ALL_FEATURES);
	return d;
}

/* Seconds that `count` requests of a size take, four at a time. */
static double time_of(struct driver *d, uint32_t type, uint32_t count, uint32_t length)
{
	double from = now();

	for (uint32_t i = 0; i < count; i += 4) {
		for (uint32_t slot = 0; slot < 4; slot++)
			put_request(d, slot, type, 0, DATA + slot * 0x20000, length);
		driver_notify(d);
		wait_used(d, 4);
		EQUAL(status_of(d, 3), 0);
	}
	return now() - from;
}

/* So many units at a rate, less what a bucket has at the start: its first one and 1/32 s worth of them. The
 * last request is let through in advance. */
static void check_time(double seconds, double units, double rate, double last)
{
	CHECK(seconds >= (units - last) / rate * 0.98 - 1.0 / 32);
	CHECK(seconds <= units / rate + 1); /* the host may be busy */
}

static void each_limit_is_kept(void)
{
	static const uint32_t types[] = {T_IN, T_OUT};

	for (uint32_t kind = 0; kind < 6; kind++) {
		struct sv_blk_config config = plain_config(numbered_image());
		struct driver d;

		config.iops = kind == 0 ? 400 : 0;
		config.read_iops = kind == 1 ? 400 : 0;
		config.write_iops = kind == 2 ? 400 : 0;
		config.bytes = kind == 3 ? 400 * 16 * KIB : 0;
		config.read_bytes = kind == 4 ? 400 * 16 * KIB : 0;
		config.write_bytes = kind == 5 ? 400 * 16 * KIB : 0;
		d = started(&config);
		for (uint32_t i = 0; i < 2; i++) {
			double seconds = time_of(&d, types[i], 80, 16 * KIB);

			if (kind % 3 == 0 || kind % 3 == i + 1)
				check_time(seconds, 80, 400, 4);
		}
		driver_close(&d);
	}
}

static void a_request_larger_than_the_burst_is_paid_for_afterwards(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;

	config.bytes = 1024 * KIB;
	d = started(&config);
	check_time(time_of(&d, T_OUT, 8, 64 * KIB), 8 * 64, 1024, 64);
	driver_close(&d);
}

/* The writes have to wait for an hour; the reads behind them in the same ring do not. */
static void a_direction_does_not_hold_the_other_one_up(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;

	config.write_bytes = 512;
	d = started(&config);
	put_request(&d, 0, T_OUT, 0, DATA, 512 * KIB);
	driver_notify(&d);
	wait_used(&d, 1);
	put_request(&d, 1, T_OUT, 0, DATA, 512);
	EQUAL(request(&d, T_IN, 1500, DATA + 0x20000, 512), 0);
	EQUAL(number_in_ram(&d, DATA + 0x20000), 1500);
	EQUAL(status_of(&d, 1), 0xee);
	driver_close(&d);
}

static void a_flush_counts_as_a_write_without_bytes(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;
	double from = now();

	config.write_iops = 100;
	config.write_bytes = 512;
	d = started(&config);
	for (uint32_t i = 0; i < 20; i++)
		EQUAL(request(&d, T_FLUSH, 0, 0, 0), 0);
	CHECK(now() - from >= 0.15);
	CHECK(now() - from < 5);
	driver_close(&d);
}

static void an_idle_disk_has_its_burst(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct pollfd never = {.fd = -1};
	struct driver d;

	config.iops = 50;
	config.burst_ms = 1000;
	d = started(&config);
	poll(&never, 1, 1000); /* idle */
	CHECK(time_of(&d, T_IN, 40, 512) < 0.5);
	CHECK(time_of(&d, T_IN, 40, 512) > 0.4);
	driver_close(&d);
}

static void a_reset_forgets_what_is_held_back(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;

	config.write_iops = 1;
	d = started(&config);
	EQUAL(request(&d, T_FLUSH, 0, 0, 0), 0);
	for (uint32_t i = 0; i < 5; i++)
		put_request(&d, i, T_OUT, 0, DATA, 512);
	driver_notify(&d);
	settle(&d);
	driver_start(&d, ALL_FEATURES);
	EQUAL(request(&d, T_IN, 5, DATA, 512), 0);
	EQUAL(used_index(&d.ring), 1);
	driver_close(&d);
}

/* The driver reuses one chain, and so asks for more than there is state for while all of it is held back. */
static void more_than_the_state_can_be_held_back(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	uint32_t published = 1;
	struct driver d;

	config.iops = 2000;
	d = started(&config);
	put_request(&d, 0, T_IN, 1, DATA, 512);
	for (; published < 600; published++) {
		while ((uint16_t)(d.ring.avail - used_index(&d.ring)) >= 256 + 8)
			settle(&d);
		settle(&d); /* what the used ones have made room for is taken */
		publish(&d.ring, 0);
		driver_notify(&d);
		settle(&d);
	}
	for (uint32_t i = 0; i < 7; i++) /* for which there is no state now, and no notification later */
		publish(&d.ring, 0);
	driver_notify(&d);
	wait_used(&d, published + 7);
	EQUAL(reg_read(&d, R_STATUS), S_READY | S_DRIVER_OK);
	driver_close(&d);
}

/* Without an image they fail at once: there is nothing to be limited. */
static void what_was_held_back_fails_when_the_image_is_gone(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;
	double from;

	config.iops = 1;
	d = started(&config);
	for (uint32_t i = 0; i < 5; i++)
		put_request(&d, i, i % 2 ? T_OUT : T_IN, 0, DATA, 512);
	driver_notify(&d);
	wait_used(&d, 1);
	from = now();
	EQUAL(sv_blk_unplug(d.device), 0);
	wait_used(&d, 4);
	CHECK(now() - from < 0.9);
	EQUAL(status_of(&d, 4), 1);
	driver_close(&d);
}

int main(int argc, char **argv)
{
	for (engine = SV_AIO_SYNC; engine <= SV_AIO_URING; engine++) {
		if (!engine_works(engine)) {
			printf("skipped: this host has no io_uring\n");
			return 0;
		}
		RUN(each_limit_is_kept);
		RUN(a_request_larger_than_the_burst_is_paid_for_afterwards);
		RUN(a_direction_does_not_hold_the_other_one_up);
		RUN(a_flush_counts_as_a_write_without_bytes);
		RUN(an_idle_disk_has_its_burst);
		RUN(a_reset_forgets_what_is_held_back);
		RUN(more_than_the_state_can_be_held_back);
		RUN(what_was_held_back_fails_when_the_image_is_gone);
	}
	return 0;
}
