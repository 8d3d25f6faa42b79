/* Cards with several pairs of queues, and the control queue that says how many are used. */
#include "net_driver.h"

#define CONTROL 4u

static void several_pairs_are_offered_with_a_control_queue(void)
{
	struct card c = card_open(2, 2);

	EQUAL(c.d.device->offered >> 17 & 0x3f, 1 | 1 << 5);
	EQUAL(reg_read_sized(&c.d, R_CONFIG + 8, 2), 2);
	for (uint32_t queue = 0; queue < 6; queue++) {
		reg_write(&c.d, R_QUEUE_SEL, queue);
		EQUAL(reg_read(&c.d, R_QUEUE_MAX), queue < 5 ? 256 : 0);
	}
	card_close(&c);
}

static void a_second_pair_works_once_the_driver_asked_for_it(void)
{
	struct card c = card_open(2, 2);

	card_start(&c, EVERYTHING);
	give_buffers(&c, 1, 2, 2048);
	wire_send(c.peers[1], 60, 4);
	card_settle(&c);
	EQUAL(used_index(&c.rings[2]), 0);
	EQUAL(card_set_pairs(&c, 2), 0);
	wait_index(&c, 2, 1);
	expect_received(&c, 1, 0, 2048, 60, 4);
	put_frame(&c, 1, 0, 100, 8);
	card_notify(&c, 3);
	wire_expect(c.peers[1], 100, 8);
	EQUAL(card_set_pairs(&c, 1), 0);
	wire_send(c.peers[1], 60, 5);
	card_expect_traffic(&c);
	EQUAL(used_index(&c.rings[2]), 1);
	card_close(&c);
}

static void sixteen_pairs_carry_frames_both_ways(void)
{
	struct card c = card_open(SV_NET_MAX_PAIRS, SV_NET_MAX_PAIRS);

	EQUAL(reg_read_sized(&c.d, R_CONFIG + 8, 2), SV_NET_MAX_PAIRS);
	card_start(&c, EVERYTHING);
	EQUAL(card_set_pairs(&c, SV_NET_MAX_PAIRS + 1), 1);
	EQUAL(card_set_pairs(&c, SV_NET_MAX_PAIRS), 0);
	for (uint32_t pair = 0; pair < SV_NET_MAX_PAIRS; pair++) {
		give_buffers(&c, pair, 1, 2048);
		wire_send(c.peers[pair], 60, (uint8_t)pair);
		put_frame(&c, pair, 0, 100, (uint8_t)(100 + pair));
		card_notify(&c, 2 * pair + 1);
	}
	for (uint32_t pair = 0; pair < SV_NET_MAX_PAIRS; pair++) {
		wait_index(&c, 2 * pair, 1);
		expect_received(&c, pair, 0, 2048, 60, (uint8_t)pair);
		wire_expect(c.peers[pair], 100, (uint8_t)(100 + pair));
	}
	card_close(&c);
}

static void commands_that_make_no_sense_are_refused(void)
{
	struct card c = card_open(2, 2);

	card_start(&c, EVERYTHING);
	EQUAL(card_set_pairs(&c, 0), 1);
	EQUAL(card_set_pairs(&c, 3), 1);
	EQUAL(card_command(&c, (uint8_t[]){4, 0, 1, 1}, 4), 1); /* 257 */
	EQUAL(card_command(&c, (uint8_t[]){4, 0, 1}, 3), 1);
	EQUAL(card_command(&c, (uint8_t[]){4, 1, 1, 0}, 4), 1);
	EQUAL(card_command(&c, (uint8_t[]){0, 0, 1, 0}, 4), 1);
	EQUAL(card_set_pairs(&c, 2), 0);
	card_close(&c);
}

static void a_command_without_room_for_an_answer_is_given_back(void)
{
	struct card c = card_open(2, 2);
	struct ring *ring = &c.rings[CONTROL];

	card_start(&c, EVERYTHING);
	memcpy(buffer_at(&c, CONTROL, 0), (uint8_t[]){4, 0, 2, 0}, 4);
	put_desc(ring, 0, buffer_gpa(CONTROL, 0), 4, 0, 0);
	put_desc(ring, 1, buffer_gpa(CONTROL, 0), 4, F_WRITE, 0);
	publish(ring, 0);
	publish(ring, 1);
	card_notify(&c, CONTROL);
	wait_index(&c, CONTROL, 2);
	EQUAL(used_at(ring, 0).len, 0);
	EQUAL(used_at(ring, 1).len, 1);
	EQUAL(*buffer_at(&c, CONTROL, 0), 1);
	card_close(&c);
}

/* VIRTIO 1.2, 5.1.2: the control queue of a driver without MQ is the third one. */
static void without_multiqueue_the_control_queue_is_the_third(void)
{
	struct card c = card_open(2, 2);
	struct ring *ring = &c.rings[2];

	card_start(&c, MERGEABLE | VIRTIO_NET_F_CTRL_VQ);
	memcpy(buffer_at(&c, 2, 0), (uint8_t[]){4, 0, 2, 0}, 4);
	put_desc(ring, 0, buffer_gpa(2, 0), 4, F_NEXT, 1);
	put_desc(ring, 1, buffer_gpa(2, 0x100), 1, F_WRITE, 0);
	publish(ring, 0);
	card_notify(&c, 2);
	wait_index(&c, 2, 1);
	EQUAL(*buffer_at(&c, 2, 0x100), 1);
	card_expect_traffic(&c);
	card_close(&c);
}

static void a_backend_with_fewer_descriptors_serves_every_sender(void)
{
	struct card c = card_open(2, 2);

	card_start(&c, EVERYTHING);
	EQUAL(card_set_pairs(&c, 2), 0);
	EQUAL(card_plug(&c, 1), 0);
	put_frame(&c, 1, 0, 100, 8);
	card_notify(&c, 3);
	wire_expect(c.peers[0], 100, 8);
	card_expect_traffic(&c);
	card_close(&c);
}

static void a_reset_goes_back_to_one_pair(void)
{
	struct card c = card_open(2, 2);

	card_start(&c, EVERYTHING);
	EQUAL(card_set_pairs(&c, 2), 0);
	card_start(&c, EVERYTHING);
	give_buffers(&c, 1, 1, 2048);
	wire_send(c.peers[1], 60, 1);
	card_expect_traffic(&c);
	EQUAL(used_index(&c.rings[2]), 0);
	card_close(&c);
}

int main(int argc, char **argv)
{
	RUN(several_pairs_are_offered_with_a_control_queue);
	RUN(a_second_pair_works_once_the_driver_asked_for_it);
	RUN(sixteen_pairs_carry_frames_both_ways);
	RUN(commands_that_make_no_sense_are_refused);
	RUN(a_command_without_room_for_an_answer_is_given_back);
	RUN(without_multiqueue_the_control_queue_is_the_third);
	RUN(a_backend_with_fewer_descriptors_serves_every_sender);
	RUN(a_reset_goes_back_to_one_pair);
	return 0;
}
