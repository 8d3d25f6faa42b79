#include "net_driver.h"

static void a_frame_comes_with_a_header_that_counts_one_buffer(void)
{
	struct card c = card_started(MERGEABLE);

	give_buffers(&c, 0, 4, 2048);
	wire_send(c.peers[0], 100, 7);
	wait_index(&c, 0, 1);
	EQUAL(expect_received(&c, 0, 0, 2048, 100, 7), 1);
	card_close(&c);
}

static void a_long_frame_takes_as_many_buffers_as_it_needs(void)
{
	struct card c = card_started(MERGEABLE);

	give_buffers(&c, 0, 10, 512);
	wire_send(c.peers[0], 512, 1);
	wire_send(c.peers[0], 513, 2);
	wire_send(c.peers[0], 2048, 3);
	wait_index(&c, 0, 7);
	EQUAL(expect_received(&c, 0, 0, 512, 512, 1), 1);
	EQUAL(expect_received(&c, 0, 1, 512, 513, 2), 2);
	EQUAL(expect_received(&c, 0, 3, 512, 2048, 3), 4);
	card_close(&c);
}

static void the_longest_frame_arrives_whole(void)
{
	struct card c = card_started(MERGEABLE);

	give_buffers(&c, 0, QUEUE_SIZE, 0x1800);
	wire_send(c.peers[0], NET_FRAME_MAX, 9);
	wait_index(&c, 0, (NET_FRAME_MAX + 0x17ff) / 0x1800);
	expect_received(&c, 0, 0, 0x1800, NET_FRAME_MAX, 9);
	card_close(&c);
}

static void frames_wait_while_there_are_no_buffers(void)
{
	struct card c = card_started(MERGEABLE);

	for (uint8_t i = 0; i < 10; i++)
		wire_send(c.peers[0], 60, i);
	card_settle(&c);
	EQUAL(used_index(&c.rings[0]), 0);
	for (uint16_t i = 0; i < 10; i++) {
		give_buffers(&c, 0, 1, 2048);
		wait_index(&c, 0, i + 1);
		expect_received(&c, 0, i, 2048, 60, (uint8_t)i);
	}
	card_close(&c);
}

/* The start of the frame is in the guest's buffers, the rest waits. */
static void a_frame_longer_than_the_buffers_there_are_waits_for_more(void)
{
	struct card c = card_started(MERGEABLE);

	give_buffers(&c, 0, 2, 1000);
	wire_send(c.peers[0], 4500, 5);
	wire_send(c.peers[0], 70, 6);
	card_settle(&c);
	EQUAL(used_index(&c.rings[0]), 0);
	give_buffers(&c, 0, 2, 1000);
	card_settle(&c);
	EQUAL(used_index(&c.rings[0]), 0);
	give_buffers(&c, 0, 2, 1000);
	wait_index(&c, 0, 6);
	EQUAL(expect_received(&c, 0, 0, 1000, 4500, 5), 5);
	EQUAL(expect_received(&c, 0, 5, 1000, 70, 6), 1);
	card_close(&c);
}

static void a_frame_that_a_full_ring_cannot_hold_is_dropped_and_the_next_one_comes(void)
{
	struct card c = card_started(MERGEABLE);

	give_buffers(&c, 0, QUEUE_SIZE, 64);
	wire_send(c.peers[0], QUEUE_SIZE * 64 + 1, 5);
	wire_send(c.peers[0], QUEUE_SIZE * 64, 6);
	wait_index(&c, 0, QUEUE_SIZE);
	EQUAL(expect_received(&c, 0, 0, 64, QUEUE_SIZE * 64, 6), QUEUE_SIZE);
	card_close(&c);
}

static void without_mergeable_buffers_a_frame_is_in_one_chain(void)
{
	struct card c = card_started(BASE_FEATURES);
	struct ring *ring = &c.rings[0];

	put_desc(ring, 0, buffer_gpa(0, 0), HEADER, F_NEXT | F_WRITE, 1);
	put_desc(ring, 1, buffer_gpa(0, 0x1000), 1514, F_WRITE, 0);
	publish(ring, 0);
	card_notify(&c, 0);
	wire_send(c.peers[0], HEADER + 1515, 1); /* has no room */
	wire_send(c.peers[0], HEADER + 1514, 2);
	wait_index(&c, 0, 1);
	EQUAL(used_at(ring, 0).len, HEADER + 1514);
	EQUAL(*buffer_at(&c, 0, NET_NUM_BUFFERS), 1);
	EQUAL(*buffer_at(&c, 0, NET_NUM_BUFFERS + 1), 0);
	EQUAL(*buffer_at(&c, 0, 0x1000), (uint8_t)(2 + HEADER));
	EQUAL(*buffer_at(&c, 0, 0x1000 + 1513), (uint8_t)(2 + HEADER + 1513));
	card_close(&c);
}

