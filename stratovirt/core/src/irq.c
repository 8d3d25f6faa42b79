#include <errno.h>
#include <linux/kvm.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "sv.h"

int irq_open(struct sv_vm *vm, uint32_t gsi)
{
	struct kvm_irqfd irqfd = {.gsi = gsi};
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int error;

	if (fd < 0)
		return -errno;
	irqfd.fd = (uint32_t)fd;
	if (vm->fd >= 0 && ioctl(vm->fd, KVM_IRQFD, &irqfd) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

void irq_raise(int fd)
{
	uint64_t one = 1;

	/* EAGAIN means a raise that nobody has seen yet: the interrupt is pending as it should be. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}
