#include <string.h>

#include "ring.h"

struct rig {
	struct ring ring;
	struct guestmem mem;
	struct virtq q;
	struct iovec iov[64];
	struct chain chain;
};

static struct rig rig_new(uint32_t size, bool indirect, bool event_idx)
{
	struct rig rig = {.ring = {.ram = ram_map(RAM_SIZE), .size = size}};
	struct virtq_layout layout = ring_layout(&rig.ring);
	struct virtq_limits limits = {
	    .max_size = VIRTQ_MAX_SIZE, .indirect = indirect, .event_idx = event_idx};

	EQUAL(guestmem_add(&rig.mem, RAM_GPA, RAM_SIZE, rig.ring.ram), 0);
	EQUAL(virtq_start(&rig.q, &rig.mem, &layout, &limits), VIRTQ_OK);
	return rig;
}

static void rig_free(struct rig *rig)
{
	ram_unmap(rig->ring.ram, RAM_SIZE);
}

static enum virtq_result pop(struct rig *rig)
{
	rig->q.mem = &rig->mem; /* the rig was moved when it was returned */
	rig->chain.iov = rig->iov;
	rig->chain.capacity = sizeof(rig->iov) / sizeof(rig->iov[0]);
	return virtq_pop(&rig->q, &rig->chain);
}

/* Publishes descriptor 0, expects the queue to break for the reason, and to stay broken. */
static void expect_broken(struct rig *rig, enum virtq_error why)
{
	publish(&rig->ring, 0);
	EQUAL(pop(rig), VQ_BROKEN);
	EQUAL(rig->q.error, why);
	EQUAL(pop(rig), VQ_BROKEN);
	virtq_push(&rig->q, 0, 1);
	EQUAL(used_index(&rig->ring), 0);
	CHECK(!virtq_needs_notify(&rig->q));
	CHECK(!virtq_enable_notification(&rig->q));
	rig_free(rig);
}

static enum virtq_error start_with(struct virtq_layout layout, uint32_t max_size)
{
	struct rig rig = rig_new(8, false, false);
	struct virtq_limits limits = {.max_size = max_size};
	enum virtq_error error = virtq_start(&rig.q, &rig.mem, &layout, &limits);

	EQUAL(rig.q.size, error == VIRTQ_OK ? layout.size : 0);
	rig_free(&rig);
	return error;
}

static void sizes_are_powers_of_two_within_the_maximum(void)
{
	static const uint32_t bad[] = {0, 3, 7, 255, 257, 512, 1024, 2048, 32768, 65535, 65536, 0x80000000};

	for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		EQUAL(start_with((struct virtq_layout){bad[i], RING_DESC, RING_AVAIL, RING_USED}, 256),
		      VIRTQ_BAD_SIZE);
	for (uint32_t size = 1; size <= 256; size *= 2)
		EQUAL(start_with((struct virtq_layout){size, RING_DESC, RING_AVAIL, RING_USED}, 256),
		      VIRTQ_OK);
	EQUAL(start_with((struct virtq_layout){2048, RING_DESC, RING_AVAIL, RING_USED}, 4096),
	      VIRTQ_BAD_SIZE);
}

static void rings_are_aligned(void)
{
	EQUAL(start_with((struct virtq_layout){8, RING_DESC + 8, RING_AVAIL, RING_USED}, 8), VIRTQ_BAD_RING);
	EQUAL(start_with((struct virtq_layout){8, RING_DESC, RING_AVAIL + 1, RING_USED}, 8), VIRTQ_BAD_RING);
	EQUAL(start_with((struct virtq_layout){8, RING_DESC, RING_AVAIL, RING_USED + 2}, 8), VIRTQ_BAD_RING);
}

