/* Runs a program and lets one system call of it fail: inject REPORT TASK INDEX NUMBER ERROR PROGRAM
 * ARGUMENT...
 *
 * Tasks (threads, and processes that are forked) have numbers in the order in which they are made, from 0.
 * INDEX is that of the call among those of its task, futex left out; it fails with ERROR if its system call
 * number is NUMBER, else nothing does. With a TASK of -1 nothing fails, and each call is reported. A task
 * that has a filter of system calls is let go. Addresses are not random, so that two runs make the same
 * calls.
 *
 * Lines of REPORT:
 *   call TASK INDEX NUMBER ARGUMENT1 [PATH]   ARGUMENT1: in hexadecimal, the second one of the call;
 *                                             PATH: or what its descriptor is
 *   failed [PATH]                             the call was made to fail
 *   moved NUMBER                              another call has the index now
 *   ended TASK STATUS                         of a process; negative for a signal; TASK is -1 for one that is
 *                                             not traced
 *   hang                                      after a minute something still ran; it was killed
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_TASKS  64
#define LIMIT_S    60 /* a rig is slow */
#define MAX_PATH   256
#define MAX_HOLDER 4096
#define OPTIONS                                                                                              \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |              \
	 PTRACE_O_TRACEEXEC)

struct task {
	pid_t pid;
	long index;    /* of the next call */
	bool inside;   /* of a call: the next stop is its exit */
	bool failing;  /* this call fails when it exits */
	bool detached; /* there is no more to see of it */
	bool begun;    /* it has had its first stop */
};

static struct task tasks[MAX_TASKS];
static int task_count;
static FILE *report;
static int wanted_task;
static long wanted_index;
static long wanted_number;
static int error_number;
static bool over; /* what had to fail did */

static struct task *find(pid_t pid)
{
	for (int i = 0; i < task_count; i++)
		if (tasks[i].pid == pid)
			return &tasks[i];
	return NULL;
}

static struct task *add(pid_t pid)
{
	struct task *task = find(pid);

	if (task || task_count == MAX_TASKS)
		return task;
	task = &tasks[task_count++];
	task->pid = pid;
	return task;
}

/* What a descriptor is, as /proc names it. */
static void read_link(pid_t pid, long fd, char *path)
{
	char link[64];
	ssize_t got;

	snprintf(link, sizeof(link), "/proc/%d/fd/%ld", pid, fd);
	got = readlink(link, path, MAX_PATH - 1);
	path[got > 0 ? got : 0] = '\0';
}

static void read_path(pid_t pid, const struct user_regs_struct *regs, char *path)
{
	unsigned long long at;
	struct iovec to = {path, MAX_PATH - 1};
	struct iovec from = {NULL, MAX_PATH - 1};
	ssize_t got;

	path[0] = '\0';
	switch (regs->orig_rax) {
	case SYS_newfstatat:
		if ((int)regs->rdi >= 0) {
			read_link(pid, (long)regs->rdi, path);
			return;
		}
		at = regs->rsi;
		break;
	case SYS_openat:
		at = regs->rsi;
		break;
	case SYS_bind:
	case SYS_connect:
		at = regs->rsi + 2; /* of struct sockaddr_un */
		break;
	case SYS_read:
	case SYS_pread64:
	case SYS_write:
	case SYS_close:
	case SYS_fstatfs:
	case SYS_fcntl:
	case SYS_flock:
	case SYS_ftruncate:
	case SYS_fchmod:
	case SYS_lseek:
	case SYS_getdents64:
	case SYS_ioctl:
		read_link(pid, (long)regs->rdi, path);
		return;
	case SYS_mmap:
		if ((int)regs->r8 >= 0)
			read_link(pid, (long)regs->r8, path);
		return;
	case SYS_readlink:
	case SYS_unlink:
	case SYS_access:
	case SYS_rename:
	case SYS_link:
	case SYS_stat:
	case SYS_lstat:
	case SYS_execve:
		at = regs->rdi;
		break;
	default:
		return;
	}
	/* A read must not cross into a page that is not there. */
	from.iov_base = (void *)(uintptr_t)at;
	if (4096 - at % 4096 < from.iov_len)
		from.iov_len = 4096 - at % 4096;
	got = process_vm_readv(pid, &to, 1, &from, 1, 0);
	path[got > 0 ? got : 0] = '\0';
	for (char *letter = path; *letter; letter++)
		if (*letter == '\n')
			*letter = ' ';
}

