#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sv.h"

#define BATCH     16
#define MAIN_NAME "io-main"
#define NAME_SIZE 16 /* of a thread in Linux, with its NUL */

struct io_call {
	struct io_call *next;
	void (*work)(void *);
	void *context;
	bool done;
};

struct sv_iothread {
	int epoll_fd;
	struct io_source wake; /* an eventfd: there is a call, or the thread shall end */
	pthread_t thread;
	bool woken;                      /* on the thread only: the batch had the wake source in it */
	struct epoll_event batch[BATCH]; /* on the thread only */
	int batch_count;
	const struct sandbox *sandbox; /* the machine's, which outlives us */
	char name[NAME_SIZE];

	pthread_mutex_t lock;  /* for what follows; a leaf of the lock order */
	pthread_cond_t called; /* a call is done */
	struct io_call *calls;
	bool stop;
	bool ended;
	bool ready;  /* it has begun; with a failure it only runs the calls that came before it ended */
	int failure; /* -errno of what it had to do first */
};

/* Nothing reads the counter: with EPOLLET each write is an event of its own. */
static void wake(struct sv_iothread *io)
{
	uint64_t one = 1;

	if (write(io->wake.fd, &one, sizeof(one)) < 0)
		return; /* a full counter was never read, and an event is pending */
}

static void on_wake(void *context, uint32_t epoll_events)
{
	struct sv_iothread *io = context;

	(void)epoll_events;
	io->woken = true;
}

/* Runs the calls that wait, oldest first; says whether the thread has to end. */
static bool run_calls(struct sv_iothread *io)
{
	bool stop;

	pthread_mutex_lock(&io->lock);
	while (io->calls) {
		struct io_call *call = io->calls;

		io->calls = call->next;
		pthread_mutex_unlock(&io->lock);
		call->work(call->context);
		pthread_mutex_lock(&io->lock);
		call->done = true; /* the caller's stack: not ours from here on */
		pthread_cond_broadcast(&io->called);
	}
	stop = io->stop || io->failure < 0;
	io->ended = stop;
	pthread_mutex_unlock(&io->lock);
	return stop;
}

/* A handler of the batch may remove a source whose event is in the batch too: iothread_remove() clears it. */
static void dispatch(struct sv_iothread *io)
{
	for (int i = 0; i < io->batch_count; i++) {
		struct io_source *source = io->batch[i].data.ptr;

		if (source)
			source->run(source->context, io->batch[i].events);
	}
	io->batch_count = 0;
}

static bool begin(struct sv_iothread *io)
{
	int error;

	mem_fault_unblock();
	pthread_setname_np(pthread_self(), io->name);
	error = sandbox_enter(io->sandbox, io->name);
	pthread_mutex_lock(&io->lock);
	io->failure = error;
	io->ready = true;
	pthread_cond_broadcast(&io->called);
	pthread_mutex_unlock(&io->lock);
	return error == 0;
}

static void *thread_main(void *argument)
{
	struct sv_iothread *io = argument;

	if (!begin(io)) {
		run_calls(io);
		return NULL;
	}
	for (;;) {
		int count = epoll_wait(io->epoll_fd, io->batch, BATCH, -1);

		io->batch_count = count > 0 ? count : 0;
		dispatch(io);
		/* Calls come after the whole batch: what they stop has no event left that was taken before.
		 */
		if (io->woken) {
			io->woken = false;
			if (run_calls(io))
				return NULL;
		}
	}
}

/* Signals of the process are for the control thread: the new thread inherits a mask with all of them blocked.
 */
static int start_thread(struct sv_iothread *io)
{
	sigset_t all;
	sigset_t before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&io->thread, NULL, thread_main, io);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

static void close_fds(struct sv_iothread *io)
{
	if (io->epoll_fd >= 0)
		close(io->epoll_fd);
	if (io->wake.fd >= 0)
		close(io->wake.fd);
}

static int create(const struct sandbox *sandbox, const char *name, struct sv_iothread **out)
{
	struct sv_iothread *io = calloc(1, sizeof(*io));
	int error;

	if (!io)
		return -ENOMEM;
	io->sandbox = sandbox;
	strncpy(io->name, name, NAME_SIZE - 1);
	io->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	io->wake =
	    (struct io_source){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .run = on_wake, .context = io};
	if (io->epoll_fd < 0 || io->wake.fd < 0) {
		error = -errno;
		goto close_both;
	}
	error = iothread_add(io, &io->wake, EPOLLIN | EPOLLET);
	if (error < 0)
		goto close_both;
	pthread_mutex_init(&io->lock, NULL);
	pthread_cond_init(&io->called, NULL);
	error = start_thread(io);
	if (error < 0)
		goto destroy_lock;
	*out = io;
	return 0;

destroy_lock:
	pthread_cond_destroy(&io->called);
	pthread_mutex_destroy(&io->lock);
close_both:
	close_fds(io);
	free(io);
	return error;
}

