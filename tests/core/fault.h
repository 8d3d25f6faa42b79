/* Host I/O that does not end until the test says so: a page of guest memory that userfaultfd holds back. */
#ifndef FAULT_H
#define FAULT_H

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "driver.h"

/* Returns a userfaultfd over the page, or -1 where this host does not allow it. */
static inline int hold_page(struct driver *d, uint64_t gpa)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {.range = {(uintptr_t)at_gpa(&d->ring, gpa), PAGE},
					.mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(__NR_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return -1;
	CHECK(ioctl(fd, UFFDIO_API, &api) == 0);
	CHECK(madvise(at_gpa(&d->ring, gpa), PAGE, MADV_DONTNEED) == 0);
	CHECK(ioctl(fd, UFFDIO_REGISTER, &range) == 0);
	return fd;
}

static inline void wait_fault(int fd)
{
	struct uffd_msg message;

	CHECK(read(fd, &message, sizeof(message)) == sizeof(message));
	EQUAL(message.event, UFFD_EVENT_PAGEFAULT);
}

static inline void release_page(int fd, struct driver *d, uint64_t gpa)
{
	struct uffdio_zeropage zero = {.range = {(uintptr_t)at_gpa(&d->ring, gpa), PAGE}};

	CHECK(ioctl(fd, UFFDIO_ZEROPAGE, &zero) == 0);
	close(fd);
}

#endif
