#include <string.h>

#include "check.h"
#include "ratelimit.h"

#define SECOND 1000000000ull

/* How many operations a device that asks at each tick is allowed within a time. */
static uint64_t allowed(struct ratelimit *limit, uint64_t from, uint64_t until, uint64_t tick)
{
	uint64_t count = 0;

	for (uint64_t now = from; now < until; now += tick) {
		while (ratelimit_wait(limit, now) == 0) {
			ratelimit_take(limit);
			count++;
		}
	}
	return count;
}

static void no_rate_is_no_limit(void)
{
	struct ratelimit limit;

	ratelimit_init(&limit, 0, 5);
	for (int i = 0; i < 100000; i++) {
		EQUAL(ratelimit_wait(&limit, 5), 0);
		ratelimit_take(&limit);
	}
}

static void a_busy_device_is_kept_within_five_percent(void)
{
	static const uint32_t rates[] = {50, 100, 1000, 12345, 1000000};

	for (uint32_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct ratelimit limit;
		uint64_t count;

		ratelimit_init(&limit, rates[i], 77);
		count = allowed(&limit, 77, 77 + SECOND, 700000);
		CHECK(count >= rates[i] * 95ull / 100);
		CHECK(count <= rates[i] * 105ull / 100 + 1);
	}
}

static void one_operation_a_second_is_one(void)
{
	struct ratelimit limit;

	ratelimit_init(&limit, 1, 0);
	EQUAL(allowed(&limit, 0, 10 * SECOND, SECOND / 100), 10);
}

static void a_device_that_was_idle_has_the_burst_and_no_more(void)
{
	struct ratelimit limit;

	ratelimit_init(&limit, 1000, 0);
	EQUAL(allowed(&limit, 3600 * SECOND, 3600 * SECOND + 1, 1), 32);
}

static void a_thread_that_is_woken_late_loses_nothing(void)
{
	struct ratelimit limit;

	ratelimit_init(&limit, 1000, 0);
	allowed(&limit, 0, 1, 1);
	EQUAL(allowed(&limit, 20000000, 20 * SECOND, 20000000), 1000 * 20 - 20);
}

static void the_time_to_wait_is_exact(void)
{
	struct ratelimit limit;
	uint64_t wait;

	ratelimit_init(&limit, 3, 1000);
	allowed(&limit, 1000, 1001, 1);
	wait = ratelimit_wait(&limit, 1000);
	CHECK(wait > 0 && wait <= SECOND / 3 + 1);
	CHECK(ratelimit_wait(&limit, 1000 + wait - 1) > 0);
	EQUAL(ratelimit_wait(&limit, 1000 + wait), 0);
	CHECK(limit.level >= (int64_t)SECOND);
}

static void time_that_runs_backwards_is_no_gain(void)
{
	struct ratelimit limit;

	ratelimit_init(&limit, 10, SECOND);
	allowed(&limit, SECOND, SECOND + 1, 1);
	CHECK(ratelimit_wait(&limit, 0) > 0);
	EQUAL(allowed(&limit, 0, SECOND / 2, 1000000), 0);
}

static void extreme_rates_and_times_do_not_overflow(void)
{
	struct ratelimit limit;

	ratelimit_init(&limit, UINT32_MAX, 0);
	for (int i = 0; i < 1000; i++)
		ratelimit_take(&limit);
	EQUAL(ratelimit_wait(&limit, UINT64_MAX), 0);
	CHECK(limit.level <= limit.ceiling);
	ratelimit_init(&limit, 1u << 31, 0);
	ratelimit_wait(&limit, 1ull << 33); /* the product is 0 in 64 bits */
	EQUAL(limit.level, limit.ceiling);
}

static void what_costs_many_units_is_paid_for_by_those_that_follow(void)
{
	struct ratelimit limit;
	uint64_t moved = 0;
	uint64_t now = 0;

	ratelimit_init(&limit, 2048, 0);
	for (; now < 4 * SECOND; now += 1000000) {
		while (ratelimit_wait(&limit, now) == 0) {
			ratelimit_take_units(&limit, 256);
			moved += 256;
		}
	}
	CHECK(moved >= 4 * 2048 && moved <= 4 * 2048 * 105 / 100);
}

static void a_longer_burst_is_saved_up_and_no_more(void)
{
	struct ratelimit limit;

	ratelimit_init(&limit, 100, 0);
	ratelimit_set_burst(&limit, 2 * SECOND);
	EQUAL(allowed(&limit, 3600 * SECOND, 3600 * SECOND + 1, 1), 201);
}

static void extreme_costs_and_bursts_do_not_overflow(void)
{
	struct ratelimit limit;

	ratelimit_init(&limit, UINT32_MAX, 0);
	ratelimit_set_burst(&limit, UINT64_MAX);
	EQUAL(ratelimit_wait(&limit, UINT64_MAX), 0);
	CHECK(limit.level > 0 && limit.level == limit.ceiling);
	for (int i = 0; i < 100; i++)
		ratelimit_take_units(&limit, UINT32_MAX);
	CHECK(limit.level < 0);
	CHECK(ratelimit_wait(&limit, UINT64_MAX) > 0);
	ratelimit_init(&limit, 1, 0);
	ratelimit_take_units(&limit, UINT32_MAX);
	CHECK(ratelimit_wait(&limit, 0) > 4000000000ull * SECOND);
	EQUAL(ratelimit_wait(&limit, UINT64_MAX), 0);
}

int main(int argc, char **argv)
{
	RUN(no_rate_is_no_limit);
	RUN(a_busy_device_is_kept_within_five_percent);
	RUN(one_operation_a_second_is_one);
	RUN(a_device_that_was_idle_has_the_burst_and_no_more);
	RUN(a_thread_that_is_woken_late_loses_nothing);
	RUN(the_time_to_wait_is_exact);
	RUN(time_that_runs_backwards_is_no_gain);
	RUN(extreme_rates_and_times_do_not_overflow);
	RUN(what_costs_many_units_is_paid_for_by_those_that_follow);
	RUN(a_longer_burst_is_saved_up_and_no_more);
	RUN(extreme_costs_and_bursts_do_not_overflow);
	return 0;
}
