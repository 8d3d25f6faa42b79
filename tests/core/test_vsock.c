/* Streams between a guest and programs of the host, by their Unix sockets. */
#include <pthread.h>

#include "vsock_driver.h"

#define LISTENER_PORT 52u

static void the_configuration_is_the_guests_context_id(void)
{
	struct guest g = guest_open();

	EQUAL(reg_read(&g.d, R_DEVICE_ID), 19);
	EQUAL(reg_read_sized(&g.d, R_CONFIG, 8), GUEST_CID);
	for (uint32_t i = 0; i < 4; i++) {
		reg_write(&g.d, R_QUEUE_SEL, i);
		EQUAL(reg_read(&g.d, R_QUEUE_MAX), i < 3 ? 128 : 0);
	}
	guest_close(&g);
}

static void a_host_program_reaches_a_port_of_the_guest(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 1234);
	struct vsock_header header;
	char data[RX_SIZE] = {0};

	host_say(s.fd, "hello guest");
	header = receive(&g, data);
	EQUAL(header.op, VSOCK_OP_RW);
	EQUAL(header.len, 11);
	EQUAL(header.src_port, s.host_port);
	EQUAL(header.dst_port, 1234);
	EQUAL(header.type, VSOCK_TYPE_STREAM);
	EQUAL(header.buf_alloc, VSOCK_BUFFER_SIZE);
	EQUAL(memcmp(data, "hello guest", 11), 0);
	send_data(&g, 1234, s.host_port, "hello host", 10);
	host_hears(s.fd, "hello host");
	close(s.fd);
	guest_close(&g);
}

static void what_comes_with_the_connect_line_is_for_the_guest(void)
{
	struct guest g = started();
	int fd = host_connect(&g);
	struct vsock_header header;
	char data[RX_SIZE];

	host_say(fd, "CONN");
	settle(&g.d);
	host_say(fd, "ECT 7\nearly");
	header = expect(&g, VSOCK_OP_REQUEST);
	send_op(&g, 7, header.src_port, VSOCK_OP_RESPONSE);
	header = receive(&g, data);
	EQUAL(header.len, 5);
	EQUAL(memcmp(data, "early", 5), 0);
	close(fd);
	guest_close(&g);
}

static void a_port_where_the_guest_does_not_listen_closes_the_socket(void)
{
	struct guest g = started();
	int fd = host_connect(&g);
	struct vsock_header header;

	host_say(fd, "CONNECT 9\n");
	header = expect(&g, VSOCK_OP_REQUEST);
	send_op(&g, 9, header.src_port, VSOCK_OP_RST);
	host_sees_end(fd);
	EQUAL(count_state(&g, VSOCK_FREE), VSOCK_CONNECTIONS);
	close(fd);
	guest_close(&g);
}

static void lines_that_name_no_port_close_the_socket(void)
{
	static const char *const lines[] = {"HELLO\n",
					    "CONNECT\n",
					    "CONNECT \n",
					    "CONNECT 1a\n",
					    "CONNECT -1\n",
					    "CONNECT 4294967295\n",
					    "CONNECT 99999999999\n",
					    "CONNECT 1234 5678 9012 3456",
					    "\n"};
	struct guest g = started();

	for (uint32_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		int fd = host_connect(&g);

		host_say(fd, lines[i]);
		host_sees_end(fd);
		close(fd);
	}
	expect_silence(&g);
	guest_close(&g);
}

static void each_connection_has_a_host_port_of_its_own(void)
{
	struct guest g = started();
	struct stream first = host_connects(&g, 5);
	struct stream second = host_connects(&g, 5);

	CHECK(first.host_port != second.host_port);
	send_data(&g, 5, second.host_port, "two", 3);
	send_data(&g, 5, first.host_port, "one", 3);
	host_hears(first.fd, "one");
	host_hears(second.fd, "two");
	close(first.fd);
	close(second.fd);
	guest_close(&g);
}

