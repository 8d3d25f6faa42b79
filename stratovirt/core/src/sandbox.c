#include "sandbox.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "last_words.h"
#include "sv.h"

#define NAME_SIZE   32
#define STATUS      (128 + SIGSYS)
#define SYS_SECCOMP 1 /* si_code of a SIGSYS that a filter sends; older C libraries do not name it */

static const struct {
	const char *name;
	int number;
} calls[] = {
#define CALL(name) {#name, __NR_##name},
#include "syscall_names.h"
#undef CALL
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

static _Thread_local char thread_name[NAME_SIZE] = "main";

int sv_syscall_number(const char *name)
{
	for (size_t i = 0; i < CALLS; i++)
		if (strcmp(calls[i].name, name) == 0)
			return calls[i].number;
	return -ENOSYS;
}

static const char *name_of(int number)
{
	for (size_t i = 0; i < CALLS; i++)
		if (calls[i].number == number)
			return calls[i].name;
	return "unknown";
}

static void on_forbidden(int number, siginfo_t *info, void *context)
{
	struct line line = {.length = 0};

	(void)number;
	(void)context;
	if (info->si_code != SYS_SECCOMP)
		_exit(STATUS); /* somebody sent it */
	line_add(&line, "forbidden system call ");
	line_add(&line, name_of(info->si_syscall));
	line_add(&line, " (");
	line_add_number(&line, (unsigned int)info->si_syscall, 0);
	line_add(&line, ") in thread ");
	line_add(&line, thread_name);
	line_add(&line, "; the process ends");
	last_words_say("sandbox.c", __LINE__, line.text);
	_exit(STATUS);
}

static int install(const uint64_t *steps, uint16_t count)
{
	/* The layout of a step is that of struct sock_filter on little-endian machines, which all of ours
	 * are. */
	struct sock_fprog program = {.len = count, .filter = (struct sock_filter *)(uintptr_t)steps};
	sigset_t forbidden;

	/* A blocked SIGSYS would end the process too, and silently. */
	sigemptyset(&forbidden);
	sigaddset(&forbidden, SIGSYS);
	pthread_sigmask(SIG_UNBLOCK, &forbidden, NULL);
	return syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}

int sandbox_enter(const struct sandbox *sandbox, const char *name)
{
	int error;

	strncpy(thread_name, name, NAME_SIZE - 1);
	last_words_thread();
	error = sandbox->no_capabilities ? sv_confine_thread() : 0;
	if (error < 0 || sandbox->count == 0)
		return error;
	return install(sandbox->steps, sandbox->count);
}

int sv_sandbox_prepare(void)
{
	struct sigaction action = {.sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO | SA_NODEFER};
	uint32_t trap = SECCOMP_RET_TRAP;

	if (syscall(__NR_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &trap) < 0)
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || sigaction(SIGSYS, &action, NULL) < 0)
		return -errno;
	return 0;
}

int sv_sandbox_set(struct sv_vm *vm, int kind, const uint64_t *program, int count)
{
	struct sandbox *sandbox;

	if (kind < 0 || kind >= SV_SANDBOX_KINDS || count < 1 || count > SANDBOX_MAX_STEPS)
		return -EINVAL;
	sandbox = &vm->sandboxes[kind];
	sandbox->count = (uint16_t)count;
	memcpy(sandbox->steps, program, (size_t)count * sizeof(*program));
	return 0;
}

int sv_sandbox_enter(const uint64_t *program, int count)
{
	if (count < 1 || count > SANDBOX_MAX_STEPS)
		return -EINVAL;
	return install(program, (uint16_t)count);
}
