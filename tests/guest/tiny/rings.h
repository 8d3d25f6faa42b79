/* What a driver can do wrong with one device: its registers, its rings, and what lies in them. */
#ifndef RINGS_H
#define RINGS_H

#include "controllers.h"
#include "virtio.h"

#define WINDOWS 16
#define QUEUES  8 /* of a device, that are attacked as rings */

#define PLAYGROUND  0x4000000ull /* rings and buffers, a piece for each window */
#define PIECE       0x40000ull
#define QUEUE_BYTES 0x4000ull
#define AVAIL_AT    0x1000ull
#define USED_AT     0x2000ull
#define TABLE_AT    0x3000ull
#define DATA_AT     0x20000ull
#define DATA_BYTES  0x20000u

#define RAM_END      0x10000000ull
#define GAP_END      0xf0100000ull
#define LOW_RESERVED 0xca0000u /* below it a small buffer does not reach our own memory */

enum { NET = 1, BLK = 2, CONSOLE = 3, RNG = 4, BALLOON = 5, VSOCK = 19 };

/* The vCPU's own: where its numbers are, and the window that it attacks. */
struct attacker {
	uint64_t chance;
	uint64_t base, piece;
	uint32_t type, queues;
	uint32_t tidy; /* rings and buffers are right until the device is set up again: so more is reached */
	uint32_t size; /* of its rings */
};

static inline void set(const struct attacker *a, uint32_t offset, uint32_t value)
{
	mmio_write(a->base + offset, value);
}

/* Any width at any offset; a part of it where registers are. */
static inline void attack_register(struct attacker *a)
{
	static const uint16_t known[] = {STATUS,    QUEUE_SEL, QUEUE_NUM,     QUEUE_READY,
					 DESC_LOW,  USED_LOW,  INTERRUPT_ACK, DRIVER_FEATURES,
					 DESC_HIGH, AVAIL_LOW, QUEUE_NOTIFY,  CONFIG};
	uint32_t r = chance(&a->chance);
	uint32_t is_known = r >> 1 & 1;
	uint32_t offset = is_known ? known[(r >> 8) % 12] : r >> 8 & 0x1ff;

	access(a->base + offset, is_known && r >> 2 & 1 ? 4 : 1u << (r >> 4 & 3), odd(&a->chance), r & 1);
}

static inline uint64_t ring(const struct attacker *a, uint32_t queue)
{
	return a->piece + queue * QUEUE_BYTES;
}

static inline uint64_t data(struct attacker *a)
{
	return a->piece + DATA_AT + (chance(&a->chance) & (DATA_BYTES - 1) & ~7u);
}

/* Where a ring or a buffer may be: mostly in the playground, else at a border or nowhere. */
static inline uint64_t place(struct attacker *a)
{
	uint32_t r = chance(&a->chance);

	switch (a->tidy ? 31 : r & 31) {
	case 0:
		return RAM_END - (r >> 5 & 0xfff);
	case 1:
		return RAM_END + (r >> 5 & 0xfffff);
	case 2:
		return 0ull - (r >> 5 & 0xffff);
	case 3:
		return (uint64_t)odd(&a->chance) << 32 | odd(&a->chance);
	case 4:
		return GAP_END + (r >> 5 & 0xffff);
	case 5:
		return HIGH_SHOWS + (r >> 5);
	case 6:
		return (r >> 5) % LOW_RESERVED & ~0xffffu;
	case 7: /* rings, this device's or another's */
		return PLAYGROUND + (r >> 5 & 0x3fffff & ~7u);
	case 8:
		return (r >> 17 & 1 ? IOAPIC : LAPIC) + (r >> 5 & 0xfff);
	default:
		return data(a);
	}
}

static inline uint32_t length(struct attacker *a, uint64_t at)
{
	uint32_t r = chance(&a->chance);

	if (a->tidy)
		return r & 0xffc;
	if (at < OWN_END && at + 0x10000 > PLAYGROUND + WINDOWS * PIECE)
		return 16;
	if (at < OWN_END || r & 1)
		return r >> 4 & (r & 2 ? 0xfffc : 0xfc);
	return odd(&a->chance);
}

