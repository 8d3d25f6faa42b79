/* What a thread gives up when it begins: capabilities, and by a filter for its kind the system calls. */
#ifndef SV_SANDBOX_H
#define SV_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#define SANDBOX_MAX_STEPS 512

struct sandbox {
	bool no_capabilities;
	uint16_t count; /* of steps; 0 for no filter */
	uint64_t steps[SANDBOX_MAX_STEPS];
};

/* Confines the calling thread, which is told apart by its name; 0 or -errno. One that cannot be confined must
 * not serve its guest. */
int sandbox_enter(const struct sandbox *sandbox, const char *thread_name);

#endif
