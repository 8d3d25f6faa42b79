/* A hostile driver and erratic host programs: random packets, rings and registers on one side, connections
 * that come, talk, stall and go on the other. The machine is used for many inputs, with a reset between them.
 */
#include "fuzz.h"
#include "vsock_driver.h"

#define INPUTS_PER_MACHINE 50
#define PROGRAMS           6
#define LISTENER_PORT      52u

static struct guest g;
static uint32_t uses;
static int listener = -1;
static int programs[PROGRAMS];

static uint32_t value(struct input *input)
{
	static const uint32_t values[] = {0,   1,    2,     43,    44,    45,       64,
					  100, 4096, 65535, 65536, 65537, 1u << 31, UINT32_MAX};
	uint32_t which = (uint32_t)take(input, 1);

	return which & 0x40 ? (uint32_t)take(input, 4) : values[which % 14];
}

/* Ports that streams have, or could have. */
static uint32_t port(struct input *input)
{
	uint32_t which = (uint32_t)take(input, 1);

	switch (which % 4) {
	case 0:
		return LISTENER_PORT;
	case 1:
		return which / 4 % 8;
	case 2:
		return (1u << 30) + which / 4 % 16;
	default:
		return value(input);
	}
}

static void write_packet(struct input *input)
{
	struct vsock_header header = header_of(&g, port(input), port(input), (uint16_t)(take(input, 1) % 9));
	uint32_t odd = (uint32_t)take(input, 1);

	header.len = value(input);
	header.flags = (uint32_t)take(input, 1);
	header.buf_alloc = odd & 1 ? value(input) : BIG;
	header.fwd_cnt = odd & 2 ? value(input) : 0;
	header.type = odd & 0xf0 ? VSOCK_TYPE_STREAM : (uint16_t)odd;
	header.src_cid = odd & 0xc ? GUEST_CID : value(input);
	header.dst_cid = odd & 0x30 ? VSOCK_CID_HOST : value(input);
	memcpy(at_gpa(&g.d.ring, TX_BUFFER + (take(input, 1) % 4) * 0x12000), &header, VSOCK_HEADER_SIZE);
}

static void write_desc(struct input *input)
{
	static const uint64_t places[] = {
	    TX_BUFFER,  TX_BUFFER + 0x12000, TX_BUFFER + 0x24000,         RX_BUFFER,
	    EVENT_ROOM, RING_USED,           RAM_GPA + RAM_SIZE - 0x1000, 0};
	struct ring *ring = &g.rings[take(input, 1) % VSOCK_QUEUE_COUNT];
	uint32_t index = (uint32_t)take(input, 1) % VSOCK_QUEUE_SIZE;
	uint64_t place = places[take(input, 1) % 8] + (take(input, 1) & 1);

	put_desc(ring, index, place, value(input), (int)take(input, 1) & 7, (int)(take(input, 1) % 140));
}

/* Ports of a stream that is there, mostly. */
static uint64_t live_ports(struct input *input)
{
	uint32_t which = (uint32_t)take(input, 1);
	uint64_t key = UINT64_MAX;

	settle(&g.d);
	for (uint32_t i = 0; i < 4 && key == UINT64_MAX; i++)
		key = vsock_of(&g)->muxer.keys[(which + i) % 4];
	return which & 0x80 || key == UINT64_MAX ? (uint64_t)port(input) << 32 | port(input) : key;
}

/* A packet that can be believed, so that streams come to life at all; `times` over. */
static void send_packet_of(struct input *input, uint16_t op, uint32_t times)
{
	struct ring *tx = &g.rings[VSOCK_TX];
	uint32_t slot = (uint32_t)take(input, 1) % 4;
	uint64_t gpa = TX_BUFFER + slot * 0x12000;
	uint64_t ports = live_ports(input);
	struct vsock_header header = header_of(&g, (uint32_t)(ports >> 32), (uint32_t)ports, op);

	header.len = op == VSOCK_OP_RW ? value(input) % 65537 : 0;
	header.flags = (uint32_t)take(input, 1) % 4;
	memcpy(at_gpa(&g.d.ring, gpa), &header, VSOCK_HEADER_SIZE);
	put_desc(tx, slot, gpa, VSOCK_HEADER_SIZE + header.len, 0, 0);
	for (uint32_t i = 0; i < times; i++)
		publish(tx, slot);
	guest_notify(&g, VSOCK_TX);
}

