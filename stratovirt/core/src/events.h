/* Events from the core's threads to Python: a bounded ring behind an eventfd. */
#ifndef SV_EVENTS_H
#define SV_EVENTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "api.h"

#define EVENTS_CAPACITY 128
#define EVENTS_RESERVED 16 /* slots that only SHUTDOWN and VCPU_FAILED may take */
#define EVENTS_OFFERED  64 /* slots that events may take which can be done without */

struct events {
	pthread_mutex_t lock;
	struct sv_event ring[EVENTS_CAPACITY];
	uint32_t head;
	uint32_t count;
	uint64_t lost;
	int fd;
};

int events_init(struct events *events);
void events_close(struct events *events);
/* Any thread; never blocks for long, never allocates. What does not fit is counted and told by SV_EVENT_LOST.
 */
void events_post(struct events *events, const struct sv_event *event);
/* The same for an event that can be done without: false, and not counted, when others may need the room. */
bool events_offer(struct events *events, const struct sv_event *event);
int events_take(struct events *events, struct sv_event *out, int count);

#endif
