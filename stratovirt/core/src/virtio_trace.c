/* Tells Python of the steps of drivers, when somebody wants to know. A guest takes them as often as it likes:
 * of each device only so many are told in a time, and never so many that others' events find no room. */
#include "clock.h"
#include "virtio.h"

#define TOLD_AT_MOST 64 /* a driver that begins takes some ten, and one for each queue */
#define PERIOD_NS    (10ull * CLOCK_SECOND)

static bool may_tell(struct virtio_trace *trace)
{
	uint64_t now = clock_now();

	if (trace->since == 0 || now - trace->since >= PERIOD_NS) {
		trace->since = now;
		trace->told = 0;
	}
	return trace->told < TOLD_AT_MOST;
}

void virtio_trace(struct sv_virtio *device, uint32_t step, uint64_t first, uint64_t second)
{
	struct virtio_trace *trace = &device->trace;
	struct sv_event event = {
	    .kind = SV_EVENT_DRIVER, .source = device->id, .data = {step, first, second}};

	if (!device->vm->traces)
		return;
	event.data[3] = trace->untold;
	if (may_tell(trace) && events_offer(&device->vm->events, &event)) {
		trace->told++;
		trace->untold = 0;
	} else {
		trace->untold++;
	}
}

void sv_trace(struct sv_vm *vm)
{
	vm->traces = true;
}
