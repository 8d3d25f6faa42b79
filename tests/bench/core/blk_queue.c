/* The queue driver: plays the guest against a virtio-blk device, 32 requests in flight, and compares the CPU
 * time of the device's I/O thread with that of the bare system calls for the same reads.
 *
 * Prints one line for each case: name, our ns and the bare ns for a request, requests each second.
 */
#include <stdlib.h>

#include "aio.h"
#include "clocks.h"
#include "driver.h"

#define DEPTH     32u
#define BLOCK     4096u
#define SIZE      (64u << 20)
#define REQUESTS  200000u
#define ROUNDS    5
#define RING_SIZE 128u

static uint64_t sector_of(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state % (SIZE / BLOCK) * (BLOCK / 512);
}

struct result {
	double ns;   /* of CPU for a request */
	double rate; /* requests each second */
};

static uint64_t data_of(uint32_t slot)
{
	return DATA + slot * BLOCK;
}

/* True when the device asked to hear of the entry that was published last (VIRTIO 1.2, 2.7.10). */
static bool wants_notify(struct driver *d, uint16_t before)
{
	uint16_t event;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memcpy(&event, at_gpa(&d->ring, RING_USED + 4 + d->ring.size * sizeof(struct used_elem)),
	       sizeof(event));
	return (uint16_t)(d->ring.avail - event - 1) < (uint16_t)(d->ring.avail - before);
}

/* Publishes a read in a slot, and tells the device where it asked for that. */
static void start_read(struct driver *d, uint32_t slot, uint32_t *state)
{
	uint16_t before = d->ring.avail;

	put_request(d, slot, T_IN, sector_of(state), data_of(slot), BLOCK);
	if (wants_notify(d, before))
		driver_notify(d);
}

static struct result through_the_queue(int image, int engine)
{
	struct sv_blk_config config = {.fd = image, .size = SIZE, .alignment = 1, .engine = engine};
	struct driver d = driver_open(&config);
	clockid_t clock = cpu_clock_of(d.device);
	uint32_t state = 1;
	uint32_t started = 0;
	uint32_t ended = 0;
	uint64_t begin;
	uint64_t cpu;
	struct result result;

	d.ring.size = RING_SIZE;
	driver_start(&d, ALL_FEATURES);
	begin = now_of(CLOCK_MONOTONIC);
	cpu = now_of(clock);
	for (; started < DEPTH; started++)
		start_read(&d, started, &state);
	while (ended < REQUESTS) {
		for (uint16_t used = used_index(&d.ring); (uint16_t)ended != used; ended++) {
			uint32_t slot = used_at(&d.ring, ended).id / 3;

			if (started < REQUESTS) {
				start_read(&d, slot, &state);
				started++;
			}
		}
		__builtin_ia32_pause();
	}
	cpu = now_of(clock) - cpu;
	result.rate = REQUESTS * 1e9 / (double)(now_of(CLOCK_MONOTONIC) - begin);
	result.ns = (double)cpu / REQUESTS;
	driver_close(&d);
	return result;
}

/* The kernel counts who uses a file in a process that has several threads, as a machine's has: the bare calls
 * are made in one, too.
 */
static void *be_there(void *context)
{
	pause();
	return context;
}

static double bare(int image, int engine)
{
	static uint8_t buffers[DEPTH][BLOCK];
	static struct aio_op ops[DEPTH];
	static struct iovec iovs[DEPTH];
	struct aio aio = {0};
	uint32_t state = 1;
	uint64_t cpu;

	CHECK(aio_open(&aio, image, engine, DEPTH) == 0);
	cpu = now_of(CLOCK_THREAD_CPUTIME_ID);
	for (uint32_t done = 0; done < REQUESTS; done += DEPTH) {
		for (uint32_t i = 0; i < DEPTH; i++) {
			iovs[i] = (struct iovec){buffers[i], BLOCK};
			ops[i] = (struct aio_op){.kind = AIO_READ,
						 .iov = &iovs[i],
						 .iov_count = 1,
						 .offset = sector_of(&state) * 512};
			aio_start(&aio, &ops[i]);
		}
		aio_submit(&aio);
		while (aio.in_flight > 0) {
			aio_wait(&aio);
			while (aio_reap(&aio))
				continue;
		}
	}
	cpu = now_of(CLOCK_THREAD_CPUTIME_ID) - cpu;
	aio_free(&aio);
	return (double)cpu / REQUESTS;
}

static void compare(const char *name, int image, int engine)
{
	for (int round = 0; round < ROUNDS; round++) {
		double alone = bare(image, engine);
		struct result ours = through_the_queue(dup(image), engine);

		printf("%s\t%.1f\t%.1f\t%.0f\n", name, ours.ns, alone, ours.rate);
	}
}

/* A file of this folder's file system, without a name. Those in memory read for io_uring on threads of the
 * kernel's, whose time nobody would count.
 */
static int image_file(void)
{
	int file = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return file < 0 ? memfd_create("image", MFD_CLOEXEC) : file;
}

int main(void)
{
	int file = image_file();
	int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
	uint8_t *fill = malloc(SIZE);
	pthread_t other;

	CHECK(pthread_create(&other, NULL, be_there, NULL) == 0);
	CHECK(file >= 0 && zero >= 0 && fill);
	memset(fill, 7, SIZE);
	CHECK(write(file, fill, SIZE) == SIZE);
	free(fill);
	compare("blk, 4 KiB reads of /dev/zero, system calls", zero, SV_AIO_SYNC);
	compare("blk, 4 KiB reads of a file, system calls", file, SV_AIO_SYNC);
	if (engine_works(SV_AIO_URING))
		compare("blk, 4 KiB reads of a file, io_uring", file, SV_AIO_URING);
	return 0;
}
