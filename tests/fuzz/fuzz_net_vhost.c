/* A hostile driver of a card that vhost serves: random registers and rings, pairs that come and go, while
 * taps are deleted and replaced, and a module that refuses, gives up, or says that it came to anywhere. The
 * machine is used for many inputs, with a reset between them.
 */
#include "hostile.h"
#include "vhost_card.h"

#include <sys/eventfd.h>

#define INPUTS_PER_MACHINE 50

static struct vhost_card v;
static uint32_t uses;
static int pairs;

static void write_ring(struct input *input)
{
	uint32_t queue = (uint32_t)take(input, 1) % v.c.queue_count;
	uint32_t count = (uint32_t)take(input, 1) % 20;

	put_desc(&v.c.rings[queue], (uint32_t)take(input, 1) % 16, buffer_gpa(queue, 0),
		 (uint32_t)odd_value(input), (uint16_t)(take(input, 1) & 7), (uint16_t)(take(input, 1) % 18));
	for (uint32_t i = 0; i < count; i++)
		publish(&v.c.rings[queue], (uint32_t)take(input, 1) % 20);
	card_notify(&v.c, queue);
}

/* What a module writes into a ring, or a driver. */
static void write_used(struct input *input)
{
	uint32_t queue = (uint32_t)take(input, 1) % v.c.queue_count;
	uint16_t index = (uint16_t)take(input, 2);

	__atomic_store_n(&used_words(&v.c.rings[queue])[1], index, __ATOMIC_RELEASE);
	modules[queue / 2 % MODULES].came_to[queue % 2] = (unsigned)take(input, 2);
}

static void refuse(struct input *input)
{
	static const unsigned long requests[] = {VHOST_SETTINGS, 0, 0, 0};

	refused = requests[take(input, 1) % (sizeof(requests) / sizeof(requests[0]))];
}

static void command(struct input *input)
{
	uint32_t queue = v.c.queue_count - 1;
	uint8_t message[4] = {(uint8_t)(take(input, 1) % 6), (uint8_t)(take(input, 1) % 2),
			      (uint8_t)(take(input, 1) % 4), 0};

	memcpy(buffer_at(&v.c, queue, 0), message, sizeof(message));
	put_desc(&v.c.rings[queue], 0, buffer_gpa(queue, 0), 4, F_NEXT, 1);
	put_desc(&v.c.rings[queue], 1, buffer_gpa(queue, 0x100), 1, F_WRITE, 0);
	publish(&v.c.rings[queue], 0);
	card_notify(&v.c, queue);
}

static void give_up(void)
{
	CHECK(eventfd_write(v.c.d.device->lost.fd, 1) == 0);
}

static void step(struct input *input)
{
	uint32_t which = (uint32_t)take(input, 1);

	if (which >= 0xe0) {
		access_register(&v.c.d, input, which & 1);
		return;
	}
	switch (which % 10) {
	case 0:
		write_ring(input);
		break;
	case 1:
		write_used(input);
		break;
	case 2:
		card_prepare(&v.c, take(input, 1) % 4 ? EVERYTHING : VIRTIO_F_VERSION_1 | take(input, 4));
		reg_write(&v.c.d, R_STATUS, S_READY | S_DRIVER_OK);
		break;
	case 3:
		command(input);
		break;
	case 4:
		EQUAL(sv_net_unplug(v.c.d.device), 0);
		break;
	case 5:
		plug(&v, 1 + (int)take(input, 1) % 2); /* too few, too many, refused, or the right ones */
		break;
	case 6:
		delete_taps(&v);
		give_up(); /* so that it is looked at now, not within a second */
		break;
	case 7:
		give_up();
		break;
	case 8:
		refuse(input);
		break;
	default:
		card_settle(&v.c);
		break;
	}
}

/* Cards with one pair and with two, in turn. */
static void renew_machine(void)
{
	if (v.c.d.vm)
		vhost_close(&v);
	pairs = uses / INPUTS_PER_MACHINE % 2 ? 2 : 1;
	v = vhost_open(pairs);
	card_start(&v.c, EVERYTHING);
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
	/* Whatever was: a proper driver is served, with a tap by the module and without one by us. */
	refused = 0;
	reg_write(&v.c.d, R_STATUS, 0);
	EQUAL(plug(&v, pairs), 0);
	card_start(&v.c, EVERYTHING);
	card_settle(&v.c);
	CHECK(serves(0) && modules[0].base[1] == 0);
	modules[0].came_to[0] = modules[0].came_to[1] = 0;
	EQUAL(sv_net_unplug(v.c.d.device), 0);
	put_frame(&v.c, 0, 0, 60, 2);
	card_notify(&v.c, 1);
	wait_index(&v.c, 1, 1);
	sv_events_take(v.c.d.vm, events, 16);
	return 0;
}
