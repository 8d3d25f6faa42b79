/* A guest and programs of the host that do what they should not: only their own streams suffer. */
#include "vsock_driver.h"

static void a_healthy_stream_goes_on(struct guest *g, const struct stream *s)
{
	char data[RX_SIZE];

	send_data(g, s->guest_port, s->host_port, "to host", 7);
	host_hears(s->fd, "to host");
	host_say(s->fd, "to guest");
	EQUAL(receive(g, data).len, 8);
	EQUAL(memcmp(data, "to guest", 8), 0);
}

static void a_packet_without_a_whole_header_is_dropped(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);
	struct vsock_header header = header_of(&g, 5, s.host_port, VSOCK_OP_RST);

	send_raw(&g, &header, NULL, 43);
	send_raw(&g, &header, NULL, 1);
	expect_silence(&g);
	a_healthy_stream_goes_on(&g, &s);
	close(s.fd);
	guest_close(&g);
}

static void a_length_beyond_the_chain_resets_the_stream(void)
{
	static const uint32_t lengths[] = {5, 65536, UINT32_MAX};
	struct guest g = started();

	for (uint32_t i = 0; i < 3; i++) {
		struct stream s = host_connects(&g, 5);
		struct vsock_header header = header_of(&g, 5, s.host_port, VSOCK_OP_RW);

		header.len = lengths[i];
		send_raw(&g, &header, "1234", VSOCK_HEADER_SIZE + 4);
		EQUAL(expect(&g, VSOCK_OP_RST).dst_port, 5);
		host_sees_end(s.fd);
		close(s.fd);
	}
	EQUAL(count_state(&g, VSOCK_FREE), VSOCK_CONNECTIONS);
	guest_close(&g);
}

static void bytes_behind_the_length_are_not_sent(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);
	struct vsock_header header = header_of(&g, 5, s.host_port, VSOCK_OP_RW);

	header.len = 2;
	send_raw(&g, &header, "1234", VSOCK_HEADER_SIZE + 4);
	header.len = 0;
	send_raw(&g, &header, "5678", VSOCK_HEADER_SIZE + 4);
	send_data(&g, 5, s.host_port, "!", 1);
	host_hears(s.fd, "12!");
	close(s.fd);
	guest_close(&g);
}

static void a_header_and_its_data_may_be_in_many_pieces(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);
	struct vsock_header header = header_of(&g, 5, s.host_port, VSOCK_OP_RW);
	uint8_t *at = at_gpa(&g.d.ring, TX_BUFFER);

	header.len = 6;
	memcpy(at, &header, VSOCK_HEADER_SIZE);
	memcpy(at + VSOCK_HEADER_SIZE, "pieces", 6);
	for (uint32_t i = 0; i < 50; i++)
		put_desc(&g.rings[VSOCK_TX], i, TX_BUFFER + i, 1, i < 49 ? F_NEXT : 0, (int)i + 1);
	publish(&g.rings[VSOCK_TX], 0);
	guest_notify(&g, VSOCK_TX);
	host_hears(s.fd, "pieces");
	close(s.fd);
	guest_close(&g);
}

static void a_foreign_source_is_dropped_without_an_answer(void)
{
	static const uint64_t cids[] = {0, 1, 2, 3, GUEST_CID + 1, (uint64_t)1 << 32 | GUEST_CID};
	struct guest g = started();
	struct stream s = host_connects(&g, 5);
	struct vsock_header header = header_of(&g, 5, s.host_port, VSOCK_OP_RST);

	for (uint32_t i = 0; i < sizeof(cids) / sizeof(cids[0]); i++) {
		header.src_cid = cids[i];
		send_raw(&g, &header, NULL, VSOCK_HEADER_SIZE);
	}
	expect_silence(&g);
	a_healthy_stream_goes_on(&g, &s);
	close(s.fd);
	guest_close(&g);
}

static void other_machines_cannot_be_reached(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);
	struct vsock_header header = header_of(&g, 5, s.host_port, VSOCK_OP_REQUEST);

	header.dst_cid = 7;
	send_raw(&g, &header, NULL, VSOCK_HEADER_SIZE);
	EQUAL(expect(&g, VSOCK_OP_RST).src_cid, 7);
	header.op = VSOCK_OP_RST;
	send_raw(&g, &header, NULL, VSOCK_HEADER_SIZE);
	expect_silence(&g);
	a_healthy_stream_goes_on(&g, &s);
	close(s.fd);
	guest_close(&g);
}

