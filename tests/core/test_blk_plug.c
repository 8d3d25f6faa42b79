/* Images that are put in and taken out while the machine runs. */
#include <pthread.h>

#include "blk.h"
#include "fault.h"

static int engine;

static struct driver without_image(void)
{
	struct sv_blk_config config = {.fd = -1, .serial = "empty"};
	struct driver d = driver_open(&config);

	driver_start(&d, ALL_FEATURES);
	d.image = -1;
	return d;
}

static void close_without_image(struct driver *d)
{
	sv_vm_destroy(d->vm);
	ram_unmap(d->ring.ram, RAM_SIZE);
}

static int plug(struct driver *d, int readonly)
{
	struct sv_blk_config config = plain_config(numbered_image());
	int result;

	config.engine = engine;
	config.readonly = readonly;
	result = sv_blk_plug(d->device, &config);
	d->image = dup(config.fd);
	close(config.fd);
	return result;
}

static uint64_t capacity(struct driver *d)
{
	return reg_read_sized(d, R_CONFIG, 8);
}

static uint8_t discard(struct driver *d, uint64_t sector)
{
	memcpy(at_gpa(&d->ring, DATA), (uint64_t[]){sector, 1}, 16);
	return request(d, T_DISCARD, 0, DATA, 16);
}

static void a_disk_without_an_image_is_empty_and_fails(void)
{
	struct driver d = without_image();

	EQUAL(capacity(&d), 0);
	CHECK(((struct blk *)d.device)->aio.uring == NULL);
	EQUAL(request(&d, T_IN, 0, DATA, 512), 1);
	EQUAL(request(&d, T_OUT, 0, DATA, 512), 1);
	EQUAL(request(&d, T_IN, 0, 0, 0), 1);
	EQUAL(request(&d, T_FLUSH, 0, 0, 0), 1);
	EQUAL(discard(&d, 0), 1);
	EQUAL(request(&d, 77, 0, DATA, 512), 1);
	EQUAL(request(&d, T_GET_ID, 0, DATA, 20), 0);
	EQUAL(memcmp(at_gpa(&d.ring, DATA), "empty", 6), 0);
	EQUAL(next_event(&d).kind, 0);
	close_without_image(&d);
}

static void an_image_that_is_put_in_is_told_and_served(void)
{
	struct driver d = without_image();
	uint32_t generation = reg_read(&d, 0x0fc);

	EQUAL(plug(&d, 0), 0);
	EQUAL(wait_interrupt(&d), 2);
	CHECK(reg_read(&d, 0x0fc) != generation);
	EQUAL(capacity(&d), IMAGE_SIZE / 512);
	EQUAL(request(&d, T_IN, 7, DATA, 512), 0);
	EQUAL(number_in_ram(&d, DATA), 7);
	EQUAL(request(&d, T_FLUSH, 0, 0, 0), 0);
	EQUAL(discard(&d, 8), 0);
	EQUAL(number_in_image(&d, 8), 0);
	EQUAL(request(&d, T_GET_ID, 0, DATA, 20), 0);
	EQUAL(memcmp(at_gpa(&d.ring, DATA), "disk-of-the-tests", 18), 0);
	driver_close(&d);
}

static void a_disk_has_one_image_or_none(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d = without_image();

	EQUAL(sv_blk_unplug(d.device), -ENODEV);
	EQUAL(plug(&d, 0), 0);
	EQUAL(sv_blk_plug(d.device, &config), -EBUSY);
	EQUAL(sv_blk_unplug(d.device), 0);
	EQUAL(sv_blk_unplug(d.device), -ENODEV);
	close(config.fd);
	config.fd = -1;
	EQUAL(sv_blk_plug(d.device, &config), -EINVAL);
	config.fd = 999;
	EQUAL(sv_blk_plug(d.device, &config), -EBADF);
	config.alignment = 3;
	EQUAL(sv_blk_plug(d.device, &config), -EINVAL);
	EQUAL(capacity(&d), 0);
	driver_close(&d);
}

static void a_read_only_image_refuses_to_change_though_the_driver_was_told_otherwise(void)
{
	struct driver d = without_image();

	CHECK(!(d.device->offered & 1 << 5));
	EQUAL(plug(&d, 1), 0);
	EQUAL(request(&d, T_OUT, 1, DATA, 512), 1);
	EQUAL(discard(&d, 1), 1);
	EQUAL(number_in_image(&d, 1), 1);
	EQUAL(request(&d, T_IN, 1, DATA, 512), 0);
	driver_close(&d);
}

static void an_image_with_another_alignment_is_served(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d = without_image();

	config.engine = engine;
	config.alignment = 4096;
	EQUAL(sv_blk_plug(d.device, &config), 0);
	d.image = config.fd;
	EQUAL(request(&d, T_IN, 3, DATA + 1, 512), 0);
	EQUAL(number_in_ram(&d, DATA + 1), 3);
	driver_close(&d);
}

