#include "ratelimit.h"

#define OPERATION 1000000000u /* level that one operation costs: at `rate` each second it flows in per ns */

void ratelimit_init(struct ratelimit *limit, uint32_t rate, uint64_t now_ns)
{
	*limit = (struct ratelimit){.rate = rate, .updated = now_ns};
	limit->ceiling = OPERATION + (uint64_t)rate * RATELIMIT_BURST_NS; /* below 2^58 */
	limit->level = OPERATION;
}

static void refill(struct ratelimit *limit, uint64_t now_ns)
{
	uint64_t elapsed = now_ns > limit->updated ? now_ns - limit->updated : 0;
	uint64_t room = limit->ceiling - limit->level;

	/* The first test bounds the product by the ceiling, the second one is exact. */
	if (elapsed > room / limit->rate || elapsed * limit->rate >= room)
		limit->level = limit->ceiling;
	else
		limit->level += elapsed * limit->rate;
	limit->updated += elapsed;
}

uint64_t ratelimit_wait(struct ratelimit *limit, uint64_t now_ns)
{
	if (limit->rate == 0)
		return 0;
	refill(limit, now_ns);
	if (limit->level >= OPERATION)
		return 0;
	return (OPERATION - limit->level + limit->rate - 1) / limit->rate;
}

void ratelimit_take(struct ratelimit *limit)
{
	if (limit->rate != 0)
		limit->level -= limit->level < OPERATION ? limit->level : OPERATION;
}
