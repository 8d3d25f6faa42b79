/* Each test runs with both engines. */
#include "driver.h"

static int engine;

static struct driver started(uint64_t features)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;

	config.engine = engine;
	d = driver_open(&config);
	driver_start(&d, features);
	return d;
}

static void a_read_brings_the_sectors(void)
{
	struct driver d = started(ALL_FEATURES);

	EQUAL(request(&d, T_IN, 7, DATA, 8192), 0);
	for (uint32_t i = 0; i < 16; i++)
		EQUAL(number_in_ram(&d, DATA + i * 512), 7 + i);
	EQUAL(last_used_length(&d), 8193);
	driver_close(&d);
}

static void a_write_reaches_the_image(void)
{
	struct driver d = started(ALL_FEATURES);

	memset(at_gpa(&d.ring, DATA), 0x5a, 1024);
	EQUAL(request(&d, T_OUT, 100, DATA, 1024), 0);
	EQUAL(last_used_length(&d), 1);
	EQUAL(number_in_image(&d, 100), 0x5a5a5a5a);
	EQUAL(number_in_image(&d, 101), 0x5a5a5a5a);
	EQUAL(number_in_image(&d, 99), 99);
	EQUAL(number_in_image(&d, 102), 102);
	driver_close(&d);
}

static void a_flush_is_acknowledged(void)
{
	struct driver d = started(ALL_FEATURES);

	EQUAL(request(&d, T_FLUSH, 0, 0, 0), 0);
	EQUAL(last_used_length(&d), 1);
	driver_close(&d);
}

static void a_driver_without_flush_gets_its_writes_through(void)
{
	struct driver d = started(VIRTIO_F_VERSION_1 | (1 << 13));

	memset(at_gpa(&d.ring, DATA), 0x5a, 512);
	EQUAL(request(&d, T_OUT, 3, DATA, 512), 0);
	EQUAL(number_in_image(&d, 3), 0x5a5a5a5a);
	memcpy(at_gpa(&d.ring, DATA), (uint32_t[]){3, 0, 1, 0}, 16);
	EQUAL(request(&d, T_DISCARD, 0, DATA, 16), 0);
	driver_close(&d);
}

static void the_id_is_the_serial_padded_with_zeroes(void)
{
	struct driver d = started(ALL_FEATURES);
	char *id = at_gpa(&d.ring, DATA);

	memset(id, 0x77, 32);
	EQUAL(request(&d, T_GET_ID, 0, DATA, 20), 0);
	EQUAL(last_used_length(&d), 21);
	EQUAL(memcmp(id, "disk-of-the-tests\0\0\0\x77", 21), 0);
	driver_close(&d);
}

static void an_id_is_cut_to_the_buffer_and_fills_no_more_than_its_part(void)
{
	struct driver d = started(ALL_FEATURES);
	char *id = at_gpa(&d.ring, DATA);

	memset(id, 0x77, 64);
	EQUAL(request(&d, T_GET_ID, 0, DATA, 4), 0);
	EQUAL(last_used_length(&d), 5);
	EQUAL(memcmp(id, "disk\x77", 5), 0);
	EQUAL(request(&d, T_GET_ID, 0, DATA, 64), 0);
	EQUAL(id[20], 0x77);
	driver_close(&d);
}

static uint8_t trim(struct driver *d, uint32_t type, uint64_t sector, uint32_t count, uint32_t flags)
{
	memcpy(at_gpa(&d->ring, DATA), &sector, 8);
	memcpy(at_gpa(&d->ring, DATA + 8), (uint32_t[]){count, flags}, 8);
	return request(d, type, 0, DATA, 16);
}

static void a_discard_punches_a_hole(void)
{
	struct driver d = started(ALL_FEATURES);

	EQUAL(trim(&d, T_DISCARD, 16, 8, 0), 0);
	EQUAL(number_in_image(&d, 15), 15);
	EQUAL(number_in_image(&d, 16), 0);
	EQUAL(number_in_image(&d, 23), 0);
	EQUAL(number_in_image(&d, 24), 24);
	EQUAL(lseek(d.image, 0, SEEK_END), IMAGE_SIZE);
	driver_close(&d);
}

static void zeroes_are_written_with_and_without_unmap(void)
{
	struct driver d = started(ALL_FEATURES);

	EQUAL(trim(&d, T_WRITE_ZEROES, 3, 1, 0), 0);
	EQUAL(trim(&d, T_WRITE_ZEROES, 5, 1, 1), 0);
	EQUAL(number_in_image(&d, 3), 0);
	EQUAL(number_in_image(&d, 4), 4);
	EQUAL(number_in_image(&d, 5), 0);
	EQUAL(number_in_image(&d, 6), 6);
	driver_close(&d);
}