static int control(struct sv_iothread *io, int operation, struct io_source *source, uint32_t epoll_events)
{
	struct epoll_event event = {.events = epoll_events, .data.ptr = source};

	return epoll_ctl(io->epoll_fd, operation, source->fd, &event) < 0 ? -errno : 0;
}

int iothread_add(struct sv_iothread *io, struct io_source *source, uint32_t epoll_events)
{
	return control(io, EPOLL_CTL_ADD, source, epoll_events);
}

int iothread_modify(struct sv_iothread *io, struct io_source *source, uint32_t epoll_events)
{
	return control(io, EPOLL_CTL_MOD, source, epoll_events);
}

struct removal {
	struct sv_iothread *io;
	struct io_source *source;
};

static void remove_here(void *context)
{
	struct removal *removal = context;
	struct sv_iothread *io = removal->io;

	control(io, EPOLL_CTL_DEL, removal->source, 0);
	for (int i = 0; i < io->batch_count; i++)
		if (io->batch[i].data.ptr == removal->source)
			io->batch[i].data.ptr = NULL;
}

void iothread_remove(struct sv_iothread *io, struct io_source *source)
{
	struct removal removal = {io, source};

	iothread_call(io, remove_here, &removal);
}

/* Appends a call and waits for it; false when the thread has ended and runs no more. */
static bool call_and_wait(struct sv_iothread *io, struct io_call *call)
{
	struct io_call **end = &io->calls;

	pthread_mutex_lock(&io->lock);
	if (io->ended) {
		pthread_mutex_unlock(&io->lock);
		return false;
	}
	while (*end)
		end = &(*end)->next;
	*end = call;
	wake(io);
	while (!call->done)
		pthread_cond_wait(&io->called, &io->lock);
	pthread_mutex_unlock(&io->lock);
	return true;
}

void iothread_call(struct sv_iothread *io, void (*work)(void *), void *context)
{
	struct io_call call = {.work = work, .context = context};

	if (pthread_equal(pthread_self(), io->thread) || !call_and_wait(io, &call))
		work(context);
}

void iothread_stop(struct sv_iothread *io)
{
	bool joined;

	pthread_mutex_lock(&io->lock);
	joined = io->stop;
	io->stop = true;
	pthread_mutex_unlock(&io->lock);
	if (joined)
		return;
	wake(io);
	pthread_join(io->thread, NULL);
}

void iothread_free(struct sv_iothread *io)
{
	pthread_cond_destroy(&io->called);
	pthread_mutex_destroy(&io->lock);
	close_fds(io);
	free(io);
}

int iothread_main(struct sv_vm *vm, struct sv_iothread **out)
{
	if (!vm->iothreads[0]) {
		int error = create(&vm->sandboxes[SV_SANDBOX_IOTHREAD], MAIN_NAME, &vm->iothreads[0]);

		if (error < 0)
			return error;
		if (vm->iothread_count == 0)
			vm->iothread_count = 1;
	}
	*out = vm->iothreads[0];
	return 0;
}

int iothread_or_main(struct sv_vm *vm, struct sv_iothread **io)
{
	return *io ? 0 : iothread_main(vm, io);
}

int sv_iothread_create(struct sv_vm *vm, const char *name, struct sv_iothread **out)
{
	int slot = vm->iothread_count > 0 ? vm->iothread_count : 1; /* 0 is kept for the main one */
	size_t length = strnlen(name, NAME_SIZE);
	int error;

	if (length == 0 || length == NAME_SIZE)
		return -EINVAL;
	if (slot == SV_MAX_IOTHREADS)
		return -ENOSPC;
	error = create(&vm->sandboxes[SV_SANDBOX_IOTHREAD], name, &vm->iothreads[slot]);
	if (error < 0)
		return error;
	vm->iothread_count = slot + 1;
	*out = vm->iothreads[slot];
	return 0;
}

int sv_iothreads_ready(struct sv_vm *vm)
{
	int error = 0;

	for (int i = 0; i < vm->iothread_count && error == 0; i++) {
		struct sv_iothread *io = vm->iothreads[i];

		if (!io)
			continue;
		pthread_mutex_lock(&io->lock);
		while (!io->ready)
			pthread_cond_wait(&io->called, &io->lock);
		error = io->failure;
		pthread_mutex_unlock(&io->lock);
	}
	return error;
}

static void read_tid(void *context)
{
	*(int *)context = (int)syscall(__NR_gettid);
}

int sv_iothread_tid(struct sv_iothread *iothread)
{
	int tid = 0;

	iothread_call(iothread, read_tid, &tid);
	return tid;
}
