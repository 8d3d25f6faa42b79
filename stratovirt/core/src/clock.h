/* Time of the monotonic clock, and timers on it. */
#ifndef SV_CLOCK_H
#define SV_CLOCK_H

#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>

#define CLOCK_SECOND 1000000000u /* in ns */

static inline uint64_t clock_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * CLOCK_SECOND + (uint64_t)now.tv_nsec;
}

static inline uint64_t clock_now(void)
{
	return clock_of(CLOCK_MONOTONIC);
}

/* When the kernel last counted: every few milliseconds, and far cheaper to ask. */
static inline uint64_t clock_tick(void)
{
	return clock_of(CLOCK_MONOTONIC_COARSE);
}

/* Has a timerfd fire once, in wait_ns; 0 has it not fire. */
static inline void clock_arm(int timer_fd, uint64_t wait_ns)
{
	struct itimerspec when = {.it_value = {.tv_sec = (time_t)(wait_ns / CLOCK_SECOND),
					       .tv_nsec = (long)(wait_ns % CLOCK_SECOND)}};

	timerfd_settime(timer_fd, 0, &when, NULL);
}

#endif
