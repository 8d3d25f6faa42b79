/* The config space of a virtio device: both sides may change it (VIRTIO 1.2, 2.5). */
#include "virtio.h"

#include <string.h>

/* How much of an access lies inside the config space; 0 for one that is beyond it or misaligned. */
static uint32_t config_reach(const struct sv_virtio *device, uint64_t offset, uint32_t size)
{
	if (offset >= device->config_size || offset % size != 0)
		return 0;
	return size > device->config_size - offset ? device->config_size - (uint32_t)offset : size;
}

uint64_t virtio_read_config(struct sv_virtio *device, uint64_t offset, uint32_t size)
{
	uint32_t reach = config_reach(device, offset, size); /* what is beyond it reads as zero */
	uint64_t value = 0;

	if (reach > 0)
		virtio_copy_config(device, (uint32_t)offset, &value, reach);
	return value;
}

void virtio_write_config(struct sv_virtio *device, uint64_t offset, uint32_t size, uint64_t value)
{
	uint32_t reach = config_reach(device, offset, size);

	if (reach < size || !device->ops->config_written || !(device->status & VIRTIO_STATUS_DRIVER))
		return;
	pthread_mutex_lock(&device->config_lock);
	memcpy(device->config + offset, &value, size);
	pthread_mutex_unlock(&device->config_lock);
	device->ops->config_written(device);
}

void virtio_copy_config(struct sv_virtio *device, uint32_t offset, void *bytes, uint32_t size)
{
	pthread_mutex_lock(&device->config_lock);
	memcpy(bytes, device->config + offset, size);
	pthread_mutex_unlock(&device->config_lock);
}

void virtio_change_config(struct sv_virtio *device, uint32_t offset, const void *bytes, uint32_t size)
{
	pthread_mutex_lock(&device->config_lock);
	memcpy(device->config + offset, bytes, size);
	/* A driver that reads field by field sees that it has to begin anew (2.5.1). */
	atomic_fetch_add(&device->config_generation, 1);
	pthread_mutex_unlock(&device->config_lock);
	/* Nobody expects an interrupt before: a kernel that has just begun does not survive it. A driver that
	 * comes now reads what is new. */
	if (atomic_load(&device->has_driver))
		virtio_interrupt(device, VIRTIO_INTERRUPT_CONFIG);
}
