#include <pthread.h>

#include "driver.h"

static struct driver opened(void)
{
	struct sv_blk_config config = plain_config(numbered_image());

	return driver_open(&config);
}

static struct driver started(void)
{
	struct driver d = opened();

	driver_start(&d, ALL_FEATURES);
	return d;
}

static void the_window_says_what_it_is(void)
{
	struct driver d = opened();

	EQUAL(reg_read(&d, 0x000), 0x74726976);
	EQUAL(reg_read(&d, 0x004), 2);
	EQUAL(reg_read(&d, R_DEVICE_ID), 2);
	EQUAL(reg_read(&d, 0x00c), 0x56525453);
	EQUAL(reg_read(&d, R_QUEUE_MAX), 256);
	EQUAL(reg_read(&d, 0x0fc), 0);
	EQUAL(reg_read(&d, 0x0b0), UINT32_MAX); /* no shared memory */
	EQUAL(reg_read(&d, 0x0c0), 0);
	EQUAL(reg_read(&d, 0x0f8), 0);
	driver_close(&d);
}

static void registers_are_accessed_with_32_bits(void)
{
	struct driver d = opened();

	EQUAL(reg_read_sized(&d, 0x000, 1), 0);
	EQUAL(reg_read_sized(&d, 0x000, 2), 0);
	EQUAL(reg_read_sized(&d, 0x000, 8), 0);
	EQUAL(reg_read_sized(&d, 0x002, 4), 0);
	bus_write(&d.vm->mmio, WINDOW + R_STATUS, 1, S_ACKNOWLEDGE);
	bus_write(&d.vm->mmio, WINDOW + R_STATUS, 2, S_ACKNOWLEDGE);
	bus_write(&d.vm->mmio, WINDOW + R_STATUS, 8, S_ACKNOWLEDGE);
	EQUAL(reg_read(&d, R_STATUS), 0);
	driver_close(&d);
}

static void config_is_read_with_any_width_and_not_written(void)
{
	struct driver d = opened();

	bus_write(&d.vm->mmio, WINDOW + R_CONFIG, 4, 0);
	EQUAL(reg_read_sized(&d, R_CONFIG + 1, 1), IMAGE_SIZE / 512 >> 8);
	EQUAL(reg_read_sized(&d, R_CONFIG, 2), (IMAGE_SIZE / 512) & 0xffff);
	EQUAL(reg_read_sized(&d, R_CONFIG, 8), IMAGE_SIZE / 512);
	EQUAL(reg_read_sized(&d, R_CONFIG + 1, 2), 0);  /* misaligned */
	EQUAL(reg_read_sized(&d, R_CONFIG + 56, 8), 1); /* runs over the end */
	EQUAL(reg_read_sized(&d, R_CONFIG + 0xfc, 4), 0);
	EQUAL(reg_read_sized(&d, R_CONFIG + 0xff, 1), 0);
	driver_close(&d);
}

static void features_come_in_two_pages(void)
{
	struct driver d = opened();
	uint64_t low;

	reg_write(&d, R_FEATURES_SEL, 0);
	low = reg_read(&d, R_FEATURES);
	EQUAL(low, 1 << 2 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 13 | 1 << 14 | 1 << 28 | 1 << 29);
	reg_write(&d, R_FEATURES_SEL, 1);
	EQUAL(reg_read(&d, R_FEATURES), 1);
	reg_write(&d, R_FEATURES_SEL, 2);
	EQUAL(reg_read(&d, R_FEATURES), 0);
	reg_write(&d, R_FEATURES_SEL, UINT32_MAX);
	EQUAL(reg_read(&d, R_FEATURES), 0);
	driver_close(&d);
}

static void features_are_masked_by_what_was_offered(void)
{
	struct driver d = opened();

	reg_write(&d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER);
	driver_write_features(&d, ALL_FEATURES);
	reg_write(&d, R_DRIVER_SEL, 2);
	reg_write(&d, R_DRIVER, 0);
	EQUAL(d.device->features, d.device->offered);
	driver_write_features(&d, VIRTIO_F_VERSION_1); /* replaces, does not add */
	EQUAL(d.device->features, VIRTIO_F_VERSION_1);
	driver_close(&d);
}

