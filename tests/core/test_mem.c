/* Guest memory on the host. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "sv.h"

#define MIB            (1u << 20)
#define UNKNOWN_ADVICE 9999 /* as MADV_POPULATE_WRITE is to an old kernel */

static struct sv_vm *machine(void)
{
	struct sv_vm *vm;

	CHECK(sv_vm_create(-1, &vm) == 0);
	return vm;
}

static int file_of(off_t size)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(ftruncate(fd, size) == 0);
	return fd;
}

static uint64_t resident(void *map, uint64_t size)
{
	static unsigned char pages[64 * MIB / 4096];
	uint64_t count = 0;

	CHECK(mincore(map, size, pages) == 0);
	for (uint64_t i = 0; i < size / 4096; i++)
		count += pages[i] & 1;
	return count;
}

/* True when the flags of the mapping in /proc/self/smaps have the word. */
static bool has_flag(const void *map, const char *word)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	char line[512];
	bool here = false;
	bool found = false;

	CHECK(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		unsigned long from;
		unsigned long to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from <= (uintptr_t)map && (uintptr_t)map < to;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, word) != NULL;
	}
	fclose(smaps);
	return found;
}

static void memory_starts_where_huge_pages_can(void)
{
	struct sv_vm *vm = machine();
	void *map;

	for (int i = 0; i < 8; i++) {
		EQUAL(sv_mem_map(vm, -1, 3 * MIB, SV_MAP_NO_RESERVE, &map), 0);
		EQUAL((uintptr_t)map % (2 * MIB), 0);
		memset(map, i, 3 * MIB);
	}
	EQUAL(sv_mem_map(vm, -1, MIB, 0, &map), -ENOSPC);
	sv_vm_destroy(vm);
}

static void shared_memory_is_the_file_and_private_memory_is_not(void)
{
	struct sv_vm *vm = machine();
	int fd = file_of(MIB);
	char *shared;
	char *private;
	char seen = 0;

	EQUAL(sv_mem_map(vm, fd, MIB, SV_MAP_SHARED, (void **)&shared), 0);
	EQUAL(sv_mem_map(vm, fd, MIB, 0, (void **)&private), 0);
	shared[5000] = 'a';
	CHECK(pread(fd, &seen, 1, 5000) == 1);
	EQUAL(seen, 'a');
	EQUAL(private[5000], 'a');
	private[5000] = 'b';
	EQUAL(shared[5000], 'a');
	close(fd);
	sv_vm_destroy(vm);
}

static void core_files_and_huge_pages_are_as_asked(void)
{
	struct sv_vm *vm = machine();
	void *plain;
	void *asked;

	EQUAL(sv_mem_map(vm, -1, 2 * MIB, 0, &plain), 0);
	EQUAL(sv_mem_map(vm, -1, 2 * MIB, SV_MAP_NO_DUMP, &asked), 0);
	CHECK(!has_flag(plain, " dd"));
	CHECK(has_flag(asked, " dd"));
	if (access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0) {
		EQUAL(sv_mem_map(vm, -1, 2 * MIB, SV_MAP_TRANSPARENT, &asked), 0);
		CHECK(!has_flag(plain, " hg"));
		CHECK(has_flag(asked, " hg"));
	}
	sv_vm_destroy(vm);
}

static void sizes_that_cannot_be_are_refused(void)
{
	struct sv_vm *vm = machine();
	void *map;

	EQUAL(sv_mem_map(vm, -1, 0, 0, &map), -EINVAL);
	EQUAL(sv_mem_map(vm, -1, MIB + 1, 0, &map), -EINVAL);
	EQUAL(sv_mem_map(vm, -1, UINT64_MAX - 4095, 0, &map), -EINVAL);
	EQUAL(sv_mem_map(vm, -1, (uint64_t)1 << 60, SV_MAP_NO_RESERVE, &map), -ENOMEM);
	EQUAL(sv_mem_map(vm, 999, MIB, 0, &map), -EBADF);
	EQUAL(vm->map_count, 0);
	sv_vm_destroy(vm);
}

