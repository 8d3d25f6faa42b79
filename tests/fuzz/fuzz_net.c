/* A hostile driver of a network card: random registers, rings, buffers and commands, while frames come from
 * the wire and backends come and go. The machine is used for many inputs, with a reset between them.
 */
#include "hostile.h"
#include "net_driver.h"

#define INPUTS_PER_MACHINE 50

static struct card c;
static uint32_t uses;

static uint32_t length(struct input *input)
{
	static const uint32_t lengths[] = {
	    0, 1, 10, 11, 12, 13, 64, 1514, 2048, 4096, 0xffff, 65566, NET_FRAME_MAX, UINT32_MAX};
	uint8_t which = (uint8_t)take(input, 1);

	return which & 0x80 ? (uint32_t)take(input, 4) : lengths[which % 14];
}

static void write_net_desc(struct input *input)
{
	uint32_t queue = (uint32_t)take(input, 1) % c.queue_count;
	const uint64_t places[] = {buffer_gpa(queue, 0),
				   buffer_gpa(queue, 0x8000),
				   RAM_GPA + queue * STRIDE, /* the rings themselves */
				   RAM_GPA + queue * STRIDE + TABLES - RAM_GPA,
				   RAM_GPA + NET_RAM - 512,
				   RAM_GPA - 1};
	uint32_t index = (uint32_t)take(input, 1) % 32;
	struct desc desc = {places[take(input, 1) % 6], length(input), (uint16_t)(take(input, 1) & 7),
			    (uint16_t)(take(input, 1) % 18)};
	struct desc *table = at_gpa(&c.rings[queue], index < 16 ? RING_DESC : TABLES);

	table[index % 16] = desc;
}

static void publish_some(struct input *input)
{
	uint32_t queue = (uint32_t)take(input, 1) % c.queue_count;
	uint32_t count = (uint32_t)take(input, 1) % 20;

	for (uint32_t i = 0; i < count; i++)
		publish(&c.rings[queue], (uint32_t)take(input, 1) % 20);
	card_notify(&c, queue);
}

static void send_from_wire(struct input *input)
{
	static uint8_t frame[NET_FRAME_MAX + 64];
	uint32_t bytes = length(input) % sizeof(frame);
	int peer = c.peers[take(input, 1) % 2];

	if (peer > 0 && send(peer, frame, bytes, 0) < 0)
		CHECK(errno == EAGAIN || errno == EPIPE || errno == ENOTCONN || errno == ECONNRESET);
}

static void drain_wire(void)
{
	static uint8_t frame[NET_FRAME_MAX + 64];

	for (uint32_t i = 0; i < 2; i++)
		while (c.peers[i] > 0 && recv(c.peers[i], frame, sizeof(frame), 0) > 0)
			continue;
}

static void plug(uint32_t count)
{
	struct sv_net_backend backend = {.count = (int)count};
	int fresh[2] = {0, 0};

	for (uint32_t i = 0; i < count; i++)
		fresh[i] = make_wire(&backend.fds[i]);
	EQUAL(sv_net_plug(c.d.device, &backend), 0);
	for (uint32_t i = 0; i < 2; i++) {
		if (c.peers[i] > 0)
			close(c.peers[i]);
		c.peers[i] = fresh[i];
		if (i < count)
			close(backend.fds[i]);
	}
}

static void change_backend(struct input *input)
{
	uint8_t which = (uint8_t)take(input, 1);

	if (which % 4 == 0)
		EQUAL(sv_net_unplug(c.d.device), 0);
	else
		plug(1 + which % (c.queue_count > 2 ? 2u : 1u));
}

static void command(struct input *input)
{
	uint32_t queue = c.queue_count - 1;
	uint8_t message[4] = {(uint8_t)(take(input, 1) % 6), (uint8_t)(take(input, 1) % 2),
			      (uint8_t)(take(input, 1) % 4), 0};

	memcpy(buffer_at(&c, queue, 0), message, sizeof(message));
	put_desc(&c.rings[queue], 0, buffer_gpa(queue, 0), (uint32_t)take(input, 1) % 6, F_NEXT, 1);
	put_desc(&c.rings[queue], 1, buffer_gpa(queue, 0x100), 1, F_WRITE, 0);
	publish(&c.rings[queue], 0);
	card_notify(&c, queue);
}

static void step(struct input *input)
{
	uint32_t which = (uint32_t)take(input, 1);

	if (which >= 0xf0) {
		access_register(&c.d, input, which & 1);
		return;
	}
	switch (which % 11) {
	case 0:
	case 1:
		write_net_desc(input);
		break;
	case 2:
	case 3:
		publish_some(input);
		break;
	case 4:
	case 5:
		send_from_wire(input);
		break;
	case 6:
		card_start(&c, take(input, 1) % 4 ? EVERYTHING : VIRTIO_F_VERSION_1 | take(input, 4));
		break;
	case 7:
		give_buffers(&c, (uint32_t)take(input, 1) % (c.queue_count / 2),
			     (uint32_t)take(input, 1) % QUEUE_SIZE, 12 + (uint32_t)take(input, 1) * 16);
		break;
	case 8:
		change_backend(input);
		break;
	case 9:
		command(input);
		break;
	default:
		drain_wire();
		card_settle(&c);
		break;
	}
}

/* Cards with one pair and with two, in turn. */
static void renew_machine(void)
{
	int pairs = uses / INPUTS_PER_MACHINE % 2 ? 2 : 1;

	if (c.d.vm)
		card_close(&c);
	c = card_open(pairs, pairs);
	card_start(&c, EVERYTHING);
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
	/* Whatever was: a proper driver is served. */
	card_start(&c, EVERYTHING);
	plug(1);
	give_buffers(&c, 0, 1, 2048);
	wire_send(c.peers[0], 60, 1);
	wait_index(&c, 0, 1);
	put_frame(&c, 0, 0, 60, 2);
	card_notify(&c, 1);
	wire_expect(c.peers[0], 60, 2);
	sv_events_take(c.d.vm, events, 16);
	return 0;
}