static void features_are_fixed_once_they_are_ok(void)
{
	struct driver d = opened();

	driver_write_features(&d, ALL_FEATURES);
	EQUAL(d.device->features, 0); /* before DRIVER */
	driver_prepare(&d, VIRTIO_F_VERSION_1);
	driver_write_features(&d, ALL_FEATURES);
	EQUAL(d.device->features, VIRTIO_F_VERSION_1);
	driver_close(&d);
}

static void features_without_version_1_are_refused(void)
{
	struct driver d = opened();

	reg_write(&d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER);
	driver_write_features(&d, ALL_FEATURES & ~VIRTIO_F_VERSION_1);
	reg_write(&d, R_STATUS, S_READY);
	EQUAL(reg_read(&d, R_STATUS), S_ACKNOWLEDGE | S_DRIVER);
	reg_write(&d, R_STATUS, S_READY | S_DRIVER_OK);
	EQUAL(reg_read(&d, R_STATUS), S_ACKNOWLEDGE | S_DRIVER);
	driver_close(&d);
}

static void status_bits_come_in_order(void)
{
	struct driver d = opened();

	reg_write(&d, R_STATUS, S_DRIVER);
	EQUAL(reg_read(&d, R_STATUS), 0);
	reg_write(&d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER_OK);
	EQUAL(reg_read(&d, R_STATUS), S_ACKNOWLEDGE);
	reg_write(&d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_DRIVER_OK);
	EQUAL(reg_read(&d, R_STATUS), S_ACKNOWLEDGE | S_DRIVER);
	reg_write(&d, R_STATUS, S_NEEDS_RESET);
	EQUAL(reg_read(&d, R_STATUS),
	      S_ACKNOWLEDGE | S_DRIVER); /* not a driver's bit, and none is taken off */
	driver_close(&d);
}

static void a_driver_that_failed_goes_no_further(void)
{
	struct driver d = opened();

	driver_prepare(&d, ALL_FEATURES);
	reg_write(&d, R_STATUS, S_READY | S_FAILED);
	reg_write(&d, R_STATUS, S_READY | S_FAILED | S_DRIVER_OK);
	EQUAL(reg_read(&d, R_STATUS), S_READY | S_FAILED);
	reg_write(&d, R_STATUS, 0);
	EQUAL(reg_read(&d, R_STATUS), 0);
	driver_close(&d);
}

static void queue_registers_take_values_between_features_and_ready(void)
{
	struct driver d = opened();
	struct virtq_layout layout = ring_layout(&d.ring);

	driver_write_queue(&d, &layout);
	EQUAL(reg_read(&d, R_QUEUE_READY), 0);
	EQUAL(d.device->queues[0].layout.size, 0);
	driver_prepare(&d, ALL_FEATURES);
	EQUAL(reg_read(&d, R_QUEUE_READY), 1);
	reg_write(&d, R_QUEUE_SIZE, 4); /* ready: fixed */
	EQUAL(d.device->queues[0].layout.size, QUEUE_SIZE);
	driver_close(&d);
}

static void addresses_are_replaced_and_not_collected(void)
{
	struct driver d = opened();
	struct virtq_layout layout = ring_layout(&d.ring);

	driver_prepare(&d, ALL_FEATURES);
	reg_write(&d, R_QUEUE_READY, 0);
	layout.desc = 0x123456789abcdef0;
	driver_write_queue(&d, &layout);
	EQUAL(d.device->queues[0].layout.desc, 0x123456789abcdef0);
	driver_close(&d);
}

static void queues_that_are_not_there_have_no_size(void)
{
	struct driver d = opened();

	driver_prepare(&d, ALL_FEATURES);
	for (uint32_t queue = 1; queue != 0; queue *= 2) {
		reg_write(&d, R_QUEUE_SEL, queue);
		EQUAL(reg_read(&d, R_QUEUE_MAX), 0);
		reg_write(&d, R_QUEUE_SIZE, 16);
		reg_write(&d, R_QUEUE_READY, 1);
		EQUAL(reg_read(&d, R_QUEUE_READY), 0);
	}
	driver_close(&d);
}