static void rings_are_inside_memory_to_their_last_byte(void)
{
	uint64_t end = RAM_GPA + RAM_SIZE;

	EQUAL(start_with((struct virtq_layout){8, end - 16 * 8, RING_AVAIL, RING_USED}, 8), VIRTQ_OK);
	EQUAL(start_with((struct virtq_layout){8, end - 16 * 7, RING_AVAIL, RING_USED}, 8), VIRTQ_BAD_RING);
	EQUAL(start_with((struct virtq_layout){8, RING_DESC, end - 22, RING_USED}, 8), VIRTQ_OK);
	EQUAL(start_with((struct virtq_layout){8, RING_DESC, end - 20, RING_USED}, 8), VIRTQ_BAD_RING);
	EQUAL(start_with((struct virtq_layout){8, RING_DESC, RING_AVAIL, end - 72}, 8), VIRTQ_OK);
	EQUAL(start_with((struct virtq_layout){8, RING_DESC, RING_AVAIL, end - 68}, 8), VIRTQ_BAD_RING);
	EQUAL(start_with((struct virtq_layout){8, 0, RING_AVAIL, RING_USED}, 8), VIRTQ_BAD_RING);
	EQUAL(start_with((struct virtq_layout){8, UINT64_MAX - 15, RING_AVAIL, RING_USED}, 8),
	      VIRTQ_BAD_RING);
}

static void a_stopped_queue_is_empty(void)
{
	struct rig rig = rig_new(8, false, false);

	put_desc(&rig.ring, 0, BUFFERS, 16, 0, 0);
	publish(&rig.ring, 0);
	virtq_stop(&rig.q);
	EQUAL(pop(&rig), VQ_EMPTY);
	virtq_push(&rig.q, 0, 0);
	EQUAL(used_index(&rig.ring), 0);
	rig_free(&rig);
}

static void a_chain_comes_out_as_it_went_in(void)
{
	struct rig rig = rig_new(8, false, false);

	put_desc(&rig.ring, 5, BUFFERS, 16, F_NEXT, 2);
	put_desc(&rig.ring, 2, BUFFERS + 100, 512, F_NEXT | F_WRITE, 7);
	put_desc(&rig.ring, 7, BUFFERS + 4000, 1, F_WRITE, 0);
	EQUAL(pop(&rig), VQ_EMPTY);
	publish(&rig.ring, 5);
	EQUAL(pop(&rig), VQ_CHAIN);
	EQUAL(rig.chain.head, 5);
	EQUAL(rig.chain.readable, 1);
	EQUAL(rig.chain.writable, 2);
	EQUAL(rig.chain.bytes, 16 + 512 + 1);
	CHECK(rig.iov[0].iov_base == at_gpa(&rig.ring, BUFFERS));
	CHECK(rig.iov[2].iov_base == at_gpa(&rig.ring, BUFFERS + 4000));
	EQUAL(rig.iov[1].iov_len, 512);
	EQUAL(pop(&rig), VQ_EMPTY);
	virtq_push(&rig.q, rig.chain.head, 513);
	EQUAL(used_index(&rig.ring), 1);
	EQUAL(used_at(&rig.ring, 0).id, 5);
	EQUAL(used_at(&rig.ring, 0).len, 513);
	rig_free(&rig);
}

static void a_chain_that_loops_breaks_the_queue(void)
{
	struct rig rig = rig_new(4, false, false);

	put_desc(&rig.ring, 0, BUFFERS, 16, F_NEXT, 1);
	put_desc(&rig.ring, 1, BUFFERS, 16, F_NEXT, 0);
	publish(&rig.ring, 0);
	EQUAL(pop(&rig), VQ_BROKEN);
	EQUAL(rig.q.error, VIRTQ_TOO_LONG);
	EQUAL(rig.chain.readable, 4); /* it was followed once around the ring */
	rig_free(&rig);
}

static void a_descriptor_that_names_itself_breaks_the_queue(void)
{
	struct rig rig = rig_new(1, false, false);

	put_desc(&rig.ring, 0, BUFFERS, 1, F_NEXT | F_WRITE, 0);
	expect_broken(&rig, VIRTQ_TOO_LONG);
}

static void a_chain_of_the_whole_ring_is_fine(void)
{
	struct rig rig = rig_new(64, false, false);

	for (int i = 0; i < 64; i++)
		put_desc(&rig.ring, (uint32_t)i, BUFFERS, 1, i < 63 ? F_NEXT : 0, i + 1);
	publish(&rig.ring, 0);
	EQUAL(pop(&rig), VQ_CHAIN);
	EQUAL(rig.chain.readable, 64);
	rig_free(&rig);
}