static void send_packet(struct input *input)
{
	send_packet_of(input, (uint16_t)(take(input, 1) % 8), 1);
}

static void respond(struct input *input)
{
	send_packet_of(input, VSOCK_OP_RESPONSE, 1);
}

static void send_much(struct input *input)
{
	send_packet_of(input, VSOCK_OP_RW, (uint32_t)take(input, 1) % 32);
}

static int *some_program(struct input *input)
{
	return &programs[take(input, 1) % PROGRAMS];
}

static void put_program(int *place, int fd)
{
	if (*place >= 0)
		close(*place);
	*place = fd;
}

static void come(struct input *input)
{
	int *place = some_program(input);
	char line[40];

	if (take(input, 1) % 2) {
		put_program(place, accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
		return;
	}
	put_program(place, host_connect(&g));
	CHECK(fcntl(*place, F_SETFL, O_NONBLOCK) == 0);
	snprintf(line, sizeof(line), take(input, 1) % 8 ? "CONNECT %u\nhello" : "CON%u", port(input));
	send(*place, line, strlen(line), MSG_NOSIGNAL);
}

static void talk(struct input *input)
{
	static char block[100000];
	int fd = *some_program(input);
	size_t size = value(input) % sizeof(block);

	if (fd < 0)
		return;
	switch (take(input, 1) % 4) {
	case 0:
		send(fd, block, size, MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 1:
		recv(fd, block, size, MSG_DONTWAIT);
		break;
	case 2:
		shutdown(fd, (int)take(input, 1) % 3);
		break;
	default:
		put_program(some_program(input), -1);
		break;
	}
}

static void access_register(struct input *input)
{
	uint64_t offset = take(input, 1) * 2;
	uint32_t size = 1u << take(input, 1) % 4;

	if (take(input, 1) % 2)
		bus_write(&g.d.vm->mmio, WINDOW + offset, size, value(input));
	else
		bus_read(&g.d.vm->mmio, WINDOW + offset, size);
}

static void begin(struct input *input)
{
	guest_start_with(&g, VIRTIO_F_VERSION_1 | (take(input, 1) % 2 ? ALL_FEATURES : 0),
			 (uint32_t)take(input, 1) % 100);
}

static void publish_some(struct input *input)
{
	uint32_t queue = (uint32_t)take(input, 1) % VSOCK_QUEUE_COUNT;

	publish(&g.rings[queue], (uint32_t)take(input, 1) % 132);
	guest_notify(&g, queue);
}

static void step(struct input *input)
{
	static void (*const steps[])(struct input *) = {
	    write_packet, write_desc, send_packet, respond,      send_much, come,
	    come,         talk,       talk,        publish_some, begin,     access_register};
	uint32_t which = (uint32_t)take(input, 1) % 32;

	if (which < sizeof(steps) / sizeof(steps[0]))
		steps[which](input);
	else if (which < 16)
		come(input);
	else if (which < 20)
		respond(input);
	else if (which < 24)
		send_much(input);
	else if (which < 28)
		talk(input);
	else if (which < 30)
		post_rx_buffers(&g, (uint32_t)take(input, 1) % 64);
	else if (which == 30)
		sv_vsock_transport_reset(g.d.device);
	else
		settle(&g.d);
}

static void renew_machine(void)
{
	if (listener >= 0) {
		close(listener);
		guest_close(&g);
	}
	g = guest_open();
	listener = host_listen_port(&g, LISTENER_PORT);
	CHECK(fcntl(listener, F_SETFL, O_NONBLOCK) == 0);
}

static void everybody_leaves(void)
{
	int fd;

	for (uint32_t i = 0; i < PROGRAMS; i++)
		put_program(&programs[i], -1);
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct sv_event events[16];
	struct stream stream;

	alarm(60); /* nothing here takes long: a hang is a finding */
	if (uses++ % INPUTS_PER_MACHINE == 0)
		renew_machine();
	memset(programs, 0xff, sizeof(programs));
	begin(&input);
	while (input.left > 0)
		step(&input);
	everybody_leaves();
	guest_start_with(&g, VIRTIO_F_VERSION_1, 64);
	stream = host_connects(&g, 5); /* whatever was: a proper driver is served */
	send_data(&g, 5, stream.host_port, "proper", 6);
	host_hears(stream.fd, "proper");
	close(stream.fd);
	sv_events_take(g.d.vm, events, 16);
	return 0;
}
