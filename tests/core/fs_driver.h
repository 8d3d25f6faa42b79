/* A driver of a shared folder's device, which a played daemon serves; memory is two regions of one file, with
 * a ring in each.
 */
#ifndef FS_DRIVER_H
#define FS_DRIVER_H

#include "fs_daemon.h"

#define FEATURES  (F_PROTOCOL | F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)
#define RING_ROOM (RAM_SIZE / 2) /* of each queue, which is in a region of its own */

struct guest {
	struct driver d;
	struct daemon *daemon;
	int memory;
};

static struct daemon the_daemon;

static inline int create(struct guest *g, const char *tag)
{
	struct sv_fs_config config = {.memory_fd = g->memory};
	int error;

	strncpy(config.tag, tag, sizeof(config.tag));
	config.connection = daemon_start(g->daemon);
	error = sv_fs_create(g->d.vm, &config, &g->d.device);
	close(config.connection);
	meet(g->daemon);
	return error;
}

static inline struct guest guest_new(void)
{
	struct guest g = {.daemon = &the_daemon};
	void *ram;

	silent = false;
	the_daemon = (struct daemon){.features = FEATURES, .protocol = REPLY_ACK};
	CHECK(sv_vm_create(-1, &g.d.vm) == 0);
	g.memory = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CHECK(ftruncate(g.memory, RAM_SIZE) == 0);
	CHECK(sv_mem_map(g.d.vm, g.memory, RAM_SIZE, SV_MAP_SHARED, &ram) == 0);
	CHECK(sv_mem_add(g.d.vm, RAM_GPA, RAM_SIZE / 2, ram) == 0);
	CHECK(sv_mem_add(g.d.vm, RAM_GPA + RAM_SIZE / 2, RAM_SIZE / 2, (uint8_t *)ram + RAM_SIZE / 2) == 0);
	g.d.ring = (struct ring){.ram = ram, .size = QUEUE_SIZE};
	return g;
}

static inline struct guest guest_open(void)
{
	struct guest g = guest_new();

	EQUAL(create(&g, "data"), 0);
	CHECK(sv_mmio_place(g.d.vm, g.d.device, WINDOW, 5) == 0);
	return g;
}

static inline void guest_close(struct guest *g)
{
	meet(g->daemon);
	sv_vm_destroy(g->d.vm);
	daemon_stop(g->daemon);
	close(g->memory);
}

static inline void prepare(struct guest *g)
{
	struct virtq_layout layout = ring_layout(&g->d.ring);

	reg_write(&g->d, R_STATUS, 0);
	reg_write(&g->d, R_STATUS, S_ACKNOWLEDGE);
	reg_write(&g->d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER);
	driver_write_features(&g->d, ALL_FEATURES);
	reg_write(&g->d, R_STATUS, S_READY);
	for (uint32_t i = 0; i < FS_QUEUES; i++) {
		reg_write(&g->d, R_QUEUE_SEL, i);
		driver_write_layout(&g->d, &layout);
		layout.desc += RING_ROOM;
		layout.avail += RING_ROOM;
		layout.used += RING_ROOM;
	}
}

static inline void start(struct guest *g)
{
	prepare(g);
	meet(g->daemon);
	reg_write(&g->d, R_STATUS, S_READY | S_DRIVER_OK);
	settle(&g->d);
	meet(g->daemon);
}

static inline void reset(struct guest *g)
{
	meet(g->daemon);
	reg_write(&g->d, R_STATUS, 0);
	EQUAL(reg_read(&g->d, R_STATUS), 0);
	meet(g->daemon);
}

static inline void expect_failed(struct guest *g, int error)
{
	struct sv_event event = next_event(&g->d);

	EQUAL(event.kind, SV_EVENT_VHOST_FAILED);
	EQUAL(event.source, sv_virtio_id(g->d.device));
	EQUAL(event.data[0], error);
	EQUAL(reg_read(&g->d, R_STATUS) & S_NEEDS_RESET, S_NEEDS_RESET);
}

#endif