static void a_chain_beyond_the_callers_room_breaks_the_queue(void)
{
	struct rig rig = rig_new(128, false, false);

	for (int i = 0; i < 65; i++)
		put_desc(&rig.ring, (uint32_t)i, BUFFERS, 1, i < 64 ? F_NEXT : 0, i + 1);
	expect_broken(&rig, VIRTQ_TOO_LONG);
}

static void an_index_outside_the_table_breaks_the_queue(void)
{
	struct rig rig = rig_new(8, false, false);

	put_desc(&rig.ring, 0, BUFFERS, 16, F_NEXT, 8);
	expect_broken(&rig, VIRTQ_BAD_INDEX);
}

static void a_head_outside_the_table_breaks_the_queue(void)
{
	struct rig rig = rig_new(8, false, false);

	publish(&rig.ring, 65535);
	EQUAL(pop(&rig), VQ_BROKEN);
	EQUAL(rig.q.error, VIRTQ_BAD_INDEX);
	rig_free(&rig);
}

static void a_buffer_outside_memory_breaks_the_queue(void)
{
	static const uint64_t bad[] = {
	    0, RAM_GPA - 1, RAM_GPA + RAM_SIZE, RAM_GPA + RAM_SIZE - 15, UINT64_MAX, UINT64_MAX - 15};

	for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rig rig = rig_new(8, false, false);

		put_desc(&rig.ring, 0, bad[i], 16, 0, 0);
		expect_broken(&rig, VIRTQ_BAD_ADDRESS);
	}
}

static void a_buffer_of_four_gigabytes_breaks_the_queue(void)
{
	struct rig rig = rig_new(8, false, false);

	put_desc(&rig.ring, 0, BUFFERS, UINT32_MAX, 0, 0);
	expect_broken(&rig, VIRTQ_BAD_ADDRESS);
}

static void an_empty_buffer_breaks_the_queue(void)
{
	struct rig rig = rig_new(8, false, false);

	put_desc(&rig.ring, 0, BUFFERS, 0, 0, 0);
	expect_broken(&rig, VIRTQ_BAD_ADDRESS);
}

static void a_readable_buffer_after_a_writable_one_breaks_the_queue(void)
{
	struct rig rig = rig_new(8, false, false);

	put_desc(&rig.ring, 0, BUFFERS, 16, F_NEXT | F_WRITE, 1);
	put_desc(&rig.ring, 1, BUFFERS, 16, 0, 0);
	expect_broken(&rig, VIRTQ_BAD_ORDER);
}

static void a_buffer_may_cross_regions_that_touch(void)
{
	struct rig rig = rig_new(8, false, false);
	uint8_t *more = ram_map(PAGE);

	EQUAL(guestmem_add(&rig.mem, RAM_GPA + RAM_SIZE, PAGE, more), 0);
	put_desc(&rig.ring, 0, RAM_GPA + RAM_SIZE - 100, 300, F_WRITE, 0);
	publish(&rig.ring, 0);
	EQUAL(pop(&rig), VQ_CHAIN);
	EQUAL(rig.chain.writable, 2);
	EQUAL(rig.iov[0].iov_len, 100);
	CHECK(rig.iov[1].iov_base == more);
	EQUAL(rig.iov[1].iov_len, 200);
	ram_unmap(more, PAGE);
	rig_free(&rig);
}

/* A region at the very end of the address space and one at its start do not touch. */
static void a_buffer_does_not_wrap_around_the_address_space(void)
{
	struct rig rig = rig_new(8, false, false);
	uint8_t *last = ram_map(PAGE);
	uint8_t *first = ram_map(PAGE);

	EQUAL(guestmem_add(&rig.mem, UINT64_MAX - PAGE + 1, PAGE, last), 0);
	EQUAL(guestmem_add(&rig.mem, 0, PAGE, first), 0);
	put_desc(&rig.ring, 0, UINT64_MAX - 7, 16, 0, 0);
	ram_unmap(last, PAGE);
	ram_unmap(first, PAGE);
	expect_broken(&rig, VIRTQ_BAD_ADDRESS);
}