static void bad_discards_are_refused(void)
{
	struct driver d = started(ALL_FEATURES);

	EQUAL(trim(&d, T_DISCARD, 0, 1, 1), 2); /* unmap says nothing here */
	EQUAL(trim(&d, T_DISCARD, 0, 1, 2), 2);
	EQUAL(trim(&d, T_WRITE_ZEROES, 0, 1, 2), 2);
	EQUAL(trim(&d, T_DISCARD, IMAGE_SIZE / 512, 1, 0), 1);
	EQUAL(trim(&d, T_DISCARD, IMAGE_SIZE / 512 - 1, 2, 0), 1);
	EQUAL(trim(&d, T_WRITE_ZEROES, UINT64_MAX, 1, 0), 1);
	EQUAL(trim(&d, T_WRITE_ZEROES, 0, UINT32_MAX, 0), 1);
	EQUAL(trim(&d, T_DISCARD, 0, 0, 0), 0);
	EQUAL(request(&d, T_DISCARD, 0, DATA, 32), 1); /* two segments */
	EQUAL(request(&d, T_DISCARD, 0, DATA, 8), 1);
	EQUAL(number_in_image(&d, 1), 1);
	driver_close(&d);
}

static void what_was_not_negotiated_is_not_supported(void)
{
	struct driver d = started(VIRTIO_F_VERSION_1);

	EQUAL(trim(&d, T_DISCARD, 1, 1, 0), 2);
	EQUAL(trim(&d, T_WRITE_ZEROES, 1, 1, 0), 2);
	EQUAL(number_in_image(&d, 1), 1);
	driver_close(&d);
}

static void unknown_types_are_not_supported(void)
{
	struct driver d = started(ALL_FEATURES);

	EQUAL(request(&d, 2, 0, DATA, 512), 2);
	EQUAL(last_used_length(&d), 1);
	EQUAL(request(&d, UINT32_MAX, 0, DATA, 512), 2);
	driver_close(&d);
}

static void accesses_beyond_the_end_fail(void)
{
	struct driver d = started(ALL_FEATURES);
	uint64_t end = IMAGE_SIZE / 512;

	EQUAL(request(&d, T_IN, end - 1, DATA, 512), 0);
	EQUAL(request(&d, T_IN, end, DATA, 512), 1);
	EQUAL(last_used_length(&d), 1);
	EQUAL(request(&d, T_IN, end - 1, DATA, 1024), 1);
	EQUAL(request(&d, T_OUT, end, DATA, 512), 1);
	EQUAL(request(&d, T_IN, UINT64_MAX, DATA, 512), 1);
	EQUAL(request(&d, T_OUT, UINT64_MAX / 512 + 1, DATA, 512), 1); /* 0 in bytes */
	EQUAL(number_in_image(&d, 0), 0);
	EQUAL(next_event(&d).kind, 0); /* the guest's fault is no news */
	driver_close(&d);
}

static void half_a_sector_fails(void)
{
	struct driver d = started(ALL_FEATURES);

	EQUAL(request(&d, T_IN, 0, DATA, 511), 1);
	EQUAL(request(&d, T_OUT, 0, DATA, 513), 1);
	EQUAL(request(&d, T_IN, 0, DATA, 1), 1);
	driver_close(&d);
}

static void a_transfer_of_nothing_succeeds(void)
{
	struct driver d = started(ALL_FEATURES);

	EQUAL(request(&d, T_IN, 0, 0, 0), 0);
	EQUAL(last_used_length(&d), 1);
	EQUAL(request(&d, T_OUT, 0, 0, 0), 0);
	driver_close(&d);
}

static void an_image_without_holes_offers_no_discard(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;

	config.discard = 0;
	config.engine = engine;
	d = driver_open(&config);
	driver_start(&d, ALL_FEATURES);
	CHECK(!(d.device->offered & (1 << 13 | 1 << 14)));
	EQUAL(reg_read(&d, R_CONFIG + 36), 0);
	EQUAL(trim(&d, T_DISCARD, 1, 1, 0), 2);
	driver_close(&d);
}

