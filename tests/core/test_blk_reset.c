/* What happens to requests that are on their way. */
#include <pthread.h>

#include "fault.h"

static int engine;

struct resetter {
	struct driver *d;
	int status; /* -1 until the write of 0 has returned */
};

static void *reset_device(void *context)
{
	struct resetter *resetter = context;

	reg_write(resetter->d, R_STATUS, 0);
	__atomic_store_n(&resetter->status, (int)reg_read(resetter->d, R_STATUS), __ATOMIC_RELEASE);
	return NULL;
}

static struct driver with_read_in_flight(int *fault)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;

	config.engine = engine;
	d = driver_open(&config);
	driver_start(&d, ALL_FEATURES);
	*fault = hold_page(&d, DATA);
	if (*fault < 0)
		return d;
	put_request(&d, 0, T_IN, 8, DATA, 512);
	put_request(&d, 1, T_IN, 9, DATA + PAGE, 512); /* behind it */
	driver_notify(&d);
	wait_fault(*fault);
	return d;
}

static void a_reset_waits_for_host_io_and_completes_nothing_more(void)
{
	int fault;
	struct driver d = with_read_in_flight(&fault);
	struct resetter resetter = {&d, -1};
	struct pollfd never = {.fd = -1};
	uint16_t before;
	pthread_t thread;

	if (fault < 0) {
		printf("skipped: no userfaultfd\n");
		driver_close(&d);
		return;
	}
	EQUAL(pthread_create(&thread, NULL, reset_device, &resetter), 0);
	while (!atomic_load(&d.device->stopping))
		poll(&never, 1, 1);
	poll(&never, 1, 20); /* long enough for a reset that does not wait */
	EQUAL(__atomic_load_n(&resetter.status, __ATOMIC_ACQUIRE), -1);
	before = used_index(&d.ring);
	release_page(fault, &d, DATA);
	pthread_join(thread, NULL);
	EQUAL(resetter.status, 0);
	EQUAL(used_index(&d.ring), before);
	driver_start(&d, ALL_FEATURES);
	EQUAL(request(&d, T_IN, 5, DATA, 512), 0);
	EQUAL(number_in_ram(&d, DATA), 5);
	driver_close(&d);
}

static void *destroy_machine(void *context)
{
	struct resetter *resetter = context;

	sv_vm_destroy(resetter->d->vm);
	__atomic_store_n(&resetter->status, 0, __ATOMIC_RELEASE);
	return NULL;
}

static void the_end_of_the_machine_waits_for_host_io(void)
{
	int fault;
	struct driver d = with_read_in_flight(&fault);
	struct resetter resetter = {&d, -1};
	struct pollfd never = {.fd = -1};
	pthread_t thread;

	if (fault < 0) {
		printf("skipped: no userfaultfd\n");
		driver_close(&d);
		return;
	}
	EQUAL(pthread_create(&thread, NULL, destroy_machine, &resetter), 0);
	poll(&never, 1, 20);
	EQUAL(__atomic_load_n(&resetter.status, __ATOMIC_ACQUIRE), -1);
	release_page(fault, &d, DATA);
	pthread_join(thread, NULL);
	ram_unmap(d.ring.ram, RAM_SIZE);
	close(d.image);
}

/* With io_uring the others go on: a slow request does not stand in their way. */
static void a_slow_request_holds_nobody_up_with_io_uring(void)
{
	int fault;
	struct driver d = with_read_in_flight(&fault);

	if (fault < 0 || engine != SV_AIO_URING) {
		if (fault >= 0)
			release_page(fault, &d, DATA);
		driver_close(&d);
		return;
	}
	wait_used(&d, 1);
	EQUAL(used_at(&d.ring, 0).id, 3);
	EQUAL(number_in_ram(&d, DATA + PAGE), 9);
	release_page(fault, &d, DATA);
	wait_used(&d, 1);
	EQUAL(number_in_ram(&d, DATA), 8);
	driver_close(&d);
}

/* The driver reuses one chain without waiting for it, and so asks for more than there is state for. */
static void requests_beyond_the_state_wait_until_others_end(void)
{
	int fault;
	struct driver d = with_read_in_flight(&fault);
	uint32_t published = 2;

	if (fault < 0 || engine != SV_AIO_URING) {
		if (fault >= 0)
			release_page(fault, &d, DATA);
		driver_close(&d);
		return;
	}
	wait_used(&d, 1);
	for (; published < 256 + 16; published++) { /* one in flight and one done before; 14 find no room */
		publish(&d.ring, 0);
		driver_notify(&d);
		if (published < 256)
			settle(&d);
	}
	settle(&d);
	EQUAL(d.device->queues[0].ring.next_avail, 257);
	driver_notify(&d);
	settle(&d);
	EQUAL(reg_read(&d, R_STATUS), S_READY | S_DRIVER_OK);
	release_page(fault, &d, DATA);
	wait_used(&d, published - 1);
	driver_close(&d);
}

static void a_reset_does_not_wait_for_what_the_rate_limit_holds_back(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;

	config.iops = 1;
	config.engine = engine;
	d = driver_open(&config);
	driver_start(&d, ALL_FEATURES);
	put_request(&d, 0, T_IN, 1, DATA, 512);
	put_request(&d, 1, T_IN, 1, DATA, 512);
	driver_notify(&d);
	wait_used(&d, 1);
	reg_write(&d, R_STATUS, 0);
	EQUAL(reg_read(&d, R_STATUS), 0);
	EQUAL(used_index(&d.ring), 1);
	driver_close(&d);
}

int main(int argc, char **argv)
{
	for (engine = SV_AIO_SYNC; engine <= SV_AIO_URING; engine++) {
		if (!engine_works(engine)) {
			printf("skipped: this host has no io_uring\n");
			return 0;
		}
		RUN(a_reset_waits_for_host_io_and_completes_nothing_more);
		RUN(the_end_of_the_machine_waits_for_host_io);
		RUN(a_slow_request_holds_nobody_up_with_io_uring);
		RUN(requests_beyond_the_state_wait_until_others_end);
		RUN(a_reset_does_not_wait_for_what_the_rate_limit_holds_back);
	}
	return 0;
}
