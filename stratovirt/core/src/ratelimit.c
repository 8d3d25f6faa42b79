#include "ratelimit.h"

#define UNIT 1000000000 /* level that one unit costs: at `rate` each second it flows in per ns */

/* Neither the ceiling nor a debt passes it, so that the room between them fits into 64 bits. */
#define LEVEL_MAX (INT64_MAX / 2)

void ratelimit_init(struct ratelimit *limit, uint32_t rate, uint64_t now_ns)
{
	*limit = (struct ratelimit){.rate = rate, .level = UNIT, .updated = now_ns};
	ratelimit_set_burst(limit, RATELIMIT_BURST_NS);
}

void ratelimit_set_burst(struct ratelimit *limit, uint64_t burst_ns)
{
	uint64_t most = LEVEL_MAX - UNIT;

	if (limit->rate != 0 && burst_ns > most / limit->rate)
		limit->ceiling = LEVEL_MAX;
	else
		limit->ceiling = UNIT + (int64_t)(limit->rate * burst_ns);
}

static void refill(struct ratelimit *limit, uint64_t now_ns)
{
	uint64_t elapsed = now_ns > limit->updated ? now_ns - limit->updated : 0;
	uint64_t room = (uint64_t)(limit->ceiling - limit->level);

	/* The first test bounds the product by the ceiling, the second one is exact. */
	if (elapsed > room / limit->rate || elapsed * limit->rate >= room)
		limit->level = limit->ceiling;
	else
		limit->level += (int64_t)(elapsed * limit->rate);
	limit->updated += elapsed;
}

uint64_t ratelimit_wait(struct ratelimit *limit, uint64_t now_ns)
{
	if (limit->rate == 0)
		return 0;
	refill(limit, now_ns);
	if (limit->level >= UNIT)
		return 0;
	return ((uint64_t)(UNIT - limit->level) + limit->rate - 1) / limit->rate;
}

void ratelimit_take(struct ratelimit *limit)
{
	ratelimit_take_units(limit, 1);
}

void ratelimit_take_units(struct ratelimit *limit, uint32_t units)
{
	int64_t cost = (int64_t)units * UNIT; /* below 2^62 */

	if (limit->rate == 0)
		return;
	limit->level = limit->level < cost - LEVEL_MAX ? -LEVEL_MAX : limit->level - cost;
}
