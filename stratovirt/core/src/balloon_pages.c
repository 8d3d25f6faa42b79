#include <errno.h>
#include <sys/mman.h>

#include "balloon.h"

#define WORD_BITS 64

static uint64_t memory_end(const struct guestmem *mem)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < mem->count; i++)
		if (mem->regions[i].gpa + mem->regions[i].size > end)
			end = mem->regions[i].gpa + mem->regions[i].size;
	return end;
}

static uint64_t bitmap_size(const struct balloon_memory *memory)
{
	return (memory->pfn_count / WORD_BITS + 1) * sizeof(*memory->inflated);
}

int balloon_memory_open(struct balloon_memory *memory, const struct sv_vm *vm)
{
	void *map;

	memory->mem = &vm->memory;
	memory->page_size = vm->page_size;
	/* Of shared memory the file holds the pages: they are gone when it has a hole in their place. */
	memory->advice = vm->memory_shared ? MADV_REMOVE : MADV_DONTNEED;
	memory->pfn_count = memory_end(&vm->memory) / BALLOON_PAGE;
	if (memory->page_size <= BALLOON_PAGE)
		return 0;
	/* 1/32768 of the address space that memory takes, and of that only what is touched. */
	map = mmap(NULL, bitmap_size(memory), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return -errno;
	memory->inflated = map;
	return 0;
}

void balloon_memory_close(struct balloon_memory *memory)
{
	if (memory->inflated)
		munmap(memory->inflated, bitmap_size(memory));
	memory->inflated = NULL;
}

void balloon_memory_begin(struct balloon_memory *memory, bool is_told)
{
	memory->is_told = is_told;
	if (memory->inflated)
		madvise(memory->inflated, bitmap_size(memory), MADV_DONTNEED); /* reads as zero again */
}

void balloon_memory_give(struct balloon_memory *memory, void *host, uint64_t length)
{
	uintptr_t mask = memory->page_size - 1;
	uintptr_t start = ((uintptr_t)host + mask) & ~mask;
	uintptr_t end = ((uintptr_t)host + length) & ~mask;

	if (start >= end)
		return;
	if (madvise((void *)start, end - start, memory->advice) < 0 && memory->error == 0)
		memory->error = errno;
}

static void set_bit(struct balloon_memory *memory, uint32_t pfn, bool value)
{
	uint64_t bit = (uint64_t)1 << (pfn % WORD_BITS);

	if (pfn >= memory->pfn_count)
		return;
	if (value)
		memory->inflated[pfn / WORD_BITS] |= bit;
	else
		memory->inflated[pfn / WORD_BITS] &= ~bit;
}

static bool are_inflated(const struct balloon_memory *memory, uint64_t pfn, uint64_t count)
{
	uint64_t end = pfn + count; /* at most pfn_count: the pages are guest memory */

	while (pfn < end) {
		uint64_t word = memory->inflated[pfn / WORD_BITS];

		if (pfn % WORD_BITS == 0 && end - pfn >= WORD_BITS) {
			if (word != UINT64_MAX)
				return false;
			pfn += WORD_BITS;
		} else {
			if (!(word >> (pfn % WORD_BITS) & 1))
				return false;
			pfn++;
		}
	}
	return true;
}

/* Shell's sort with Ciura's gaps: qsort() may allocate. */
static void sort(uint32_t *pfns, uint32_t count)
{
	static const uint32_t gaps[] = {701, 301, 132, 57, 23, 10, 4, 1};

	for (uint32_t g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++) {
		uint32_t gap = gaps[g];

		for (uint32_t i = gap; i < count; i++) {
			uint32_t pfn = pfns[i];
			uint32_t at = i;

			for (; at >= gap && pfns[at - gap] > pfn; at -= gap)
				pfns[at] = pfns[at - gap];
			pfns[at] = pfn;
		}
	}
}

/* Gives a run of pages, of which some may be no guest memory; it is no longer than a chunk. */
static void give_run(struct balloon_memory *memory, uint64_t gpa, uint64_t length)
{
	while (length > 0) {
		uint64_t piece = length;
		void *host = guestmem_prefix(memory->mem, gpa, &piece);

		if (host)
			balloon_memory_give(memory, host, piece);
		else if (piece > BALLOON_PAGE)
			piece = BALLOON_PAGE;
		gpa += piece;
		length -= piece;
	}
}

static void give_runs(struct balloon_memory *memory, uint32_t count)
{
	const uint32_t *pfns = memory->chunk;

	for (uint32_t i = 0; i < count;) {
		uint64_t first = pfns[i];
		uint64_t next = first;

		for (; i < count && pfns[i] <= next; i++) /* a number may be there twice */
			if (pfns[i] == next)
				next++;
		give_run(memory, first * BALLOON_PAGE, (next - first) * BALLOON_PAGE);
	}
}

/* Finds the host page that a page number is in: its first number, and where it is. NULL when a part of it is
 * no guest memory. */
static void *host_page(const struct balloon_memory *memory, uint32_t pfn, uint64_t *first)
{
	uint64_t gpa = (uint64_t)pfn * BALLOON_PAGE;
	uint8_t *host = guestmem_slice(memory->mem, gpa, BALLOON_PAGE);
	uint64_t inside = (uintptr_t)host & (memory->page_size - 1);

	if (!host || gpa < inside || inside % BALLOON_PAGE != 0)
		return NULL;
	*first = (gpa - inside) / BALLOON_PAGE;
	return guestmem_slice(memory->mem, gpa - inside, memory->page_size);
}

/* Gives each host page that the chunk has completed. */
static void give_host_pages(struct balloon_memory *memory, uint32_t count)
{
	uint64_t parts = memory->page_size / BALLOON_PAGE;
	uint64_t seen = 0; /* numbers below it were looked at: they are sorted */

	for (uint32_t i = 0; i < count; i++) {
		uint64_t first;
		void *host;

		if (memory->chunk[i] < seen)
			continue;
		host = host_page(memory, memory->chunk[i], &first);
		if (!host)
			continue;
		if (are_inflated(memory, first, parts))
			balloon_memory_give(memory, host, memory->page_size);
		seen = first + parts;
	}
}

/* Has the host find the page while the guest waits for our answer: where it finds none, the guest's first
 * access would end the machine. False when there is none now.
 */
static bool take_back_host_page(struct balloon_memory *memory, void *host)
{
	if (madvise(host, memory->page_size, MADV_POPULATE_WRITE) == 0)
		return true;
	/* What else there is (EINVAL: Linux before 5.14) waiting does not mend, and the first access has to
	 * do.
	 */
	return errno != EFAULT && errno != ENOMEM && errno != EINTR && errno != EAGAIN;
}

static void set_bits(struct balloon_memory *memory, uint32_t count, bool value)
{
	for (uint32_t i = 0; i < count; i++)
		set_bit(memory, memory->chunk[i], value);
}

/* Takes back the host pages of which the sorted chunk names a part, and forgets those parts. */
static enum balloon_taken take_back(struct balloon_memory *memory, uint32_t count)
{
	uint64_t parts = memory->page_size / BALLOON_PAGE;

	for (uint32_t i = 0; i < count;) {
		uint64_t first = memory->chunk[i];
		uint64_t end = first + 1;
		void *host = host_page(memory, memory->chunk[i], &first);

		if (host)
			end = first + parts;
		if (host && are_inflated(memory, first, parts)) {
			if (memory->taken >= BALLOON_TAKEN_MOST)
				return BALLOON_MORE;
			if (!take_back_host_page(memory, host))
				return BALLOON_LACKS;
			memory->taken += memory->page_size;
		}
		for (; i < count && memory->chunk[i] < end; i++)
			set_bit(memory, memory->chunk[i], false);
	}
	return BALLOON_TAKEN;
}

/* Copies the next numbers out of the guest's reach; a rest of less than one counts for nothing. */
static uint32_t take_chunk(struct balloon_memory *memory, struct span *pfns)
{
	uint64_t count = pfns->bytes / sizeof(memory->chunk[0]);

	if (count > BALLOON_CHUNK)
		count = BALLOON_CHUNK;
	span_take(pfns, memory->chunk, count * sizeof(memory->chunk[0]));
	return (uint32_t)count;
}

void balloon_memory_inflate(struct balloon_memory *memory, struct span *pfns)
{
	uint32_t count;

	while ((count = take_chunk(memory, pfns)) > 0) {
		sort(memory->chunk, count);
		if (!memory->inflated) {
			give_runs(memory, count);
			continue;
		}
		set_bits(memory, count, true);
		give_host_pages(memory, count);
		if (!memory->is_told)
			set_bits(memory, count, false);
	}
}

enum balloon_taken balloon_memory_deflate(struct balloon_memory *memory, struct span *pfns)
{
	enum balloon_taken taken = BALLOON_TAKEN;
	uint32_t count;

	if (!memory->inflated)
		return BALLOON_TAKEN; /* the host gives a new page when the guest touches it */
	while (taken == BALLOON_TAKEN && (count = take_chunk(memory, pfns)) > 0) {
		sort(memory->chunk, count);
		taken = take_back(memory, count);
	}
	return taken;
}
