#include <errno.h>
#include <string.h>

#include "check.h"
#include "guestmem.h"

static _Alignas(4096) uint8_t low[4096];
static _Alignas(4096) uint8_t high[4096];

/* Two regions that touch in the guest and not in the host: 0x1000..0x2000..0x3000. */
static struct guestmem touching(void)
{
	struct guestmem mem = {0};

	EQUAL(guestmem_add(&mem, 0x1000, sizeof(low), low), 0);
	EQUAL(guestmem_add(&mem, 0x2000, sizeof(high), high), 0);
	return mem;
}

static void a_slice_is_where_the_region_is(void)
{
	struct guestmem mem = touching();

	CHECK(guestmem_slice(&mem, 0x1000, 1) == low);
	CHECK(guestmem_slice(&mem, 0x1fff, 1) == low + 0xfff);
	CHECK(guestmem_slice(&mem, 0x1000, 0x1000) == low);
	CHECK(guestmem_slice(&mem, 0x2000, 0x1000) == high);
}

static void a_slice_outside_is_refused(void)
{
	struct guestmem mem = touching();

	CHECK(!guestmem_slice(&mem, 0xfff, 1));
	CHECK(!guestmem_slice(&mem, 0xfff, 2));
	CHECK(!guestmem_slice(&mem, 0x3000, 1));
	CHECK(!guestmem_slice(&mem, 0x2fff, 2));
	CHECK(!guestmem_slice(&mem, 0, 1));
	CHECK(!guestmem_slice(&mem, UINT64_MAX, 1));
}

static void a_slice_across_regions_is_refused(void)
{
	struct guestmem mem = touching();

	CHECK(!guestmem_slice(&mem, 0x1fff, 2));
	CHECK(!guestmem_slice(&mem, 0x1000, 0x2000));
}

static void lengths_that_overflow_are_refused(void)
{
	struct guestmem mem = touching();

	CHECK(!guestmem_slice(&mem, 0x1000, UINT64_MAX));
	CHECK(!guestmem_slice(&mem, 0x1000, UINT64_MAX - 0xfff));
	CHECK(!guestmem_slice(&mem, UINT64_MAX, UINT64_MAX));
	CHECK(!guestmem_read(&mem, 0x1000, low, UINT64_MAX));
	CHECK(!guestmem_slice(&mem, 0x1000, (uint64_t)1 << 32));
}

static void an_empty_slice_is_none(void)
{
	struct guestmem mem = touching();

	CHECK(!guestmem_slice(&mem, 0x1000, 0));
}

static void a_prefix_ends_with_its_region(void)
{
	struct guestmem mem = touching();
	uint64_t len = 0x1800;

	CHECK(guestmem_prefix(&mem, 0x1800, &len) == low + 0x800);
	EQUAL(len, 0x800);
}

static void a_copy_crosses_regions_that_touch(void)
{
	struct guestmem mem = touching();
	char back[8] = {0};

	CHECK(guestmem_write(&mem, 0x1ffd, "abcdefg", 8));
	EQUAL(memcmp(low + 0xffd, "abc", 3), 0);
	EQUAL(memcmp(high, "defg", 5), 0);
	CHECK(guestmem_read(&mem, 0x1ffd, back, 8));
	EQUAL(memcmp(back, "abcdefg", 8), 0);
}

static void a_copy_that_leaves_memory_copies_nothing(void)
{
	struct guestmem mem = touching();

	memset(high, 7, sizeof(high));
	CHECK(!guestmem_write(&mem, 0x2ffe, "xyz", 3));
	EQUAL(high[0xffe], 7);
}

static void a_copy_does_not_wrap_around_the_address_space(void)
{
	struct guestmem mem = {0};
	char two[2];

	EQUAL(guestmem_add(&mem, UINT64_MAX - 0xfff, sizeof(high), high), 0);
	EQUAL(guestmem_add(&mem, 0, sizeof(low), low), 0);
	CHECK(guestmem_read(&mem, UINT64_MAX - 1, two, 2));
	CHECK(!guestmem_read(&mem, UINT64_MAX, two, 2));
}

static void bad_regions_are_refused(void)
{
	struct guestmem mem = touching();

	EQUAL(guestmem_add(&mem, 0x8000, 0, low), -EINVAL);
	EQUAL(guestmem_add(&mem, UINT64_MAX - 0xfff, 0x1001, low), -EINVAL);
	EQUAL(guestmem_add(&mem, 0x8008, 16, low), -EINVAL);
	EQUAL(guestmem_add(&mem, 0x8000, 16, low + 8), -EINVAL);
	EQUAL(guestmem_add(&mem, 0x8000, 16, NULL), -EINVAL);
}

static void overlapping_regions_are_refused(void)
{
	struct guestmem mem = touching();

	EQUAL(guestmem_add(&mem, 0x0, 0x1010, low), -EINVAL);
	EQUAL(guestmem_add(&mem, 0x1800, 0x10, low), -EINVAL);
	EQUAL(guestmem_add(&mem, 0x2ff0, 0x1000, low), -EINVAL);
	EQUAL(guestmem_add(&mem, 0x0, 0x100000, low), -EINVAL);
	EQUAL(guestmem_add(&mem, 0x0, 0x1000, low), 0);
	EQUAL(guestmem_add(&mem, 0x8000, 0x1001, low), 0);
	EQUAL(guestmem_add(&mem, 0x9000, 0x1000, low), -EINVAL);
	EQUAL(guestmem_add(&mem, 0x7000, 0x1001, low), -EINVAL);
	EQUAL(guestmem_add(&mem, 0x3000, 0x1000, low), 0);
}

static void a_ninth_region_does_not_fit(void)
{
	struct guestmem mem = {0};

	for (uint64_t i = 0; i < GUESTMEM_MAX_REGIONS; i++)
		EQUAL(guestmem_add(&mem, i * 0x10000, 0x1000, low), 0);
	EQUAL(guestmem_add(&mem, 0x900000, 0x1000, low), -ENOSPC);
}

int main(int argc, char **argv)
{
	RUN(a_slice_is_where_the_region_is);
	RUN(a_slice_outside_is_refused);
	RUN(a_slice_across_regions_is_refused);
	RUN(lengths_that_overflow_are_refused);
	RUN(an_empty_slice_is_none);
	RUN(a_prefix_ends_with_its_region);
	RUN(a_copy_crosses_regions_that_touch);
	RUN(a_copy_that_leaves_memory_copies_nothing);
	RUN(a_copy_does_not_wrap_around_the_address_space);
	RUN(bad_regions_are_refused);
	RUN(overlapping_regions_are_refused);
	RUN(a_ninth_region_does_not_fit);
	return 0;
}