static void an_unknown_type_is_refused_in_its_own_name(void)
{
	static const uint16_t types[] = {0, 2, 77};
	struct guest g = started();
	struct stream s = host_connects(&g, 5);
	struct vsock_header header = header_of(&g, 5, s.host_port, VSOCK_OP_RW);

	for (uint32_t i = 0; i < 3; i++) {
		header.type = types[i];
		send_raw(&g, &header, NULL, VSOCK_HEADER_SIZE);
		EQUAL(expect(&g, VSOCK_OP_RST).type, types[i]);
	}
	a_healthy_stream_goes_on(&g, &s);
	close(s.fd);
	guest_close(&g);
}

static void an_unknown_operation_resets_the_stream(void)
{
	static const uint16_t operations[] = {0, 8, UINT16_MAX};
	struct guest g = started();

	for (uint32_t i = 0; i < 3; i++) {
		struct stream s = host_connects(&g, 5);

		send_op(&g, 5, s.host_port, operations[i]);
		expect(&g, VSOCK_OP_RST);
		host_sees_end(s.fd);
		close(s.fd);
	}
	guest_close(&g);
}

static void packets_for_nobody_are_answered_with_rst_and_rst_is_not(void)
{
	struct guest g = started();

	for (uint16_t op = 0; op < 9; op++) {
		send_op(&g, 5, 6, op);
		if (op != VSOCK_OP_RST)
			EQUAL(expect(&g, VSOCK_OP_RST).src_port, 6);
	}
	send_op(&g, VSOCK_PORT_ANY, VSOCK_PORT_ANY, VSOCK_OP_REQUEST);
	expect(&g, VSOCK_OP_RST);
	send_op(&g, VSOCK_PORT_ANY, VSOCK_PORT_ANY, VSOCK_OP_RST);
	expect_silence(&g);
	guest_close(&g);
}

static void a_request_on_ports_that_are_taken_ends_both(void)
{
	struct guest g = started();
	int listener = host_listen_port(&g, 52);
	struct stream s = guest_connects(&g, listener, 1000, 52);

	send_op(&g, 1000, 52, VSOCK_OP_REQUEST);
	expect(&g, VSOCK_OP_RST);
	host_sees_end(s.fd);
	close(s.fd);
	s = guest_connects(&g, listener, 1000, 52); /* and the ports are free again */
	a_healthy_stream_goes_on(&g, &s);
	close(s.fd);
	close(listener);
	guest_close(&g);
}

static void a_second_response_resets_the_stream(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);

	send_op(&g, 5, s.host_port, VSOCK_OP_RESPONSE);
	expect(&g, VSOCK_OP_RST);
	host_sees_end(s.fd);
	close(s.fd);
	guest_close(&g);
}

static void data_before_the_response_resets_the_stream(void)
{
	struct guest g = started();
	int fd = host_connect(&g);
	struct vsock_header header;

	host_say(fd, "CONNECT 5\n");
	header = expect(&g, VSOCK_OP_REQUEST);
	send_data(&g, 5, header.src_port, "x", 1);
	expect(&g, VSOCK_OP_RST);
	host_sees_end(fd);
	close(fd);
	guest_close(&g);
}

static void data_after_the_guest_said_that_there_is_no_more_resets_the_stream(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);

	send_shutdown(&g, 5, s.host_port, VSOCK_SHUTDOWN_SEND | 0xfffffffc);
	send_data(&g, 5, s.host_port, "x", 1);
	expect(&g, VSOCK_OP_RST);
	close(s.fd);
	guest_close(&g);
}

static void more_data_than_the_credit_resets_the_stream(void)
{
	static char block[65536 + 1];
	struct guest g = started();
	struct stream s = host_connects(&g, 5);

	send_data(&g, 5, s.host_port, block, sizeof(block));
	expect(&g, VSOCK_OP_RST);
	host_sees_end(s.fd);
	close(s.fd);
	guest_close(&g);
}