/* Only with very much memory can a chain be that long: the region here claims it, and nobody touches it. */
static void more_than_four_gigabytes_in_all_break_the_queue(void)
{
	struct rig rig = rig_new(8, false, false);

	EQUAL(guestmem_add(&rig.mem, (uint64_t)1 << 40, (uint64_t)8 << 30, (void *)(uintptr_t)PAGE), 0);
	put_desc(&rig.ring, 0, (uint64_t)1 << 40, UINT32_MAX, F_NEXT, 1);
	put_desc(&rig.ring, 1, (uint64_t)1 << 40, 1, 0, 0);
	publish(&rig.ring, 0);
	EQUAL(pop(&rig), VQ_CHAIN);
	EQUAL(rig.chain.bytes, (uint64_t)1 << 32);
	put_desc(&rig.ring, 1, (uint64_t)1 << 40, 2, 0, 0);
	expect_broken(&rig, VIRTQ_TOO_LARGE);
}

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

static void put_indirect(struct rig *rig, uint32_t count)
{
	struct desc *table = at_gpa(&rig->ring, TABLES);

	for (uint32_t i = 0; i < count; i++)
		table[i] = (struct desc){BUFFERS + i * 64, 64, (uint16_t)(i + 1 < count ? F_NEXT : 0),
					 (uint16_t)(i + 1)};
	put_desc(&rig->ring, 0, TABLES, count * 16, F_INDIRECT, 0);
}

static void an_indirect_table_holds_the_chain(void)
{
	struct rig rig = rig_new(4, true, false);

	put_indirect(&rig, 40); /* more than the ring: spec or not, no harm */
	publish(&rig.ring, 0);
	EQUAL(pop(&rig), VQ_CHAIN);
	EQUAL(rig.chain.readable, 40);
	CHECK(rig.iov[39].iov_base == at_gpa(&rig.ring, BUFFERS + 39 * 64));
	rig_free(&rig);
}

static void a_table_may_follow_plain_descriptors(void)
{
	struct rig rig = rig_new(4, true, false);

	put_indirect(&rig, 3);
	*desc_at(&rig.ring, 1) = *desc_at(&rig.ring, 0);
	desc_at(&rig.ring, 1)->flags |= F_WRITE; /* to be ignored: 2.7.5.3.2 */
	put_desc(&rig.ring, 0, BUFFERS, 16, F_NEXT, 1);
	publish(&rig.ring, 0);
	EQUAL(pop(&rig), VQ_CHAIN);
	EQUAL(rig.chain.readable, 4);
	rig_free(&rig);
}

static void a_table_at_an_odd_address_is_fine(void)
{
	struct rig rig = rig_new(4, true, false);
	struct desc one = {BUFFERS, 64, 0, 0};

	memcpy(at_gpa(&rig.ring, TABLES + 3), &one, sizeof(one));
	put_desc(&rig.ring, 0, TABLES + 3, 16, F_INDIRECT, 0);
	publish(&rig.ring, 0);
	EQUAL(pop(&rig), VQ_CHAIN);
	rig_free(&rig);
}

static void a_table_that_was_not_negotiated_breaks_the_queue(void)
{
	struct rig rig = rig_new(4, false, false);

	put_indirect(&rig, 2);
	expect_broken(&rig, VIRTQ_BAD_INDIRECT);
}

static void a_table_in_a_table_breaks_the_queue(void)
{
	struct rig rig = rig_new(4, true, false);

	put_indirect(&rig, 2);
	((struct desc *)at_gpa(&rig.ring, TABLES))[1] = (struct desc){TABLES, 32, F_INDIRECT, 0};
	expect_broken(&rig, VIRTQ_BAD_INDIRECT);
}

static void a_table_that_is_not_last_breaks_the_queue(void)
{
	struct rig rig = rig_new(4, true, false);

	put_indirect(&rig, 2);
	desc_at(&rig.ring, 0)->flags |= F_NEXT;
	expect_broken(&rig, VIRTQ_BAD_INDIRECT);
}

static void a_table_of_odd_length_breaks_the_queue(void)
{
	static const uint32_t bad[] = {0, 1, 15, 17, 31, UINT32_MAX};

	for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rig rig = rig_new(4, true, false);

		put_indirect(&rig, 2);
		desc_at(&rig.ring, 0)->len = bad[i];
		expect_broken(&rig, VIRTQ_BAD_INDIRECT);
	}
}

