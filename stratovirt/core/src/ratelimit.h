/* A token bucket: so many operations each second. Time is a parameter; no threads, no allocation. */
#ifndef SV_RATELIMIT_H
#define SV_RATELIMIT_H

#include <stdint.h>

/* Time that the bucket can save up beside one operation: a thread that is woken late by less loses nothing,
 * and no second sees more than rate * (1 + 1/32) + 1 operations.
 */
#define RATELIMIT_BURST_NS (1000000000 / 32)

struct ratelimit {
	uint32_t rate;    /* operations each second; 0 for no limit */
	uint64_t level;   /* in operations * 1e9 */
	uint64_t ceiling; /* level never passes it */
	uint64_t updated; /* time of level, in ns */
};

/* Starts with one operation: the first second is like every other one. */
void ratelimit_init(struct ratelimit *limit, uint32_t rate, uint64_t now_ns);
/* Returns 0 when an operation may start now, else the time to wait in ns. */
uint64_t ratelimit_wait(struct ratelimit *limit, uint64_t now_ns);
/* Counts an operation that ratelimit_wait() allowed. */
void ratelimit_take(struct ratelimit *limit);

#endif
