/* A shared folder's device: what it agrees on with its daemon, and daemons that do not keep to it. */
#include "fs_daemon.h"

#define FEATURES  (F_PROTOCOL | F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)
#define RING_ROOM (RAM_SIZE / 2) /* of each queue, which is in a region of its own */

struct guest {
	struct driver d;
	struct daemon *daemon;
	int memory;
};

static struct daemon the_daemon;

static int create(struct guest *g, const char *tag)
{
	struct sv_fs_config config = {.memory_fd = g->memory};
	int error;

	strncpy(config.tag, tag, sizeof(config.tag));
	config.connection = daemon_start(g->daemon);
	error = sv_fs_create(g->d.vm, &config, &g->d.device);
	close(config.connection);
	meet(g->daemon);
	return error;
}

static struct guest guest_new(void)
{
	struct guest g = {.daemon = &the_daemon};
	void *ram;

	silent = false;
	the_daemon = (struct daemon){.features = FEATURES, .protocol = REPLY_ACK};
	CHECK(sv_vm_create(-1, &g.d.vm) == 0);
	g.memory = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CHECK(ftruncate(g.memory, RAM_SIZE) == 0);
	CHECK(sv_mem_map(g.d.vm, g.memory, RAM_SIZE, SV_MAP_SHARED, &ram) == 0);
	CHECK(sv_mem_add(g.d.vm, RAM_GPA, RAM_SIZE / 2, ram) == 0);
	CHECK(sv_mem_add(g.d.vm, RAM_GPA + RAM_SIZE / 2, RAM_SIZE / 2, (uint8_t *)ram + RAM_SIZE / 2) == 0);
	g.d.ring = (struct ring){.ram = ram, .size = QUEUE_SIZE};
	return g;
}

static struct guest guest_open(void)
{
	struct guest g = guest_new();

	EQUAL(create(&g, "data"), 0);
	CHECK(sv_mmio_place(g.d.vm, g.d.device, WINDOW, 5) == 0);
	return g;
}

static void guest_close(struct guest *g)
{
	meet(g->daemon);
	sv_vm_destroy(g->d.vm);
	daemon_stop(g->daemon);
	close(g->memory);
}

static void prepare(struct guest *g)
{
	struct virtq_layout layout = ring_layout(&g->d.ring);

	reg_write(&g->d, R_STATUS, 0);
	reg_write(&g->d, R_STATUS, S_ACKNOWLEDGE);
	reg_write(&g->d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER);
	driver_write_features(&g->d, ALL_FEATURES);
	reg_write(&g->d, R_STATUS, S_READY);
	for (uint32_t i = 0; i < FS_QUEUES; i++) {
		reg_write(&g->d, R_QUEUE_SEL, i);
		driver_write_layout(&g->d, &layout);
		layout.desc += RING_ROOM;
		layout.avail += RING_ROOM;
		layout.used += RING_ROOM;
	}
}

static void start(struct guest *g)
{
	prepare(g);
	meet(g->daemon);
	reg_write(&g->d, R_STATUS, S_READY | S_DRIVER_OK);
	settle(&g->d);
	meet(g->daemon);
}

static void reset(struct guest *g)
{
	meet(g->daemon);
	reg_write(&g->d, R_STATUS, 0);
	EQUAL(reg_read(&g->d, R_STATUS), 0);
	meet(g->daemon);
}

static void expect_failed(struct guest *g, int error)
{
	struct sv_event event = next_event(&g->d);

	EQUAL(event.kind, SV_EVENT_VHOST_FAILED);
	EQUAL(event.source, sv_virtio_id(g->d.device));
	EQUAL(event.data[0], error);
	EQUAL(reg_read(&g->d, R_STATUS) & S_NEEDS_RESET, S_NEEDS_RESET);
}

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

