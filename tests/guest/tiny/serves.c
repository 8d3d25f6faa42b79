#include "record.h"

/* A guest at work: it writes record after record, sends each frame of its card back, and echoes what comes by
 * vsock, to whatever port. A stream's data are few, so nobody has to count credit.
 */

enum { NET = 1, VSOCK = 19 };                                      /* VIRTIO 1.2, 5 */
enum { RX = 0, TX = 1 };                                           /* queues of both */
enum { REQUEST = 1, RESPONSE = 2, RST = 3, SHUTDOWN = 4, RW = 5 }; /* 5.10.6 */

#define RINGS        0x4000000ull /* where a device's rings are, a piece for each queue */
#define PIECE        0x10000ull
#define BUFFER_BYTES 0x1000u

struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, length;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
	uint8_t data[];
} __attribute__((packed));

struct line {
	volatile struct desc *table;
	avail_ring *given;
	used_ring *done;
	uint64_t buffers;
	uint16_t seen; /* of `done` */
};

struct device {
	uint64_t base;
	struct line rx, tx;
};

static struct device card, streams;

static uint64_t buffer_of(const struct line *line, uint32_t slot)
{
	return line->buffers + slot * BUFFER_BYTES;
}

static void give(struct device *device, struct line *line, uint32_t queue, uint16_t slot)
{
	line->given->ring[line->given->index % QUEUE_SIZE] = slot;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	line->given->index++;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	mmio_write(device->base + QUEUE_NOTIFY, queue);
}

static void place_line(struct line *line, uint64_t at, uint32_t queue)
{
	line->table = (volatile struct desc *)at;
	line->given = (avail_ring *)(at + 0x400);
	line->done = (used_ring *)(at + 0x800);
	line->buffers = at + 0x1000;
	reg_write(QUEUE_SEL, queue);
	reg_write(QUEUE_NUM, QUEUE_SIZE);
	reg_write(DESC_LOW, (uint32_t)at);
	reg_write(AVAIL_LOW, (uint32_t)at + 0x400);
	reg_write(USED_LOW, (uint32_t)at + 0x800);
	reg_write(QUEUE_READY, 1);
}

static void start(struct device *device, uint32_t type, uint64_t at)
{
	for (window = MMIO_BASE; reg_read(DEVICE_ID) != type; window += MMIO_STRIDE)
		;
	device->base = window;
	negotiate(0);
	place_line(&device->rx, at, RX);
	place_line(&device->tx, at + PIECE, TX);
	reg_write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	for (uint16_t slot = 0; slot < QUEUE_SIZE; slot++) {
		device->rx.table[slot].address = buffer_of(&device->rx, slot);
		device->rx.table[slot].length = BUFFER_BYTES;
		device->rx.table[slot].flags = WRITE;
		give(device, &device->rx, RX, slot);
	}
}

/* A frame goes back as it came, with its header of no wishes. */
static uint32_t answer_frame(volatile uint8_t *to, const volatile uint8_t *from, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		to[i] = i < 12 ? 0 : from[i];
	return length;
}

static uint32_t answer_packet(volatile struct packet *to, const volatile struct packet *from)
{
	uint32_t length = from->op == RW ? from->length : 0;

	to->src_cid = from->dst_cid;
	to->dst_cid = from->src_cid;
	to->src_port = from->dst_port;
	to->dst_port = from->src_port;
	to->length = length;
	to->type = from->type;
	to->op = from->op == REQUEST ? RESPONSE : from->op == RW ? RW : RST;
	to->flags = 0;
	to->buf_alloc = 0x10000;
	to->fwd_cnt = 0;
	for (uint32_t i = 0; i < length; i++)
		to->data[i] = from->data[i];
	return (uint32_t)sizeof(*to) + length;
}

static int wants_answer(const volatile struct packet *packet)
{
	return packet->op == REQUEST || packet->op == RW || packet->op == SHUTDOWN;
}

static void send(struct device *device, uint16_t slot, uint32_t length)
{
	device->tx.table[slot].address = buffer_of(&device->tx, slot);
	device->tx.table[slot].length = length;
	device->tx.table[slot].flags = 0;
	give(device, &device->tx, TX, slot);
}

/* Answers what has come; what finds no place to be sent from is lost. */
static void serve(struct device *device)
{
	while (device->rx.done->index != device->rx.seen) {
		uint16_t at = device->rx.seen++ % QUEUE_SIZE;
		uint16_t from = (uint16_t)device->rx.done->ring[at].id;
		uint16_t sent = device->tx.given->index;
		void *source = (void *)buffer_of(&device->rx, from);
		void *target = (void *)buffer_of(&device->tx, sent % QUEUE_SIZE);

		if ((uint16_t)(sent - device->tx.done->index) == QUEUE_SIZE)
			;
		else if (device == &card)
			send(device, sent % QUEUE_SIZE,
			     answer_frame(target, source, device->rx.done->ring[at].length));
		else if (wants_answer(source))
			send(device, sent % QUEUE_SIZE, answer_packet(target, source));
		give(device, &device->rx, RX, from);
	}
}

void guest_main(void *zero_page)
{
	uint64_t disk;

	(void)zero_page;
	start(&card, NET, RINGS);
	start(&streams, VSOCK, RINGS + 2 * PIECE);
	start_disk();
	disk = window;
	print("begins\n");
	for (uint64_t number = 1;; number++) {
		serve(&card);
		serve(&streams);
		window = disk;
		if (write_record(number) != 0)
			power_off();
	}
}
