#include "console_driver.h"

static struct guest started(void)
{
	struct guest g;

	guest_open(&g);
	guest_start(&g, ALL_FEATURES);
	return g;
}

static struct console *console_of(struct guest *g)
{
	return (struct console *)g->rx.device;
}

/* Byte n of what the tests send in bulk: no two places within 64 KiB look alike. */
static uint8_t pattern(uint32_t n)
{
	return (uint8_t)(n * 7 + n / 251);
}

static void fill_bulk(struct guest *g, uint32_t length)
{
	uint8_t *bulk = at_gpa(&g->rx.ring, BULK);

	for (uint32_t n = 0; n < length; n++)
		bulk[n] = pattern(n);
}

static void expect_pattern(int client, uint32_t from, uint32_t until)
{
	static uint8_t heard[4096];

	for (uint32_t n = from; n < until;) {
		uint32_t piece = until - n < sizeof(heard) ? until - n : (uint32_t)sizeof(heard);

		hear(client, heard, piece);
		for (uint32_t i = 0; i < piece; i++)
			EQUAL(heard[i], pattern(n + i));
		n += piece;
	}
}

static void output_reaches_the_client_and_input_the_guest(void)
{
	struct guest g = started();
	int client = connect_to(&g);

	say(&g, "login: ");
	expect(client, "login: ");
	CHECK(write(client, "root\n", 5) == 5);
	put_room(&g, 0, DATA + 64, 64);
	wait_used(&g.rx, 1);
	EQUAL(last_used_length(&g.rx), 5);
	EQUAL(memcmp(at_gpa(&g.rx.ring, DATA + 64), "root\n", 5), 0);
	say(&g, "$ ");
	expect(client, "$ ");
	close(client);
	guest_close(&g);
}

static void input_comes_to_room_that_was_there_before(void)
{
	struct guest g = started();
	int client;

	put_room(&g, 0, DATA, 2);
	put_room(&g, 1, DATA + 64, 64);
	client = connect_to(&g);
	CHECK(write(client, "abcd", 4) == 4);
	wait_used(&g.rx, 2);
	EQUAL(used_at(&g.rx.ring, 0).len, 2);
	EQUAL(used_at(&g.rx.ring, 1).len, 2);
	EQUAL(memcmp(at_gpa(&g.rx.ring, DATA + 64), "cd", 2), 0);
	close(client);
	guest_close(&g);
}

static void the_newest_64_kib_wait_for_the_next_client(void)
{
	struct guest g = started();
	int client;

	fill_bulk(&g, 160000);
	for (uint32_t slot = 0; slot < 16; slot++)
		put_output(&g, slot, BULK + slot * 10000, 10000);
	wait_used(&g.tx, 16); /* nobody is there, and nobody waits */
	client = connect_to(&g);
	expect_pattern(client, 160000 - 65536, 160000);
	say(&g, "more");
	expect(client, "more");
	CHECK(hears_nothing(client));
	close(client);
	guest_close(&g);
}

static void one_client_is_served_and_the_others_wait(void)
{
	struct guest g = started();
	int first = connect_to(&g);
	int second;

	say(&g, "for the first");
	expect(first, "for the first");
	second = connect_to(&g);
	say(&g, "again");
	expect(first, "again");
	CHECK(hears_nothing(second));
	close(first);
	settle(&g.rx);
	say(&g, "for the second");
	expect(second, "for the second");
	close(second);
	guest_close(&g);
}

static void clients_come_and_go(void)
{
	struct guest g = started();

	for (int round = 0; round < 50; round++) {
		int client = connect_to(&g);

		say(&g, "hello");
		expect(client, "hello");
		close(client);
		settle(&g.rx);
	}
	EQUAL(next_event(&g.rx).kind, 0);
	guest_close(&g);
}

/* Publishes 1 MiB in 16 chains for a client that does not read; returns how many the device has taken. */
static uint32_t flood(struct guest *g)
{
	fill_bulk(g, 1 << 20);
	for (uint32_t slot = 0; slot < 16; slot++)
		put_output(g, slot, BULK + (slot << 16), 1 << 16);
	settle(&g->rx);
	settle(&g->rx);
	return (uint16_t)(used_index(&g->tx.ring) - g->tx.waited);
}