static void a_read_only_disk_refuses_to_change(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;

	config.readonly = 1;
	config.engine = engine;
	d = driver_open(&config);
	driver_start(&d, ALL_FEATURES);
	CHECK(d.device->offered & (1 << 5));
	CHECK(!(d.device->offered & (1 << 13 | 1 << 14)));
	EQUAL(request(&d, T_OUT, 1, DATA, 512), 1);
	EQUAL(trim(&d, T_DISCARD, 1, 1, 0), 2);
	EQUAL(trim(&d, T_WRITE_ZEROES, 1, 1, 0), 2);
	EQUAL(number_in_image(&d, 1), 1);
	EQUAL(request(&d, T_FLUSH, 0, 0, 0), 0);
	EQUAL(request(&d, T_IN, 1, DATA, 512), 0);
	driver_close(&d);
}

/* VIRTIO 1.2, 2.7.4.1: header in pieces of 1, 8 and 7 bytes, and one buffer for data and status. */
static void a_header_may_be_split_and_a_status_joined(void)
{
	struct driver d = started(ALL_FEATURES);

	put_header(&d, 0, T_IN, 9);
	put_desc(&d.ring, 0, HEADER_OF(0), 1, F_NEXT, 1);
	put_desc(&d.ring, 1, HEADER_OF(0) + 1, 8, F_NEXT, 2);
	put_desc(&d.ring, 2, HEADER_OF(0) + 9, 7, F_NEXT, 3);
	put_desc(&d.ring, 3, DATA, 300, F_NEXT | F_WRITE, 4);
	put_desc(&d.ring, 4, DATA + 300, 213, F_WRITE, 0);
	*(uint8_t *)at_gpa(&d.ring, DATA + 512) = 0xee;
	publish(&d.ring, 0);
	driver_notify(&d);
	wait_used(&d, 1);
	EQUAL(*(uint8_t *)at_gpa(&d.ring, DATA + 512), 0);
	EQUAL(number_in_ram(&d, DATA), 9);
	EQUAL(last_used_length(&d), 513);
	driver_close(&d);
}

static void a_header_may_come_with_its_data(void)
{
	struct driver d = started(ALL_FEATURES);

	put_header(&d, 0, T_OUT, 9);
	memset(at_gpa(&d.ring, HEADER_OF(0) + 16), 0x33, 512);
	put_desc(&d.ring, 0, HEADER_OF(0), 528, F_NEXT, 1);
	put_desc(&d.ring, 1, STATUS_OF(1), 1, F_WRITE, 0);
	publish(&d.ring, 0);
	driver_notify(&d);
	wait_used(&d, 1);
	EQUAL(status_of(&d, 1), 0);
	EQUAL(number_in_image(&d, 9), 0x33333333);
	driver_close(&d);
}

static void a_short_header_fails(void)
{
	struct driver d = started(ALL_FEATURES);

	put_header(&d, 0, T_IN, 0);
	put_desc(&d.ring, 0, HEADER_OF(0), 15, F_NEXT, 1);
	put_desc(&d.ring, 1, STATUS_OF(0), 1, F_WRITE, 0);
	publish(&d.ring, 0);
	driver_notify(&d);
	wait_used(&d, 1);
	EQUAL(status_of(&d, 0), 1);
	driver_close(&d);
}

static void a_chain_without_status_is_given_back_unwritten(void)
{
	struct driver d = started(ALL_FEATURES);

	put_header(&d, 0, T_OUT, 0);
	put_desc(&d.ring, 0, HEADER_OF(0), 528, 0, 0);
	publish(&d.ring, 0);
	driver_notify(&d);
	wait_used(&d, 1);
	EQUAL(last_used_length(&d), 0);
	EQUAL(reg_read(&d, R_STATUS), S_READY | S_DRIVER_OK);
	driver_close(&d);
}

static void an_image_that_was_cut_fails_and_is_told_once_a_second(void)
{
	struct driver d = started(ALL_FEATURES);
	struct sv_event event;
	uint64_t untold;

	CHECK(ftruncate(d.image, 512 * 10 + 100) == 0);
	EQUAL(request(&d, T_IN, 9, DATA, 512), 0);
	EQUAL(request(&d, T_IN, 10, DATA, 512), 1);
	EQUAL(request(&d, T_IN, 11, DATA, 512), 1);
	EQUAL(request(&d, T_IN, 9, DATA, 1024), 1);
	EQUAL(last_used_length(&d), 1);
	event = next_event(&d);
	EQUAL(event.kind, SV_EVENT_IO_ERROR);
	EQUAL(event.source, sv_virtio_id(d.device));
	EQUAL(event.data[0], ENODATA);
	EQUAL(event.data[1], T_IN);
	EQUAL(event.data[2], 10);
	EQUAL(event.data[3], 0);
	EQUAL(next_event(&d).kind, 0);
	/* The next one that is told says how many were not. */
	for (untold = 2;; untold++) {
		EQUAL(request(&d, T_IN, 10, DATA, 512), 1);
		event = next_event(&d);
		if (event.kind == SV_EVENT_IO_ERROR)
			break;
	}
	EQUAL(event.data[3], untold);
	driver_close(&d);
}

