/* Clocks of the benchmarks of the core. */
#ifndef CLOCKS_H
#define CLOCKS_H

#include <stdint.h>
#include <time.h>

#include "virtio.h"

static inline uint64_t now_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline clockid_t cpu_clock_of(struct sv_virtio *device)
{
	/* clock_getcpuclockid(3) for a thread of which only the number is known: Linux, posix-timers.h */
	return (clockid_t)(~(unsigned)sv_iothread_tid(device->io) << 3 | 6);
}

#endif
