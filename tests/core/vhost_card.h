/* A card whose frames the host's kernel serves: the module's ioctls end here, and what would be a tap is a
 * pipe, which has an error for whoever polls it once its other end is closed, as a tap has without its
 * interface.
 */
#ifndef VHOST_CARD_H
#define VHOST_CARD_H

#include "net_driver.h"
#include "vhost_module.h"

#define MODULES 2 /* one for each pair */

struct module {
	int number; /* of its descriptor */
	int backend[2];
	unsigned base[2];    /* where it was told to begin */
	unsigned came_to[2]; /* where it says that it is in a ring that is taken from it */
};

static struct module modules[MODULES];

static inline struct module *module_of(int fd)
{
	for (int i = 0; i < MODULES; i++)
		if (modules[i].number == fd)
			return &modules[i];
	for (int i = 0; i < MODULES; i++)
		if (modules[i].number < 0) {
			modules[i].number = fd;
			return &modules[i];
		}
	abort();
}

static void to_module(int fd, unsigned long number, void *argument)
{
	struct module *module = module_of(fd);
	struct vhost_vring_file *file = argument;
	struct vhost_vring_state *state = argument;

	switch (number) {
	case VHOST_GET_FEATURES:
		*(uint64_t *)argument = EVERYTHING;
		break;
	case VHOST_NET_SET_BACKEND:
		module->backend[file->index] = file->fd;
		break;
	case VHOST_SET_VRING_BASE:
		module->base[state->index] = state->num;
		break;
	case VHOST_GET_VRING_BASE:
		EQUAL(module->backend[state->index], -1); /* it is at work no more */
		state->num = module->came_to[state->index];
		break;
	default:
		break;
	}
}

struct vhost_card {
	struct card c;
	int taps[SV_NET_MAX_PAIRS]; /* the other ends */
};

static inline struct vhost_card vhost_open(int pairs)
{
	struct vhost_card v = {.c = {.size = QUEUE_SIZE, .ram = ram_map(NET_RAM)}};
	struct sv_net_config config = {.pairs = pairs, .backend = {.count = pairs, .vhost = 1}};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	refused = 0;
	for (int i = 0; i < MODULES; i++)
		modules[i] = (struct module){.number = -1, .backend = {-1, -1}};
	v.c.queue_count = 2 * (uint32_t)pairs + (pairs > 1);
	for (int i = 0; i < pairs; i++) {
		int ends[2];

		CHECK(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
		v.taps[i] = ends[0];
		config.backend.fds[i] = ends[1];
		config.backend.vhost_fds[i] = null;
	}
	CHECK(sv_vm_create(-1, &v.c.d.vm) == 0);
	CHECK(sv_mem_add(v.c.d.vm, RAM_GPA, NET_RAM, v.c.ram) == 0);
	EQUAL(sv_net_create(v.c.d.vm, &config, &v.c.d.device), 0);
	CHECK(sv_mmio_place(v.c.d.vm, v.c.d.device, WINDOW, 5) == 0);
	for (int i = 0; i < pairs; i++)
		close(config.backend.fds[i]);
	close(null);
	return v;
}

/* All interfaces go. */
static inline void delete_taps(struct vhost_card *v)
{
	for (int i = 0; i < SV_NET_MAX_PAIRS; i++)
		if (v->taps[i] > 0)
			close(v->taps[i]);
	memset(v->taps, 0, sizeof(v->taps));
}

static inline void vhost_close(struct vhost_card *v)
{
	card_close(&v->c);
	delete_taps(v);
}

/* Other taps; the last ones are deleted behind the card's back. */
static inline int plug(struct vhost_card *v, int count)
{
	struct sv_net_backend backend = {.count = count};
	int others[SV_NET_MAX_PAIRS] = {0};
	int error;

	for (int i = 0; i < count; i++) {
		int ends[2];

		CHECK(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
		others[i] = ends[0];
		backend.fds[i] = ends[1];
	}
	error = sv_net_plug(v->c.d.device, &backend);
	for (int i = 0; i < count; i++)
		close(backend.fds[i]);
	if (error == 0) {
		delete_taps(v);
		memcpy(v->taps, others, sizeof(others));
		return 0;
	}
	for (int i = 0; i < count; i++)
		close(others[i]);
	return error;
}

static inline bool serves(int pair)
{
	return modules[pair].backend[0] >= 0 && modules[pair].backend[1] >= 0;
}

#endif
