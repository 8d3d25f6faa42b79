/* A driver for a virtio-net device behind virtio-mmio, without KVM and without taps: what a tap would be is
 * one end of a pair of sockets that keep frames apart, and the test holds the other end.
 *
 * Each queue has a MiB of memory of its own, with the addresses of ring.h in it.
 */
#ifndef NET_DRIVER_H
#define NET_DRIVER_H

#include <linux/if_tun.h>
#include <sys/socket.h>

#include "driver.h"
#include "net.h"

#define QUEUES  (2u * SV_NET_MAX_PAIRS + 1)
#define STRIDE  0x100000u
#define NET_RAM (QUEUES * STRIDE)

#define HEADER 12u

#define BASE_FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)
#define MERGEABLE     (BASE_FEATURES | VIRTIO_NET_F_MRG_RXBUF)
#define EVERYTHING    UINT64_MAX

struct card {
	struct driver d; /* machine and device; its ring is not used */
	uint8_t *ram;
	struct ring rings[QUEUES];
	int peers[SV_NET_MAX_PAIRS]; /* the other ends */
	uint32_t size;               /* of each ring */
	uint32_t queue_count;
};

/* Of a queue: where it is for the device, and where a test finds it. */
static inline uint64_t buffer_gpa(uint32_t queue, uint32_t offset)
{
	return BUFFERS + queue * STRIDE + offset;
}

static inline uint8_t *buffer_at(struct card *c, uint32_t queue, uint32_t offset)
{
	return c->ram + (buffer_gpa(queue, offset) - RAM_GPA);
}

/* Returns our end; the device's goes to *device_end. */
static inline int make_wire(int *device_end)
{
	int ends[2];

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
	*device_end = ends[0];
	return ends[1];
}

static inline struct card card_open(int pairs, int wires)
{
	struct card c = {.size = QUEUE_SIZE, .ram = ram_map(NET_RAM)};
	struct sv_net_config config = {.has_mac = 1,
				       .mac = {0x52, 0x54, 0, 1, 2, 3},
				       .pairs = pairs,
				       .offloads =
					   TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_UFO,
				       .backend = {.count = wires}};

	c.queue_count = 2 * (uint32_t)pairs + (pairs > 1); /* several have a control queue */
	for (int i = 0; i < wires; i++)
		c.peers[i] = make_wire(&config.backend.fds[i]);
	CHECK(sv_vm_create(-1, &c.d.vm) == 0);
	CHECK(sv_mem_add(c.d.vm, RAM_GPA, NET_RAM, c.ram) == 0);
	EQUAL(sv_net_create(c.d.vm, &config, &c.d.device), 0);
	CHECK(sv_mmio_place(c.d.vm, c.d.device, WINDOW, 5) == 0);
	for (int i = 0; i < wires; i++)
		close(config.backend.fds[i]);
	return c;
}

static inline void card_close(struct card *c)
{
	sv_vm_destroy(c->d.vm);
	ram_unmap(c->ram, NET_RAM);
	for (uint32_t i = 0; i < SV_NET_MAX_PAIRS; i++)
		if (c->peers[i] > 0)
			close(c->peers[i]);
}

static inline void card_write_queue(struct card *c, uint32_t queue)
{
	uint64_t base = RAM_GPA + queue * STRIDE;

	c->rings[queue] = (struct ring){.ram = c->ram + queue * STRIDE, .size = c->size};
	memset(c->rings[queue].ram, 0, TABLES - RAM_GPA);
	reg_write(&c->d, R_QUEUE_SEL, queue);
	reg_write(&c->d, R_QUEUE_SIZE, c->size);
	reg_write(&c->d, R_DESC, base + RING_DESC - RAM_GPA);
	reg_write(&c->d, R_AVAIL, base + RING_AVAIL - RAM_GPA);
	reg_write(&c->d, R_USED, base + RING_USED - RAM_GPA);
	reg_write(&c->d, R_QUEUE_READY, 1);
}

/* VIRTIO 1.2, 3.1.1, up to where the queues could be used. */
static inline void card_prepare(struct card *c, uint64_t features)
{
	reg_write(&c->d, R_STATUS, 0);
	reg_write(&c->d, R_STATUS, S_ACKNOWLEDGE);
	reg_write(&c->d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER);
	driver_write_features(&c->d, features);
	reg_write(&c->d, R_STATUS, S_READY);
	for (uint32_t queue = 0; queue < c->queue_count; queue++)
		card_write_queue(c, queue);
}

