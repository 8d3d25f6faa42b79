/* A driver for a virtio-blk device behind virtio-mmio, without KVM: register accesses go to the core's bus,
 * and the interrupt line is an eventfd.
 */
#ifndef DRIVER_H
#define DRIVER_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "ring.h"
#include "virtio.h"

#define WINDOW     0xd0000000u
#define IMAGE_SIZE 0x100000u /* 1 MiB */
#define QUEUE_SIZE 16u

#define R_DEVICE_ID    0x008
#define R_FEATURES     0x010
#define R_FEATURES_SEL 0x014
#define R_DRIVER       0x020
#define R_DRIVER_SEL   0x024
#define R_QUEUE_SEL    0x030
#define R_QUEUE_MAX    0x034
#define R_QUEUE_SIZE   0x038
#define R_QUEUE_READY  0x044
#define R_NOTIFY       0x050
#define R_INT_STATUS   0x060
#define R_INT_ACK      0x064
#define R_STATUS       0x070
#define R_DESC         0x080
#define R_AVAIL        0x090
#define R_USED         0x0a0
#define R_CONFIG       0x100

#define S_ACKNOWLEDGE 1u
#define S_DRIVER      2u
#define S_DRIVER_OK   4u
#define S_FEATURES_OK 8u
#define S_NEEDS_RESET 64u
#define S_FAILED      128u
#define S_READY       (S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK)

#define T_IN           0u
#define T_OUT          1u
#define T_FLUSH        4u
#define T_GET_ID       8u
#define T_DISCARD      11u
#define T_WRITE_ZEROES 13u

#define ALL_FEATURES UINT64_MAX

/* Where a request's parts are: one page for each of up to 16 headers and statuses, 64 KiB of data. */
#define HEADER_OF(n) (BUFFERS + (n) * PAGE)
#define STATUS_OF(n) (HEADER_OF(n) + 512)
#define DATA         (BUFFERS + 0x20000)

struct driver {
	struct sv_vm *vm;
	struct sv_virtio *device;
	struct ring ring;
	int image;       /* the test's own view of it */
	uint32_t waited; /* used entries seen, not wrapped */
};

static inline uint64_t reg_read_sized(struct driver *d, uint64_t offset, uint32_t size)
{
	return bus_read(&d->vm->mmio, WINDOW + offset, size);
}

static inline uint32_t reg_read(struct driver *d, uint64_t offset)
{
	return (uint32_t)reg_read_sized(d, offset, 4);
}

static inline void reg_write(struct driver *d, uint64_t offset, uint64_t value)
{
	bus_write(&d->vm->mmio, WINDOW + offset, 4, value);
}

static inline struct sv_blk_config plain_config(int image)
{
	return (struct sv_blk_config){
	    .fd = image, .size = IMAGE_SIZE, .alignment = 1, .discard = 1, .serial = "disk-of-the-tests"};
}

/* An image of which sector n starts with the number n. */
static inline int numbered_image(void)
{
	int image = memfd_create("image", MFD_CLOEXEC);

	CHECK(image >= 0);
	CHECK(ftruncate(image, IMAGE_SIZE) == 0);
	for (uint32_t sector = 0; sector < IMAGE_SIZE / 512; sector++)
		CHECK(pwrite(image, &sector, sizeof(sector), sector * 512l) == sizeof(sector));
	return image;
}

/* A machine with memory and no device. */
static inline struct driver driver_without_device(void)
{
	struct driver d = {.ring = {.ram = ram_map(RAM_SIZE), .size = QUEUE_SIZE}, .image = -1};

	CHECK(sv_vm_create(-1, &d.vm) == 0);
	CHECK(sv_mem_add(d.vm, RAM_GPA, RAM_SIZE, d.ring.ram) == 0);
	return d;
}

/* A machine with one disk; the rings are not told to it yet. */
static inline struct driver driver_open(const struct sv_blk_config *config)
{
	struct driver d = driver_without_device();

	d.image = config->fd;
	CHECK(sv_blk_create(d.vm, config, &d.device) == 0);
	CHECK(sv_mmio_place(d.vm, d.device, WINDOW, 5) == 0);
	return d;
}

static inline void driver_close(struct driver *d)
{
	sv_vm_destroy(d->vm);
	ram_unmap(d->ring.ram, RAM_SIZE);
	if (d->image >= 0)
		close(d->image);
}

static inline void driver_write_features(struct driver *d, uint64_t features)
{
	reg_write(d, R_DRIVER_SEL, 0);
	reg_write(d, R_DRIVER, (uint32_t)features);
	reg_write(d, R_DRIVER_SEL, 1);
	reg_write(d, R_DRIVER, features >> 32);
}

/* Tells the device where the selected queue is. */
static inline void driver_write_layout(struct driver *d, const struct virtq_layout *layout)
{
	reg_write(d, R_QUEUE_SIZE, layout->size);
	reg_write(d, R_DESC, (uint32_t)layout->desc);
	reg_write(d, R_DESC + 4, layout->desc >> 32);
	reg_write(d, R_AVAIL, (uint32_t)layout->avail);
	reg_write(d, R_AVAIL + 4, layout->avail >> 32);
	reg_write(d, R_USED, (uint32_t)layout->used);
	reg_write(d, R_USED + 4, layout->used >> 32);
	reg_write(d, R_QUEUE_READY, 1);
}

static inline void driver_write_queue(struct driver *d, const struct virtq_layout *layout)
{
	reg_write(d, R_QUEUE_SEL, 0);
	driver_write_layout(d, layout);
}

