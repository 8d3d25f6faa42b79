/* Preloaded by tests: a host without io_uring, whose disk calls can be held back or fail. What is asked
 * stands in a file that the test maps too. Makes no system call of its own but poll(): its process is
 * filtered.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
	int no_uring;    /* io_uring_setup fails */
	int hold_sync;   /* fdatasync waits while it is set */
	int syncs;       /* calls of fdatasync that have begun */
	int synced;      /* and those that have returned */
	int sync_error;  /* errno of fdatasync, or 0 */
	int write_error; /* of pwrite and pwritev2 */
	int read_error;  /* of pread and preadv */
	int clock_step;  /* seconds that the host's clock of the day has moved */
};

static volatile struct control *control;

__attribute__((constructor)) static void map(void)
{
	const char *path = getenv("STRATOVIRT_TEST_FAULTS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *place;

	if (fd < 0)
		return;
	place = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (place != MAP_FAILED)
		control = place;
}

static int fails(int error)
{
	errno = error;
	return -1;
}

long syscall(long number, ...)
{
	static long (*real)(long, ...);
	va_list list;
	long words[6];

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		words[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_io_uring_setup && control && control->no_uring)
		return fails(ENOSYS);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	return real(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

int fdatasync(int fd)
{
	static int (*real)(int);
	int result;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
	if (!control)
		return real(fd);
	__atomic_add_fetch(&control->syncs, 1, __ATOMIC_SEQ_CST);
	while (control->hold_sync)
		poll(NULL, 0, 1);
	result = control->sync_error ? fails(control->sync_error) : real(fd);
	__atomic_add_fetch(&control->synced, 1, __ATOMIC_SEQ_CST);
	return result;
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t offset)
{
	static ssize_t (*real)(int, const void *, size_t, off_t);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pwrite");
	return control && control->write_error ? fails(control->write_error) : real(fd, from, size, offset);
}

ssize_t pread(int fd, void *to, size_t size, off_t offset)
{
	static ssize_t (*real)(int, void *, size_t, off_t);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pread");
	return control && control->read_error ? fails(control->read_error) : real(fd, to, size, offset);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	static ssize_t (*real)(int, const struct iovec *, int, off_t, int);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pwritev2");
	return control && control->write_error ? fails(control->write_error)
					       : real(fd, iov, count, offset, flags);
}

ssize_t preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
	static ssize_t (*real)(int, const struct iovec *, int, off_t);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "preadv");
	return control && control->read_error ? fails(control->read_error) : real(fd, iov, count, offset);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static int (*real)(clockid_t, struct timespec *);
	int result;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	result = real(clock, now);
	if (result == 0 && control && clock == CLOCK_REALTIME)
		now->tv_sec += control->clock_step;
	return result;
}
