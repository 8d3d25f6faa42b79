/* A hostile driver against a virtio-rng, with sources that give, wait, end or fail. The machine is used for
 * many inputs, with a reset between them.
 */
#include "hostile.h"

#define INPUTS_PER_MACHINE 50

static struct driver d;
static int feed = -1; /* the other end of a source that waits */
static uint32_t uses;

static int new_source(uint32_t kind)
{
	static const char *const paths[] = {"/dev/zero", "/dev/null", "/"};
	int ends[2];

	if (feed >= 0)
		close(feed);
	feed = -1;
	if (kind % 4 < 3)
		return open(paths[kind % 4], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	CHECK(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
	feed = ends[1];
	return ends[0];
}

static void renew_machine(uint32_t kind)
{
	static const uint32_t rates[] = {0, 0, 64, 999999999, 1000000};
	struct sv_rng_config config = {.fd = new_source(kind), .bytes_per_sec = rates[kind % 5]};

	if (d.vm)
		driver_close(&d);
	d = driver_without_device();
	CHECK(sv_rng_create(d.vm, &config, &d.device) == 0);
	CHECK(sv_mmio_place(d.vm, d.device, WINDOW, 5) == 0);
	close(config.fd);
}

static void step(struct input *input)
{
	static const uint8_t bytes[256];

	switch (take(input, 1) % 9) {
	case 0:
		access_register(&d, input, false);
		break;
	case 1:
		access_register(&d, input, true);
		break;
	case 2:
	case 3:
		write_desc(&d, input);
		break;
	case 4:
		driver_start(&d, odd_features(input));
		break;
	case 5:
		put_desc(&d.ring, 0, DATA, (uint32_t)odd_value(input), F_WRITE, 0);
		publish(&d.ring, 0);
		driver_notify(&d);
		break;
	case 6:
		publish(&d.ring, (uint32_t)take(input, 1) % 20);
		driver_notify(&d);
		break;
	case 7:
		if (feed >= 0 && write(feed, bytes, take(input, 1)) < 0)
			CHECK(errno == EAGAIN);
		break;
	default:
		settle(&d);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct sv_event events[16];
	uint32_t kind = uses / INPUTS_PER_MACHINE;

	alarm(30); /* nothing here takes long: a hang is a finding */
	if (uses++ % INPUTS_PER_MACHINE == 0)
		renew_machine(kind);
	while (input.left > 0)
		step(&input);
	driver_start(&d, ALL_FEATURES);
	put_desc(&d.ring, 0, DATA, 64, F_WRITE, 0);
	publish(&d.ring, 0);
	driver_notify(&d);
	if (feed >= 0 && write(feed, &kind, 1) < 0)
		CHECK(errno == EAGAIN);
	if (kind % 4 == 0 ||
	    feed >= 0) { /* whatever was: a proper driver gets bytes from a source that has some */
		wait_used(&d, 1);
		CHECK(last_used_length(&d) > 0 && last_used_length(&d) <= 64);
	}
	sv_events_take(d.vm, events, 16);
	return 0;
}
