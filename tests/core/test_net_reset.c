/* What a card keeps of frames and buffers when its driver or its machine comes or goes. */
#include "net_driver.h"

static void a_reset_forgets_buffers_and_half_a_frame(void)
{
	struct card c = card_started(MERGEABLE);

	for (int round = 0; round < 20; round++) {
		give_buffers(&c, 0, 2, 1000);
		wire_send(c.peers[0], 4500, 5);
		for (uint32_t i = 0; i < QUEUE_SIZE; i++)
			put_frame(&c, 0, i, 20000, 1);
		card_notify(&c, 1);
		card_start(&c, MERGEABLE);
		EQUAL(used_index(&c.rings[0]), 0);
	}
	while (!wire_is_silent(c.peers[0]))
		wire_expect(c.peers[0], 20000, 1);
	card_start(&c, MERGEABLE);
	card_settle(&c);
	EQUAL(used_index(&c.rings[0]), 0);
	card_close(&c);
}

static void half_a_frame_from_before_a_reset_is_not_received_after_it(void)
{
	struct card c = card_started(MERGEABLE);

	give_buffers(&c, 0, 2, 1000);
	wire_send(c.peers[0], 4500, 5);
	card_settle(&c);
	card_start(&c, MERGEABLE);
	give_buffers(&c, 0, 8, 1000);
	wire_send(c.peers[0], 60, 6);
	wait_index(&c, 0, 1);
	expect_received(&c, 0, 0, 1000, 60, 6);
	card_close(&c);
}

/* A notification from before DRIVER_OK counts for nothing. */
static void buffers_and_frames_from_before_the_driver_is_ready_meet(void)
{
	struct card c = card_open(1, 1);

	wire_send(c.peers[0], 60, 1);
	card_prepare(&c, MERGEABLE);
	give_buffers(&c, 0, 1, 2048);
	reg_write(&c.d, R_STATUS, S_READY | S_DRIVER_OK);
	wait_index(&c, 0, 1);
	expect_received(&c, 0, 0, 2048, 60, 1);
	card_close(&c);
}

/* Destroys the machine while frames are on their way: nothing may be touched after its memory is gone. */
static void a_machine_may_end_with_frames_in_flight(void)
{
	for (int i = 0; i < 30; i++) {
		struct card c = card_started(MERGEABLE);

		give_buffers(&c, 0, 8, 512);
		for (uint32_t j = 0; j < QUEUE_SIZE; j++) {
			put_frame(&c, 0, j, 20000, 1);
			wire_send(c.peers[0], 1000, 1);
		}
		card_notify(&c, 1);
		card_close(&c);
	}
}

int main(int argc, char **argv)
{
	RUN(a_reset_forgets_buffers_and_half_a_frame);
	RUN(half_a_frame_from_before_a_reset_is_not_received_after_it);
	RUN(buffers_and_frames_from_before_the_driver_is_ready_meet);
	RUN(a_machine_may_end_with_frames_in_flight);
	return 0;
}