static void a_slow_client_gets_every_byte(void)
{
	struct guest g = started();
	int client = connect_to(&g);

	CHECK(flood(&g) < 16);
	expect_pattern(client, 0, 1 << 20);
	wait_used(&g.tx, 16);
	CHECK(!console_of(&g)->given_up);
	say(&g, "end");
	expect(client, "end");
	close(client);
	guest_close(&g);
}

/* Linux gives each line of a terminal in two chains, and each takes most of a KiB of a socket's buffer. */
static void a_pause_of_a_client_holds_nobody_up_at_once(void)
{
	struct guest g = started();
	int client = connect_to(&g);

	fill_bulk(&g, 50000);
	for (uint32_t n = 0; n < 50000; n += 5) {
		put_output(&g, 0, BULK + n, 5);
		wait_used(&g.tx, 1);
	}
	expect_pattern(client, 0, 50000);
	say(&g, "end");
	expect(client, "end");
	close(client);
	guest_close(&g);
}

static void a_client_that_never_reads_is_given_up_until_it_does(void)
{
	struct guest g = started();
	int client = connect_to(&g);
	uint32_t sent;
	static uint8_t heard[1 << 20];

	CHECK(flood(&g) < 16);
	clock_arm(console_of(&g)->timer.fd, 1); /* as if the time were over */
	wait_used(&g.tx, 16);
	CHECK(console_of(&g)->given_up);
	say(&g, "never blocks");
	sent = (1 << 20) + 12 - 65536; /* where the newest 64 KiB begin */
	for (uint32_t got = 0; got < 65536 || memcmp(heard + got - 12, "never blocks", 12) != 0;) {
		ssize_t n = recv(client, heard + got, sizeof(heard) - got, 0);

		CHECK(n > 0);
		got += (uint32_t)n;
		EQUAL(heard[0], pattern(0)); /* what its socket held comes first */
		if (got > 65536 && memcmp(heard + got - 12, "never blocks", 12) == 0)
			EQUAL(heard[got - 65536], pattern(sent));
	}
	settle(&g.rx);
	CHECK(!console_of(&g)->given_up);
	CHECK(flood(&g) < 16); /* it is waited for again */
	close(client);
	wait_used(&g.tx, 16);
	guest_close(&g);
}

static void what_a_client_did_not_take_is_for_the_next_one(void)
{
	struct guest g = started();
	int client = connect_to(&g);
	int next;

	CHECK(flood(&g) < 16);
	close(client);
	wait_used(&g.tx, 16);
	next = connect_to(&g);
	expect_pattern(next, (1 << 20) - 65536, 1 << 20);
	close(next);
	guest_close(&g);
}

static void a_client_waits_for_a_guest_that_takes_no_input(void)
{
	struct guest g = started();
	int client = connect_to(&g);
	uint32_t sent = 0;
	uint32_t got = 0;

	for (;;) { /* until nothing more fits: the device reads none of it */
		uint8_t byte = pattern(sent);

		if (send(client, &byte, 1, MSG_DONTWAIT) != 1)
			break;
		sent++;
	}
	settle(&g.rx);
	while (got < sent) {
		uint32_t n;

		put_room(&g, 0, DATA, 777);
		wait_used(&g.rx, 1);
		n = last_used_length(&g.rx);
		CHECK(n > 0);
		for (uint32_t i = 0; i < n; i++)
			EQUAL(*(uint8_t *)at_gpa(&g.rx.ring, DATA + i), pattern(got + i));
		got += n;
	}
	EQUAL(got, sent);
	close(client);
	guest_close(&g);
}

static void input_of_a_client_that_has_gone_is_not_lost(void)
{
	struct guest g = started();
	int client = connect_to(&g);
	int next;

	CHECK(write(client, "reboot\n", 7) == 7);
	close(client);
	settle(&g.rx);
	next = connect_to(&g); /* the guest has no room yet, and still the next one is served */
	CHECK(write(next, "now\n", 4) == 4);
	say(&g, "hello");
	expect(next, "hello");
	put_room(&g, 0, DATA + 64, 64);
	put_room(&g, 1, DATA + 128, 64);
	wait_used(&g.rx, 2);
	EQUAL(memcmp(at_gpa(&g.rx.ring, DATA + 64), "reboot\n", 7), 0);
	EQUAL(memcmp(at_gpa(&g.rx.ring, DATA + 128), "now\n", 4), 0);
	close(next);
	guest_close(&g);
}