static void a_guest_reaches_a_program_of_the_host(void)
{
	struct guest g = started();
	int listener = host_listen_port(&g, LISTENER_PORT);
	struct stream s = guest_connects(&g, listener, 1000, LISTENER_PORT);
	struct vsock_header header;
	char data[RX_SIZE];

	send_data(&g, 1000, LISTENER_PORT, "ping", 4);
	host_hears(s.fd, "ping");
	host_say(s.fd, "pong");
	header = receive(&g, data);
	EQUAL(header.src_port, LISTENER_PORT);
	EQUAL(header.dst_port, 1000);
	EQUAL(memcmp(data, "pong", 4), 0);
	close(s.fd);
	close(listener);
	guest_close(&g);
}

static void a_port_where_nobody_listens_is_refused(void)
{
	struct guest g = started();
	struct vsock_header header;

	send_op(&g, 1000, 53, VSOCK_OP_REQUEST);
	header = expect(&g, VSOCK_OP_RST);
	EQUAL(header.src_port, 53);
	EQUAL(header.dst_port, 1000);
	EQUAL(count_state(&g, VSOCK_FREE), VSOCK_CONNECTIONS);
	guest_close(&g);
}

static void a_guest_that_closes_ends_the_hosts_stream_after_its_data(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);

	send_data(&g, 5, s.host_port, "last words", 10);
	send_shutdown(&g, 5, s.host_port, VSOCK_SHUTDOWN_BOTH);
	expect(&g, VSOCK_OP_RST);
	host_hears(s.fd, "last words");
	host_sees_end(s.fd);
	EQUAL(count_state(&g, VSOCK_FREE), VSOCK_CONNECTIONS);
	close(s.fd);
	guest_close(&g);
}

static void a_host_program_that_closes_is_told_after_its_data(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);
	struct vsock_header header;

	host_say(s.fd, "last words");
	close(s.fd);
	EQUAL(expect(&g, VSOCK_OP_RW).len, 10);
	header = expect(&g, VSOCK_OP_SHUTDOWN);
	if (header.flags == VSOCK_SHUTDOWN_SEND) /* the end of its bytes was seen before its close */
		header = expect(&g, VSOCK_OP_SHUTDOWN);
	EQUAL(header.flags, VSOCK_SHUTDOWN_BOTH);
	send_data(&g, 5, s.host_port, "too late", 8);
	EQUAL(count_state(&g, VSOCK_CLOSING), 1);
	send_op(&g, 5, s.host_port, VSOCK_OP_RST);
	EQUAL(count_state(&g, VSOCK_FREE), VSOCK_CONNECTIONS);
	expect_silence(&g);
	guest_close(&g);
}

static void a_guest_that_sends_no_more_still_receives(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);

	send_data(&g, 5, s.host_port, "question", 8);
	send_shutdown(&g, 5, s.host_port, VSOCK_SHUTDOWN_SEND);
	host_hears(s.fd, "question");
	host_sees_end(s.fd);
	host_say(s.fd, "answer");
	EQUAL(expect(&g, VSOCK_OP_RW).len, 6);
	close(s.fd);
	guest_close(&g);
}

static void a_host_program_that_sends_no_more_still_receives(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);

	host_say(s.fd, "question");
	shutdown(s.fd, SHUT_WR);
	EQUAL(expect(&g, VSOCK_OP_RW).len, 8);
	EQUAL(expect(&g, VSOCK_OP_SHUTDOWN).flags, VSOCK_SHUTDOWN_SEND);
	send_data(&g, 5, s.host_port, "answer", 6);
	host_hears(s.fd, "answer");
	close(s.fd);
	EQUAL(expect(&g, VSOCK_OP_SHUTDOWN).flags, VSOCK_SHUTDOWN_BOTH);
	guest_close(&g);
}

static void a_guest_that_receives_no_more_lets_the_host_program_know(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);

	send_shutdown(&g, 5, s.host_port, VSOCK_SHUTDOWN_RCV);
	settle(&g.d);
	EQUAL(send(s.fd, "x", 1, MSG_NOSIGNAL), -1);
	send_data(&g, 5, s.host_port, "still here", 10);
	host_hears(s.fd, "still here");
	close(s.fd);
	EQUAL(expect(&g, VSOCK_OP_SHUTDOWN).flags, VSOCK_SHUTDOWN_BOTH);
	guest_close(&g);
}