static void what_is_no_frame_is_not_received(void)
{
	struct card c = card_started(MERGEABLE);
	uint8_t big[NET_FRAME_MAX + 1] = {0};

	give_buffers(&c, 0, QUEUE_SIZE, 0x1800);
	EQUAL(send(c.peers[0], big, HEADER, 0), HEADER);
	EQUAL(send(c.peers[0], big, 3, 0), 3);
	EQUAL(send(c.peers[0], big, sizeof(big), 0), sizeof(big));
	wire_send(c.peers[0], 60, 1);
	wait_index(&c, 0, 1);
	expect_received(&c, 0, 0, 0x1800, 60, 1);
	card_close(&c);
}

/* num_buffers may lie across two buffers of the first chain. */
static void a_header_may_be_split(void)
{
	struct card c = card_started(MERGEABLE);
	struct ring *ring = &c.rings[0];

	put_desc(ring, 0, buffer_gpa(0, 0), 11, F_NEXT | F_WRITE, 1);
	put_desc(ring, 1, buffer_gpa(0, 0x1000), 1, F_NEXT | F_WRITE, 2);
	put_desc(ring, 2, buffer_gpa(0, 0x2000), 100, F_WRITE, 0);
	publish(ring, 0);
	card_notify(&c, 0);
	memset(buffer_at(&c, 0, 0x1000), 0xee, 2);
	wire_send(c.peers[0], 60, 3);
	wait_index(&c, 0, 1);
	EQUAL(*buffer_at(&c, 0, NET_NUM_BUFFERS), 1);
	EQUAL(*buffer_at(&c, 0, 0x1000), 0);
	EQUAL(*buffer_at(&c, 0, 0x1001), 0xee);
	EQUAL(*buffer_at(&c, 0, 0x2000), 3 + HEADER);
	card_close(&c);
}

static void a_receive_buffer_for_reading_breaks_the_queue_until_a_reset(void)
{
	struct card c = card_started(MERGEABLE);

	put_desc(&c.rings[0], 0, buffer_gpa(0, 0), 64, F_NEXT, 1);
	put_desc(&c.rings[0], 1, buffer_gpa(0, 64), 2048, F_WRITE, 0);
	publish(&c.rings[0], 0);
	card_notify(&c, 0);
	expect_broken(&c, 0, VIRTQ_BAD_CHAIN);
	card_close(&c);
}

static void a_receive_buffer_smaller_than_a_header_breaks_the_queue(void)
{
	struct card c = card_started(MERGEABLE);

	give_buffers(&c, 0, 1, HEADER - 1);
	expect_broken(&c, 0, VIRTQ_BAD_CHAIN);
	card_close(&c);
}

static void a_buffer_outside_memory_breaks_the_queue(void)
{
	struct card c = card_started(MERGEABLE);

	put_desc(&c.rings[0], 0, RAM_GPA + NET_RAM - 100, 2048, F_WRITE, 0);
	publish(&c.rings[0], 0);
	card_notify(&c, 0);
	expect_broken(&c, 0, VIRTQ_BAD_ADDRESS);
	card_close(&c);
}

static void the_driver_is_interrupted_only_for_what_it_asked(void)
{
	struct card c = card_started(MERGEABLE);
	struct pollfd line = {.fd = c.d.device->irq_fd, .events = POLLIN};

	give_buffers(&c, 0, 4, 2048);
	__atomic_store_n(used_event_of(&c.rings[0]), 2, __ATOMIC_RELAXED);
	wire_send(c.peers[0], 60, 0);
	wire_send(c.peers[0], 60, 1);
	while (used_index(&c.rings[0]) != 2)
		card_settle(&c);
	card_settle(&c);
	EQUAL(poll(&line, 1, 0), 0);
	wire_send(c.peers[0], 60, 2);
	EQUAL(poll(&line, 1, 20000), 1);
	EQUAL(reg_read(&c.d, R_INT_STATUS), VIRTIO_INTERRUPT_QUEUE);
	card_close(&c);
}

static void without_event_idx_the_flags_say_the_same(void)
{
	struct card c = card_started(VIRTIO_F_VERSION_1);
	struct ring *rx = &c.rings[0];

	__atomic_store_n(&avail_words(rx)[0], 1, __ATOMIC_RELAXED); /* no interrupts */
	give_buffers(&c, 0, 2, 2048);
	card_settle(&c);
	EQUAL(__atomic_load_n(&used_words(rx)[0], __ATOMIC_RELAXED),
	      1); /* there are buffers: no notifications */
	wire_send(c.peers[0], 60, 0);
	wire_send(c.peers[0], 60, 1);
	while (used_index(rx) != 2)
		card_settle(&c);
	wire_send(c.peers[0], 60, 2);
	while (__atomic_load_n(&used_words(rx)[0], __ATOMIC_RELAXED) != 0)
		card_settle(&c);
	EQUAL(interrupt_pending(&c.d), false);
	card_close(&c);
}