/* Starts with the layout, expects the device to ask for a reset, once, and to work after it. */
static void expect_refused(struct virtq_layout layout, enum virtq_error why)
{
	struct driver d = opened();
	struct sv_event event;

	driver_prepare(&d, ALL_FEATURES);
	reg_write(&d, R_QUEUE_READY, 0);
	driver_write_queue(&d, &layout);
	reg_write(&d, R_STATUS, S_READY | S_DRIVER_OK);
	EQUAL(reg_read(&d, R_STATUS), S_READY | S_DRIVER_OK | S_NEEDS_RESET);
	EQUAL(wait_interrupt(&d), 2);
	event = next_event(&d);
	EQUAL(event.kind, SV_EVENT_DEVICE_BROKEN);
	EQUAL(event.data[0], 0);
	EQUAL(event.data[1], why);
	driver_notify(&d);
	settle(&d);
	EQUAL(next_event(&d).kind, 0);
	CHECK(!interrupt_pending(&d));
	driver_start(&d, ALL_FEATURES);
	EQUAL(request(&d, T_IN, 1, DATA, 512), 0);
	driver_close(&d);
}

static void a_ring_of_bad_size_asks_for_a_reset(void)
{
	static const uint32_t bad[] = {0, 3, 512, 65535, 65536, UINT32_MAX};

	for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_refused((struct virtq_layout){bad[i], RING_DESC, RING_AVAIL, RING_USED},
			       VIRTQ_BAD_SIZE);
}

static void a_ring_outside_memory_asks_for_a_reset(void)
{
	expect_refused((struct virtq_layout){16, 0, RING_AVAIL, RING_USED}, VIRTQ_BAD_RING);
	expect_refused((struct virtq_layout){16, RING_DESC, RING_AVAIL, RAM_GPA + RAM_SIZE - 4},
		       VIRTQ_BAD_RING);
	expect_refused((struct virtq_layout){16, RING_DESC, RING_AVAIL + 1, RING_USED}, VIRTQ_BAD_RING);
}

static void a_ring_that_breaks_asks_for_a_reset_once(void)
{
	struct driver d = started();
	struct sv_event event;

	EQUAL(request(&d, T_IN, 1, DATA, 512), 0);
	publish(&d.ring, 999);
	driver_notify(&d);
	EQUAL(wait_interrupt(&d), 2);
	EQUAL(reg_read(&d, R_STATUS), S_READY | S_DRIVER_OK | S_NEEDS_RESET);
	settle(&d); /* the event comes after the interrupt */
	event = next_event(&d);
	EQUAL(event.kind, SV_EVENT_DEVICE_BROKEN);
	EQUAL(event.source, sv_virtio_id(d.device));
	EQUAL(event.data[1], VIRTQ_BAD_INDEX);
	for (int i = 0; i < 100; i++)
		driver_notify(&d);
	settle(&d);
	EQUAL(next_event(&d).kind, 0);
	EQUAL(used_index(&d.ring), 1);
	driver_start(&d, ALL_FEATURES);
	EQUAL(request(&d, T_IN, 2, DATA, 512), 0);
	EQUAL(number_in_ram(&d, DATA), 2);
	driver_close(&d);
}

static void break_twice(void *context)
{
	virtio_broken(context, 0, VIRTQ_BAD_AVAIL);
	virtio_broken(context, 0, VIRTQ_BAD_AVAIL);
}

static void what_is_broken_is_told_once(void)
{
	struct driver d = started();

	iothread_call(d.device->io, break_twice, d.device);
	EQUAL(next_event(&d).kind, SV_EVENT_DEVICE_BROKEN);
	EQUAL(next_event(&d).kind, 0);
	driver_close(&d);
}

static void break_after_a_reset(struct driver *d)
{
	driver_start(d, ALL_FEATURES);
	iothread_call(d->device->io, break_twice, d->device);
}

static void a_driver_that_breaks_its_device_for_ever_is_told_of_once_a_second(void)
{
	struct driver d = started();
	struct sv_event event;

	for (int i = 0; i < 1000; i++)
		break_after_a_reset(&d);
	EQUAL(next_event(&d).kind, SV_EVENT_DEVICE_BROKEN);
	EQUAL(next_event(&d).kind, 0);
	d.device->broken_told -= 1000000000; /* a second later */
	break_after_a_reset(&d);
	event = next_event(&d);
	EQUAL(event.kind, SV_EVENT_DEVICE_BROKEN);
	EQUAL(event.data[2], 999);
	EQUAL(next_event(&d).kind, 0);
	driver_close(&d);
}

