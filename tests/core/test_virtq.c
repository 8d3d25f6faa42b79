#include "virtq_rig.h"

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
	RUN(a_broken_queue_works_after_a_new_start);
	return 0;
}