static void a_full_ring_leaves_the_device_listening(void)
{
	struct card c = card_open(1, 1);

	c.size = NET_QUEUE_SIZE;
	card_start(&c, MERGEABLE);
	for (uint32_t i = 0; i < NET_QUEUE_SIZE; i++)
		put_frame(&c, 0, i % 16, 60, 3);
	card_notify(&c, 1);
	for (uint32_t i = 0; i < NET_QUEUE_SIZE; i++)
		wire_expect(c.peers[0], 60, 3);
	wait_index(&c, 1, NET_QUEUE_SIZE);
	card_settle(&c);
	EQUAL(__atomic_load_n(avail_event_of(&c.rings[1]), __ATOMIC_RELAXED), NET_QUEUE_SIZE);
	card_close(&c);
}

/* More than the device takes at a time: it has to come back by itself. */
static void many_frames_that_wait_come_after_one_notification(void)
{
	struct card c = card_open(1, 1);
	uint32_t sent = 0;

	c.size = NET_QUEUE_SIZE;
	card_start(&c, MERGEABLE);
	for (; sent < 3 * NET_BUDGET; sent++) {
		uint8_t frame[60];

		make_frame(frame, sizeof(frame), (uint8_t)sent);
		if (send(c.peers[0], frame, sizeof(frame), 0) < 0)
			break;
	}
	CHECK(sent > NET_BUDGET);
	card_settle(&c);
	give_buffers(&c, 0, sent, 128);
	wait_index(&c, 0, (uint16_t)sent);
	for (uint32_t i = 0; i < sent; i++)
		expect_received(&c, 0, i, 128, 60, (uint8_t)i);
	card_close(&c);
}

static void the_configuration_is_the_specs(void)
{
	struct card c = card_open(1, 1);
	uint64_t features = c.d.device->offered;

	EQUAL(reg_read(&c.d, R_DEVICE_ID), 1);
	EQUAL(reg_read(&c.d, R_CONFIG), 0x01005452);
	EQUAL(reg_read_sized(&c.d, R_CONFIG + 4, 2), 0x0302);
	EQUAL(reg_read_sized(&c.d, R_CONFIG + 6, 2), 1);
	EQUAL(features & 0xffffff, 1 << 0 | 1 << 1 | 1 << 5 | 0xff << 7 | 1 << 15 | 1 << 16);
	card_close(&c);
}

static void what_the_tap_cannot_do_is_not_offered(void)
{
	struct sv_net_config config = {.pairs = 1, .offloads = TUN_F_CSUM | TUN_F_TSO4};
	struct sv_virtio *device;
	struct sv_vm *vm;

	CHECK(sv_vm_create(-1, &vm) == 0);
	CHECK(sv_net_create(vm, &config, &device) == 0);
	EQUAL(device->offered & 0xffffff, 1 << 0 | 1 << 1 | 1 << 7 | 1 << 11 | 1 << 15 | 1 << 16);
	config.pairs = 17;
	EQUAL(sv_net_create(vm, &config, &device), -EINVAL);
	config.pairs = 1;
	config.backend.count = 2;
	EQUAL(sv_net_create(vm, &config, &device), -EINVAL);
	config.backend = (struct sv_net_backend){.count = 1, .fds = {-1}};
	EQUAL(sv_net_create(vm, &config, &device), -EBADF);
	config.backend = (struct sv_net_backend){.count = 1, .fds = {2}, .vhost = 1, .vhost_fds = {2}};
	CHECK(sv_net_create(vm, &config, &device) < 0); /* standard error is no vhost */
	sv_vm_destroy(vm);
}

int main(int argc, char **argv)
{
	RUN(a_frame_comes_with_a_header_that_counts_one_buffer);
	RUN(a_long_frame_takes_as_many_buffers_as_it_needs);
	RUN(the_longest_frame_arrives_whole);
	RUN(frames_wait_while_there_are_no_buffers);
	RUN(a_frame_longer_than_the_buffers_there_are_waits_for_more);
	RUN(a_frame_that_a_full_ring_cannot_hold_is_dropped_and_the_next_one_comes);
	RUN(without_mergeable_buffers_a_frame_is_in_one_chain);
	RUN(what_is_no_frame_is_not_received);
	RUN(a_header_may_be_split);
	RUN(a_receive_buffer_for_reading_breaks_the_queue_until_a_reset);
	RUN(a_receive_buffer_smaller_than_a_header_breaks_the_queue);
	RUN(a_buffer_outside_memory_breaks_the_queue);
	RUN(the_driver_is_interrupted_only_for_what_it_asked);
	RUN(without_event_idx_the_flags_say_the_same);
	RUN(a_full_ring_leaves_the_device_listening);
	RUN(many_frames_that_wait_come_after_one_notification);
	RUN(the_configuration_is_the_specs);
	RUN(what_the_tap_cannot_do_is_not_offered);
	return 0;
}