static void enter(struct task *task, struct user_regs_struct *regs)
{
	int number = (int)(task - tasks);
	char path[MAX_PATH];

	/* These come and go with the moment, and with the length of paths. */
	if (regs->orig_rax == SYS_futex || regs->orig_rax == SYS_brk)
		return;
	if (wanted_task < 0) {
		read_path(task->pid, regs, path);
		fprintf(report, "call %d %ld %lld %llx %s\n", number, task->index, regs->orig_rax, regs->rsi,
			path);
	}
	if (!over && number == wanted_task && task->index == wanted_index) {
		over = true;
		if ((long)regs->orig_rax != wanted_number) {
			fprintf(report, "moved %lld\n", regs->orig_rax);
		} else {
			read_path(task->pid, regs, path);
			fprintf(report, "failed %s\n", path);
			task->failing = true;
			regs->orig_rax = (unsigned long long)-1;
			ptrace(PTRACE_SETREGS, task->pid, NULL, regs);
		}
	}
	if (regs->orig_rax == SYS_seccomp && regs->rdi == 1) /* SECCOMP_SET_MODE_FILTER */
		task->detached = true;
	task->index++;
}

static void on_call(struct task *task)
{
	struct user_regs_struct regs;

	ptrace(PTRACE_GETREGS, task->pid, NULL, &regs);
	task->inside = !task->inside;
	if (task->inside) {
		enter(task, &regs);
	} else if (task->failing) {
		task->failing = false;
		regs.rax = (unsigned long long)-(long long)error_number;
		ptrace(PTRACE_SETREGS, task->pid, NULL, &regs);
	}
}

static void on_stop(struct task *task, int status)
{
	int signal_number = WSTOPSIG(status);
	unsigned long made;

	if (signal_number == (SIGTRAP | 0x80)) {
		on_call(task);
		signal_number = 0;
	} else if (status >> 16) {
		int event = status >> 16;

		if (event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_FORK) {
			ptrace(PTRACE_GETEVENTMSG, task->pid, NULL, &made);
			add((pid_t)made);
		}
		signal_number = 0;
	} else if (!task->begun && signal_number == SIGSTOP) {
		signal_number = 0;
	}
	task->begun = true;
	if ((task->detached || over) && !task->failing)
		ptrace(PTRACE_DETACH, task->pid, NULL, signal_number);
	else
		ptrace(PTRACE_SYSCALL, task->pid, NULL, signal_number);
}

static void on_wait(pid_t pid, int status)
{
	struct task *task = find(pid);

	if (WIFSTOPPED(status)) {
		on_stop(task ? task : add(pid), status);
		return;
	}
	fprintf(report, "ended %d %d\n", task ? (int)(task - tasks) : -1,
		WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));
}

static void kill_all(int number)
{
	char path[64];
	char children[MAX_HOLDER] = "";
	FILE *file;

	(void)number;
	fprintf(report, "hang\n");
	fflush(report);
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	file = fopen(path, "r");
	if (file && fgets(children, sizeof(children), file))
		for (char *word = strtok(children, " "); word; word = strtok(NULL, " "))
			kill(atoi(word), SIGKILL);
	_exit(1); /* and what is traced dies with us */
}

static void run(char **words)
{
	personality(ADDR_NO_RANDOMIZE);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	execv(words[0], words);
	_exit(127);
}

int main(int count, char **words)
{
	pid_t pid;
	int status;

	if (count < 7)
		return 2;
	report = fopen(words[1], "we");
	wanted_task = atoi(words[2]);
	wanted_index = atol(words[3]);
	wanted_number = atol(words[4]);
	error_number = atoi(words[5]);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	pid = fork();
	if (pid == 0)
		run(words + 6);
	add(pid);
	waitpid(pid, &status, 0);
	ptrace(PTRACE_SETOPTIONS, pid, NULL, OPTIONS);
	tasks[0].begun = true;
	ptrace(PTRACE_SYSCALL, pid, NULL, 0);
	signal(SIGALRM, kill_all);
	alarm(LIMIT_S);
	while ((pid = waitpid(-1, &status, __WALL)) > 0)
		on_wait(pid, status);
	fclose(report);
	return 0;
}
