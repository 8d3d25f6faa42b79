/* disk_load DEVICE read|write random|sequential BLOCK DEPTH SECONDS: that many threads, one request each at a
 * time, past the guest's page cache. Prints requests each second.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

#define MAX_THREADS 64

static int device;
static int writes;
static int is_random;
static size_t block;
static uint64_t blocks;
static atomic_int over;
static atomic_ulong next_block;
static atomic_ulong done;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *work(void *argument)
{
	uint64_t state = (uint64_t)(uintptr_t)argument * 2654435761u + 1;
	void *buffer;

	if (posix_memalign(&buffer, 4096, block) != 0)
		exit(2);
	memset(buffer, 1, block);
	while (!atomic_load(&over)) {
		uint64_t at;
		ssize_t moved;

		state = state * 6364136223846793005u + 1442695040888963407u;
		at = is_random ? (state >> 20) % blocks : atomic_fetch_add(&next_block, 1) % blocks;
		moved = writes ? pwrite(device, buffer, block, (off_t)(at * block))
			       : pread(device, buffer, block, (off_t)(at * block));
		if (moved != (ssize_t)block) {
			perror("disk_load");
			exit(1);
		}
		atomic_fetch_add(&done, 1);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[MAX_THREADS];
	int depth;
	double begin;
	uint64_t size;

	if (argc != 7)
		return 2;
	writes = strcmp(argv[2], "write") == 0;
	is_random = strcmp(argv[3], "random") == 0;
	block = (size_t)atol(argv[4]);
	depth = atoi(argv[5]);
	device = open(argv[1], O_RDWR | O_DIRECT);
	if (device < 0 || ioctl(device, BLKGETSIZE64, &size) < 0 || depth < 1 || depth > MAX_THREADS)
		return 2;
	blocks = size / block;
	begin = now();
	for (long i = 0; i < depth; i++)
		pthread_create(&threads[i], NULL, work, (void *)(i + 1));
	usleep((useconds_t)(atof(argv[6]) * 1e6));
	atomic_store(&over, 1);
	for (int i = 0; i < depth; i++)
		pthread_join(threads[i], NULL);
	printf("%.1f\n", (double)atomic_load(&done) / (now() - begin));
	return 0;
}