static void a_host_program_that_gives_up_while_it_waits_resets_the_guest(void)
{
	struct guest g = started();
	int fd = host_connect(&g);

	host_say(fd, "CONNECT 5\n");
	expect(&g, VSOCK_OP_REQUEST);
	close(fd);
	expect(&g, VSOCK_OP_RST);
	EQUAL(count_state(&g, VSOCK_FREE), VSOCK_CONNECTIONS);
	guest_close(&g);
}

static void no_more_is_sent_than_the_guest_has_room_for(void)
{
	struct guest g = started();
	struct stream s;

	g.buf_alloc = 100;
	s = host_connects(&g, 5);
	host_write(s.fd, (char[250]){0}, 250);
	EQUAL(expect(&g, VSOCK_OP_RW).len, 100);
	expect(&g, VSOCK_OP_CREDIT_REQUEST);
	expect_silence(&g);
	g.fwd_cnt = 40;
	send_op(&g, 5, s.host_port, VSOCK_OP_CREDIT_UPDATE);
	EQUAL(expect(&g, VSOCK_OP_RW).len, 40);
	expect(&g, VSOCK_OP_CREDIT_REQUEST);
	g.fwd_cnt = 140;
	g.buf_alloc = 200;
	send_op(&g, 5, s.host_port, VSOCK_OP_CREDIT_UPDATE);
	EQUAL(expect(&g, VSOCK_OP_RW).len, 110);
	close(s.fd);
	guest_close(&g);
}

static void credit_is_counted_on_when_the_counters_wrap(void)
{
	struct guest g = started();
	struct vsock_conn *conn;
	struct stream s;

	EQUAL(vsock_credit(100, UINT32_MAX - 9, 20), 70);
	EQUAL(vsock_credit(100, 20, UINT32_MAX - 9), 0); /* handed on what it was never sent */
	EQUAL(vsock_credit(0, 0, 0), 0);
	g.buf_alloc = 100;
	s = host_connects(&g, 5);
	settle(&g.d);
	conn = look_at(&g, VSOCK_OPEN, &s).conn;
	conn->tx_cnt = UINT32_MAX - 49; /* nothing happens meanwhile */
	conn->fwd_cnt = UINT32_MAX;
	conn->told_fwd_cnt = UINT32_MAX;
	g.fwd_cnt = UINT32_MAX - 49;
	send_op(&g, 5, s.host_port, VSOCK_OP_CREDIT_UPDATE);
	host_write(s.fd, (char[150]){0}, 150);
	EQUAL(expect(&g, VSOCK_OP_RW).len, 100);
	expect(&g, VSOCK_OP_CREDIT_REQUEST);
	g.fwd_cnt = 50;
	send_data(&g, 5, s.host_port, "abc", 3);
	EQUAL(expect(&g, VSOCK_OP_RW).fwd_cnt, 2);
	close(s.fd);
	guest_close(&g);
}

static void a_guest_that_asks_for_credit_gets_it(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);
	struct vsock_header header;

	send_data(&g, 5, s.host_port, "abc", 3);
	send_op(&g, 5, s.host_port, VSOCK_OP_CREDIT_REQUEST);
	header = expect(&g, VSOCK_OP_CREDIT_UPDATE);
	EQUAL(header.buf_alloc, VSOCK_BUFFER_SIZE);
	EQUAL(header.fwd_cnt, 3);
	close(s.fd);
	guest_close(&g);
}

/* Sends until the host program's socket and the device's buffer are full; returns how much that was. */
static uint32_t fill_up(struct guest *g, const struct stream *s)
{
	static char block[16384];
	uint32_t sent = 0;

	do {
		send_data(g, s->guest_port, s->host_port, block, sizeof(block));
		sent += (uint32_t)sizeof(block);
		settle(&g->d);
		while ((uint16_t)(used_index(&g->rings[VSOCK_RX]) - (uint16_t)g->rx_seen))
			expect(g, VSOCK_OP_CREDIT_UPDATE);
		CHECK(sent < (64u << 20));
	} while (look_at(g, VSOCK_OPEN, s).used + sizeof(block) <= VSOCK_BUFFER_SIZE);
	return sent;
}