/* The host program reads nothing, and the guest sends whatever it is told. */
static void a_guest_that_ignores_its_credit_loses_the_stream(void)
{
	static char block[30000];
	struct guest g = started();
	struct stream s = host_connects(&g, 5);
	struct vsock_header header = {0};

	for (int i = 0; header.op != VSOCK_OP_RST; i++) {
		CHECK(i < 2000);
		send_data(&g, 5, s.host_port, block, sizeof(block));
		settle(&g.d);
		if ((uint16_t)(used_index(&g.rings[VSOCK_RX]) - (uint16_t)g.rx_seen))
			header = receive(&g, NULL);
	}
	close(s.fd);
	guest_close(&g);
}

static void a_guest_that_contradicts_itself_is_sent_nothing(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);

	g.fwd_cnt = 1000000; /* it was sent nothing yet */
	send_op(&g, 5, s.host_port, VSOCK_OP_CREDIT_UPDATE);
	host_say(s.fd, "data");
	expect(&g, VSOCK_OP_CREDIT_REQUEST);
	expect_silence(&g);
	g.fwd_cnt = 0;
	g.buf_alloc = UINT32_MAX;
	send_op(&g, 5, s.host_port, VSOCK_OP_CREDIT_UPDATE);
	EQUAL(expect(&g, VSOCK_OP_RW).len, 4);
	close(s.fd);
	guest_close(&g);
}

static void receive_buffers_without_room_are_given_back_empty(void)
{
	struct guest g = guest_open();
	struct ring *rx = &g.rings[VSOCK_RX];

	guest_start_with(&g, VIRTIO_F_VERSION_1, 0);
	put_desc(rx, 0, RX_BUFFER, VSOCK_HEADER_SIZE, F_WRITE, 0);
	put_desc(rx, 1, RX_BUFFER, RX_SIZE, 0, 0); /* readable */
	publish(rx, 0);
	publish(rx, 1);
	post_rx_buffer(&g, 2);
	send_op(&g, 5, 6, VSOCK_OP_RW);
	wait_queue(&g, VSOCK_RX, 3);
	EQUAL(used_at(rx, 0).len, 0);
	EQUAL(used_at(rx, 1).len, 0);
	EQUAL(used_at(rx, 2).len, VSOCK_HEADER_SIZE);
	guest_close(&g);
}

static void a_packet_may_be_received_in_many_pieces(void)
{
	struct guest g = guest_open();
	struct ring *rx = &g.rings[VSOCK_RX];
	struct stream s = {.guest_port = 5};
	struct vsock_header header;

	guest_start_with(&g, VIRTIO_F_VERSION_1, 2);
	s = host_connects(&g, 5);
	host_say(s.fd, "first");
	EQUAL(expect(&g, VSOCK_OP_RW).len, 5);
	for (uint32_t i = 0; i < 60; i++)
		put_desc(rx, 10 + i, RX_BUFFER + 0x100000 + 2 * i, 1, F_WRITE | (i < 59 ? F_NEXT : 0),
			 (int)(11 + i));
	/* Two whole buffers are posted: the pieces come third. */
	publish(rx, 10);
	for (uint32_t i = 0; i < 2; i++) {
		host_say(s.fd, "x");
		expect(&g, VSOCK_OP_RW);
	}
	host_say(s.fd, "0123456789abcdefghij");
	wait_queue(&g, VSOCK_RX, g.rx_seen + 1);
	EQUAL(used_at(rx, g.rx_seen).len, 60);
	for (uint32_t i = 0; i < VSOCK_HEADER_SIZE; i++)
		((uint8_t *)&header)[i] = *(uint8_t *)at_gpa(&g.d.ring, RX_BUFFER + 0x100000 + 2 * i);
	EQUAL(header.len, 16);
	EQUAL(*(uint8_t *)at_gpa(&g.d.ring, RX_BUFFER + 0x100000 + 2 * 59), 'f');
	close(s.fd);
	guest_close(&g);
}

