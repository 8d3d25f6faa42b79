#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "sv.h"

#define PORT 0x3f8u

static struct sv_vm *machine(int out_fd)
{
	struct sv_uart *uart;
	struct sv_vm *vm;

	EQUAL(sv_vm_create(-1, &vm), 0);
	EQUAL(sv_uart_create(vm, PORT, 4, out_fd, &uart), 0);
	return vm;
}

static void put(struct sv_vm *vm, char byte)
{
	bus_write(&vm->arch.ports, PORT, 1, (uint8_t)byte);
}

static uint64_t cpu_ns(struct sv_iothread *io)
{
	/* clock_getcpuclockid(3) for a thread of which only the number is known: Linux, posix-timers.h */
	clockid_t clock = (clockid_t)(~(unsigned)sv_iothread_tid(io) << 3 | 6);
	struct timespec now;

	CHECK(clock_gettime(clock, &now) == 0);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void what_the_output_does_not_take_comes_when_it_does(void)
{
	char full[65536] = {0};
	char got[3] = "";
	struct sv_vm *vm;
	int ends[2];

	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	EQUAL(write(ends[1], full, sizeof(full)), sizeof(full));
	vm = machine(ends[1]);
	put(vm, 'h');
	put(vm, 'i');
	for (size_t read_so_far = 0; read_so_far < sizeof(full);) {
		ssize_t piece = read(ends[0], full, sizeof(full) - read_so_far);

		CHECK(piece > 0);
		read_so_far += (size_t)piece;
	}
	for (size_t length = 0; length < 2; length++)
		EQUAL(read(ends[0], got + length, 1), 1);
	CHECK(strcmp(got, "hi") == 0);
	sv_vm_destroy(vm);
	close(ends[0]);
	close(ends[1]);
}

/* epoll reports an error on such an output for as long as it is watched, asked or not. */
static void an_output_whose_reader_is_gone_costs_nothing(void)
{
	char full[65536] = {0};
	struct sv_iothread *io;
	struct sv_vm *vm;
	uint64_t before;
	int ends[2];

	signal(SIGPIPE, SIG_IGN);
	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	EQUAL(write(ends[1], full, sizeof(full)), sizeof(full));
	vm = machine(ends[1]);
	EQUAL(iothread_main(vm, &io), 0);
	put(vm, 'a'); /* waits for room */
	close(ends[0]);
	for (int i = 0; i < 100; i++)
		put(vm, 'b');
	before = cpu_ns(io);
	poll(NULL, 0, 200);
	CHECK(cpu_ns(io) - before < 50000000);
	sv_vm_destroy(vm);
	close(ends[1]);
}

int main(int argc, char **argv)
{
	RUN(what_the_output_does_not_take_comes_when_it_does);
	RUN(an_output_whose_reader_is_gone_costs_nothing);
	return 0;
}
