/* Who wants to be told of what, by flags or by event indexes (VIRTIO 1.2, 2.7.7 and 2.7.10). */
#include "virtq_rig.h"

static void without_event_index_the_flag_decides_on_interrupts(void)
{
	struct rig rig = rig_new(8, false, false);

	CHECK(!virtq_needs_notify(&rig.q));
	virtq_push(&rig.q, 0, 0);
	CHECK(virtq_needs_notify(&rig.q));
	CHECK(!virtq_needs_notify(&rig.q));
	avail_words(&rig.ring)[0] = 1;
	virtq_push(&rig.q, 0, 0);
	CHECK(!virtq_needs_notify(&rig.q));
	avail_words(&rig.ring)[0] = 0;
	virtq_push(&rig.q, 0, 0);
	CHECK(virtq_needs_notify(&rig.q));
	rig_free(&rig);
}

static void with_event_index_an_interrupt_comes_when_the_event_is_passed(void)
{
	struct rig rig = rig_new(8, false, true);

	avail_words(&rig.ring)[0] = 1; /* says nothing with EVENT_IDX */
	*used_event_of(&rig.ring) = 2;
	virtq_push(&rig.q, 0, 0);
	CHECK(!virtq_needs_notify(&rig.q));
	virtq_push(&rig.q, 0, 0);
	CHECK(!virtq_needs_notify(&rig.q));
	virtq_push(&rig.q, 0, 0);
	CHECK(virtq_needs_notify(&rig.q));
	virtq_push(&rig.q, 0, 0);
	CHECK(!virtq_needs_notify(&rig.q));
	*used_event_of(&rig.ring) = 5;
	virtq_push(&rig.q, 0, 0);
	virtq_push(&rig.q, 0, 0);
	virtq_push(&rig.q, 0, 0); /* passes it in the middle */
	CHECK(virtq_needs_notify(&rig.q));
	rig_free(&rig);
}

static void notifications_are_switched_by_flag(void)
{
	struct rig rig = rig_new(8, false, false);

	put_desc(&rig.ring, 0, BUFFERS, 16, 0, 0);
	virtq_disable_notification(&rig.q);
	EQUAL(used_words(&rig.ring)[0], 1);
	publish(&rig.ring, 0);
	CHECK(virtq_enable_notification(&rig.q)); /* came before: nobody will tell */
	EQUAL(used_words(&rig.ring)[0], 0);
	EQUAL(pop(&rig), VQ_CHAIN);
	CHECK(!virtq_enable_notification(&rig.q));
	rig_free(&rig);
}

static void notifications_are_switched_by_event_index(void)
{
	struct rig rig = rig_new(8, false, true);

	put_desc(&rig.ring, 0, BUFFERS, 16, 0, 0);
	publish(&rig.ring, 0);
	publish(&rig.ring, 0);
	virtq_disable_notification(&rig.q);
	EQUAL(used_words(&rig.ring)[0], 0);
	EQUAL(pop(&rig), VQ_CHAIN);
	CHECK(virtq_enable_notification(&rig.q));
	EQUAL(*avail_event_of(&rig.ring), 1);
	EQUAL(pop(&rig), VQ_CHAIN);
	CHECK(!virtq_enable_notification(&rig.q));
	EQUAL(*avail_event_of(&rig.ring), 2);
	rig_free(&rig);
}

int main(int argc, char **argv)
{
	RUN(without_event_index_the_flag_decides_on_interrupts);
	RUN(with_event_index_an_interrupt_comes_when_the_event_is_passed);
	RUN(notifications_are_switched_by_flag);
	RUN(notifications_are_switched_by_event_index);
	return 0;
}