static inline void card_start(struct card *c, uint64_t features)
{
	card_prepare(c, features);
	reg_write(&c->d, R_STATUS, S_READY | S_DRIVER_OK);
	EQUAL(reg_read(&c->d, R_STATUS), S_READY | S_DRIVER_OK);
}

static inline struct card card_started(uint64_t features)
{
	struct card c = card_open(1, 1);

	card_start(&c, features);
	return c;
}

static inline void card_notify(struct card *c, uint32_t queue)
{
	reg_write(&c->d, R_NOTIFY, queue);
}

/* Returns when the I/O thread has done what it was told before, and what it told itself meanwhile. */
static inline void card_settle(struct card *c)
{
	settle(&c->d);
	settle(&c->d);
}

/* Waits until the queue's used index is `index`, which the driver wants an interrupt for. */
static inline void wait_index(struct card *c, uint32_t queue, uint16_t index)
{
	struct ring *ring = &c->rings[queue];
	uint16_t seen;

	/* Read once: an index that came between two readings would be waited for. */
	while ((seen = used_index(ring)) != index) {
		struct pollfd line = {.fd = c->d.device->irq_fd, .events = POLLIN};
		uint64_t count;

		__atomic_store_n(used_event_of(ring), seen, __ATOMIC_SEQ_CST);
		if (used_index(ring) != seen)
			continue;
		EQUAL(poll(&line, 1, 20000), 1);
		CHECK(read(line.fd, &count, sizeof(count)) == sizeof(count));
		reg_write(&c->d, R_INT_ACK, reg_read(&c->d, R_INT_STATUS) & VIRTIO_INTERRUPT_QUEUE);
	}
}

/* Gives the receive queue of a pair `count` buffers of `length` bytes, at their place by descriptor. */
static inline void give_buffers(struct card *c, uint32_t pair, uint32_t count, uint32_t length)
{
	uint32_t queue = 2 * pair;
	struct ring *ring = &c->rings[queue];

	for (uint32_t i = 0; i < count; i++) {
		uint32_t slot = ring->avail % c->size;

		put_desc(ring, slot, buffer_gpa(queue, slot * length), length, F_WRITE, 0);
		publish(ring, slot);
	}
	card_notify(c, queue);
}

/* A frame of which byte n is seed + n, after a header of `seed` bytes. */
static inline void make_frame(uint8_t *frame, uint32_t length, uint8_t seed)
{
	memset(frame, seed, HEADER);
	for (uint32_t i = HEADER; i < length; i++)
		frame[i] = (uint8_t)(seed + i);
}

static inline void wire_send(int peer, uint32_t length, uint8_t seed)
{
	uint8_t frame[NET_FRAME_MAX + 64];

	make_frame(frame, length, seed);
	EQUAL(send(peer, frame, length, 0), length);
}

/* Waits for a frame at our end and compares it; header included. */
static inline void wire_expect(int peer, uint32_t length, uint8_t seed)
{
	uint8_t expected[NET_FRAME_MAX + 64];
	uint8_t frame[NET_FRAME_MAX + 64];
	struct pollfd end = {.fd = peer, .events = POLLIN};

	EQUAL(poll(&end, 1, 20000), 1);
	EQUAL(recv(peer, frame, sizeof(frame), 0), length);
	make_frame(expected, length, seed);
	EQUAL(memcmp(frame, expected, length), 0);
}

static inline bool wire_is_silent(int peer)
{
	struct pollfd end = {.fd = peer, .events = POLLIN};

	return poll(&end, 1, 0) == 0;
}

/* Sends a frame of one buffer from slot `slot` of the pair's transmit queue, without telling the device. */
static inline void put_frame(struct card *c, uint32_t pair, uint32_t slot, uint32_t length, uint8_t seed)
{
	uint32_t queue = 2 * pair + 1;
	uint32_t offset = slot * 0x8000;

	make_frame(buffer_at(c, queue, offset), length, seed);
	put_desc(&c->rings[queue], slot, buffer_gpa(queue, offset), length, 0, 0);
	publish(&c->rings[queue], slot);
}