static void a_table_outside_memory_breaks_the_queue(void)
{
	struct rig rig = rig_new(4, true, false);

	put_desc(&rig.ring, 0, RAM_GPA + RAM_SIZE - 16, 32, F_INDIRECT, 0);
	expect_broken(&rig, VIRTQ_BAD_INDIRECT);
}

static void an_index_outside_an_indirect_table_breaks_the_queue(void)
{
	struct rig rig = rig_new(64, true, false);

	put_indirect(&rig, 2);
	((struct desc *)at_gpa(&rig.ring, TABLES))[0].next = 2;
	expect_broken(&rig, VIRTQ_BAD_INDEX);
}

static void an_indirect_table_that_loops_breaks_the_queue(void)
{
	struct rig rig = rig_new(4, true, false);
	struct desc *table = at_gpa(&rig.ring, TABLES);

	put_indirect(&rig, 2);
	table[1].flags = F_NEXT;
	table[1].next = 0;
	expect_broken(&rig, VIRTQ_TOO_LONG);
}

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

static void a_broken_queue_works_after_a_new_start(void)
{
	struct rig rig = rig_new(8, false, false);
	struct virtq_layout layout = ring_layout(&rig.ring);
	struct virtq_limits limits = {.max_size = 8};

	put_desc(&rig.ring, 0, 0, 16, 0, 0);
	publish(&rig.ring, 0);
	EQUAL(pop(&rig), VQ_BROKEN);
	put_desc(&rig.ring, 0, BUFFERS, 16, 0, 0);
	EQUAL(virtq_start(&rig.q, &rig.mem, &layout, &limits), VIRTQ_OK);
	EQUAL(pop(&rig), VQ_CHAIN);
	rig_free(&rig);
}

int main(int argc, char **argv)
{
	RUN(sizes_are_powers_of_two_within_the_maximum);
	RUN(rings_are_aligned);
	RUN(rings_are_inside_memory_to_their_last_byte);
	RUN(a_stopped_queue_is_empty);
	RUN(a_chain_comes_out_as_it_went_in);
	RUN(a_chain_that_loops_breaks_the_queue);
	RUN(a_descriptor_that_names_itself_breaks_the_queue);
	RUN(a_chain_of_the_whole_ring_is_fine);
	RUN(a_chain_beyond_the_callers_room_breaks_the_queue);
	RUN(an_index_outside_the_table_breaks_the_queue);
	RUN(a_head_outside_the_table_breaks_the_queue);
	RUN(a_buffer_outside_memory_breaks_the_queue);
	RUN(a_buffer_of_four_gigabytes_breaks_the_queue);
	RUN(an_empty_buffer_breaks_the_queue);
	RUN(a_readable_buffer_after_a_writable_one_breaks_the_queue);
	RUN(a_buffer_may_cross_regions_that_touch);
	RUN(a_buffer_does_not_wrap_around_the_address_space);
	RUN(more_than_four_gigabytes_in_all_break_the_queue);
	RUN(an_available_index_too_far_ahead_breaks_the_queue);
	RUN(an_available_index_too_far_ahead_is_seen_across_the_wrap);
	RUN(a_whole_ring_ahead_is_fine);
	RUN(indexes_wrap_around_at_65536);
	RUN(an_indirect_table_holds_the_chain);
	RUN(a_table_may_follow_plain_descriptors);
	RUN(a_table_at_an_odd_address_is_fine);
	RUN(a_table_that_was_not_negotiated_breaks_the_queue);
	RUN(a_table_in_a_table_breaks_the_queue);
	RUN(a_table_that_is_not_last_breaks_the_queue);
	RUN(a_table_of_odd_length_breaks_the_queue);
	RUN(a_table_outside_memory_breaks_the_queue);
	RUN(an_index_outside_an_indirect_table_breaks_the_queue);
	RUN(an_indirect_table_that_loops_breaks_the_queue);
	RUN(without_event_index_the_flag_decides_on_interrupts);
	RUN(with_event_index_an_interrupt_comes_when_the_event_is_passed);
	RUN(notifications_are_switched_by_flag);
	RUN(notifications_are_switched_by_event_index);
	RUN(a_broken_queue_works_after_a_new_start);
	return 0;
}