static void config_ends_where_it_ends(void)
{
	uint8_t *three = malloc(3);
	struct sv_virtio device = {.config = three, .config_size = 3};

	memset(three, 0x11, 3);
	EQUAL(virtio_read_config(&device, 0, 8), 0x111111);
	EQUAL(virtio_read_config(&device, 2, 2), 0x11);
	EQUAL(virtio_read_config(&device, 3, 1), 0);
	EQUAL(virtio_read_config(&device, UINT64_MAX, 1), 0);
	free(three);
}

static void wait_for_flag(void *context)
{
	struct pollfd never = {.fd = -1};

	while (!atomic_load((atomic_bool *)context))
		poll(&never, 1, 1);
}

struct holder {
	struct driver *d;
	atomic_bool released;
};

static void *hold_io_thread(void *context)
{
	struct holder *holder = context;

	iothread_call(holder->d->device->io, wait_for_flag, &holder->released);
	return NULL;
}

static void *make_ready(void *context)
{
	struct driver *d = context;

	reg_write(d, R_STATUS, S_READY | S_DRIVER_OK);
	return NULL;
}

/* The I/O thread is busy while the driver notifies, too early, and gets ready: the notification is still too
 * early. */
static void an_early_notification_that_nobody_has_seen_yet_is_ignored(void)
{
	struct driver d = opened();
	struct holder holder = {&d, false};
	struct pollfd never = {.fd = -1};
	pthread_t threads[2];
	uint64_t one = 1;

	driver_prepare(&d, ALL_FEATURES);
	put_request(&d, 0, T_IN, 1, DATA, 512);
	EQUAL(pthread_create(&threads[0], NULL, hold_io_thread, &holder), 0);
	poll(&never, 1, 20);
	CHECK(write(d.device->queues[0].kick.fd, &one, sizeof(one)) == sizeof(one));
	EQUAL(pthread_create(&threads[1], NULL, make_ready, &d), 0);
	poll(&never, 1, 20);
	atomic_store(&holder.released, true);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	settle(&d);
	EQUAL(used_index(&d.ring), 0);
	driver_close(&d);
}

static void a_notification_before_driver_ok_is_ignored(void)
{
	struct driver d = opened();
	uint64_t one = 1;

	driver_prepare(&d, ALL_FEATURES);
	put_request(&d, 0, T_IN, 1, DATA, 512);
	driver_notify(&d);
	/* The same by way of KVM, which does not know of the status. */
	CHECK(write(d.device->queues[0].kick.fd, &one, sizeof(one)) == sizeof(one));
	settle(&d);
	EQUAL(used_index(&d.ring), 0);
	CHECK(write(d.device->queues[0].kick.fd, &one, sizeof(one)) == sizeof(one));
	reg_write(&d, R_STATUS, S_READY | S_DRIVER_OK);
	settle(&d);
	EQUAL(used_index(&d.ring), 0);
	driver_notify(&d);
	wait_used(&d, 1);
	driver_close(&d);
}

static void a_notification_of_no_queue_is_ignored(void)
{
	struct driver d = started();

	reg_write(&d, R_NOTIFY, 1);
	reg_write(&d, R_NOTIFY, 8);
	reg_write(&d, R_NOTIFY, UINT32_MAX);
	EQUAL(request(&d, T_IN, 1, DATA, 512), 0);
	driver_close(&d);
}

static void an_interrupt_lasts_until_it_is_acknowledged(void)
{
	struct driver d = started();

	EQUAL(request(&d, T_IN, 1, DATA, 512), 0);
	EQUAL(reg_read(&d, R_INT_STATUS), 0); /* wait_used acknowledged it */
	put_request(&d, 0, T_IN, 1, DATA, 512);
	__atomic_store_n(used_event_of(&d.ring), 1, __ATOMIC_RELAXED);
	driver_notify(&d);
	EQUAL(wait_interrupt(&d), 1);
	EQUAL(reg_read(&d, R_INT_STATUS), 0);
	put_request(&d, 0, T_IN, 1, DATA, 512);
	__atomic_store_n(used_event_of(&d.ring), 2, __ATOMIC_RELAXED);
	driver_notify(&d);
	while (used_index(&d.ring) != 3)
		settle(&d);
	settle(&d);
	EQUAL(reg_read(&d, R_INT_STATUS), 1);
	reg_write(&d, R_INT_ACK, 2);
	EQUAL(reg_read(&d, R_INT_STATUS), 1);
	reg_write(&d, R_INT_ACK, 3);
	EQUAL(reg_read(&d, R_INT_STATUS), 0);
	driver_close(&d);
}