static void a_client_that_ended_its_input_still_reads(void)
{
	struct guest g = started();
	int client = connect_to(&g);

	put_room(&g, 0, DATA + 64, 64);
	put_room(&g, 1, DATA + 128, 64);
	CHECK(write(client, "ls\n", 3) == 3);
	CHECK(shutdown(client, SHUT_WR) == 0);
	wait_used(&g.rx, 1);
	for (int round = 0; round < 3; round++) {
		settle(&g.rx);
		say(&g, "file");
		expect(client, "file");
	}
	EQUAL(used_index(&g.rx.ring), 1);
	EQUAL(console_of(&g)->watched, 0); /* its end is told once, not again and again */
	close(client);
	guest_close(&g);
}

static void a_client_is_served_before_any_driver_and_after_a_reset(void)
{
	struct guest g;
	int client;

	guest_open(&g);
	client = connect_to(&g);
	CHECK(write(client, "early", 5) == 5);
	settle(&g.rx);
	for (int round = 0; round < 3; round++) {
		guest_start(&g, ALL_FEATURES);
		say(&g, "up");
		expect(client, "up");
	}
	put_room(&g, 0, DATA, 64);
	wait_used(&g.rx, 1);
	EQUAL(last_used_length(&g.rx), 5);
	close(client);
	guest_close(&g);
}

static void a_reset_keeps_what_was_written_and_leaves_the_rings_alone(void)
{
	struct guest g = started();
	int client = connect_to(&g);
	uint32_t taken;

	put_room(&g, 0, DATA, 64);
	taken = flood(&g);
	CHECK(taken < 16);
	reg_write(&g.rx, R_STATUS, 0);
	CHECK(write(client, "x", 1) == 1);
	settle(&g.rx);
	EQUAL(used_index(&g.tx.ring), taken);
	EQUAL(used_index(&g.rx.ring), 0);
	expect_pattern(client, 0, taken << 16);
	guest_start(&g, ALL_FEATURES);
	put_room(&g, 3, DATA, 64);
	wait_used(&g.rx, 1);
	EQUAL(used_at(&g.rx.ring, 0).id, 3);
	close(client);
	guest_close(&g);
}

static uint32_t config_word(struct guest *g)
{
	return (uint32_t)reg_read_sized(&g->rx, R_CONFIG, 2) |
	       (uint32_t)reg_read_sized(&g->rx, R_CONFIG + 2, 2) << 16;
}

static void the_size_of_the_window_is_told(void)
{
	struct guest g = started();
	uint32_t generation = reg_read(&g.rx, 0x0fc);

	CHECK(reg_read(&g.rx, R_FEATURES) & 1); /* VIRTIO_CONSOLE_F_SIZE */
	EQUAL(config_word(&g), 0);
	EQUAL(sv_console_resize(g.rx.device, 132, 43), 0);
	CHECK(wait_interrupt(&g.rx) & VIRTIO_INTERRUPT_CONFIG);
	EQUAL(config_word(&g), 132 | 43 << 16);
	CHECK(reg_read(&g.rx, 0x0fc) != generation);
	guest_close(&g);
}

/* Linux's driver has no terminal yet while it is set up, and forgets what it is told then. */
static void a_size_that_is_known_is_told_again_after_the_first_output(void)
{
	struct guest g;

	guest_open(&g);
	EQUAL(sv_console_resize(g.rx.device, 80, 25), 0);
	CHECK(!interrupt_pending(&g.rx)); /* nobody is there who would know what to do with it */
	for (int round = 0; round < 2; round++) {
		uint32_t cause;

		guest_start(&g, ALL_FEATURES);
		reg_write(&g.rx, R_INT_ACK, 3);
		put_output(&g, 0, DATA, 4);
		cause = wait_interrupt(&g.rx);
		if (!(cause & VIRTIO_INTERRUPT_CONFIG))
			cause = wait_interrupt(&g.rx);
		CHECK(cause & VIRTIO_INTERRUPT_CONFIG);
		g.tx.waited = 1;
		say(&g, "second");
		CHECK(!interrupt_pending(&g.rx));
	}
	guest_close(&g);
}

