#include "blk.h"

static void set(struct ratelimit *limit, uint64_t rate, uint32_t burst_ms, uint64_t now)
{
	ratelimit_init(limit, rate < UINT32_MAX ? (uint32_t)rate : UINT32_MAX, now);
	if (burst_ms > 0)
		ratelimit_set_burst(limit, (uint64_t)burst_ms * 1000000);
}

/* A rate of less than a sector would be none at all. */
static uint64_t sectors(uint64_t bytes)
{
	return bytes > 0 && bytes < SECTOR_SIZE ? 1 : bytes / SECTOR_SIZE;
}

void blk_limit_init(struct blk *blk, const struct sv_blk_config *config)
{
	struct blk_limits *limits = &blk->limits;
	uint64_t now = clock_now();

	set(&limits->operations, config->iops, config->burst_ms, now);
	set(&limits->operations_of[BLK_READS], config->read_iops, config->burst_ms, now);
	set(&limits->operations_of[BLK_WRITES], config->write_iops, config->burst_ms, now);
	set(&limits->bytes, sectors(config->bytes), config->burst_ms, now);
	set(&limits->bytes_of[BLK_READS], sectors(config->read_bytes), config->burst_ms, now);
	set(&limits->bytes_of[BLK_WRITES], sectors(config->write_bytes), config->burst_ms, now);
	limits->any = config->iops || config->read_iops || config->write_iops || config->bytes ||
		      config->read_bytes || config->write_bytes;
}

static uint64_t longer(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Counts a request that may start now and returns 0, else the time to wait. */
static uint64_t try_count(struct blk_limits *limits, uint32_t direction, uint64_t bytes)
{
	uint64_t now = clock_now();
	uint64_t wait = longer(ratelimit_wait(&limits->operations, now),
			       ratelimit_wait(&limits->operations_of[direction], now));
	uint32_t units =
	    (uint32_t)((bytes + SECTOR_SIZE - 1) / SECTOR_SIZE); /* a chain has at most 2^32 bytes */

	if (units > 0)
		wait = longer(wait, longer(ratelimit_wait(&limits->bytes, now),
					   ratelimit_wait(&limits->bytes_of[direction], now)));
	if (wait > 0)
		return wait;
	ratelimit_take(&limits->operations);
	ratelimit_take(&limits->operations_of[direction]);
	ratelimit_take_units(&limits->bytes, units);
	ratelimit_take_units(&limits->bytes_of[direction], units);
	return 0;
}

static uint64_t try_request(struct blk_request *request)
{
	if (request->blk->fd < 0) /* it fails, and costs nothing */
		return 0;
	return try_count(&request->blk->limits, blk_request_direction(request), blk_request_bytes(request));
}

bool blk_limit_holds(struct blk_request *request)
{
	struct blk_limits *limits = &request->blk->limits;
	struct blk_list *held;

	if (!limits->any)
		return false;
	held = &limits->held[blk_request_direction(request)];
	if (!held->first && try_request(request) == 0)
		return false;
	blk_append(held, request);
	return true;
}

struct blk_request *blk_limit_next(struct blk *blk, uint64_t *wait_ns)
{
	struct blk_limits *limits = &blk->limits;
	uint64_t shortest = 0;

	/* Directions take turns: with a limit for both neither is left behind. */
	for (uint32_t i = 0; i < BLK_DIRECTIONS; i++) {
		struct blk_list *held = &limits->held[(limits->turn + i) % BLK_DIRECTIONS];
		uint64_t wait;

		if (!held->first)
			continue;
		wait = try_request(held->first);
		if (wait == 0) {
			limits->turn += i + 1;
			return blk_first(held);
		}
		if (shortest == 0 || wait < shortest)
			shortest = wait;
	}
	*wait_ns = shortest;
	return NULL;
}

void blk_limit_forget(struct blk *blk, const struct blk_queue *queue)
{
	for (uint32_t i = 0; i < BLK_DIRECTIONS; i++)
		blk_forget(&blk->limits.held[i], queue);
}
