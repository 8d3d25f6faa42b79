/* Random rings: every chain that comes out is inside guest memory, and every loop ends. */
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "fuzz.h"
#include "virtq.h"

#define PAGE 4096u
#define SIZE (16 * PAGE)
#define BASE 0x40000000u
#define HALF (SIZE / 2) /* two regions that touch in the guest, with a gap between them on the host */

static uint8_t *low;
static uint8_t *high;

static uint8_t *map(void)
{
	uint8_t *at = mmap(NULL, HALF + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(at != MAP_FAILED);
	CHECK(mprotect(at + PAGE, HALF, PROT_READ | PROT_WRITE) == 0);
	return at + PAGE;
}

/* An address near something that matters: a border, a ring, or nothing at all. */
static uint64_t address(struct input *input)
{
	static const uint64_t anchors[] = {BASE,       BASE + HALF, BASE + SIZE, 0,
					   UINT64_MAX, BASE + PAGE, BASE + 0x100};
	uint8_t what = (uint8_t)take(input, 1);

	return anchors[what % 7] + take(input, 1) * (what & 0x80 ? 16 : 1) - (what & 0x40 ? 16 : 0);
}

static uint32_t length(struct input *input)
{
	uint32_t value = (uint32_t)take(input, 2);

	if (value % 16 == 15)
		return UINT32_MAX - value / 16;
	return value % 16 < 8 ? value & 0xfff0 : value;
}

static void put(const struct guestmem *mem, uint64_t gpa, const void *bytes, uint64_t count)
{
	guestmem_write(mem, gpa, bytes, count);
}

/* Descriptors in memory that mostly chain to near neighbours. */
static void fill_table(const struct guestmem *mem, uint64_t gpa, struct input *input)
{
	uint32_t count = (uint32_t)take(input, 1) % 24;

	for (uint32_t i = 0; i < count; i++) {
		struct {
			uint64_t addr;
			uint32_t len;
			uint16_t flags;
			uint16_t next;
		} desc = {address(input), length(input), (uint16_t)(take(input, 1) & 7), 0};
		uint8_t next = (uint8_t)take(input, 1);

		desc.next = (uint16_t)(next & 0x80 ? next * 0x101 : i + next % 4);
		put(mem, gpa + i * sizeof(desc), &desc, sizeof(desc));
	}
}

static bool is_inside(const struct iovec *iov)
{
	const uint8_t *at = iov->iov_base;

	return iov->iov_len > 0 &&
	       ((at >= low && at < low + HALF && iov->iov_len <= (size_t)(low + HALF - at)) ||
		(at >= high && at < high + HALF && iov->iov_len <= (size_t)(high + HALF - at)));
}

static void use(struct virtq *q, const struct chain *chain)
{
	uint64_t bytes = 0;

	CHECK(chain->readable + chain->writable <= chain->capacity);
	CHECK(chain->head < q->size);
	for (uint32_t i = 0; i < chain->readable + chain->writable; i++) {
		CHECK(is_inside(&chain->iov[i]));
		bytes += chain->iov[i].iov_len;
		if (i >=
		    chain->readable) /* scribbles over rings and tables too, as a device may be made to */
			memset(chain->iov[i].iov_base, (int)i, chain->iov[i].iov_len % 64);
	}
	CHECK(bytes == chain->bytes && bytes <= (uint64_t)1 << 32);
	virtq_push(q, chain->head, (uint32_t)bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct guestmem mem = {0};
	struct virtq q = {0};
	struct iovec iov[40];
	struct chain chain = {.iov = iov};
	struct virtq_layout layout;
	struct virtq_limits limits;
	uint8_t flags = (uint8_t)take(&input, 1);
	uint16_t avail;

	if (!low) {
		low = map();
		high = map();
	}
	memset(low, 0, HALF);
	memset(high, 0, HALF);
	CHECK(guestmem_add(&mem, BASE, HALF, low) == 0);
	CHECK(guestmem_add(&mem, BASE + HALF, HALF, high) == 0);
	chain.capacity = 1 + (uint32_t)take(&input, 1) % 40;
	limits = (struct virtq_limits){.max_size = 64, .indirect = flags & 1, .event_idx = flags & 2};
	layout = (struct virtq_layout){flags & 4 ? (uint32_t)take(&input, 2) : 16, BASE, BASE + 0x400,
				       BASE + 0x600};
	if (flags & 8)
		layout = (struct virtq_layout){1u << (take(&input, 1) % 8), address(&input), address(&input),
					       address(&input)};
	fill_table(&mem, layout.desc, &input);
	fill_table(&mem, BASE + PAGE, &input);
	for (uint32_t i = 0; i < 16; i++) {
		uint16_t head = (uint16_t)(take(&input, 1) % 20);

		put(&mem, layout.avail + 4 + 2 * i, &head, 2);
	}
	avail = (uint16_t)take(&input, 1) % 24;
	put(&mem, layout.avail + 2, &avail, 2);
	if (virtq_start(&q, &mem, &layout, &limits) != VIRTQ_OK)
		CHECK(q.size == 0);
	/* A chain may overwrite the available index and so ask for more; it cannot do so for ever in here. */
	for (uint32_t i = 0; i < 100 && virtq_pop(&q, &chain) == VQ_CHAIN; i++) {
		virtq_disable_notification(&q);
		use(&q, &chain);
		virtq_needs_notify(&q);
		virtq_enable_notification(&q);
	}
	return 0;
}