/* The frame that starts at used entry `first` of a receive queue is this one; returns its num_buffers. */
static inline uint32_t expect_received(struct card *c, uint32_t pair, uint32_t first, uint32_t buffer_length,
				       uint32_t length, uint8_t seed)
{
	struct ring *ring = &c->rings[2 * pair];
	uint8_t expected[NET_FRAME_MAX + 64];
	uint32_t at = 0;
	uint16_t buffers = 0;

	make_frame(expected, length, seed);
	for (uint32_t i = 0; at < length; i++) {
		struct used_elem elem = used_at(ring, first + i);
		const uint8_t *part = buffer_at(c, 2 * pair, elem.id * buffer_length);
		uint32_t skip = i == 0 ? HEADER : 0;

		if (i == 0)
			memcpy(&buffers, part + NET_NUM_BUFFERS, sizeof(buffers));
		CHECK(elem.len <= buffer_length && elem.len > 0);
		EQUAL(memcmp(part + skip, expected + at + skip, elem.len - skip), 0);
		at += elem.len;
		if (at == length)
			EQUAL(buffers, i + 1);
	}
	EQUAL(at, length);
	return buffers;
}

/* Returns the answer of the device to a command of class, command and data. */
static inline uint8_t card_command(struct card *c, const uint8_t *message, uint32_t length)
{
	uint32_t control = c->queue_count - 1;
	struct ring *ring = &c->rings[control];
	uint8_t *ack = buffer_at(c, control, 0x100);

	memcpy(buffer_at(c, control, 0), message, length);
	*ack = 0xee;
	put_desc(ring, 0, buffer_gpa(control, 0), 2, F_NEXT, 1);
	put_desc(ring, 1, buffer_gpa(control, 2), length - 2, F_NEXT, 2);
	put_desc(ring, 2, buffer_gpa(control, 0x100), 1, F_WRITE, 0);
	publish(ring, 0);
	card_notify(c, control);
	wait_index(c, control, ring->avail);
	EQUAL(used_at(ring, ring->avail - 1u).len, 1);
	return *ack;
}

/* VIRTIO 1.2, 5.1.6.5.5 */
static inline uint8_t card_set_pairs(struct card *c, uint8_t pairs)
{
	return card_command(c, (uint8_t[]){4, 0, pairs, 0}, 4);
}

/* Puts fresh wires behind the card; returns what the device says to that. */
static inline int card_plug(struct card *c, int count)
{
	struct sv_net_backend backend = {.count = count};
	int fresh[SV_NET_MAX_PAIRS];
	int error;

	for (int i = 0; i < count; i++)
		fresh[i] = make_wire(&backend.fds[i]);
	error = sv_net_plug(c->d.device, &backend);
	for (int i = 0; i < count; i++) {
		close(backend.fds[i]);
		if (c->peers[i] > 0)
			close(c->peers[i]);
		c->peers[i] = fresh[i];
	}
	return error;
}

/* A frame goes each way over the first pair. */
static inline void card_expect_traffic(struct card *c)
{
	uint16_t received = used_index(&c->rings[0]);
	uint16_t sent = used_index(&c->rings[1]);

	give_buffers(c, 0, 1, 2048);
	wire_send(c->peers[0], 60, 1);
	wait_index(c, 0, (uint16_t)(received + 1));
	expect_received(c, 0, received, 2048, 60, 1);
	put_frame(c, 0, 0, 60, 2);
	card_notify(c, 1);
	wire_expect(c->peers[0], 60, 2);
	wait_index(c, 1, (uint16_t)(sent + 1));
}

static inline bool link_is_up(struct card *c)
{
	return reg_read_sized(&c->d, R_CONFIG + 6, 2) & VIRTIO_NET_S_LINK_UP;
}

/* A queue is broken, and the card is as good as new after a reset. */
static inline void expect_broken(struct card *c, uint32_t queue, uint32_t why)
{
	struct sv_event event;

	card_settle(c);
	EQUAL(reg_read(&c->d, R_STATUS) & S_NEEDS_RESET, S_NEEDS_RESET);
	event = next_event(&c->d);
	EQUAL(event.kind, SV_EVENT_DEVICE_BROKEN);
	EQUAL(event.data[0], queue);
	EQUAL(event.data[1], why);
	card_start(c, MERGEABLE);
	give_buffers(c, 0, 1, 2048);
	wire_send(c->peers[0], 60, 1);
	wait_index(c, 0, 1);
}

#endif
