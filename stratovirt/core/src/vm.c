#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sv.h"

int sv_abi_version(void)
{
	return SV_ABI_VERSION;
}

int sv_vm_create(int vm_fd, struct sv_vm **out)
{
	struct sv_vm *vm = calloc(1, sizeof(*vm));
	pthread_condattr_t monotonic;
	int error;

	if (!vm)
		return -ENOMEM;
	vm->page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	vm->fd = vm_fd < 0 ? -1 : dup(vm_fd);
	if (vm_fd >= 0 && vm->fd < 0) {
		error = -errno;
		goto free_vm;
	}
	error = events_init(&vm->events);
	if (error < 0)
		goto close_fd;
	pthread_mutex_init(&vm->pause_lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&vm->pause_change, &monotonic);
	pthread_condattr_destroy(&monotonic);
	*out = vm;
	return 0;

close_fd:
	if (vm->fd >= 0)
		close(vm->fd);
free_vm:
	free(vm);
	return error;
}

void sv_vm_destroy(struct sv_vm *vm)
{
	vcpus_stop(vm);
	/* On the I/O threads: the system calls that wait for I/O are theirs alone. */
	for (int i = 0; i < vm->device_count; i++)
		virtio_stop(vm->devices[i]);
	for (int i = 0; i < vm->iothread_count; i++)
		if (vm->iothreads[i])
			iothread_stop(vm->iothreads[i]);
	for (int i = 0; i < vm->device_count; i++)
		virtio_free(vm->devices[i]);
	for (int i = 0; i < vm->part_count; i++)
		vm->parts[i].release(vm->parts[i].what);
	for (int i = 0; i < vm->iothread_count; i++)
		if (vm->iothreads[i])
			iothread_free(vm->iothreads[i]);
	for (int i = 0; i < vm->vcpu_count; i++) {
		munmap(vm->vcpus[i].run, vm->vcpus[i].run_size);
		close(vm->vcpus[i].fd);
	}
	events_close(&vm->events);
	pthread_cond_destroy(&vm->pause_change);
	pthread_mutex_destroy(&vm->pause_lock);
	if (vm->fd >= 0)
		close(vm->fd);
	mem_unmap(vm);
	free(vm);
}

int vm_own(struct sv_vm *vm, void *what, void (*release)(void *what))
{
	if (vm->part_count == SV_MAX_PARTS)
		return -ENOSPC;
	vm->parts[vm->part_count++] = (struct part){what, release};
	return 0;
}

int sv_mem_add(struct sv_vm *vm, uint64_t gpa, uint64_t size, void *host)
{
	return guestmem_add(&vm->memory, gpa, size, host);
}

int sv_mem_kind(struct sv_vm *vm, uint64_t page_size, int shared)
{
	if (page_size < (uint64_t)sysconf(_SC_PAGESIZE) || (page_size & (page_size - 1)) != 0)
		return -EINVAL;
	vm->page_size = page_size;
	vm->memory_shared = shared != 0;
	return 0;
}

int sv_mem_load(struct sv_vm *vm, uint64_t gpa, int fd, uint64_t offset, uint64_t length)
{
	uint8_t *to;

	if (length == 0)
		return 0;
	to = guestmem_slice(&vm->memory, gpa, length);
	if (!to)
		return -EFAULT;
	while (length > 0) {
		ssize_t got = pread(fd, to, length, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -ENODATA;
		to += got;
		offset += (uint64_t)got;
		length -= (uint64_t)got;
	}
	return 0;
}

int sv_mem_write(struct sv_vm *vm, uint64_t gpa, const void *bytes, uint64_t length)
{
	return guestmem_write(&vm->memory, gpa, bytes, length) ? 0 : -EFAULT;
}

int sv_events_fd(struct sv_vm *vm)
{
	return vm->events.fd;
}

int sv_events_take(struct sv_vm *vm, struct sv_event *out, int count)
{
	return events_take(&vm->events, out, count);
}
