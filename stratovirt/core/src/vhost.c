#include "vhost.h"

#include <errno.h>
#include <linux/vhost.h>
#include <string.h>
#include <sys/ioctl.h>

static int request(int fd, unsigned long number, void *argument)
{
	return ioctl(fd, number, argument) < 0 ? -errno : 0;
}

int vhost_claim(int fd, uint64_t *features)
{
	int error = request(fd, VHOST_SET_OWNER, NULL);

	return error < 0 ? error : request(fd, VHOST_GET_FEATURES, features);
}

static int set_memory(int fd, const struct guestmem *memory)
{
	struct {
		struct vhost_memory header;
		struct vhost_memory_region regions[GUESTMEM_MAX_REGIONS];
	} table;

	memset(&table, 0, sizeof(table));
	table.header.nregions = memory->count;
	for (uint32_t i = 0; i < memory->count; i++)
		table.regions[i] =
		    (struct vhost_memory_region){.guest_phys_addr = memory->regions[i].gpa,
						 .memory_size = memory->regions[i].size,
						 .userspace_addr = (uintptr_t)memory->regions[i].host};
	return request(fd, VHOST_SET_MEM_TABLE, &table);
}

int vhost_set_up(int fd, const struct sv_virtio *device, uint64_t features)
{
	int error = request(fd, VHOST_SET_FEATURES, &features);

	return error < 0 ? error : set_memory(fd, &device->vm->memory);
}

int vhost_give_queue(int fd, struct virtio_queue *queue, uint32_t index)
{
	const struct virtq *ring = &queue->ring;
	struct vhost_vring_state state = {.index = index, .num = ring->size};
	struct vhost_vring_addr address = {.index = index,
					   .desc_user_addr = (uintptr_t)ring->desc,
					   .avail_user_addr = (uintptr_t)ring->avail_flags,
					   .used_user_addr = (uintptr_t)ring->used_flags};
	struct vhost_vring_file file = {.index = index, .fd = queue->kick.fd};
	int error = request(fd, VHOST_SET_VRING_NUM, &state);

	if (error == 0) {
		state.num = ring->next_avail;
		error = request(fd, VHOST_SET_VRING_BASE, &state);
	}
	if (error == 0)
		error = request(fd, VHOST_SET_VRING_ADDR, &address);
	if (error == 0)
		error = request(fd, VHOST_SET_VRING_KICK, &file);
	if (error == 0) {
		file.fd = queue->device->lost.fd;
		error = request(fd, VHOST_SET_VRING_ERR, &file);
	}
	if (error == 0) {
		file.fd = queue->device->irq_fd;
		error = request(fd, VHOST_SET_VRING_CALL, &file);
	}
	return error;
}

void vhost_take_queue(int fd, struct virtio_queue *queue, uint32_t index)
{
	struct vhost_vring_file none = {.index = index, .fd = VHOST_FILE_UNBIND};
	struct vhost_vring_state state = {.index = index};

	if (request(fd, VHOST_GET_VRING_BASE, &state) == 0)
		queue->ring.next_avail = (uint16_t)state.num;
	/* A module that refuses has lost the queue already; there is nobody to tell. */
	request(fd, VHOST_SET_VRING_KICK, &none);
	request(fd, VHOST_SET_VRING_CALL, &none);
}
