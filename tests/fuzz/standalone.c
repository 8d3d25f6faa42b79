/* A main for targets that are built without libFuzzer:
 *
 *   fuzz_x FILE...                      replays inputs
 *   fuzz_x -inputs=N -seed=S            makes N random inputs; the same seed makes the same ones
 *   fuzz_x -seconds=T -seed=S           goes on for a time
 *
 * A crash leaves the input that did it in crash-input.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define MAX_SIZE 4096

/* Before each run the input is here: a file that is shared, so that it survives any end of the process. */
static uint8_t *current;

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Half of the inputs are short, and half of all bytes are small numbers: both reach more than white noise. */
static size_t make(uint64_t *state)
{
	size_t size = next(state) % (next(state) % 2 ? 256 : MAX_SIZE);
	uint64_t mask = next(state) % 2 ? 0xff : 0x1f;

	for (size_t i = 0; i < size; i++)
		current[i] = (uint8_t)(next(state) >> 24 & (next(state) % 4 ? mask : 0xff));
	return size;
}

static int replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	size_t size;

	if (!file) {
		perror(path);
		return 1;
	}
	size = fread(current, 1, MAX_SIZE, file);
	fclose(file);
	LLVMFuzzerTestOneInput(current, size);
	return 0;
}

static int map_current(void)
{
	int fd = open("crash-input", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || ftruncate(fd, MAX_SIZE) < 0)
		return -1;
	current = mmap(NULL, MAX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return current == MAP_FAILED ? -1 : 0;
}

static uint64_t option(int argc, char **argv, const char *name, uint64_t otherwise)
{
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], name, strlen(name)) == 0)
			return strtoull(argv[i] + strlen(name), NULL, 0);
	return otherwise;
}

int main(int argc, char **argv)
{
	uint64_t inputs = option(argc, argv, "-inputs=", UINT64_MAX);
	time_t until = time(NULL) + (time_t)option(argc, argv, "-seconds=", 1000000000);
	uint64_t state = option(argc, argv, "-seed=", 1) * 0x9e3779b97f4a7c15ull | 1;
	uint64_t done = 0;

	if (map_current() < 0) {
		perror("crash-input");
		return 1;
	}
	if (argc > 1 && argv[1][0] != '-') {
		int failed = 0;

		for (int i = 1; i < argc; i++)
			failed |= replay(argv[i]);
		return failed;
	}
	while (done < inputs && (done % 64 != 0 || time(NULL) < until)) {
		LLVMFuzzerTestOneInput(current, make(&state));
		done++;
	}
	unlink("crash-input");
	printf("%llu inputs\n", (unsigned long long)done);
	return 0;
}
