/* Time of the monotonic clock, and timers on it. */
#ifndef SV_CLOCK_H
#define SV_CLOCK_H

#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>

#define CLOCK_SECOND 1000000000u /* in ns */

static inline uint64_t clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * CLOCK_SECOND + (uint64_t)now.tv_nsec;
}

/* Has a timerfd fire once, in wait_ns; 0 has it not fire. */
static inline void clock_arm(int timer_fd, uint64_t wait_ns)
{
	struct itimerspec when = {.it_value = {.tv_sec = (time_t)(wait_ns / CLOCK_SECOND),
					       .tv_nsec = (long)(wait_ns % CLOCK_SECOND)}};

	timerfd_settime(timer_fd, 0, &when, NULL);
}

#endif
