/* A bare-metal driver for virtio-blk on the first virtio-mmio window (VIRTIO 1.2, 4.2 and 5.2), polling. */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "guest.h"

enum {
	MAGIC = 0x00,
	VERSION = 0x04,
	DEVICE_ID = 0x08,
	FEATURES = 0x10,
	FEATURES_SEL = 0x14,
	DRIVER_FEATURES = 0x20,
	DRIVER_FEATURES_SEL = 0x24,
	QUEUE_SEL = 0x30,
	QUEUE_NUM_MAX = 0x34,
	QUEUE_NUM = 0x38,
	QUEUE_READY = 0x44,
	QUEUE_NOTIFY = 0x50,
	INTERRUPT_STATUS = 0x60,
	INTERRUPT_ACK = 0x64,
	STATUS = 0x70,
	DESC_LOW = 0x80,
	DESC_HIGH = 0x84,
	AVAIL_LOW = 0x90,
	AVAIL_HIGH = 0x94,
	USED_LOW = 0xa0,
	USED_HIGH = 0xa4,
	CONFIG = 0x100,
};

#define ACKNOWLEDGE 1u
#define DRIVER      2u
#define DRIVER_OK   4u
#define FEATURES_OK 8u
#define NEEDS_RESET 64u

#define NEXT     1
#define WRITE    2
#define INDIRECT 4

#define QUEUE_SIZE 8

struct desc {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

struct avail {
	uint16_t flags, index, ring[QUEUE_SIZE], used_event;
};

struct used {
	uint16_t flags, index;
	struct {
		uint32_t id, length;
	} ring[QUEUE_SIZE];
};

/* For those that drive several queues: below, the names of the structures are places. */
typedef volatile struct avail avail_ring;
typedef volatile struct used used_ring;

/* Rings and buffers live at fixed places above the image and its stack. */
#define descs ((volatile struct desc *)0x3000000)
#define avail ((volatile struct avail *)0x3001000)
#define used  ((volatile struct used *)0x3002000)
#define header                                                                                               \
	((volatile struct {                                                                                  \
		uint32_t type, reserved;                                                                     \
		uint64_t sector;                                                                             \
	} *)0x3003000)
#define status_byte (*(volatile uint8_t *)0x3004000)
#define buffer      ((volatile uint8_t *)0x3005000)

static uint64_t window = MMIO_BASE;

static inline void reg_write(uint32_t offset, uint32_t value)
{
	mmio_write(window + offset, value);
}

static inline uint32_t reg_read(uint32_t offset)
{
	return mmio_read(window + offset);
}

/* Resets the device and negotiates VERSION_1 alone, with `more` of the low features. */
static inline void negotiate(uint32_t more)
{
	reg_write(STATUS, 0);
	while (reg_read(STATUS) != 0)
		;
	reg_write(STATUS, ACKNOWLEDGE);
	reg_write(STATUS, ACKNOWLEDGE | DRIVER);
	reg_write(DRIVER_FEATURES_SEL, 0);
	reg_write(DRIVER_FEATURES, more);
	reg_write(DRIVER_FEATURES_SEL, 1);
	reg_write(DRIVER_FEATURES, 1);
	reg_write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
}

static inline void set_queue(uint32_t size, uint64_t desc, uint64_t available, uint64_t done)
{
	reg_write(QUEUE_SEL, 0);
	reg_write(QUEUE_NUM, size);
	reg_write(DESC_LOW, (uint32_t)desc);
	reg_write(DESC_HIGH, (uint32_t)(desc >> 32));
	reg_write(AVAIL_LOW, (uint32_t)available);
	reg_write(AVAIL_HIGH, (uint32_t)(available >> 32));
	reg_write(USED_LOW, (uint32_t)done);
	reg_write(USED_HIGH, (uint32_t)(done >> 32));
	reg_write(QUEUE_READY, 1);
}

#define BLK_F_FLUSH (1u << 9) /* VIRTIO 1.2, 5.2.3; without it each write is on the disk when it ends */

static inline void start_device_with(uint32_t features)
{
	for (uint32_t i = 0; i < 0x3000; i++)
		((volatile uint8_t *)descs)[i] = 0;
	negotiate(features);
	set_queue(QUEUE_SIZE, (uint64_t)descs, (uint64_t)avail, (uint64_t)used);
	reg_write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

static inline void start_device(void)
{
	start_device_with(0);
}

static inline void set_desc(int i, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	descs[i].address = address;
	descs[i].length = length;
	descs[i].flags = flags;
	descs[i].next = next;
}

static inline void offer(uint16_t head)
{
	avail->ring[avail->index % QUEUE_SIZE] = head;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	avail->index++;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	reg_write(QUEUE_NOTIFY, 0);
}

/* One request of 512 bytes; returns the status that the device wrote, 0x100 when it broke instead. */
static inline uint32_t request_with(uint32_t type, uint64_t sector, uint64_t data, uint32_t length)
{
	uint16_t before = used->index;

	header->type = type;
	header->sector = sector;
	status_byte = 0xee;
	set_desc(0, (uint64_t)header, 16, NEXT, 1);
	set_desc(1, data, length, type == 0 ? NEXT | WRITE : NEXT, 2);
	set_desc(2, (uint64_t)&status_byte, 1, WRITE, 0);
	offer(0);
	while (used->index == before)
		if (reg_read(STATUS) & NEEDS_RESET)
			return 0x100;
	return status_byte;
}

static inline uint32_t request(uint32_t type, uint64_t sector)
{
	return request_with(type, sector, (uint64_t)buffer, 512);
}

#endif
