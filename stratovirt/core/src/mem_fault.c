/* A page of guest memory that the host no longer has: the pool of huge pages or the file system behind it has
 * run out, or its memory broke. What a thread would have read is not known, and going on could write it to a
 * disk: the process ends at once, with a line that says why.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#include "last_words.h"
#include "sv.h"

#define STATUS (128 + SIGBUS)

#define NO_PAGE                                                                                              \
	"the host has no page left for guest memory: its huge pages, or the file system of memory.path, "    \
	"have run out; the process ends"
#define BROKEN_PAGE "memory of the host is broken where guest memory was; the process ends"

/* Of every machine in the process; a place that is free has size 0. */
static struct {
	_Atomic uintptr_t start;
	_Atomic uint64_t size;
} watched[GUESTMEM_MAX_REGIONS];

static struct sigaction before;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool installed; /* under the lock */

static bool is_watched(uintptr_t address)
{
	for (uint32_t i = 0; i < GUESTMEM_MAX_REGIONS; i++)
		if (address - atomic_load(&watched[i].start) < atomic_load(&watched[i].size))
			return true;
	return false;
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (!is_watched((uintptr_t)info->si_addr)) {
		/* Not ours: the access is done again, and meets who was there before. */
		sigaction(number, &before, NULL);
		return;
	}
	last_words_say("mem_fault.c", __LINE__, info->si_code == BUS_ADRERR ? NO_PAGE : BROKEN_PAGE);
	_exit(STATUS);
}

static int install_locked(void)
{
	struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};

	if (installed)
		return 0;
	if (sigaction(SIGBUS, &action, &before) < 0)
		return -errno;
	installed = true;
	return 0;
}

static int add_locked(const void *host, uint64_t size)
{
	for (uint32_t i = 0; i < GUESTMEM_MAX_REGIONS; i++) {
		if (atomic_load(&watched[i].size) == 0) {
			atomic_store(&watched[i].start, (uintptr_t)host);
			atomic_store(&watched[i].size, size);
			return 0;
		}
	}
	return -ENOSPC;
}

int mem_fault_watch(const void *host, uint64_t size)
{
	int error;

	pthread_mutex_lock(&lock);
	error = install_locked();
	if (error == 0)
		error = add_locked(host, size);
	pthread_mutex_unlock(&lock);
	return error;
}

void mem_fault_forget(const void *host)
{
	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < GUESTMEM_MAX_REGIONS; i++)
		if (atomic_load(&watched[i].start) == (uintptr_t)host)
			atomic_store(&watched[i].size, 0);
	pthread_mutex_unlock(&lock);
}

void mem_fault_unblock(void)
{
	sigset_t bus;

	/* Blocked, it would end the process too, and silently. */
	sigemptyset(&bus);
	sigaddset(&bus, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
}
