/* Notifications that KVM passes on by itself, with a machine of the real KVM. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "driver.h"
#include "virtio.h"

#define QUEUES        3
#define QUEUE_NOTIFY  0x50
#define SECOND_WINDOW (WINDOW + 0x200)

struct machine {
	int kvm;
	int fd;
	struct sv_vm *vm;
	struct sv_virtio *disks[2];
};

static struct machine opened(void)
{
	struct machine m = {.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC)};
	struct sv_blk_config config = {.fd = -1, .queues = QUEUES};

	CHECK(m.kvm >= 0);
	m.fd = ioctl(m.kvm, KVM_CREATE_VM, 0);
	CHECK(m.fd >= 0);
	CHECK(ioctl(m.fd, KVM_CREATE_IRQCHIP, 0) == 0);
	CHECK(sv_vm_create(m.fd, &m.vm) == 0);
	for (int i = 0; i < 2; i++)
		CHECK(sv_blk_create(m.vm, &config, &m.disks[i]) == 0);
	return m;
}

static void close_machine(struct machine *m)
{
	sv_vm_destroy(m->vm);
	close(m->fd);
	close(m->kvm);
}

/* Does KVM write the eventfd of a queue? Asked by having it stop to. */
static bool kvm_passes_on(const struct machine *m, const struct sv_virtio *disk, uint64_t window,
			  uint32_t queue)
{
	struct kvm_ioeventfd ioeventfd = {.datamatch = queue,
					  .addr = window + QUEUE_NOTIFY,
					  .len = 4,
					  .fd = disk->queues[queue].kick.fd,
					  .flags =
					      KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_DEASSIGN};

	return ioctl(m->fd, KVM_IOEVENTFD, &ioeventfd) == 0;
}

static void a_device_that_is_only_placed_is_notified_by_register_writes(void)
{
	struct machine m = opened();

	EQUAL(sv_mmio_place(m.vm, m.disks[0], WINDOW, 5), 0);
	for (uint32_t queue = 0; queue < QUEUES; queue++)
		EQUAL(kvm_passes_on(&m, m.disks[0], WINDOW, queue), false);
	close_machine(&m);
}

static void kvm_passes_on_the_notifications_of_each_queue_of_each_device_once_handed_over(void)
{
	struct machine m = opened();

	EQUAL(sv_mmio_place(m.vm, m.disks[0], WINDOW, 5), 0);
	EQUAL(sv_mmio_place(m.vm, m.disks[1], SECOND_WINDOW, 6), 0);
	EQUAL(sv_mmio_hand_over(m.vm), 0);
	for (uint32_t queue = 0; queue < QUEUES; queue++) {
		EQUAL(kvm_passes_on(&m, m.disks[0], WINDOW, queue), true);
		EQUAL(kvm_passes_on(&m, m.disks[1], SECOND_WINDOW, queue), true);
	}
	close_machine(&m);
}

static void a_device_without_a_place_is_left_out(void)
{
	struct machine m = opened();

	EQUAL(sv_mmio_place(m.vm, m.disks[1], WINDOW, 5), 0);
	EQUAL(sv_mmio_hand_over(m.vm), 0);
	EQUAL(kvm_passes_on(&m, m.disks[0], 0, 0), false);
	EQUAL(kvm_passes_on(&m, m.disks[1], WINDOW, 0), true);
	close_machine(&m);
}

static void what_kvm_refuses_is_told(void)
{
	struct machine m = opened();

	EQUAL(sv_mmio_place(m.vm, m.disks[0], WINDOW, 5), 0);
	EQUAL(sv_mmio_hand_over(m.vm), 0);
	EQUAL(sv_mmio_hand_over(m.vm), -EEXIST);
	close_machine(&m);
}

int main(int argc, char **argv)
{
	RUN(a_device_that_is_only_placed_is_notified_by_register_writes);
	RUN(kvm_passes_on_the_notifications_of_each_queue_of_each_device_once_handed_over);
	RUN(a_device_without_a_place_is_left_out);
	RUN(what_kvm_refuses_is_told);
	return 0;
}
