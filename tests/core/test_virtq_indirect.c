/* Indirect tables (VIRTIO 1.2, 2.7.5.3). */
#include "virtq_rig.h"

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

int main(int argc, char **argv)
{
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
	return 0;
}