static void a_daemon_that_makes_the_eventfds_block_holds_nobody_up(void)
{
	struct guest g = guest_open();
	uint64_t most = UINT64_MAX - 1;
	uint64_t count;

	for (int round = 0; round < 2; round++) {
		start(&g);
		EQUAL(reg_read(&g.d, R_STATUS), S_READY | S_DRIVER_OK);
		for (uint32_t i = 0; i < FS_QUEUES; i++) {
			CHECK(fcntl(the_daemon.kick[i], F_SETFL, 0) == 0);
			reg_write(&g.d, R_NOTIFY, i);
			CHECK(read(the_daemon.kick[i], &count, sizeof(count)) == sizeof(count));
		}
		reset(&g);
	}
	start(&g);
	CHECK(write(the_daemon.kick[1], &most, sizeof(most)) == sizeof(most));
	reg_write(&g.d, R_QUEUE_SEL, 0);
	reg_write(&g.d, R_QUEUE_READY, 0);
	reset(&g);
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

static void a_daemon_has_five_seconds_for_a_start_in_all(void)
{
	struct guest g = guest_open();
	uint32_t answered = 0;

	the_daemon.manner = IS_SLOW; /* a second for each answer */
	the_daemon.odd = EACH;
	start(&g);
	expect_failed(&g, ETIMEDOUT);
	for (uint32_t i = SET_MEM_TABLE; i < REQUESTS; i++)
		answered += the_daemon.asked[i];
	EQUAL(answered, 6);
	guest_close(&g);
}

static void a_daemon_that_wants_to_hear_no_more_is_cut_off(void)
{
	struct guest g = guest_open();

	start(&g);
	shutdown(the_daemon.end, SHUT_WR);
	settle(&g.d);
	expect_failed(&g, EPIPE);
	reset(&g);
	EQUAL(the_daemon.asked[GET_VRING_BASE], 0);
	guest_close(&g);
}

static void memory_cannot_be_cut_off_under_the_machine(void)
{
	struct guest g = guest_open();

	EQUAL(ftruncate(g.memory, 0), -1);
	EQUAL(errno, EPERM);
	guest_close(&g);
}

static void a_daemon_that_ends_is_told_and_each_later_driver_hears_of_it(void)
{
	struct guest g = guest_open();

	start(&g);
	shutdown(the_daemon.end, SHUT_RDWR);
	settle(&g.d);
	expect_failed(&g, EPIPE);
	reg_write(&g.d, R_STATUS, 0);
	prepare(&g);
	reg_write(&g.d, R_STATUS, S_READY | S_DRIVER_OK);
	EQUAL(reg_read(&g.d, R_STATUS) & S_NEEDS_RESET, S_NEEDS_RESET);
	guest_close(&g);
}

static void a_daemon_that_ends_while_nobody_drives_the_device_is_told_to_the_next_driver(void)
{
	struct guest g = guest_open();

	shutdown(the_daemon.end, SHUT_RDWR);
	settle(&g.d);
	EQUAL(next_event(&g.d).kind, 0);
	start(&g);
	expect_failed(&g, EPIPE);
	guest_close(&g);
}

/* Requests while a driver starts. */
static const uint32_t settings[] = {SET_FEATURES,   SET_MEM_TABLE,  SET_VRING_NUM,
				    SET_VRING_BASE, SET_VRING_ADDR, SET_VRING_ERR,
				    SET_VRING_CALL, SET_VRING_KICK, SET_VRING_ENABLE};

static void a_daemon_that_does_otherwise_is_cut_off_and_told_with_the_reason(void)
{
	static const struct {
		enum manner manner;
		int error;
	} cases[] = {{REFUSES, EREMOTEIO},    {IS_SILENT, ETIMEDOUT}, {HANGS_UP, EPIPE},
		     {NAMES_ANOTHER, EPROTO}, {IS_LONG, EPROTO},      {IS_NO_REPLY, EPROTO}};

	for (uint32_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
		for (uint32_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
			struct guest g = guest_open();

			the_daemon.manner = cases[c].manner;
			the_daemon.odd = settings[i];
			start(&g);
			expect_failed(&g, cases[c].error);
			EQUAL(next_event(&g.d).kind, 0);
			guest_close(&g);
		}
}

static void a_daemon_that_does_not_let_go_is_told_and_does_not_hold_a_reset_up(void)
{
	struct guest g = guest_open();
	struct sv_event event;

	start(&g);
	the_daemon.manner = IS_SILENT;
	the_daemon.odd = GET_VRING_BASE;
	reset(&g);
	EQUAL(the_daemon.asked[GET_VRING_BASE], 1); /* it is cut off: nothing more is asked */
	event = next_event(&g.d);
	EQUAL(event.kind, SV_EVENT_VHOST_FAILED);
	EQUAL(event.data[0], ETIMEDOUT);
	start(&g);
	EQUAL(reg_read(&g.d, R_STATUS) & S_NEEDS_RESET, S_NEEDS_RESET);
	guest_close(&g);
}

static void a_daemon_that_cannot_be_agreed_with_makes_no_device(void)
{
	static const struct {
		uint32_t odd;
		enum manner manner;
		int error;
	} cases[] = {
	    {GET_FEATURES, IS_SILENT, ETIMEDOUT},     {GET_FEATURES, HANGS_UP, EPIPE},
	    {GET_FEATURES, IS_LONG, EPROTO},          {GET_PROTOCOL_FEATURES, NAMES_ANOTHER, EPROTO},
	    {GET_PROTOCOL_FEATURES, HANGS_UP, EPIPE}, {SET_OWNER, REFUSES, EREMOTEIO},
	};

	for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct guest g = guest_new();

		the_daemon.manner = cases[i].manner;
		the_daemon.odd = cases[i].odd;
		EQUAL(create(&g, "data"), -cases[i].error);
		guest_close(&g);
	}
}

/* Closes a connection with something in it that nobody has read. */
static void *hang_up_unread(void *context)
{
	struct pollfd end = {.fd = *(int *)context, .events = POLLIN};

	CHECK(poll(&end, 1, 20000) == 1);
	close(end.fd);
	return NULL;
}

static void a_daemon_that_goes_before_it_has_read_is_gone_like_any_other(void)
{
	struct guest g = guest_new();
	struct sv_fs_config config = {.memory_fd = g.memory, .tag = "data"};
	pthread_t thread;
	int ends[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	CHECK(pthread_create(&thread, NULL, hang_up_unread, &ends[0]) == 0);
	config.connection = ends[1];
	EQUAL(sv_fs_create(g.d.vm, &config, &g.d.device), -EPIPE);
	pthread_join(thread, NULL);
	close(ends[1]);
	sv_vm_destroy(g.d.vm);
	close(g.memory);
}

static void a_daemon_that_can_too_little_makes_no_device(void)
{
	static const uint64_t features[] = {F_VERSION_1, F_PROTOCOL};

	for (uint32_t i = 0; i < 2; i++) {
		struct guest g = guest_new();

		the_daemon.features = features[i];
		EQUAL(create(&g, "data"), -EPROTONOSUPPORT);
		guest_close(&g);
	}
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
	RUN(a_daemon_that_makes_the_eventfds_block_holds_nobody_up);
	RUN(a_queue_that_the_driver_stops_leaves_the_other_one_alone);
	RUN(a_daemon_has_five_seconds_for_a_start_in_all);
	RUN(a_daemon_that_wants_to_hear_no_more_is_cut_off);
	RUN(memory_cannot_be_cut_off_under_the_machine);
	RUN(a_daemon_that_ends_is_told_and_each_later_driver_hears_of_it);
	RUN(a_daemon_that_ends_while_nobody_drives_the_device_is_told_to_the_next_driver);
	RUN(a_daemon_that_does_otherwise_is_cut_off_and_told_with_the_reason);
	RUN(a_daemon_that_does_not_let_go_is_told_and_does_not_hold_a_reset_up);
	RUN(a_daemon_that_cannot_be_agreed_with_makes_no_device);
	RUN(a_daemon_that_goes_before_it_has_read_is_gone_like_any_other);
	RUN(a_daemon_that_can_too_little_makes_no_device);
	return 0;
}