static void a_slow_host_program_gets_everything_and_the_guest_its_credit_back(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);
	uint32_t sent = fill_up(&g, &s);
	uint32_t fwd_cnt = 0;
	char *bytes = malloc(sent);

	host_read(s.fd, bytes, sent);
	while (fwd_cnt + VSOCK_BUFFER_SIZE / 2 < sent)
		fwd_cnt = expect(&g, VSOCK_OP_CREDIT_UPDATE).fwd_cnt;
	send_shutdown(&g, 5, s.host_port, VSOCK_SHUTDOWN_BOTH);
	host_sees_end(s.fd);
	close(s.fd);
	free(bytes);
	guest_close(&g);
}

static void what_is_buffered_when_the_guest_goes_is_still_delivered(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);
	uint32_t sent = fill_up(&g, &s);
	char *bytes = malloc(sent);

	send_op(&g, 5, s.host_port, VSOCK_OP_RST);
	EQUAL(count_state(&g, VSOCK_DRAINING), 1);
	host_read(s.fd, bytes, sent);
	host_sees_end(s.fd);
	EQUAL(count_state(&g, VSOCK_FREE), VSOCK_CONNECTIONS);
	expect_silence(&g);
	close(s.fd);
	free(bytes);
	guest_close(&g);
}

static void buffers_of_connections_that_ended_cost_no_memory(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);
	unsigned char resident;

	fill_up(&g, &s);
	EQUAL(mincore(vsock_of(&g)->muxer.buffers, PAGE, &resident), 0);
	EQUAL(resident & 1, 1);
	close(s.fd);
	send_op(&g, 5, s.host_port, VSOCK_OP_RST);
	EQUAL(count_state(&g, VSOCK_FREE), VSOCK_CONNECTIONS);
	EQUAL(mincore(vsock_of(&g)->muxer.buffers, PAGE, &resident), 0);
	EQUAL(resident & 1, 0);
	guest_close(&g);
}

struct echo {
	int fd;
	uint32_t size;
};

static void *echo(void *context)
{
	struct echo *job = context;
	char block[3000];
	uint32_t left = job->size;

	while (left > 0) {
		ssize_t got = recv(job->fd, block, left < sizeof(block) ? left : sizeof(block), 0);

		CHECK(got > 0);
		host_write(job->fd, block, (size_t)got);
		left -= (uint32_t)got;
	}
	return NULL;
}

/* A guest that keeps to its credit, with interrupts and notifications as EVENT_IDX has them. */
static void megabytes_come_back_unchanged(void)
{
	const uint32_t size = 3u << 20;
	struct guest g = guest_open();
	struct echo job = {.size = size};
	struct stream s;
	pthread_t thread;
	uint32_t sent = 0;
	uint32_t got = 0;
	uint32_t host_fwd = 0;

	guest_start_with(&g, ALL_FEATURES, 64);
	g.buf_alloc = 65536;
	s = host_connects(&g, 5);
	job.fd = s.fd;
	CHECK(pthread_create(&thread, NULL, echo, &job) == 0);
	while (got < size) {
		uint8_t block[20000];
		uint32_t room = vsock_credit(VSOCK_BUFFER_SIZE, host_fwd, sent);
		uint32_t length = size - sent < sizeof(block) ? size - sent : sizeof(block);
		struct vsock_header header;

		length = length < room ? length : room;
		/* Also its own buffer: what comes back unread must fit. */
		if (length > 0 && sent - got + length <= g.buf_alloc) {
			for (uint32_t i = 0; i < length; i++)
				block[i] = (uint8_t)((sent + i) * 2654435761u >> 24);
			send_data(&g, 5, s.host_port, block, length);
			sent += length;
			continue;
		}
		header = receive(&g, block);
		host_fwd = header.fwd_cnt;
		for (uint32_t i = 0; i < header.len; i++)
			EQUAL(block[i], (uint8_t)((got + i) * 2654435761u >> 24));
		got += header.len;
		if (header.len > 0 && got - g.fwd_cnt > 16384) {
			g.fwd_cnt = got;
			send_op(&g, 5, s.host_port, VSOCK_OP_CREDIT_UPDATE);
		}
	}
	pthread_join(thread, NULL);
	close(s.fd);
	guest_close(&g);
}