/* VIRTIO 1.2, 3.1.1, up to where the queue could be used. */
static inline void driver_prepare(struct driver *d, uint64_t features)
{
	struct virtq_layout layout = ring_layout(&d->ring);

	reg_write(d, R_STATUS, 0);
	EQUAL(reg_read(d, R_STATUS), 0);
	reg_write(d, R_STATUS, S_ACKNOWLEDGE);
	reg_write(d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER);
	driver_write_features(d, features);
	reg_write(d, R_STATUS, S_READY);
	EQUAL(reg_read(d, R_STATUS), S_READY);
	/* Rings as a driver that is loaded anew would make them. */
	memset(d->ring.ram, 0, TABLES - RAM_GPA);
	d->ring.avail = 0;
	d->waited = 0;
	driver_write_queue(d, &layout);
}

static inline void driver_start(struct driver *d, uint64_t features)
{
	driver_prepare(d, features);
	reg_write(d, R_STATUS, S_READY | S_DRIVER_OK);
	EQUAL(reg_read(d, R_STATUS), S_READY | S_DRIVER_OK);
}

static inline void driver_notify(struct driver *d)
{
	reg_write(d, R_NOTIFY, 0);
}

/* Waits for an interrupt and acknowledges it; returns its cause. */
static inline uint32_t wait_interrupt(struct driver *d)
{
	struct pollfd line = {.fd = d->device->irq_fd, .events = POLLIN};
	uint64_t count;
	uint32_t cause;

	EQUAL(poll(&line, 1, 20000), 1);
	CHECK(read(line.fd, &count, sizeof(count)) == sizeof(count));
	cause = reg_read(d, R_INT_STATUS);
	reg_write(d, R_INT_ACK, cause);
	return cause;
}

static inline bool interrupt_pending(struct driver *d)
{
	struct pollfd line = {.fd = d->device->irq_fd, .events = POLLIN};

	return poll(&line, 1, 0) == 1;
}

static inline void nothing(void *context)
{
	(void)context;
}

/* Returns when the I/O thread has handled all that was sent to it before. */
static inline void settle(struct driver *d)
{
	iothread_call(d->device->io, nothing, NULL);
	iothread_call(d->device->io, nothing, NULL);
}

/* Waits until `count` more requests are used; the driver wants an interrupt for each. None is left
 * pending. */
static inline void wait_used(struct driver *d, uint32_t count)
{
	uint16_t target = (uint16_t)(d->waited + count);

	for (;;) {
		uint16_t seen = used_index(&d->ring);

		if ((int16_t)(seen - target) >= 0)
			break;
		__atomic_store_n(used_event_of(&d->ring), seen, __ATOMIC_SEQ_CST);
		/* What came before the device saw the event brings no interrupt. */
		if (used_index(&d->ring) == seen)
			wait_interrupt(d);
	}
	EQUAL(used_index(&d->ring), target);
	d->waited += count;
	settle(d);
	if (interrupt_pending(d))
		wait_interrupt(d);
}

static inline void put_header(struct driver *d, uint32_t slot, uint32_t type, uint64_t sector)
{
	uint8_t *header = at_gpa(&d->ring, HEADER_OF(slot));
	uint32_t words[2] = {type, 0};

	memcpy(header, words, sizeof(words));
	memcpy(header + 8, &sector, sizeof(sector));
	*(uint8_t *)at_gpa(&d->ring, STATUS_OF(slot)) = 0xee;
}

/* Publishes header, data and status as three descriptors from 3 * slot on; `length` 0 leaves the data out. */
static inline void put_request(struct driver *d, uint32_t slot, uint32_t type, uint64_t sector, uint64_t data,
			       uint32_t length)
{
	bool to_guest = type == T_IN || type == T_GET_ID;
	uint32_t first = 3 * slot;

	put_header(d, slot, type, sector);
	put_desc(&d->ring, first, HEADER_OF(slot), 16, F_NEXT, (int)(length ? first + 1 : first + 2));
	put_desc(&d->ring, first + 1, data, length, F_NEXT | (to_guest ? F_WRITE : 0), (int)first + 2);
	put_desc(&d->ring, first + 2, STATUS_OF(slot), 1, F_WRITE, 0);
	publish(&d->ring, first);
}

static inline uint8_t status_of(struct driver *d, uint32_t slot)
{
	return *(uint8_t *)at_gpa(&d->ring, STATUS_OF(slot));
}

/* Does one request and waits for it; returns the status. */
static inline uint8_t request(struct driver *d, uint32_t type, uint64_t sector, uint64_t data,
			      uint32_t length)
{
	put_request(d, 0, type, sector, data, length);
	driver_notify(d);
	wait_used(d, 1);
	return status_of(d, 0);
}

static inline uint32_t last_used_length(struct driver *d)
{
	return used_at(&d->ring, d->waited - 1).len;
}

/* The 32-bit number at the start of a sector, of memory or of the image. */
static inline uint32_t number_in_ram(struct driver *d, uint64_t gpa)
{
	uint32_t number;

	memcpy(&number, at_gpa(&d->ring, gpa), sizeof(number));
	return number;
}

static inline uint32_t number_in_image(struct driver *d, uint64_t sector)
{
	uint32_t number;

	CHECK(pread(d->image, &number, sizeof(number), (off_t)(sector * 512)) == sizeof(number));
	return number;
}

/* Takes the next event that the device has posted; its kind is 0 when there is none. */
static inline struct sv_event next_event(struct driver *d)
{
	struct sv_event event = {0};

	sv_events_take(d->vm, &event, 1);
	return event;
}

static inline bool engine_works(int engine)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct sv_virtio *device;
	struct sv_vm *vm;
	int error;

	config.engine = engine;
	CHECK(sv_vm_create(-1, &vm) == 0);
	error = sv_blk_create(vm, &config, &device);
	sv_vm_destroy(vm);
	close(config.fd);
	return error == 0;
}

#endif