static void a_driver_that_wants_no_interrupt_gets_none(void)
{
	struct driver d = opened();

	driver_start(&d, VIRTIO_F_VERSION_1);
	__atomic_store_n(&avail_words(&d.ring)[0], 1, __ATOMIC_RELAXED);
	put_request(&d, 0, T_IN, 1, DATA, 512);
	driver_notify(&d);
	while (used_index(&d.ring) != 1)
		settle(&d);
	settle(&d);
	CHECK(!interrupt_pending(&d));
	EQUAL(reg_read(&d, R_INT_STATUS), 0);
	driver_close(&d);
}

static void a_reset_clears_everything(void)
{
	struct driver d = started();

	EQUAL(request(&d, T_IN, 1, DATA, 512), 0);
	atomic_store(&d.device->interrupt_status, 3); /* one that nobody has acknowledged */
	reg_write(&d, R_FEATURES_SEL, 1);
	reg_write(&d, R_STATUS, 0);
	EQUAL(reg_read(&d, R_STATUS), 0);
	EQUAL(reg_read(&d, R_INT_STATUS), 0);
	EQUAL(reg_read(&d, R_QUEUE_READY), 0);
	EQUAL(d.device->features, 0);
	EQUAL(d.device->device_feature_select, 0);
	EQUAL(d.device->queues[0].layout.desc, 0);
	EQUAL(d.device->queues[0].ring.size, 0);
	put_request(&d, 0, T_IN, 1, DATA, 512);
	driver_notify(&d);
	settle(&d);
	EQUAL(used_index(&d.ring), 1);
	driver_close(&d);
}

static void a_driver_may_come_and_go(void)
{
	struct driver d = started();

	for (uint32_t i = 0; i < 100; i++) {
		EQUAL(request(&d, T_IN, i, DATA, 512), 0);
		EQUAL(number_in_ram(&d, DATA), i);
		for (uint32_t j = 0; j < 5; j++) /* left behind, perhaps in flight */
			put_request(&d, j, T_OUT, 1000 + j, DATA + j * PAGE, PAGE);
		driver_notify(&d);
		driver_start(&d, i % 2 ? ALL_FEATURES : VIRTIO_F_VERSION_1);
	}
	driver_close(&d);
}

static void a_queue_that_is_not_ready_any_more_is_not_touched(void)
{
	struct driver d = started();

	EQUAL(request(&d, T_IN, 1, DATA, 512), 0);
	reg_write(&d, R_QUEUE_READY, 0);
	EQUAL(reg_read(&d, R_QUEUE_READY), 0);
	put_request(&d, 0, T_IN, 1, DATA, 512);
	driver_notify(&d);
	settle(&d);
	EQUAL(used_index(&d.ring), 1);
	reg_write(&d, R_QUEUE_READY, 1); /* takes a reset */
	EQUAL(reg_read(&d, R_QUEUE_READY), 0);
	driver_start(&d, ALL_FEATURES);
	EQUAL(request(&d, T_IN, 2, DATA, 512), 0);
	driver_close(&d);
}

static void a_device_without_a_ready_queue_is_idle(void)
{
	struct driver d = opened();

	driver_prepare(&d, ALL_FEATURES);
	reg_write(&d, R_QUEUE_READY, 0);
	reg_write(&d, R_STATUS, S_READY | S_DRIVER_OK);
	driver_notify(&d);
	settle(&d);
	EQUAL(reg_read(&d, R_STATUS), S_READY | S_DRIVER_OK);
	EQUAL(used_index(&d.ring), 0);
	driver_close(&d);
}

static void a_device_is_placed_once_and_not_upon_another(void)
{
	struct driver d = opened();
	struct sv_blk_config config = plain_config(d.image);
	struct sv_virtio *second;

	EQUAL(sv_mmio_place(d.vm, d.device, WINDOW + 0x1000, 6), -EBUSY);
	EQUAL(sv_blk_create(d.vm, &config, &second), 0);
	EQUAL(sv_mmio_place(d.vm, second, WINDOW + 0x100, 6), -EEXIST);
	EQUAL(sv_mmio_place(d.vm, second, WINDOW + 0x200, 6), 0);
	EQUAL(sv_virtio_id(d.device), 0);
	EQUAL(sv_virtio_id(second), 1);
	driver_close(&d);
}

