/* Daemons of a shared folder that end, or do not keep to the protocol: what the driver and the log hear. */
#include "fs_driver.h"

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
	RUN(a_daemon_that_makes_the_eventfds_block_holds_nobody_up);
	RUN(a_daemon_has_five_seconds_for_a_start_in_all);
	RUN(a_daemon_that_wants_to_hear_no_more_is_cut_off);
	RUN(a_daemon_that_ends_is_told_and_each_later_driver_hears_of_it);
	RUN(a_daemon_that_ends_while_nobody_drives_the_device_is_told_to_the_next_driver);
	RUN(a_daemon_that_does_otherwise_is_cut_off_and_told_with_the_reason);
	RUN(a_daemon_that_does_not_let_go_is_told_and_does_not_hold_a_reset_up);
	RUN(a_daemon_that_cannot_be_agreed_with_makes_no_device);
	RUN(a_daemon_that_goes_before_it_has_read_is_gone_like_any_other);
	RUN(a_daemon_that_can_too_little_makes_no_device);
	return 0;
}
