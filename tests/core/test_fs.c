/* A shared folder's device: what its driver finds, and what it agrees on with its daemon. */
#include "fs_driver.h"

static void a_driver_finds_the_tag_and_one_queue_for_requests(void)
{
	struct guest g = guest_open();

	EQUAL(reg_read(&g.d, R_DEVICE_ID), 26);
	EQUAL(reg_read(&g.d, R_CONFIG), 0x61746164); /* "data" */
	EQUAL(reg_read(&g.d, R_CONFIG + 4), 0);
	EQUAL(reg_read(&g.d, R_CONFIG + 36), 1);
	guest_close(&g);
}

static void a_tag_may_fill_its_place(void)
{
	struct guest g = guest_new();

	EQUAL(create(&g, "0123456789abcdefghijklmnopqrstuvwxyz"), 0);
	CHECK(sv_mmio_place(g.d.vm, g.d.device, WINDOW, 5) == 0);
	EQUAL(reg_read(&g.d, R_CONFIG + 32), 0x7a797877); /* "wxyz" */
	guest_close(&g);
}

static void a_driver_is_offered_only_what_the_daemon_can(void)
{
	struct guest g = guest_new();

	the_daemon.features = F_PROTOCOL | F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | 1 | (uint64_t)1 << 33;
	EQUAL(create(&g, "data"), 0);
	CHECK(sv_mmio_place(g.d.vm, g.d.device, WINDOW, 5) == 0);
	reg_write(&g.d, R_FEATURES_SEL, 0);
	EQUAL(reg_read(&g.d, R_FEATURES), VIRTIO_F_INDIRECT_DESC);
	reg_write(&g.d, R_FEATURES_SEL, 1);
	EQUAL(reg_read(&g.d, R_FEATURES), F_VERSION_1 >> 32);
	start(&g);
	EQUAL(the_daemon.accepted, F_PROTOCOL | F_VERSION_1 | VIRTIO_F_INDIRECT_DESC);
	guest_close(&g);
}

static void the_daemon_serves_the_rings_where_the_driver_has_them(void)
{
	struct guest g = guest_open();
	struct pollfd line;
	uint64_t count;

	start(&g);
	EQUAL(reg_read(&g.d, R_STATUS), S_READY | S_DRIVER_OK);
	for (uint32_t i = 0; i < FS_QUEUES; i++) {
		uint16_t *used = in_daemon(&the_daemon, the_daemon.rings[i].used_user_addr);

		EQUAL(the_daemon.enabled[i], 1);
		used[1] = (uint16_t)(77 + i);
		EQUAL(used_words(&g.d.ring)[i * RING_ROOM / 2 + 1], 77 + i);
		EQUAL(the_daemon.region_count, 2);
		reg_write(&g.d, R_NOTIFY, i);
		CHECK(read(the_daemon.kick[i], &count, sizeof(count)) == sizeof(count));
	}
	count = 1;
	CHECK(write(the_daemon.call[1], &count, sizeof(count)) == sizeof(count));
	line = (struct pollfd){.fd = g.d.device->irq_fd, .events = POLLIN};
	EQUAL(poll(&line, 1, 20000), 1);
	EQUAL(reg_read(&g.d, R_INT_STATUS), VIRTIO_INTERRUPT_QUEUE);
	EQUAL(next_event(&g.d).kind, 0);
	guest_close(&g);
}

static void a_daemon_without_acknowledgements_serves_too(void)
{
	struct guest g = guest_new();

	the_daemon.protocol = 0;
	EQUAL(create(&g, "data"), 0);
	CHECK(sv_mmio_place(g.d.vm, g.d.device, WINDOW, 5) == 0);
	start(&g);
	EQUAL(reg_read(&g.d, R_STATUS), S_READY | S_DRIVER_OK);
	reset(&g); /* which waits for answers of each queue */
	EQUAL(the_daemon.asked[SET_VRING_ENABLE], 2 * FS_QUEUES);
	guest_close(&g);
}

