/* Guest memory on the host: mapping it, and having its pages found before the guest needs them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sv.h"

#define ALIGNMENT   (2u << 20) /* lets the host back it with huge pages */
#define MAX_THREADS 16

/* Each thread's share is a multiple of this, so that no two of them fill one huge page where it can be
 * helped. */
#define SHARE_UNIT       ALIGNMENT
#define LARGE_SHARE_UNIT (1u << 30)

/* What process_vm_readv() takes at once. */
#define TOUCH_BATCH 512

int64_t sv_huge_page_size(int fd)
{
	struct statfs status;

	if (fstatfs(fd, &status) < 0)
		return -errno;
	return status.f_type == HUGETLBFS_MAGIC ? status.f_bsize : 0;
}

/* Finds an aligned place, and maps over it. A file of huge pages wants their alignment: the kernel gives it
 * when it chooses itself. */
static void *map_aligned(int fd, uint64_t size, int protection, int flags)
{
	uint64_t reserved = size + ALIGNMENT;
	uint8_t *place;
	uint8_t *start;
	void *map;

	if (fd >= 0 && sv_huge_page_size(fd) > 0)
		return mmap(NULL, size, protection, flags, fd, 0);
	place = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (place == MAP_FAILED)
		return MAP_FAILED;
	start = (uint8_t *)(((uintptr_t)place + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
	map = mmap(start, size, protection, flags | MAP_FIXED, fd, 0);
	if (map == MAP_FAILED) {
		int error = errno;

		munmap(place, reserved);
		errno = error;
		return MAP_FAILED;
	}
	if (start > place)
		munmap(place, (size_t)(start - place));
	munmap(start + size, reserved - size - (size_t)(start - place));
	return map;
}

static int advise(void *map, uint64_t size, int flags)
{
	if ((flags & SV_MAP_NO_DUMP) && madvise(map, size, MADV_DONTDUMP) < 0)
		return -errno;
	if ((flags & SV_MAP_TRANSPARENT) && madvise(map, size, MADV_HUGEPAGE) < 0)
		return -errno;
	return 0;
}

int sv_mem_map(struct sv_vm *vm, int fd, uint64_t size, int flags, void **out)
{
	int map_flags = flags & SV_MAP_SHARED ? MAP_SHARED : MAP_PRIVATE;
	void *map;
	int error;

	if (size == 0 || size % (uint64_t)sysconf(_SC_PAGESIZE) != 0 || size > INT64_MAX)
		return -EINVAL;
	if (vm->map_count == GUESTMEM_MAX_REGIONS)
		return -ENOSPC;
	if (fd < 0)
		map_flags |= MAP_ANONYMOUS;
	else if (flags & SV_MAP_SHARED)
		/* Who maps it too cannot cut it off under us; only a memfd has seals. */
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	if (flags & SV_MAP_NO_RESERVE)
		map_flags |= MAP_NORESERVE;
	map = map_aligned(fd, size, PROT_READ | PROT_WRITE, map_flags);
	if (map == MAP_FAILED)
		return -errno;
	error = advise(map, size, flags);
	if (error == 0)
		error = mem_fault_watch(map, size);
	if (error < 0) {
		munmap(map, size);
		return error;
	}
	vm->maps[vm->map_count++] = (struct mapping){map, size};
	*out = map;
	return 0;
}

void mem_unmap(struct sv_vm *vm)
{
	while (vm->map_count > 0) {
		vm->map_count--;
		mem_fault_forget(vm->maps[vm->map_count].host);
		munmap(vm->maps[vm->map_count].host, vm->maps[vm->map_count].size);
	}
}

/* Reads a byte of each page onto itself by the kernel's hand: what a plain access would answer with SIGBUS is
 * an error here. For kernels without MADV_POPULATE_WRITE. */
static int touch(uint8_t *from, uint64_t size)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct iovec pages[TOUCH_BATCH];

	while (size > 0) {
		unsigned long count = 0;
		ssize_t done;

		for (; count < TOUCH_BATCH && size > 0; count++, from += page, size -= page)
			pages[count] = (struct iovec){from, 1};
		done = process_vm_readv(getpid(), pages, count, pages, count, 0);
		if (done != (ssize_t)count)
			return done < 0 ? -errno : -EFAULT;
	}
	return 0;
}

int mem_populate_piece(uint8_t *from, uint64_t size, int advice)
{
	while (madvise(from, size, advice) < 0) {
		if (errno == EINVAL)
			return touch(from, size);
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
	return 0;
}

struct worker {
	const struct mapping *map;
	uint64_t from;
	uint64_t size;
	pthread_t thread;
	int result;
};

static void *work(void *context)
{
	struct worker *worker = context;

	worker->result = mem_populate_piece((uint8_t *)worker->map->host + worker->from, worker->size,
					    MADV_POPULATE_WRITE);
	return NULL;
}

static int populate(const struct mapping *map, uint32_t threads)
{
	uint64_t unit = map->size / threads >= LARGE_SHARE_UNIT ? LARGE_SHARE_UNIT : SHARE_UNIT;
	uint64_t share = (map->size / threads + unit - 1) / unit * unit;
	struct worker workers[MAX_THREADS];
	uint32_t count = 0;
	int error = 0;

	for (uint64_t from = 0; from < map->size && error == 0; from += share) {
		struct worker *worker = &workers[count];

		*worker = (struct worker){.map = map, .from = from};
		worker->size = share < map->size - from ? share : map->size - from;
		error = -pthread_create(&worker->thread, NULL, work, worker);
		if (error == 0)
			count++;
	}
	for (uint32_t i = 0; i < count; i++) {
		pthread_join(workers[i].thread, NULL);
		if (error == 0)
			error = workers[i].result;
	}
	return error;
}

int sv_mem_populate(struct sv_vm *vm, int threads)
{
	uint32_t count = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : (uint32_t)threads;

	for (uint32_t i = 0; i < vm->map_count; i++) {
		int error = populate(&vm->maps[i], count);

		if (error < 0)
			return error;
	}
	return 0;
}