static void an_error_of_the_host_fails_the_request(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d;
	char path[64];
	int readable;

	/* The image is open for reading only, and the device was not told. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", config.fd);
	readable = open(path, O_RDONLY | O_CLOEXEC);
	close(config.fd);
	config.fd = readable;
	config.engine = engine;
	d = driver_open(&config);
	driver_start(&d, ALL_FEATURES);
	EQUAL(request(&d, T_OUT, 1, DATA, 512), 1);
	EQUAL(next_event(&d).data[0], EBADF);
	EQUAL(request(&d, T_IN, 1, DATA, 512), 0);
	driver_close(&d);
}

static void many_segments_in_an_indirect_table_are_one_request(void)
{
	struct driver d = started(ALL_FEATURES);
	struct desc *table = at_gpa(&d.ring, TABLES);

	put_header(&d, 0, T_IN, 0);
	table[0] = (struct desc){HEADER_OF(0), 16, F_NEXT, 1};
	for (uint32_t i = 1; i <= 254; i++)
		table[i] = (struct desc){DATA + (254 - i) * 512, 512, F_NEXT | F_WRITE, (uint16_t)(i + 1)};
	table[255] = (struct desc){STATUS_OF(0), 1, F_WRITE, 0};
	put_desc(&d.ring, 0, TABLES, 256 * 16, F_INDIRECT, 0);
	publish(&d.ring, 0);
	driver_notify(&d);
	wait_used(&d, 1);
	EQUAL(status_of(&d, 0), 0);
	EQUAL(last_used_length(&d), 254 * 512 + 1);
	EQUAL(number_in_ram(&d, DATA), 253);
	EQUAL(number_in_ram(&d, DATA + 253 * 512), 0);
	driver_close(&d);
}

static void a_batch_takes_one_notification(void)
{
	struct driver d = started(ALL_FEATURES);

	for (uint32_t i = 0; i < 5; i++)
		put_request(&d, i, T_IN, i, DATA + i * 512, 512);
	driver_notify(&d);
	wait_used(&d, 5);
	for (uint32_t i = 0; i < 5; i++) {
		EQUAL(status_of(&d, i), 0);
		EQUAL(number_in_ram(&d, DATA + i * 512), i);
	}
	driver_close(&d);
}

/* With EVENT_IDX the driver looks at avail_event, as a real one does, and must never be left waiting. */
static void no_request_is_forgotten_when_the_driver_notifies_only_if_asked(void)
{
	struct driver d = started(ALL_FEATURES);
	uint32_t notified = 0;

	for (uint32_t i = 0; i < 20000; i++) {
		uint16_t before = d.ring.avail;

		put_request(&d, i % 4, T_IN, i % 100, DATA, 512);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (__atomic_load_n(avail_event_of(&d.ring), __ATOMIC_RELAXED) == before) {
			driver_notify(&d);
			notified++;
		}
		if (i % 4 == 3)
			wait_used(&d, 4);
	}
	CHECK(notified >= 1);
	driver_close(&d);
}

/* More requests at once than there is state for: the guest reuses one descriptor again and again. */
static void more_requests_than_the_queue_holds_are_served_in_turn(void)
{
	struct driver d = started(ALL_FEATURES);
	uint32_t done = 0;

	put_request(&d, 0, T_IN, 1, DATA, 512);
	for (uint32_t i = 1; i < 2000; i++) {
		if ((uint16_t)(d.ring.avail - used_index(&d.ring)) >= QUEUE_SIZE) {
			driver_notify(&d);
			wait_used(&d, QUEUE_SIZE);
			done += QUEUE_SIZE;
		}
		publish(&d.ring, 0);
	}
	driver_notify(&d);
	wait_used(&d, 2000 - done);
	driver_close(&d);
}

/* As many requests as the device takes at a time: it has to come back by itself and listen again. */
static void a_full_ring_leaves_the_device_listening(void)
{
	struct driver d = started(ALL_FEATURES);

	put_request(&d, 0, T_IN, 1, DATA, 512);
	for (uint32_t i = 1; i < QUEUE_SIZE; i++)
		publish(&d.ring, 0);
	driver_notify(&d);
	wait_used(&d, QUEUE_SIZE);
	settle(&d);
	EQUAL(__atomic_load_n(avail_event_of(&d.ring), __ATOMIC_RELAXED), QUEUE_SIZE);
	driver_close(&d);
}

static void requests_obey_the_rate_limit(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct timespec from;
	struct timespec to;
	struct driver d;
	double seconds;

	config.iops = 500;
	config.engine = engine;
	d = driver_open(&config);
	driver_start(&d, ALL_FEATURES);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < 20; i++) {
		for (int j = 0; j < 5; j++)
			put_request(&d, (uint32_t)j, T_IN, 0, DATA, 512);
		driver_notify(&d);
		wait_used(&d, 5);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
	/* 100 operations, of which the first one and 1/32 s worth are free: 0.168 s at least. */
	CHECK(seconds > 0.165 && seconds < 2);
	driver_close(&d);
}

static void the_configuration_is_the_specs(void)
{
	struct driver d = started(ALL_FEATURES);

	EQUAL(reg_read_sized(&d, R_CONFIG, 8), IMAGE_SIZE / 512);
	EQUAL(reg_read(&d, R_CONFIG + 12), 254); /* seg_max */
	EQUAL(reg_read(&d, R_CONFIG + 20), 512); /* blk_size */
	EQUAL(reg_read_sized(&d, R_CONFIG + 34, 2), 1);
	EQUAL(reg_read(&d, R_CONFIG + 40), 1); /* max_discard_seg */
	EQUAL(reg_read(&d, R_CONFIG + 44), 8);
	EQUAL(reg_read_sized(&d, R_CONFIG + 56, 1), 1);
	EQUAL(reg_read(&d, R_CONFIG + 60), 0);
	driver_close(&d);
}

/* Destroys the machine while requests are on their way: nothing may be touched after its memory is gone. */
static void a_machine_may_end_with_requests_in_flight(void)
{
	for (int i = 0; i < 50; i++) {
		struct driver d = started(ALL_FEATURES);

		for (uint32_t j = 0; j < 5; j++)
			put_request(&d, j, j % 2 ? T_IN : T_OUT, j * 200, DATA + j * 0x10000, 0x10000);
		driver_notify(&d);
		driver_close(&d);
	}
}

static void both(int argc, char **argv)
{
	RUN(a_read_brings_the_sectors);
	RUN(a_write_reaches_the_image);
	RUN(a_flush_is_acknowledged);
	RUN(a_driver_without_flush_gets_its_writes_through);
	RUN(the_id_is_the_serial_padded_with_zeroes);
	RUN(an_id_is_cut_to_the_buffer_and_fills_no_more_than_its_part);
	RUN(a_discard_punches_a_hole);
	RUN(zeroes_are_written_with_and_without_unmap);
	RUN(bad_discards_are_refused);
	RUN(what_was_not_negotiated_is_not_supported);
	RUN(unknown_types_are_not_supported);
	RUN(accesses_beyond_the_end_fail);
	RUN(half_a_sector_fails);
	RUN(a_transfer_of_nothing_succeeds);
	RUN(an_image_without_holes_offers_no_discard);
	RUN(a_read_only_disk_refuses_to_change);
	RUN(a_header_may_be_split_and_a_status_joined);
	RUN(a_header_may_come_with_its_data);
	RUN(a_short_header_fails);
	RUN(a_chain_without_status_is_given_back_unwritten);
	RUN(an_image_that_was_cut_fails_and_is_told_once_a_second);
	RUN(an_error_of_the_host_fails_the_request);
	RUN(many_segments_in_an_indirect_table_are_one_request);
	RUN(a_batch_takes_one_notification);
	RUN(no_request_is_forgotten_when_the_driver_notifies_only_if_asked);
	RUN(more_requests_than_the_queue_holds_are_served_in_turn);
	RUN(a_full_ring_leaves_the_device_listening);
	RUN(requests_obey_the_rate_limit);
	RUN(the_configuration_is_the_specs);
	RUN(a_machine_may_end_with_requests_in_flight);
}

int main(int argc, char **argv)
{
	engine = SV_AIO_SYNC;
	both(argc, argv);
	engine = SV_AIO_URING;
	if (!engine_works(engine)) {
		printf("skipped: this host has no io_uring\n");
		return 0;
	}
	both(argc, argv);
	return 0;
}
