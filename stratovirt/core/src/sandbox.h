/* Filters of system calls, one for each kind of thread. */
#ifndef SV_SANDBOX_H
#define SV_SANDBOX_H

#include <stdint.h>

#define SANDBOX_MAX_STEPS 512

struct sandbox {
	uint16_t count; /* of steps; 0 for no filter */
	uint64_t steps[SANDBOX_MAX_STEPS];
};

/* Filters the calling thread, which is told apart by its name; without a program nothing happens. A thread
 * that cannot be filtered ends the process: it must not run. */
void sandbox_enter(const struct sandbox *sandbox, const char *thread_name);

/* Tells on stderr and in the log why the process is about to end; may be called by a signal handler. */
void sandbox_say(const char *text);

#endif