static void a_host_program_that_comes_before_the_driver_waits_for_it(void)
{
	struct guest g = guest_open();
	int fd = host_connect(&g);

	host_say(fd, "CONNECT 5\n");
	settle(&g.d);
	guest_start_with(&g, VIRTIO_F_VERSION_1, 64);
	EQUAL(expect(&g, VSOCK_OP_REQUEST).dst_port, 5);
	close(fd);
	guest_close(&g);
}

static void a_reset_ends_every_stream_and_the_next_driver_starts_anew(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);

	reg_write(&g.d, R_STATUS, 0);
	host_sees_end(s.fd);
	close(s.fd);
	guest_start_with(&g, VIRTIO_F_VERSION_1, 64);
	s = host_connects(&g, 5);
	send_data(&g, 5, s.host_port, "again", 5);
	host_hears(s.fd, "again");
	close(s.fd);
	guest_close(&g);
}

/* The device holds a receive buffer in reserve: one of the old driver must not be the new one's. */
static void a_buffer_of_the_driver_before_is_not_written(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);

	host_say(s.fd, "data");
	expect(&g, VSOCK_OP_RW);
	settle(&g.d);
	CHECK(vsock_of(&g)->held);
	guest_start_with(&g, VIRTIO_F_VERSION_1, 0);
	post_rx_buffer(&g, 40);
	send_op(&g, 5, 6, VSOCK_OP_RW);
	wait_queue(&g, VSOCK_RX, 1);
	EQUAL(used_at(&g.rings[VSOCK_RX], 0).id, 40);
	expect(&g, VSOCK_OP_RST);
	close(s.fd);
	guest_close(&g);
}

static void post_event_buffer(struct guest *g)
{
	put_desc(&g->rings[VSOCK_EVENT], 0, EVENT_ROOM, 4, F_WRITE, 0);
	*(uint32_t *)at_gpa(&g->d.ring, EVENT_ROOM) = 77;
	publish(&g->rings[VSOCK_EVENT], 0);
	guest_notify(g, VSOCK_EVENT);
}

static void a_transport_reset_is_an_event_and_ends_every_stream(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);

	post_event_buffer(&g);
	EQUAL(sv_vsock_transport_reset(g.d.device), 0);
	wait_queue(&g, VSOCK_EVENT, 1);
	EQUAL(used_at(&g.rings[VSOCK_EVENT], 0).len, 4);
	EQUAL(*(uint32_t *)at_gpa(&g.d.ring, EVENT_ROOM), 0);
	host_sees_end(s.fd);
	close(s.fd);
	expect_silence(&g);
	s = host_connects(&g, 5);
	close(s.fd);
	guest_close(&g);
}

static void a_transport_reset_waits_for_a_buffer(void)
{
	struct guest g = started();

	EQUAL(sv_vsock_transport_reset(g.d.device), 0);
	EQUAL(used_index(&g.rings[VSOCK_EVENT]), 0);
	post_event_buffer(&g);
	wait_queue(&g, VSOCK_EVENT, 1);
	post_event_buffer(&g); /* one reset is one event */
	settle(&g.d);
	EQUAL(used_index(&g.rings[VSOCK_EVENT]), 1);
	guest_close(&g);
}

static void a_transport_reset_without_a_driver_is_nothing(void)
{
	struct guest g = guest_open();

	EQUAL(sv_vsock_transport_reset(g.d.device), 0);
	guest_start_with(&g, VIRTIO_F_VERSION_1, 64);
	post_event_buffer(&g);
	settle(&g.d);
	EQUAL(used_index(&g.rings[VSOCK_EVENT]), 0);
	guest_close(&g);
}

static void only_a_vsock_device_can_reset_its_transport(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d = driver_open(&config);

	EQUAL(sv_vsock_transport_reset(d.device), -EINVAL);
	driver_close(&d);
}