/* What a request of the device begins with: right in most of its fields, for what is all wrong goes nowhere.
 */
static inline void write_header(struct attacker *a, volatile uint32_t *at)
{
	uint32_t r = chance(&a->chance);

	switch (a->type) {
	case BLK:
		at[0] = r & 15;
		at[1] = odd(&a->chance);
		at[2] = r & 16 ? r >> 5 & 0x3ff : odd(&a->chance);
		at[3] = r & 32 ? 0 : odd(&a->chance);
		break;
	case VSOCK:
		at[0] = 7; /* our CID, and the host's */
		at[1] = 0;
		at[2] = 2;
		at[3] = 0;
		at[4] = 1000 + (r >> 11 & 3);
		at[5] = r & 3 ? 52 : odd(&a->chance);
		at[6] = r & 12 ? 0 : odd(&a->chance);
		at[7] = 1 | (r & 16 ? 1 : r >> 5 & 7) << 16; /* half of them open a stream */
		at[8] = r >> 7 & 3;
		at[9] = odd(&a->chance);
		at[10] = odd(&a->chance);
		break;
	case NET: /* a packet without wishes, or how many pairs of queues there shall be (5.1.6.5.5) */
		for (uint32_t i = 0; i < 8; i++)
			at[i] = i < 3 && r & 3 ? 0 : odd(&a->chance);
		if ((r & 12) == 0)
			at[0] = 4 | (r >> 4 & 3) << 16;
		break;
	default: /* page numbers, bytes */
		for (uint32_t i = 0; i < 8; i++)
			at[i] = odd(&a->chance);
		break;
	}
}

/* Whether the device writes what a queue has; VIRTIO 1.2, 5. */
static inline uint32_t receives(const struct attacker *a, uint32_t queue)
{
	switch (a->type) {
	case RNG:
		return 1;
	case NET:
		return queue % 2 == 0 && queue + 1 != a->queues;
	case CONSOLE:
	case VSOCK:
		return queue % 2 == 0;
	case BALLOON: /* those that report free pages */
		return queue > 2;
	default:
		return 0;
	}
}

static inline void write_descs(struct attacker *a, uint32_t queue, uint64_t table, uint32_t count)
{
	volatile struct desc *d = (volatile struct desc *)table;
	uint32_t writable = receives(a, queue) && chance(&a->chance) & 7;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t r = chance(&a->chance);
		uint64_t at = place(a);

		if (i == 0) {
			at = data(a);
			write_header(a, (volatile uint32_t *)at);
		}
		d[i].address = at;
		d[i].length = i == 0 ? (a->type == VSOCK ? 44 : 16 + (r >> 20 & 0x10)) : length(a, at);
		writable |= i > 0 && (r & 3) == 0;
		d[i].flags = (uint16_t)((r & 0xc ? NEXT : 0) | (writable ? WRITE : 0) |
					((r & 0x3e0) == 0 && !a->tidy ? INDIRECT : 0));
		d[i].next = (uint16_t)(r & 0x3c00 || a->tidy ? i + 1 : r >> 14);
	}
	d[count - 1].flags &= (uint16_t) ~(chance(&a->chance) & 7 || a->tidy ? NEXT : 0);
}

static inline void fill_ring(struct attacker *a, uint32_t queue)
{
	volatile uint16_t *ring_avail = (volatile uint16_t *)(ring(a, queue) + AVAIL_AT);
	uint32_t r = chance(&a->chance);
	uint32_t count = 1 + (r & 3);

	write_descs(a, queue, ring(a, queue), 4 + (r >> 4 & 7));
	if (r & 0x100)
		write_descs(a, queue, ring(a, queue) + TABLE_AT, 4);
	if (r & 0x200 && !a->tidy) {
		volatile struct desc *d = (volatile struct desc *)ring(a, queue);

		d[0].address = ring(a, queue) + TABLE_AT;
		d[0].length = 16 * (1 + (r >> 10 & 7)) + (r & 0x4000 ? 0 : 1);
		d[0].flags = INDIRECT | (r & 0x8000 ? 0 : NEXT);
	}
	for (uint32_t i = 0; i < count; i++)
		ring_avail[2 + ((ring_avail[1] + i) & (a->size - 1))] =
		    (uint16_t)(r & 0x70000 || a->tidy ? 0 : r >> 20);
	ring_avail[0] = r >> 19 & 1;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	ring_avail[1] = (uint16_t)(r & 0xf00000 || a->tidy ? ring_avail[1] + count : odd(&a->chance));
}

