/* Frames from the driver. */
#include "net_driver.h"

static void a_frame_is_sent_from_all_its_buffers(void)
{
	struct card c = card_started(MERGEABLE);
	struct ring *ring = &c.rings[1];

	make_frame(buffer_at(&c, 1, 0), 500, 7);
	put_desc(ring, 0, buffer_gpa(1, 0), 5, F_NEXT, 1);
	put_desc(ring, 1, buffer_gpa(1, 5), 100, F_NEXT, 2);
	put_desc(ring, 2, buffer_gpa(1, 105), 395, 0, 0);
	publish(ring, 0);
	card_notify(&c, 1);
	wire_expect(c.peers[0], 500, 7);
	wait_index(&c, 1, 1);
	EQUAL(used_at(ring, 0).len, 0);
	card_close(&c);
}

/* Sends frames until some are held back (the sockets take a dozen or some hundred), and returns how many. */
static uint32_t fill_wire(struct card *c)
{
	uint32_t given = 0;

	while (given - used_index(&c->rings[1]) < QUEUE_SIZE) {
		put_frame(c, 0, given % QUEUE_SIZE, 20000, (uint8_t)given);
		given++;
		card_notify(c, 1);
		card_settle(c);
	}
	return given;
}

static void frames_that_the_wire_has_no_room_for_are_sent_later_and_in_order(void)
{
	struct card c = card_started(MERGEABLE);
	uint32_t given = fill_wire(&c);
	uint32_t seen = 0;

	while (seen < given)
		wire_expect(c.peers[0], 20000, (uint8_t)seen++);
	wait_index(&c, 1, (uint16_t)given);
	EQUAL(wire_is_silent(c.peers[0]), true);
	put_frame(&c, 0, 0, 100, 77);
	card_notify(&c, 1);
	wire_expect(c.peers[0], 100, 77);
	card_close(&c);
}

static void the_longest_frame_is_sent_and_a_longer_one_is_not(void)
{
	struct card c = card_started(MERGEABLE);
	struct ring *ring = &c.rings[1];

	make_frame(buffer_at(&c, 1, 0), NET_FRAME_MAX + 1, 1);
	put_desc(ring, 0, buffer_gpa(1, 0), NET_FRAME_MAX + 1, 0, 0);
	put_desc(ring, 1, buffer_gpa(1, 0), NET_FRAME_MAX, 0, 0);
	publish(ring, 0);
	publish(ring, 1);
	card_notify(&c, 1);
	wire_expect(c.peers[0], NET_FRAME_MAX, 1);
	wait_index(&c, 1, 2);
	EQUAL(wire_is_silent(c.peers[0]), true);
	card_close(&c);
}

static void a_frame_without_a_header_breaks_the_queue(void)
{
	struct card c = card_started(MERGEABLE);

	put_frame(&c, 0, 0, HEADER - 1, 0);
	card_notify(&c, 1);
	expect_broken(&c, 1, VIRTQ_BAD_CHAIN);
	card_close(&c);
}

static void a_chain_that_loops_breaks_the_queue(void)
{
	struct card c = card_started(MERGEABLE);

	put_desc(&c.rings[1], 0, buffer_gpa(1, 0), 100, F_NEXT, 1);
	put_desc(&c.rings[1], 1, buffer_gpa(1, 0), 100, F_NEXT, 0);
	publish(&c.rings[1], 0);
	card_notify(&c, 1);
	expect_broken(&c, 1, VIRTQ_TOO_LONG);
	card_close(&c);
}

/* With EVENT_IDX the driver looks at avail_event, as a real one does, and must never be left waiting. */
static void no_frame_is_forgotten_when_the_driver_notifies_only_if_asked(void)
{
	struct card c = card_started(MERGEABLE);
	struct ring *ring = &c.rings[1];
	uint32_t notified = 0;

	for (uint32_t i = 0; i < 10000; i++) {
		uint16_t before = ring->avail;

		put_frame(&c, 0, i % 4, 60, (uint8_t)i);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (__atomic_load_n(avail_event_of(ring), __ATOMIC_RELAXED) == before) {
			card_notify(&c, 1);
			notified++;
		}
		if (i % 4 == 3) {
			for (uint32_t j = i - 3; j <= i; j++)
				wire_expect(c.peers[0], 60, (uint8_t)j);
			wait_index(&c, 1, (uint16_t)(i + 1));
		}
	}
	CHECK(notified >= 1);
	card_close(&c);
}

/* A frame waits in the wire for buffers, which the driver gives without a word. */
static void an_answer_that_is_there_comes_with_the_interrupt_for_what_was_sent(void)
{
	struct card c = card_started(MERGEABLE);
	uint64_t interrupts;

	wire_send(c.peers[0], 60, 5);
	card_settle(&c);
	put_desc(&c.rings[0], 0, buffer_gpa(0, 0), 2048, F_WRITE, 0);
	publish(&c.rings[0], 0);
	put_frame(&c, 0, 0, 100, 6);
	card_notify(&c, 1);
	wire_expect(c.peers[0], 100, 6);
	card_settle(&c);
	EQUAL(used_index(&c.rings[1]), 1);
	EQUAL(used_index(&c.rings[0]), 1);
	expect_received(&c, 0, 0, 2048, 60, 5);
	CHECK(read(c.d.device->irq_fd, &interrupts, sizeof(interrupts)) == sizeof(interrupts));
	EQUAL(interrupts, 1);
	card_close(&c);
}

static void close_wire(void *context)
{
	struct card *c = context;

	close(c->peers[0]);
	c->peers[0] = 0;
}

/* The I/O thread itself closes the wire: it sees at once that there is room, and that there is no wire. */
static void frames_that_wait_for_room_in_a_wire_that_breaks_are_lost_with_it(void)
{
	struct card c = card_started(MERGEABLE);
	uint32_t given;

	give_buffers(&c, 0, 4, 2048);
	given = fill_wire(&c);
	iothread_call(c.d.device->io, close_wire, &c);
	wait_index(&c, 1, (uint16_t)given);
	card_settle(&c);
	EQUAL(next_event(&c.d).kind, SV_EVENT_NET_FAILED);
	card_close(&c);
}

int main(int argc, char **argv)
{
	RUN(a_frame_is_sent_from_all_its_buffers);
	RUN(frames_that_the_wire_has_no_room_for_are_sent_later_and_in_order);
	RUN(the_longest_frame_is_sent_and_a_longer_one_is_not);
	RUN(a_frame_without_a_header_breaks_the_queue);
	RUN(a_chain_that_loops_breaks_the_queue);
	RUN(no_frame_is_forgotten_when_the_driver_notifies_only_if_asked);
	RUN(an_answer_that_is_there_comes_with_the_interrupt_for_what_was_sent);
	RUN(frames_that_wait_for_room_in_a_wire_that_breaks_are_lost_with_it);
	return 0;
}
