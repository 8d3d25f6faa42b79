/* A token bucket: so many units each second, of operations or of bytes in larger pieces. Time is a parameter;
 * no threads, no allocation.
 */
#ifndef SV_RATELIMIT_H
#define SV_RATELIMIT_H

#include <stdint.h>

/* Time that the bucket can save up beside one unit: a thread that is woken late by less loses nothing, and no
 * second sees more than rate * (1 + 1/32) + 1 units.
 */
#define RATELIMIT_BURST_NS (1000000000 / 32)

struct ratelimit {
	uint32_t rate;    /* units each second; 0 for no limit */
	int64_t level;    /* in units * 1e9; below 0 for what was taken in advance */
	int64_t ceiling;  /* level never passes it */
	uint64_t updated; /* time of level, in ns */
};

/* Starts with one unit: the first second is like every other one. */
void ratelimit_init(struct ratelimit *limit, uint32_t rate, uint64_t now_ns);
/* Has the bucket save up another time than RATELIMIT_BURST_NS. */
void ratelimit_set_burst(struct ratelimit *limit, uint64_t burst_ns);
/* Returns 0 when something may start now, else the time to wait in ns. */
uint64_t ratelimit_wait(struct ratelimit *limit, uint64_t now_ns);
/* Counts an operation that ratelimit_wait() allowed. */
void ratelimit_take(struct ratelimit *limit);
/* Counts something that costs many units. It may be more than there are: what follows waits for them. */
void ratelimit_take_units(struct ratelimit *limit, uint32_t units);

#endif
