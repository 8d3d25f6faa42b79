/* A hostile driver: random register accesses, rings, page lists and statistics against a balloon, while the
 * control thread asks. The machine is used for many inputs, with a reset between them.
 */
#include "balloon_driver.h"
#include "fuzz.h"

#define INPUTS_PER_MACHINE 50

static struct balloon_driver b;
static uint32_t uses;

static uint64_t place(struct input *input)
{
	static const uint64_t places[] = {
	    LIST, VICTIMS, QUEUE(0), QUEUE(2), RAM_GPA, RAM_GPA + MEMORY / 2 - 5, RAM_GPA + MEMORY - 8, 0};

	return places[take(input, 1) % 8] + (take(input, 1) & 0x87);
}

static void write_desc(struct input *input)
{
	static const uint32_t lengths[] = {0, 3, 4, 10, 40, PAGE, HUGE + 5, UINT32_MAX};
	uint32_t queue = (uint32_t)take(input, 1) % QUEUES;
	uint32_t index = (uint32_t)take(input, 1) % QUEUE_SIZE;
	struct desc desc = {place(input), lengths[take(input, 1) % 8], (uint16_t)(take(input, 1) & 7),
			    (uint16_t)(take(input, 1) % 18)};

	balloon_desc(&b, queue, index, desc);
}

static void write_list(struct input *input)
{
	uint32_t *list = ram_at(&b, LIST);
	uint32_t first = (uint32_t)take(input, 1) & 0x80 ? (uint32_t)take(input, 4) : PFN(VICTIMS);

	for (uint32_t i = 0, count = (uint32_t)take(input, 2) % 2048; i < count; i++)
		list[i] = first + (uint32_t)(i * 389 & 1023);
}

static void access_register(struct input *input)
{
	uint64_t offset = take(input, 1) * 2;
	uint32_t size = 1u << take(input, 1) % 4;

	if (take(input, 1) % 2)
		bus_write(&b.d.vm->mmio, WINDOW + offset, size, take(input, 4));
	else
		bus_read(&b.d.vm->mmio, WINDOW + offset, size);
}

static void ask(struct input *input)
{
	struct sv_balloon_state state = balloon_state(&b);

	CHECK(state.actual <= MEMORY);
	sv_balloon_set_target(b.d.device, take(input, 4));
	sv_balloon_ask_stats(b.d.device);
}

static void step(struct input *input)
{
	switch (take(input, 1) % 8) {
	case 0:
		access_register(input);
		break;
	case 1:
	case 2:
		write_desc(input);
		break;
	case 3:
		write_list(input);
		break;
	case 4:
		balloon_start(&b, take(input, 1) % 4 ? ALL_FEATURES : VIRTIO_F_VERSION_1 | take(input, 4));
		break;
	case 5:
		ask(input);
		break;
	case 6:
		balloon_put(&b, (uint32_t)take(input, 1) % QUEUES, (uint32_t)take(input, 1) % 18);
		break;
	default:
		settle(&b.d);
		break;
	}
}

static void renew_machine(void)
{
	static const uint64_t sizes[] = {PAGE, 16 * PAGE, HUGE, 4 * MEMORY};
	uint32_t kind = uses / INPUTS_PER_MACHINE;
	struct balloon_plan plan = {.config = {.reporting = kind % 3 != 2, .stats_interval = kind % 2},
				    .page_size = sizes[kind % 4],
				    .shared = kind % 5 == 1};

	if (b.d.vm)
		balloon_close(&b);
	b = balloon_open(&plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct sv_event events[16];

	alarm(30); /* nothing here takes long: a hang is a finding */
	if (uses++ % INPUTS_PER_MACHINE == 0)
		renew_machine();
	while (input.left > 0)
		step(&input);
	balloon_start(&b, ALL_FEATURES);
	send_range(&b, INFLATE_QUEUE, VICTIMS, 1024); /* whatever was: a proper driver is served */
	send_range(&b, DEFLATE_QUEUE, VICTIMS, 1024);
	CHECK(balloon_state(&b).active);
	sv_events_take(b.d.vm, events, 16);
	return 0;
}