static void every_page_is_there_after_populating(void)
{
	static const int threads[] = {-1, 0, 1, 2, 3, 7, 16, 1000};

	for (uint32_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++) {
		struct sv_vm *vm = machine();
		int fd = file_of(5 * MIB);
		void *private;
		void *shared;

		EQUAL(sv_mem_map(vm, -1, 23 * MIB, SV_MAP_NO_RESERVE, &private), 0);
		EQUAL(sv_mem_map(vm, fd, 5 * MIB, SV_MAP_SHARED, &shared), 0);
		EQUAL(resident(private, 23 * MIB), 0);
		EQUAL(sv_mem_populate(vm, threads[i]), 0);
		EQUAL(resident(private, 23 * MIB), 23 * MIB / 4096);
		EQUAL(resident(shared, 5 * MIB), 5 * MIB / 4096);
		close(fd);
		sv_vm_destroy(vm);
	}
}

static void touching_is_as_good_and_changes_nothing(void)
{
	struct sv_vm *vm = machine();
	uint8_t *map;

	EQUAL(sv_mem_map(vm, -1, 9 * MIB, SV_MAP_NO_RESERVE, (void **)&map), 0);
	map[4096 * 7] = 0x77;
	EQUAL(mem_populate_piece(map, 9 * MIB, UNKNOWN_ADVICE), 0);
	EQUAL(resident(map, 9 * MIB), 9 * MIB / 4096);
	EQUAL(map[4096 * 7], 0x77);
	EQUAL(map[0], 0);
	sv_vm_destroy(vm);
}

/* A plain access to what the file does not have would end the process with SIGBUS. */
static void pages_that_the_host_does_not_have_are_an_error(void)
{
	struct sv_vm *vm = machine();
	int fd = file_of(MIB);
	uint8_t *map;

	EQUAL(sv_mem_map(vm, fd, 4 * MIB, SV_MAP_SHARED, (void **)&map), 0);
	EQUAL(sv_mem_populate(vm, 2), -EFAULT);
	EQUAL(mem_populate_piece(map, 4 * MIB, UNKNOWN_ADVICE), -EFAULT);
	close(fd);
	sv_vm_destroy(vm);
}

static void only_hugetlbfs_has_huge_pages(void)
{
	int fd = file_of(MIB);
	int huge = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);

	EQUAL(sv_huge_page_size(fd), 0);
	EQUAL(sv_huge_page_size(999), -EBADF);
	close(fd);
	if (huge < 0)
		return; /* not built in */
	CHECK(sv_huge_page_size(huge) >= 64 * 1024);
	close(huge);
}

/* Lets a child read what the host does not have; returns how the child ended. */
static int ends_reading(const volatile char *place)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (child == 0) {
		close(STDERR_FILENO);
		_exit(*place);
	}
	CHECK(waitpid(child, &status, 0) == child);
	return status;
}

static void a_page_that_the_host_lost_ends_the_process_with_a_status_of_its_own(void)
{
	struct sv_vm *vm = machine();
	int fd = file_of(2 * MIB);
	void *map;
	void *other;
	int status;

	CHECK(sv_mem_map(vm, fd, 2 * MIB, SV_MAP_SHARED, &map) == 0);
	other = mmap(NULL, 2 * MIB, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(other != MAP_FAILED);
	CHECK(ftruncate(fd, MIB) == 0);
	status = ends_reading((char *)map + MIB);
	CHECK(WIFEXITED(status));
	EQUAL(WEXITSTATUS(status), 128 + SIGBUS);
	status = ends_reading((char *)other + MIB); /* no guest's */
	CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != 128 + SIGBUS);
	EQUAL(ends_reading(map), 0);
	munmap(other, 2 * MIB);
	close(fd);
	sv_vm_destroy(vm);
}

int main(int argc, char **argv)
{
	RUN(memory_starts_where_huge_pages_can);
	RUN(shared_memory_is_the_file_and_private_memory_is_not);
	RUN(core_files_and_huge_pages_are_as_asked);
	RUN(sizes_that_cannot_be_are_refused);
	RUN(every_page_is_there_after_populating);
	RUN(touching_is_as_good_and_changes_nothing);
	RUN(pages_that_the_host_does_not_have_are_an_error);
	RUN(a_page_that_the_host_lost_ends_the_process_with_a_status_of_its_own);
	RUN(only_hugetlbfs_has_huge_pages);
	return 0;
}
