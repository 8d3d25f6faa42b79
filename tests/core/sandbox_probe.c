/* Has a thread of one kind try one system call under its filter: sandbox_probe KIND ATTEMPT PROGRAM [LOG
 * OFFSET], where PROGRAM is a file with the filter's steps. Ends with 0 when the call was let through. With
 * LOG, text or json, standard output is the log, whose local time is OFFSET seconds from UTC. */
#include <linux/filter.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <fcntl.h>
#include <unistd.h>

#include "check.h"
#include "sv.h"

#define RUN_SIZE 4096

static const char *attempt;
static uint64_t program[SANDBOX_MAX_STEPS];
static int steps;

static void map(int protection)
{
	void *place = mmap(NULL, RUN_SIZE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(place != MAP_FAILED);
}

static void protect(void)
{
	static uint8_t page[2 * RUN_SIZE];
	uintptr_t start = ((uintptr_t)page + RUN_SIZE - 1) & ~(uintptr_t)(RUN_SIZE - 1);

	mprotect((void *)start, RUN_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
}

static void try_it(void)
{
	const char *words[] = {"/bin/true", NULL};

	if (strcmp(attempt, "execve") == 0)
		syscall(__NR_execve, words[0], words, NULL);
	else if (strcmp(attempt, "clone") == 0)
		syscall(__NR_clone, SIGCHLD, NULL, NULL, NULL, 0);
	else if (strcmp(attempt, "clone3") == 0)
		syscall(__NR_clone3, NULL, 0);
	else if (strcmp(attempt, "ptrace") == 0)
		syscall(__NR_ptrace, PTRACE_TRACEME, 0, NULL, NULL);
	else if (strcmp(attempt, "prctl") == 0)
		syscall(__NR_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
	else if (strcmp(attempt, "socket") == 0)
		syscall(__NR_socket, AF_INET, SOCK_STREAM, 0);
	else if (strcmp(attempt, "mmap") == 0)
		map(PROT_READ | PROT_EXEC);
	else if (strcmp(attempt, "mprotect") == 0)
		protect();
	else if (strcmp(attempt, "ioctl") == 0)
		syscall(__NR_ioctl, 0, TIOCSTI, "x");
	else if (strcmp(attempt, "fcntl") == 0)
		syscall(__NR_fcntl, 0, F_SETOWN, 1);
	else if (strcmp(attempt, "x32") == 0)
		syscall(0x40000000 | __NR_getpid);
#ifdef __x86_64__
	else if (strcmp(attempt, "i386") == 0) {
		long number = 4; /* write(2) there, stat(2) here */

		__asm__ volatile("int $0x80" : "+a"(number) : "b"(1), "c"(words), "d"(0) : "memory");
	}
#endif
	else
		syscall(__NR_write, STDOUT_FILENO, "allowed\n", 8);
}

static void try_here(void *context)
{
	(void)context;
	try_it();
}

static void on_kick(int number)
{
	(void)number;
	try_it();
	_exit(0);
}

static struct sv_vm *make_machine(int kind)
{
	struct sv_vm *vm;

	CHECK(sv_vm_create(-1, &vm) == 0);
	CHECK(sv_sandbox_prepare() == 0);
	CHECK(sv_sandbox_set(vm, kind, program, steps) == 0);
	return vm;
}

static void try_on_iothread(void)
{
	struct sv_vm *vm = make_machine(SV_SANDBOX_IOTHREAD);
	struct sv_iothread *io;

	CHECK(sv_iothread_create(vm, "probe", &io) == 0);
	iothread_call(io, try_here, NULL);
	sv_vm_destroy(vm);
}

/* A vCPU without KVM parks at once; the signal that kicks it leads to ours. */
static void try_on_vcpu(void)
{
	struct sv_vm *vm = make_machine(SV_SANDBOX_VCPU);
	struct sigaction action = {.sa_handler = on_kick};
	int fd = memfd_create("run", 0);

	CHECK(ftruncate(fd, RUN_SIZE) == 0);
	CHECK(sv_vcpu_add(vm, fd, RUN_SIZE) == 0);
	CHECK(sv_vcpus_start(vm, 1) == 0);
	CHECK(sv_wait_parked(vm, 10000) == 0);
	CHECK(sigaction(SIGRTMIN, &action, NULL) == 0);
	sv_pause(vm);
	for (;;)
		pause();
}

static void try_on_control(void)
{
	CHECK(sv_sandbox_prepare() == 0);
	CHECK(sv_sandbox_enter(program, steps) == 0);
	try_it();
}

int main(int count, char **words)
{
	FILE *file;

	CHECK(count == 4 || count == 6);
	attempt = words[2];
	file = fopen(words[3], "rb");
	CHECK(file);
	steps = (int)fread(program, sizeof(program[0]), SANDBOX_MAX_STEPS, file);
	fclose(file);
	if (count == 6)
		sv_last_words(STDOUT_FILENO, strcmp(words[4], "json") == 0, atoi(words[5]));
	if (strcmp(words[1], "vcpu") == 0)
		try_on_vcpu();
	else if (strcmp(words[1], "iothread") == 0)
		try_on_iothread();
	else
		try_on_control();
	return 0;
}
