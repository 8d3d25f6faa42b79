#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "sv.h"

static struct sv_vm *machine(struct sv_iothread **io)
{
	struct sv_vm *vm;

	EQUAL(sv_vm_create(-1, &vm), 0);
	EQUAL(iothread_main(vm, io), 0);
	return vm;
}

struct seen {
	pthread_t thread;
	char name[16];
	sigset_t mask;
	int runs;
};

static void look(void *context)
{
	struct seen *seen = context;

	seen->thread = pthread_self();
	pthread_getname_np(seen->thread, seen->name, sizeof(seen->name));
	pthread_sigmask(SIG_SETMASK, NULL, &seen->mask);
	seen->runs++;
}

static void work_runs_on_the_thread_before_the_call_returns(void)
{
	struct sv_iothread *io;
	struct sv_vm *vm = machine(&io);
	struct seen seen = {0};

	iothread_call(io, look, &seen);
	EQUAL(seen.runs, 1);
	CHECK(!pthread_equal(seen.thread, pthread_self()));
	CHECK(strcmp(seen.name, "io-main") == 0);
	sv_vm_destroy(vm);
}

static void signals_are_not_for_it(void)
{
	struct sv_iothread *io;
	struct sv_vm *vm = machine(&io);
	struct seen seen = {0};
	sigset_t ours;

	iothread_call(io, look, &seen);
	EQUAL(sigismember(&seen.mask, SIGINT), 1);
	EQUAL(sigismember(&seen.mask, SIGTERM), 1);
	EQUAL(sigismember(&seen.mask, SIGRTMIN), 1);
	pthread_sigmask(SIG_SETMASK, NULL, &ours);
	EQUAL(sigismember(&ours, SIGTERM), 0);
	sv_vm_destroy(vm);
}

static void the_main_thread_is_made_once(void)
{
	struct sv_iothread *first;
	struct sv_iothread *second;
	struct sv_vm *vm = machine(&first);

	EQUAL(iothread_main(vm, &second), 0);
	CHECK(first == second);
	EQUAL(vm->iothread_count, 1);
	sv_vm_destroy(vm);
}

static void threads_have_names_of_up_to_15_characters(void)
{
	struct sv_iothread *io;
	struct sv_vm *vm;
	struct seen seen = {0};

	EQUAL(sv_vm_create(-1, &vm), 0);
	EQUAL(sv_iothread_create(vm, "123456789012345", &io), 0);
	EQUAL(sv_iothread_create(vm, "1234567890123456", &io), -EINVAL);
	EQUAL(sv_iothread_create(vm, "", &io), -EINVAL);
	iothread_call(vm->iothreads[1], look, &seen);
	CHECK(strcmp(seen.name, "123456789012345") == 0);
	CHECK(!vm->iothreads[0]);
	sv_vm_destroy(vm);
}

static void eight_threads_fit_beside_the_main_one(void)
{
	struct sv_iothread *io;
	struct sv_vm *vm;

	EQUAL(sv_vm_create(-1, &vm), 0);
	for (int i = 0; i < 8; i++)
		EQUAL(sv_iothread_create(vm, "named", &io), 0);
	EQUAL(sv_iothread_create(vm, "ninth", &io), -ENOSPC);
	EQUAL(iothread_main(vm, &io), 0);
	CHECK(io == vm->iothreads[0]);
	sv_vm_destroy(vm);
}

static void call_from_the_thread(void *context)
{
	struct sv_iothread *io = *(struct sv_iothread **)context;
	struct seen seen = {0};

	iothread_call(io, look, &seen);
	CHECK(pthread_equal(seen.thread, pthread_self()));
	*(struct sv_iothread **)context = NULL;
}

static void a_call_on_the_thread_itself_runs_at_once(void)
{
	struct sv_iothread *io;
	struct sv_vm *vm = machine(&io);

	iothread_call(io, call_from_the_thread, &io);
	CHECK(!io);
	sv_vm_destroy(vm);
}

static void a_call_after_the_end_runs_here(void)
{
	struct sv_iothread *io;
	struct sv_vm *vm = machine(&io);
	struct seen seen = {0};

	iothread_stop(io);
	iothread_call(io, look, &seen);
	CHECK(pthread_equal(seen.thread, pthread_self()));
	sv_vm_destroy(vm); /* stops it once more */
}

static void *call_often(void *context)
{

	for (int i = 0; i < 500; i++) {
		struct seen seen = {0};

		iothread_call(context, look, &seen);
		EQUAL(seen.runs, 1);
	}
	return NULL;
}

static void many_threads_may_call_at_once_and_while_it_stops(void)
{
	struct sv_iothread *io;
	struct sv_vm *vm = machine(&io);
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		EQUAL(pthread_create(&threads[i], NULL, call_often, io), 0);
	iothread_stop(io);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	sv_vm_destroy(vm);
}