static void a_guest_that_takes_no_answers_is_asked_no_more(void)
{
	struct guest g = guest_open();
	struct ring *tx = &g.rings[VSOCK_TX];
	struct vsock_header header = header_of(&g, 5, 6, VSOCK_OP_RW);

	guest_start_with(&g, VIRTIO_F_VERSION_1, 0);
	memcpy(at_gpa(&g.d.ring, TX_BUFFER), &header, VSOCK_HEADER_SIZE);
	put_desc(tx, 0, TX_BUFFER, VSOCK_HEADER_SIZE, 0, 0);
	for (uint32_t i = 0; i < 300; i++) {
		if (i >= VSOCK_QUEUE_SIZE)
			wait_queue(&g, VSOCK_TX, i - VSOCK_QUEUE_SIZE + 1);
		if (i == VSOCK_REPLIES + VSOCK_QUEUE_SIZE)
			break;
		publish(tx, 0);
		guest_notify(&g, VSOCK_TX);
		if (i == VSOCK_REPLIES + VSOCK_QUEUE_SIZE - 1) {
			settle(&g.d);
			EQUAL(used_index(tx), VSOCK_REPLIES);
			post_rx_buffers(&g, 64);
		}
	}
	for (uint32_t i = 0; i < VSOCK_REPLIES + VSOCK_QUEUE_SIZE; i++)
		expect(&g, VSOCK_OP_RST);
	guest_close(&g);
}

static void the_table_of_connections_can_be_full(void)
{
	struct guest g = started();
	int listener = host_listen_port(&g, 52);
	static struct stream streams[VSOCK_CONNECTIONS];
	int refused;

	for (uint32_t i = 0; i < VSOCK_CONNECTIONS; i++)
		streams[i] = guest_connects(&g, listener, 1000 + i, 52);
	send_op(&g, 5000, 52, VSOCK_OP_REQUEST);
	expect(&g, VSOCK_OP_RST);
	refused = host_accept(listener);
	host_sees_end(refused);
	close(refused);
	refused = host_connect(&g);
	host_sees_end(refused);
	close(refused);
	a_healthy_stream_goes_on(&g, &streams[VSOCK_CONNECTIONS - 1]);
	/* One whose host program has gone makes way, although the guest has not closed it. */
	close(streams[3].fd);
	do
		expect(&g, VSOCK_OP_SHUTDOWN);
	while (count_state(&g, VSOCK_CLOSING) == 0);
	settle(&g.d);
	while ((uint16_t)(used_index(&g.rings[VSOCK_RX]) - (uint16_t)g.rx_seen))
		expect(&g, VSOCK_OP_SHUTDOWN);
	send_op(&g, 5000, 52, VSOCK_OP_REQUEST);
	EQUAL(expect(&g, VSOCK_OP_RST).dst_port, 1003);
	EQUAL(expect(&g, VSOCK_OP_RESPONSE).dst_port, 5000);
	for (uint32_t i = 0; i < VSOCK_CONNECTIONS; i++)
		if (i != 3)
			close(streams[i].fd);
	close(listener);
	guest_close(&g);
}

static void the_silent_host_program_that_came_first_makes_way(void)
{
	struct guest g = started();
	int silent[VSOCK_HANDSHAKES];
	struct stream s;

	for (uint32_t i = 0; i < VSOCK_HANDSHAKES; i++)
		silent[i] = host_connect(&g);
	wait_state(&g, VSOCK_HANDSHAKE, VSOCK_HANDSHAKES);
	s = host_connects(&g, 5);
	host_sees_end(silent[0]);
	host_say(silent[1], "CONNECT 6\n");
	EQUAL(expect(&g, VSOCK_OP_REQUEST).dst_port, 6);
	a_healthy_stream_goes_on(&g, &s);
	for (uint32_t i = 0; i < VSOCK_HANDSHAKES; i++)
		close(silent[i]);
	close(s.fd);
	guest_close(&g);
}

static void a_silent_host_program_is_dropped_in_time(void)
{
	struct guest g = guest_open();
	int first;
	int second;

	vsock_of(&g)->muxer.handshake_ns = 20000000;
	guest_start_with(&g, VIRTIO_F_VERSION_1, 64);
	first = host_connect(&g);
	host_say(first, "CONNECT 5"); /* without an end */
	second = host_connect(&g);
	host_sees_end(first);
	host_sees_end(second);
	EQUAL(count_state(&g, VSOCK_FREE), VSOCK_CONNECTIONS);
	expect_silence(&g);
	close(first);
	close(second);
	guest_close(&g);
}

static void a_host_program_that_half_closes_in_its_line_is_dropped(void)
{
	struct guest g = started();
	int fd = host_connect(&g);

	host_say(fd, "CONNECT 5");
	shutdown(fd, SHUT_WR);
	host_sees_end(fd);
	close(fd);
	guest_close(&g);
}