static void only_a_console_has_a_size(void)
{
	struct sv_rng_config config = {.fd = open("/dev/zero", O_RDONLY | O_CLOEXEC)};
	struct driver d = driver_without_device();
	struct sv_virtio *rng;

	EQUAL(sv_rng_create(d.vm, &config, &rng), 0);
	EQUAL(sv_console_resize(rng, 80, 25), -EINVAL);
	close(config.fd);
	driver_close(&d);
}

static void chains_of_the_wrong_direction_end_with_nothing(void)
{
	struct guest g = started();

	put_desc(&g.tx.ring, 0, DATA, 64, F_WRITE, 0);
	publish(&g.tx.ring, 0);
	notify(&g, CONSOLE_TX);
	wait_used(&g.tx, 1);
	EQUAL(last_used_length(&g.tx), 0);
	put_desc(&g.rx.ring, 0, DATA, 64, 0, 0);
	publish(&g.rx.ring, 0);
	notify(&g, CONSOLE_RX);
	wait_used(&g.rx, 1);
	EQUAL(last_used_length(&g.rx), 0);
	guest_close(&g);
}

static void a_chain_that_claims_all_memory_again_and_again_costs_64_kib(void)
{
	struct guest g = started();
	int client;

	fill_bulk(&g, 1 << 20);
	for (uint32_t i = 0; i < 15; i++)
		put_desc(&g.tx.ring, i, RAM_GPA, RAM_SIZE, F_NEXT, (int)i + 1);
	put_desc(&g.tx.ring, 15, BULK, 1 << 20, 0, 0);
	publish(&g.tx.ring, 0);
	notify(&g, CONSOLE_TX);
	wait_used(&g.tx, 1);
	client = connect_to(&g);
	expect_pattern(client, (1 << 20) - 65536, 1 << 20);
	close(client);
	guest_close(&g);
}

static void a_broken_ring_stops_the_device_until_a_reset(void)
{
	struct guest g = started();
	int client = connect_to(&g);
	struct sv_event event;

	publish(&g.tx.ring, 999);
	notify(&g, CONSOLE_TX);
	wait_interrupt(&g.rx);
	CHECK(reg_read(&g.rx, R_STATUS) & S_NEEDS_RESET);
	settle(&g.rx);
	event = next_event(&g.rx);
	EQUAL(event.kind, SV_EVENT_DEVICE_BROKEN);
	EQUAL(event.data[0], CONSOLE_TX);
	put_room(&g, 0, DATA, 64);
	CHECK(write(client, "lost?", 5) == 5);
	settle(&g.rx);
	EQUAL(used_index(&g.rx.ring), 0);
	guest_start(&g, ALL_FEATURES);
	put_room(&g, 0, DATA, 64);
	wait_used(&g.rx, 1);
	EQUAL(last_used_length(&g.rx), 5);
	say(&g, "well again");
	expect(client, "well again");
	close(client);
	guest_close(&g);
}

int main(int argc, char **argv)
{
	RUN(output_reaches_the_client_and_input_the_guest);
	RUN(input_comes_to_room_that_was_there_before);
	RUN(the_newest_64_kib_wait_for_the_next_client);
	RUN(one_client_is_served_and_the_others_wait);
	RUN(clients_come_and_go);
	RUN(a_slow_client_gets_every_byte);
	RUN(a_pause_of_a_client_holds_nobody_up_at_once);
	RUN(a_client_that_never_reads_is_given_up_until_it_does);
	RUN(what_a_client_did_not_take_is_for_the_next_one);
	RUN(a_client_waits_for_a_guest_that_takes_no_input);
	RUN(input_of_a_client_that_has_gone_is_not_lost);
	RUN(a_client_that_ended_its_input_still_reads);
	RUN(a_client_is_served_before_any_driver_and_after_a_reset);
	RUN(a_reset_keeps_what_was_written_and_leaves_the_rings_alone);
	RUN(the_size_of_the_window_is_told);
	RUN(a_size_that_is_known_is_told_again_after_the_first_output);
	RUN(only_a_console_has_a_size);
	RUN(chains_of_the_wrong_direction_end_with_nothing);
	RUN(a_chain_that_claims_all_memory_again_and_again_costs_64_kib);
	RUN(a_broken_ring_stops_the_device_until_a_reset);
	return 0;
}