static void a_reset_takes_the_rings_back_and_the_next_driver_has_them_again(void)
{
	struct guest g = guest_open();

	for (uint32_t round = 1; round <= 3; round++) {
		start(&g);
		EQUAL(reg_read(&g.d, R_STATUS), S_READY | S_DRIVER_OK);
		for (uint32_t i = 0; i < FS_QUEUES; i++) {
			EQUAL(the_daemon.base[i], 0);
			the_daemon.came_to[i] = 9;
		}
		reset(&g);
		EQUAL(the_daemon.asked[GET_VRING_BASE], FS_QUEUES * round);
		for (uint32_t i = 0; i < FS_QUEUES; i++)
			EQUAL(the_daemon.enabled[i], 0);
	}
	EQUAL(next_event(&g.d).kind, 0);
	guest_close(&g);
}

static void a_driver_without_a_queue_for_requests_is_told(void)
{
	struct guest g = guest_open();
	struct sv_event event;

	prepare(&g);
	reg_write(&g.d, R_QUEUE_SEL, 1); /* that of requests */
	reg_write(&g.d, R_QUEUE_READY, 0);
	reg_write(&g.d, R_STATUS, S_READY | S_DRIVER_OK);
	settle(&g.d);
	event = next_event(&g.d);
	EQUAL(event.kind, SV_EVENT_DEVICE_BROKEN);
	EQUAL(event.data[0], 1);
	EQUAL(the_daemon.asked[SET_MEM_TABLE], 0);
	guest_close(&g);
}

static void a_driver_may_do_without_the_queue_of_high_priority(void)
{
	struct guest g = guest_open();

	prepare(&g);
	reg_write(&g.d, R_QUEUE_SEL, 0);
	reg_write(&g.d, R_QUEUE_READY, 0);
	reg_write(&g.d, R_STATUS, S_READY | S_DRIVER_OK);
	settle(&g.d);
	meet(&the_daemon);
	EQUAL(reg_read(&g.d, R_STATUS), S_READY | S_DRIVER_OK);
	EQUAL(the_daemon.enabled[0], 0);
	EQUAL(the_daemon.enabled[1], 1);
	reset(&g);
	EQUAL(the_daemon.asked[GET_VRING_BASE], 1);
	EQUAL(next_event(&g.d).kind, 0);
	guest_close(&g);
}

static void a_queue_that_the_driver_stops_leaves_the_other_one_alone(void)
{
	struct guest g = guest_open();
	uint64_t count;

	start(&g);
	reg_write(&g.d, R_QUEUE_SEL, 0);
	reg_write(&g.d, R_QUEUE_READY, 0);
	meet(&the_daemon);
	EQUAL(the_daemon.enabled[0], 0);
	EQUAL(the_daemon.enabled[1], 1);
	reg_write(&g.d, R_NOTIFY, 1);
	CHECK(read(the_daemon.kick[1], &count, sizeof(count)) == sizeof(count));
	reset(&g);
	EQUAL(the_daemon.asked[GET_VRING_BASE], FS_QUEUES);
	EQUAL(next_event(&g.d).kind, 0);
	guest_close(&g);
}

static void memory_cannot_be_cut_off_under_the_machine(void)
{
	struct guest g = guest_open();

	EQUAL(ftruncate(g.memory, 0), -1);
	EQUAL(errno, EPERM);
	guest_close(&g);
}

int main(int argc, char **argv)
{
	RUN(a_driver_finds_the_tag_and_one_queue_for_requests);
	RUN(a_tag_may_fill_its_place);
	RUN(a_driver_is_offered_only_what_the_daemon_can);
	RUN(the_daemon_serves_the_rings_where_the_driver_has_them);
	RUN(a_daemon_without_acknowledgements_serves_too);
	RUN(a_reset_takes_the_rings_back_and_the_next_driver_has_them_again);
	RUN(a_driver_without_a_queue_for_requests_is_told);
	RUN(a_driver_may_do_without_the_queue_of_high_priority);
	RUN(a_queue_that_the_driver_stops_leaves_the_other_one_alone);
	RUN(memory_cannot_be_cut_off_under_the_machine);
	return 0;
}