static void one_that_half_closes_behind_its_line_is_served(void)
{
	struct guest g = started();
	int fd = host_connect(&g);
	struct vsock_header header;

	host_say(fd, "CONNECT 5\nquery");
	shutdown(fd, SHUT_WR);
	header = expect(&g, VSOCK_OP_REQUEST);
	send_op(&g, 5, header.src_port, VSOCK_OP_RESPONSE);
	EQUAL(expect(&g, VSOCK_OP_RW).len, 5);
	EQUAL(expect(&g, VSOCK_OP_SHUTDOWN).flags, VSOCK_SHUTDOWN_SEND);
	send_data(&g, 5, header.src_port, "answer", 6);
	host_hears(fd, "OK 1073741824\nanswer");
	close(fd);
	guest_close(&g);
}

static void a_broken_ring_of_any_queue_stops_the_device_until_a_reset(void)
{
	for (uint32_t queue = 0; queue < VSOCK_QUEUE_COUNT; queue++) {
		struct guest g = guest_open();
		struct sv_event event;
		struct stream s;

		guest_start_with(&g, VIRTIO_F_VERSION_1, 1);
		s = host_connects(&g, 5);
		publish(&g.rings[queue], 999);
		if (queue == VSOCK_EVENT)
			EQUAL(sv_vsock_transport_reset(g.d.device), 0);
		guest_notify(&g, queue);
		send(s.fd, "x", 1, MSG_NOSIGNAL); /* has the receive queue looked at; may come too late */
		host_sees_end(s.fd);
		settle(&g.d);
		EQUAL(reg_read(&g.d, R_STATUS) & S_NEEDS_RESET, S_NEEDS_RESET);
		event = next_event(&g.d);
		EQUAL(event.kind, SV_EVENT_DEVICE_BROKEN);
		EQUAL(event.data[0], queue);
		close(s.fd);
		guest_start_with(&g, VIRTIO_F_VERSION_1, 64);
		s = host_connects(&g, 5);
		close(s.fd);
		guest_close(&g);
	}
}

static void a_queue_that_is_stopped_is_touched_no_more(void)
{
	struct guest g = started();
	struct stream s = host_connects(&g, 5);

	reg_write(&g.d, R_QUEUE_SEL, VSOCK_RX);
	reg_write(&g.d, R_QUEUE_READY, 0);
	host_sees_end(s.fd);
	send_op(&g, 5, 6, VSOCK_OP_RW);
	expect_silence(&g);
	close(s.fd);
	guest_close(&g);
}

int main(int argc, char **argv)
{
	RUN(a_packet_without_a_whole_header_is_dropped);
	RUN(a_length_beyond_the_chain_resets_the_stream);
	RUN(bytes_behind_the_length_are_not_sent);
	RUN(a_header_and_its_data_may_be_in_many_pieces);
	RUN(a_foreign_source_is_dropped_without_an_answer);
	RUN(other_machines_cannot_be_reached);
	RUN(an_unknown_type_is_refused_in_its_own_name);
	RUN(an_unknown_operation_resets_the_stream);
	RUN(packets_for_nobody_are_answered_with_rst_and_rst_is_not);
	RUN(a_request_on_ports_that_are_taken_ends_both);
	RUN(a_second_response_resets_the_stream);
	RUN(data_before_the_response_resets_the_stream);
	RUN(data_after_the_guest_said_that_there_is_no_more_resets_the_stream);
	RUN(more_data_than_the_credit_resets_the_stream);
	RUN(a_guest_that_ignores_its_credit_loses_the_stream);
	RUN(a_guest_that_contradicts_itself_is_sent_nothing);
	RUN(receive_buffers_without_room_are_given_back_empty);
	RUN(a_packet_may_be_received_in_many_pieces);
	RUN(a_guest_that_takes_no_answers_is_asked_no_more);
	RUN(the_table_of_connections_can_be_full);
	RUN(the_silent_host_program_that_came_first_makes_way);
	RUN(a_silent_host_program_is_dropped_in_time);
	RUN(a_host_program_that_half_closes_in_its_line_is_dropped);
	RUN(one_that_half_closes_behind_its_line_is_served);
	RUN(a_broken_ring_of_any_queue_stops_the_device_until_a_reset);
	RUN(a_queue_that_is_stopped_is_touched_no_more);
	return 0;
}
