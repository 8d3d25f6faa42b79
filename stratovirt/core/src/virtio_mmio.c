/* The virtio-mmio window, version 2 (VIRTIO 1.2, 4.2.2). */
#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "virtio.h"

#define WINDOW_SIZE 0x200
#define MAGIC       0x74726976 /* "virt" */
#define VERSION     2
#define VENDOR      0x56525453 /* "STRV" */

enum {
	MAGIC_VALUE = 0x000,
	VERSION_NUMBER = 0x004,
	DEVICE_ID = 0x008,
	VENDOR_ID = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_SIZE_MAX = 0x034,
	QUEUE_SIZE = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC_LOW = 0x080,
	QUEUE_DESC_HIGH = 0x084,
	QUEUE_DRIVER_LOW = 0x090,
	QUEUE_DRIVER_HIGH = 0x094,
	QUEUE_DEVICE_LOW = 0x0a0,
	QUEUE_DEVICE_HIGH = 0x0a4,
	SHM_LEN_LOW = 0x0b0,
	SHM_BASE_HIGH = 0x0bc,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100,
};

static uint32_t read_queue(struct sv_virtio *device, uint64_t offset)
{
	const struct virtio_queue *queue = virtio_selected_queue(device);

	if (!queue)
		return 0;
	return offset == QUEUE_SIZE_MAX ? queue->max_size : queue->ready;
}

static uint32_t read_register(struct sv_virtio *device, uint64_t offset)
{
	switch (offset) {
	case MAGIC_VALUE:
		return MAGIC;
	case VERSION_NUMBER:
		return VERSION;
	case DEVICE_ID:
		return device->ops->type;
	case VENDOR_ID:
		return VENDOR;
	case DEVICE_FEATURES:
		return virtio_offered_page(device, device->device_feature_select);
	case QUEUE_SIZE_MAX:
	case QUEUE_READY:
		return read_queue(device, offset);
	case INTERRUPT_STATUS:
		return virtio_read_interrupt_status(device);
	case STATUS:
		return virtio_read_status(device);
	case SHM_LEN_LOW ... SHM_BASE_HIGH:
		return UINT32_MAX; /* there is no shared memory region */
	case CONFIG_GENERATION:
		return atomic_load(&device->config_generation);
	default:
		return 0;
	}
}

static void set_half(uint64_t *address, bool high, uint32_t value)
{
	uint32_t shift = high ? 32 : 0;

	*address = (*address & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

static void write_queue(struct sv_virtio *device, uint64_t offset, uint32_t value)
{
	struct virtio_queue *queue = virtio_selected_queue(device);

	if (!queue)
		return;
	if (offset == QUEUE_READY) {
		virtio_write_ready(device, queue, value & 1);
		return;
	}
	if (!virtio_queue_is_open(device) || queue->ready)
		return;
	switch (offset) {
	case QUEUE_SIZE:
		queue->layout.size = value;
		break;
	case QUEUE_DESC_LOW:
	case QUEUE_DESC_HIGH:
		set_half(&queue->layout.desc, offset == QUEUE_DESC_HIGH, value);
		break;
	case QUEUE_DRIVER_LOW:
	case QUEUE_DRIVER_HIGH:
		set_half(&queue->layout.avail, offset == QUEUE_DRIVER_HIGH, value);
		break;
	default:
		set_half(&queue->layout.used, offset == QUEUE_DEVICE_HIGH, value);
		break;
	}
}

static void write_register(struct sv_virtio *device, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case DEVICE_FEATURES_SEL:
		device->device_feature_select = value;
		break;
	case DRIVER_FEATURES:
		virtio_accept_page(device, device->driver_feature_select, value);
		break;
	case DRIVER_FEATURES_SEL:
		device->driver_feature_select = value;
		break;
	case QUEUE_SEL:
		device->queue_select = value;
		break;
	case QUEUE_SIZE:
	case QUEUE_READY:
	case QUEUE_DESC_LOW:
	case QUEUE_DESC_HIGH:
	case QUEUE_DRIVER_LOW:
	case QUEUE_DRIVER_HIGH:
	case QUEUE_DEVICE_LOW:
	case QUEUE_DEVICE_HIGH:
		write_queue(device, offset, value);
		break;
	case QUEUE_NOTIFY: /* from KVM only what its ioeventfds, once there are any, do not match */
		virtio_notify(device, value);
		break;
	case INTERRUPT_ACK:
		atomic_fetch_and(&device->interrupt_status, ~value);
		break;
	case STATUS:
		virtio_write_status(device, value & 0xff);
		break;
	default:
		break;
	}
}

/* VIRTIO 1.2, 4.2.2.2: registers are 32 bits wide and accessed as such. */
static bool is_register(uint64_t offset, uint32_t size)
{
	return offset < CONFIG && size == 4 && offset % 4 == 0;
}

static uint64_t mmio_read(void *context, uint64_t offset, uint32_t size)
{
	struct sv_virtio *device = context;
	uint64_t value = 0;

	if (offset >= CONFIG) /* has a lock of its own */
		return virtio_read_config(device, offset - CONFIG, size);
	if (!is_register(offset, size))
		return 0;
	pthread_mutex_lock(&device->lock);
	value = read_register(device, offset);
	pthread_mutex_unlock(&device->lock);
	return value;
}

static void mmio_write(void *context, uint64_t offset, uint32_t size, uint64_t value)
{
	struct sv_virtio *device = context;

	if (offset < CONFIG && !is_register(offset, size))
		return;
	pthread_mutex_lock(&device->lock);
	if (offset >= CONFIG)
		virtio_write_config(device, offset - CONFIG, size, value);
	else
		write_register(device, offset, (uint32_t)value);
	pthread_mutex_unlock(&device->lock);
}

static const struct bus_ops mmio_ops = {mmio_read, mmio_write};

/* Has KVM write a queue's eventfd when its number is written to QueueNotify. */
static int add_ioeventfd(const struct sv_virtio *device, uint32_t queue)
{
	struct kvm_ioeventfd ioeventfd = {.datamatch = queue,
					  .addr = device->window + QUEUE_NOTIFY,
					  .len = 4,
					  .fd = device->queues[queue].kick.fd,
					  .flags = KVM_IOEVENTFD_FLAG_DATAMATCH};

	return ioctl(device->vm->fd, KVM_IOEVENTFD, &ioeventfd) < 0 ? -errno : 0;
}

/* KVM waits at each for everybody who looks up an address at that moment: on a busy host milliseconds for all
 * queues, which the guest's first instruction need not wait for. */
int sv_mmio_hand_over(struct sv_vm *vm)
{
	if (vm->fd < 0)
		return 0;
	for (int i = 0; i < vm->device_count; i++) {
		const struct sv_virtio *device = vm->devices[i];

		for (uint32_t queue = 0; device->irq_fd >= 0 && queue < device->queue_count; queue++) {
			int error = add_ioeventfd(device, queue);

			if (error < 0)
				return error;
		}
	}
	return 0;
}

int sv_mmio_place(struct sv_vm *vm, struct sv_virtio *device, uint64_t base, uint32_t gsi)
{
	int irq_fd;
	int error;

	if (device->irq_fd >= 0)
		return -EBUSY;
	irq_fd = irq_open(vm, gsi);
	if (irq_fd < 0)
		return irq_fd;
	error = bus_add(&vm->mmio, base, WINDOW_SIZE, &mmio_ops, device);
	if (error < 0) {
		close(irq_fd);
		return error;
	}
	device->window = base;
	device->irq_fd = irq_fd;
	return 0;
}
