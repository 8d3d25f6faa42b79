/* Where driver and device are in the rings. */
#include "virtq_rig.h"

static void an_available_index_too_far_ahead_breaks_the_queue(void)
{
	struct rig rig = rig_new(8, false, false);

	put_desc(&rig.ring, 0, BUFFERS, 16, 0, 0);
	rig.ring.avail = 8;
	expect_broken(&rig, VIRTQ_BAD_AVAIL);
}

static void an_available_index_too_far_ahead_is_seen_across_the_wrap(void)
{
	struct rig rig = rig_new(8, false, false);

	put_desc(&rig.ring, 0, BUFFERS, 16, 0, 0);
	for (uint32_t i = 0; i < 65535; i++) {
		publish(&rig.ring, 0);
		EQUAL(pop(&rig), VQ_CHAIN);
	}
	rig.ring.avail = 7;
	expect_broken(&rig, VIRTQ_BAD_AVAIL); /* 65535 to 8 is 9 ahead */
}

static void a_whole_ring_ahead_is_fine(void)
{
	struct rig rig = rig_new(8, false, false);

	put_desc(&rig.ring, 0, BUFFERS, 16, 0, 0);
	for (int i = 0; i < 8; i++)
		publish(&rig.ring, 0);
	for (int i = 0; i < 8; i++)
		EQUAL(pop(&rig), VQ_CHAIN);
	EQUAL(pop(&rig), VQ_EMPTY);
	rig_free(&rig);
}

static void indexes_wrap_around_at_65536(void)
{
	struct rig rig = rig_new(8, false, true);
	uint32_t interrupts = 0;

	put_desc(&rig.ring, 3, BUFFERS, 16, 0, 0);
	for (uint32_t i = 0; i < 3 * 65536; i++) {
		*used_event_of(&rig.ring) = (uint16_t)i;
		CHECK(!virtq_enable_notification(&rig.q));
		EQUAL(*avail_event_of(&rig.ring), (uint16_t)i);
		publish(&rig.ring, 3);
		EQUAL(pop(&rig), VQ_CHAIN);
		virtq_push(&rig.q, 3, i);
		interrupts += virtq_needs_notify(&rig.q);
		EQUAL(used_index(&rig.ring), (uint16_t)(i + 1));
		EQUAL(used_at(&rig.ring, i).len, i);
	}
	EQUAL(interrupts, 3 * 65536);
	rig_free(&rig);
}

static void a_chain_that_is_put_back_is_taken_again_before_what_came_since(void)
{
	struct rig rig = rig_new(8, false, false);

	for (uint32_t i = 0; i < 3; i++)
		put_desc(&rig.ring, i, BUFFERS, 16 + i, 0, 0);
	publish(&rig.ring, 0);
	publish(&rig.ring, 1);
	EQUAL(pop(&rig), VQ_CHAIN);
	EQUAL(pop(&rig), VQ_CHAIN);
	virtq_unpop(&rig.q);
	publish(&rig.ring, 2);
	EQUAL(pop(&rig), VQ_CHAIN);
	EQUAL(rig.chain.bytes, 17);
	EQUAL(pop(&rig), VQ_CHAIN);
	EQUAL(rig.chain.bytes, 18);
	EQUAL(pop(&rig), VQ_EMPTY);
	rig_free(&rig);
}

static void a_ring_that_somebody_else_served_goes_on_at_its_used_index(void)
{
	struct rig rig = rig_new(8, false, false);

	for (uint32_t i = 0; i < 3; i++) {
		put_desc(&rig.ring, i, BUFFERS, 16 + i, 0, 0);
		publish(&rig.ring, i);
	}
	used_words(&rig.ring)[1] = 1;
	virtq_resume(&rig.q);
	CHECK(!virtq_needs_notify(&rig.q));
	EQUAL(pop(&rig), VQ_CHAIN);
	EQUAL(rig.chain.bytes, 17);
	virtq_push(&rig.q, rig.chain.head, 0);
	EQUAL(used_index(&rig.ring), 2);
	EQUAL(used_at(&rig.ring, 1).id, 1);
	CHECK(virtq_needs_notify(&rig.q));
	rig_free(&rig);
}

int main(int argc, char **argv)
{
	RUN(an_available_index_too_far_ahead_breaks_the_queue);
	RUN(an_available_index_too_far_ahead_is_seen_across_the_wrap);
	RUN(a_whole_ring_ahead_is_fine);
	RUN(indexes_wrap_around_at_65536);
	RUN(a_chain_that_is_put_back_is_taken_again_before_what_came_since);
	RUN(a_ring_that_somebody_else_served_goes_on_at_its_used_index);
	return 0;
}