static void a_disk_that_was_emptied_fails_until_there_is_another_image(void)
{
	struct driver d = without_image();

	for (uint32_t i = 0; i < 20; i++) {
		EQUAL(plug(&d, 0), 0);
		EQUAL(request(&d, T_IN, i, DATA, 512), 0);
		EQUAL(sv_blk_unplug(d.device), 0);
		EQUAL(capacity(&d), 0);
		EQUAL(request(&d, T_IN, i, DATA, 512), 1);
		EQUAL(request(&d, T_FLUSH, 0, 0, 0), 1);
		close(d.image);
	}
	close_without_image(&d);
}

static void a_disk_is_taken_over_by_a_driver_that_comes_later(void)
{
	struct sv_blk_config config = {.fd = -1};
	struct driver d = driver_open(&config);

	EQUAL(plug(&d, 0), 0);
	driver_start(&d, ALL_FEATURES);
	EQUAL(capacity(&d), IMAGE_SIZE / 512);
	EQUAL(request(&d, T_IN, 7, DATA, 512), 0);
	EQUAL(sv_blk_unplug(d.device), 0);
	driver_start(&d, ALL_FEATURES);
	EQUAL(request(&d, T_IN, 7, DATA, 512), 1);
	driver_close(&d);
}

struct taker {
	struct driver *d;
	int result; /* 1 until it has returned */
};

static void *take_out(void *context)
{
	struct taker *taker = context;

	__atomic_store_n(&taker->result, sv_blk_unplug(taker->d->device), __ATOMIC_RELEASE);
	return NULL;
}

static void taking_an_image_out_waits_for_host_io_and_completes_it(void)
{
	struct driver d = without_image();
	struct taker taker = {&d, 1};
	struct pollfd never = {.fd = -1};
	int fault = hold_page(&d, DATA);
	pthread_t thread;

	if (fault < 0) {
		close_without_image(&d);
		return;
	}
	EQUAL(plug(&d, 0), 0);
	put_request(&d, 0, T_IN, 8, DATA, 512);
	driver_notify(&d);
	wait_fault(fault);
	EQUAL(pthread_create(&thread, NULL, take_out, &taker), 0);
	poll(&never, 1, 20); /* long enough for one that does not wait */
	EQUAL(__atomic_load_n(&taker.result, __ATOMIC_ACQUIRE), 1);
	release_page(fault, &d, DATA);
	pthread_join(thread, NULL);
	EQUAL(taker.result, 0);
	wait_used(&d, 1);
	EQUAL(status_of(&d, 0), 0);
	EQUAL(number_in_ram(&d, DATA), 8);
	driver_close(&d);
}

static void *keep_changing(void *context)
{
	struct taker *taker = context;
	struct sv_blk_config config = plain_config(numbered_image());

	config.engine = engine;
	while (__atomic_load_n(&taker->result, __ATOMIC_ACQUIRE)) {
		EQUAL(sv_blk_plug(taker->d->device, &config), 0);
		EQUAL(sv_blk_unplug(taker->d->device), 0);
	}
	close(config.fd);
	return NULL;
}

/* Whatever the moment: each request ends, and with an error or with the right data. */
static void a_busy_driver_survives_changes(void)
{
	struct driver d = without_image();
	struct taker taker = {&d, 1};
	uint32_t served = 0;
	pthread_t thread;

	EQUAL(pthread_create(&thread, NULL, keep_changing, &taker), 0);
	for (uint32_t i = 0; i < 600 || served == 0;
	     i++) { /* a busy host may miss each moment with an image */
		uint32_t sector = i % 600;

		if (i % 100 == 99)
			driver_start(&d, ALL_FEATURES);
		if (request(&d, T_IN, sector, DATA, 512) == 0) {
			EQUAL(number_in_ram(&d, DATA), sector);
			served++;
		}
	}
	__atomic_store_n(&taker.result, 0, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	close_without_image(&d);
}

int main(int argc, char **argv)
{
	for (engine = SV_AIO_SYNC; engine <= SV_AIO_URING; engine++) {
		if (!engine_works(engine)) {
			printf("skipped: this host has no io_uring\n");
			return 0;
		}
		RUN(a_disk_without_an_image_is_empty_and_fails);
		RUN(an_image_that_is_put_in_is_told_and_served);
		RUN(a_disk_has_one_image_or_none);
		RUN(a_read_only_image_refuses_to_change_though_the_driver_was_told_otherwise);
		RUN(an_image_with_another_alignment_is_served);
		RUN(a_disk_that_was_emptied_fails_until_there_is_another_image);
		RUN(a_disk_is_taken_over_by_a_driver_that_comes_later);
		RUN(taking_an_image_out_waits_for_host_io_and_completes_it);
		RUN(a_busy_driver_survives_changes);
	}
	return 0;
}