static void a_33rd_device_does_not_fit(void)
{
	struct driver d = opened();
	struct sv_blk_config config = plain_config(d.image);
	struct sv_virtio *device;

	for (int i = 1; i < SV_MAX_VIRTIO; i++)
		EQUAL(sv_blk_create(d.vm, &config, &device), 0);
	EQUAL(sv_blk_create(d.vm, &config, &device), -ENOSPC);
	driver_close(&d);
}

static void bad_disks_are_refused(void)
{
	struct driver d = opened();
	struct sv_blk_config config = plain_config(9999); /* nobody has opened so many */
	struct sv_virtio *device;

	EQUAL(sv_blk_create(d.vm, &config, &device), -EBADF);
	config.fd = d.image;
	config.alignment = 0;
	EQUAL(sv_blk_create(d.vm, &config, &device), -EINVAL);
	config.alignment = 513;
	EQUAL(sv_blk_create(d.vm, &config, &device), -EINVAL);
	config.alignment = 131072;
	EQUAL(sv_blk_create(d.vm, &config, &device), -EINVAL);
	config.alignment = 1;
	config.engine = 3;
	EQUAL(sv_blk_create(d.vm, &config, &device), -EINVAL);
	config.engine = SV_AIO_AUTO;
	config.size = UINT64_MAX;
	EQUAL(sv_blk_create(d.vm, &config, &device), -EINVAL);
	EQUAL(d.vm->device_count, 1);
	driver_close(&d);
}

struct hammer {
	struct driver *d;
	uint64_t seed;
};

static void *write_registers(void *context)
{
	struct hammer *hammer = context;
	uint64_t x = hammer->seed;

	for (int i = 0; i < 3000; i++) {
		static const uint32_t values[] = {0,  1,         3,          11,        15,
						  16, RING_DESC, RING_AVAIL, RING_USED, UINT32_MAX};

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		reg_write(hammer->d, (x % 0x40) * 4, values[(x >> 20) % 10]);
		reg_read(hammer->d, (x >> 30) % 0x44 * 4);
	}
	return NULL;
}

static void several_vcpus_may_write_at_once(void)
{
	struct driver d = started();
	struct hammer hammers[3] = {{&d, 1234567}, {&d, 7654321}, {&d, 1111111}};
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		EQUAL(pthread_create(&threads[i], NULL, write_registers, &hammers[i]), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	driver_start(&d, ALL_FEATURES);
	EQUAL(request(&d, T_IN, 1, DATA, 512), 0);
	driver_close(&d);
}

int main(int argc, char **argv)
{
	RUN(the_window_says_what_it_is);
	RUN(registers_are_accessed_with_32_bits);
	RUN(config_is_read_with_any_width_and_not_written);
	RUN(features_come_in_two_pages);
	RUN(features_are_masked_by_what_was_offered);
	RUN(features_are_fixed_once_they_are_ok);
	RUN(features_without_version_1_are_refused);
	RUN(status_bits_come_in_order);
	RUN(a_driver_that_failed_goes_no_further);
	RUN(queue_registers_take_values_between_features_and_ready);
	RUN(addresses_are_replaced_and_not_collected);
	RUN(queues_that_are_not_there_have_no_size);
	RUN(a_ring_of_bad_size_asks_for_a_reset);
	RUN(a_ring_outside_memory_asks_for_a_reset);
	RUN(a_ring_that_breaks_asks_for_a_reset_once);
	RUN(what_is_broken_is_told_once);
	RUN(a_driver_that_breaks_its_device_for_ever_is_told_of_once_a_second);
	RUN(config_ends_where_it_ends);
	RUN(a_notification_before_driver_ok_is_ignored);
	RUN(an_early_notification_that_nobody_has_seen_yet_is_ignored);
	RUN(a_notification_of_no_queue_is_ignored);
	RUN(an_interrupt_lasts_until_it_is_acknowledged);
	RUN(a_driver_that_wants_no_interrupt_gets_none);
	RUN(a_reset_clears_everything);
	RUN(a_driver_may_come_and_go);
	RUN(a_queue_that_is_not_ready_any_more_is_not_touched);
	RUN(a_device_without_a_ready_queue_is_idle);
	RUN(a_device_is_placed_once_and_not_upon_another);
	RUN(a_33rd_device_does_not_fit);
	RUN(bad_disks_are_refused);
	RUN(several_vcpus_may_write_at_once);
	return 0;
}