struct bell {
	struct io_source source;
	struct sv_iothread *io;
	struct bell *other; /* removed when this one rings */
	int answer;         /* an eventfd */
	int rings;
};

static void on_ring(void *context, uint32_t epoll_events)
{
	struct bell *bell = context;
	uint64_t one = 1;

	CHECK(epoll_events & EPOLLIN);
	__atomic_fetch_add(&bell->rings, 1, __ATOMIC_RELAXED);
	if (bell->other)
		iothread_remove(bell->io, &bell->other->source);
	bell->other = NULL;
	CHECK(write(bell->answer, &one, sizeof(one)) == sizeof(one));
}

static void open_bell(struct bell *bell, struct sv_iothread *io)
{
	*bell = (struct bell){.io = io, .answer = eventfd(0, EFD_CLOEXEC)};
	bell->source = (struct io_source){eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), on_ring, bell};
	EQUAL(iothread_add(io, &bell->source, EPOLLIN | EPOLLET), 0);
}

static void close_bell(struct bell *bell)
{
	close(bell->source.fd);
	close(bell->answer);
}

static void ring(struct bell *bell)
{
	uint64_t one = 1;

	CHECK(write(bell->source.fd, &one, sizeof(one)) == sizeof(one));
}

static void wait_answer(struct bell *bell)
{
	uint64_t count;

	CHECK(read(bell->answer, &count, sizeof(count)) == sizeof(count));
}

static void a_source_is_served_at_each_edge(void)
{
	struct sv_iothread *io;
	struct sv_vm *vm = machine(&io);
	struct bell bell;

	open_bell(&bell, io);
	for (int i = 1; i <= 100; i++) {
		ring(&bell);
		wait_answer(&bell);
		EQUAL(__atomic_load_n(&bell.rings, __ATOMIC_RELAXED), i);
	}
	sv_vm_destroy(vm);
	close_bell(&bell);
}

static void a_removed_source_is_silent(void)
{
	struct sv_iothread *io;
	struct sv_vm *vm = machine(&io);
	struct bell bell;
	struct seen seen = {0};

	open_bell(&bell, io);
	iothread_remove(io, &bell.source);
	ring(&bell);
	iothread_call(io, look, &seen);
	iothread_call(io, look, &seen);
	EQUAL(bell.rings, 0);
	sv_vm_destroy(vm);
	close_bell(&bell);
}

struct pair {
	struct bell bells[2];
};

/* Runs on the thread: both events are in the same batch when it goes on. */
static void ring_both(void *context)
{
	struct pair *pair = context;

	ring(&pair->bells[0]);
	ring(&pair->bells[1]);
}

static void a_handler_may_remove_a_source_whose_event_is_already_taken(void)
{
	struct sv_iothread *io;
	struct sv_vm *vm = machine(&io);
	struct pair pair;
	struct seen seen = {0};

	open_bell(&pair.bells[0], io);
	open_bell(&pair.bells[1], io);
	pair.bells[0].other = &pair.bells[1];
	pair.bells[1].other = &pair.bells[0];
	iothread_call(io, ring_both, &pair);
	iothread_call(io, look, &seen);
	iothread_call(io, look, &seen);
	EQUAL(pair.bells[0].rings + pair.bells[1].rings, 1);
	sv_vm_destroy(vm);
	close_bell(&pair.bells[0]);
	close_bell(&pair.bells[1]);
}

static void a_thread_has_the_id_that_the_kernel_knows(void)
{
	struct sv_iothread *io;
	struct sv_vm *vm;
	char path[64];
	char name[16] = "";
	FILE *file;

	CHECK(sv_vm_create(-1, &vm) == 0);
	CHECK(sv_iothread_create(vm, "disks", &io) == 0);
	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", sv_iothread_tid(io));
	file = fopen(path, "re");
	CHECK(file);
	CHECK(fgets(name, sizeof(name), file));
	EQUAL(strcmp(name, "disks\n"), 0);
	fclose(file);
	sv_vm_destroy(vm);
}

int main(int argc, char **argv)
{
	RUN(work_runs_on_the_thread_before_the_call_returns);
	RUN(signals_are_not_for_it);
	RUN(the_main_thread_is_made_once);
	RUN(threads_have_names_of_up_to_15_characters);
	RUN(eight_threads_fit_beside_the_main_one);
	RUN(a_call_on_the_thread_itself_runs_at_once);
	RUN(a_call_after_the_end_runs_here);
	RUN(many_threads_may_call_at_once_and_while_it_stops);
	RUN(a_source_is_served_at_each_edge);
	RUN(a_removed_source_is_silent);
	RUN(a_handler_may_remove_a_source_whose_event_is_already_taken);
	RUN(a_thread_has_the_id_that_the_kernel_knows);
	return 0;
}