static void a_machine_may_end_with_streams_in_every_state(void)
{
	for (int i = 0; i < 20; i++) {
		struct guest g = started();
		int listener = host_listen_port(&g, LISTENER_PORT);
		int silent = host_connect(&g);
		struct stream first = host_connects(&g, 5);
		struct stream second = guest_connects(&g, listener, 8, LISTENER_PORT);

		fill_up(&g, &first);
		host_say(second.fd, "on its way");
		close(second.fd);
		guest_close(&g);
		close(silent);
		close(first.fd);
		close(listener);
	}
}

static void what_cannot_be_a_device_is_refused(void)
{
	struct sv_vsock_config config = {.guest_cid = 2, .listener = 0, .path = "x"};
	struct sv_virtio *device;
	struct sv_vm *vm;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	CHECK(sv_vm_create(-1, &vm) == 0);
	EQUAL(sv_vsock_create(vm, &config, &device), -EINVAL);
	config.guest_cid = UINT32_MAX;
	EQUAL(sv_vsock_create(vm, &config, &device), -EINVAL);
	config.guest_cid = 3;
	config.path[0] = 0;
	EQUAL(sv_vsock_create(vm, &config, &device), -EINVAL);
	memset(config.path, 'x', sizeof(config.path));
	EQUAL(sv_vsock_create(vm, &config, &device), -EINVAL);
	config.path[sizeof(config.path) - 1] = 0;
	config.listener = 999;
	EQUAL(sv_vsock_create(vm, &config, &device), -EBADF);
	EQUAL(sv_vsock_vhost_create(vm, null, 2, &device), -EINVAL);
	EQUAL(sv_vsock_vhost_create(vm, null, 3, &device), -ENOTTY);
	EQUAL(sv_vsock_vhost_create(vm, 999, 3, &device), -EBADF);
	close(null);
	sv_vm_destroy(vm);
}

int main(int argc, char **argv)
{
	RUN(the_configuration_is_the_guests_context_id);
	RUN(a_host_program_reaches_a_port_of_the_guest);
	RUN(what_comes_with_the_connect_line_is_for_the_guest);
	RUN(a_port_where_the_guest_does_not_listen_closes_the_socket);
	RUN(lines_that_name_no_port_close_the_socket);
	RUN(each_connection_has_a_host_port_of_its_own);
	RUN(a_guest_reaches_a_program_of_the_host);
	RUN(a_port_where_nobody_listens_is_refused);
	RUN(a_guest_that_closes_ends_the_hosts_stream_after_its_data);
	RUN(a_host_program_that_closes_is_told_after_its_data);
	RUN(a_guest_that_sends_no_more_still_receives);
	RUN(a_host_program_that_sends_no_more_still_receives);
	RUN(a_guest_that_receives_no_more_lets_the_host_program_know);
	RUN(a_host_program_that_gives_up_while_it_waits_resets_the_guest);
	RUN(no_more_is_sent_than_the_guest_has_room_for);
	RUN(credit_is_counted_on_when_the_counters_wrap);
	RUN(a_guest_that_asks_for_credit_gets_it);
	RUN(a_slow_host_program_gets_everything_and_the_guest_its_credit_back);
	RUN(what_is_buffered_when_the_guest_goes_is_still_delivered);
	RUN(buffers_of_connections_that_ended_cost_no_memory);
	RUN(megabytes_come_back_unchanged);
	RUN(a_host_program_that_comes_before_the_driver_waits_for_it);
	RUN(a_reset_ends_every_stream_and_the_next_driver_starts_anew);
	RUN(a_buffer_of_the_driver_before_is_not_written);
	RUN(a_transport_reset_is_an_event_and_ends_every_stream);
	RUN(a_transport_reset_waits_for_a_buffer);
	RUN(a_transport_reset_without_a_driver_is_nothing);
	RUN(only_a_vsock_device_can_reset_its_transport);
	RUN(a_machine_may_end_with_streams_in_every_state);
	RUN(what_cannot_be_a_device_is_refused);
	return 0;
}