static inline void set_up_queue(struct attacker *a, uint32_t queue)
{
	uint32_t r = chance(&a->chance);
	uint64_t desc = ring(a, queue);
	uint64_t available = desc + AVAIL_AT;
	uint64_t done = desc + USED_AT;

	if ((r & 15) == 0 && !a->tidy)
		desc = place(a);
	if ((r >> 4 & 15) == 0 && !a->tidy)
		available = place(a);
	if ((r >> 8 & 15) == 0 && !a->tidy)
		done = place(a);
	*(volatile uint32_t *)(ring(a, queue) + AVAIL_AT) = 0;
	set(a, QUEUE_SEL, queue);
	set(a, QUEUE_NUM, r & 0xf000 || a->tidy ? a->size : odd(&a->chance));
	set(a, DESC_LOW, (uint32_t)desc);
	set(a, DESC_HIGH, (uint32_t)(desc >> 32));
	set(a, AVAIL_LOW, (uint32_t)available);
	set(a, AVAIL_HIGH, (uint32_t)(available >> 32));
	set(a, USED_LOW, (uint32_t)done);
	set(a, USED_HIGH, (uint32_t)(done >> 32));
	set(a, QUEUE_READY, 1);
}

/* As a driver does it, with a step left out or doubled now and then. */
static inline void set_up(struct attacker *a)
{
	uint32_t r = chance(&a->chance);

	a->tidy = r >> 20 & 1;
	a->size = 16u << (r >> 21 & 3);
	set(a, STATUS, 0);
	set(a, STATUS, ACKNOWLEDGE | DRIVER);
	set(a, DRIVER_FEATURES_SEL, 0);
	set(a, DRIVER_FEATURES, r & 1 ? UINT32_MAX : odd(&a->chance));
	set(a, DRIVER_FEATURES_SEL, 1);
	set(a, DRIVER_FEATURES, r & 0x1e || a->tidy ? 1 : odd(&a->chance));
	set(a, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	for (uint32_t queue = 0; queue < QUEUES && queue < a->queues; queue++)
		if (r & 0x700 || a->tidy)
			set_up_queue(a, queue);
	if (r & 0xf0000 || a->tidy)
		set(a, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

static inline void attack_rings(struct attacker *a)
{
	set_up(a);
	for (uint32_t i = 0; i < 12; i++) {
		uint32_t r = chance(&a->chance);
		uint32_t queue =
		    (r >> 8) % (a->queues < QUEUES ? a->queues + 1 : QUEUES); /* or none of its */

		switch (r & 15) {
		case 0:
			set(a, STATUS, 0);
			return;
		case 1:
			attack_register(a);
			break;
		case 2: /* the device is told to go on where it has been */
			*(volatile uint16_t *)(ring(a, queue) + AVAIL_AT + 2) = (uint16_t)odd(&a->chance);
			break;
		case 3:
			set(a, QUEUE_SEL, queue);
			set(a, QUEUE_READY, 0);
			break;
		case 4:
			mmio_read(a->base + STATUS);
			set(a, INTERRUPT_ACK, mmio_read(a->base + INTERRUPT_STATUS));
			break;
		case 5: /* descriptors change while the device may look at them */
			write_descs(a, queue, ring(a, queue), 8);
			break;
		default:
			fill_ring(a, queue);
			set(a, QUEUE_NOTIFY, queue);
			break;
		}
	}
}

#endif
