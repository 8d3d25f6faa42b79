#include "vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define KICK_SIGNAL (SIGRTMIN + 0)
#define NAME_SIZE   16 /* of a thread in Linux, with its NUL */

static _Thread_local struct vcpu *current;

/* Runs on the kicked vCPU thread: the next KVM_RUN, or the one in progress, returns at once. */
static void on_kick(int number)
{
	(void)number;
	if (current)
		__atomic_store_n(&current->run->immediate_exit, 1, __ATOMIC_RELAXED);
}

static void kick_all_locked(struct sv_vm *vm)
{
	for (int i = 0; i < vm->vcpu_count; i++) {
		struct vcpu *vcpu = &vm->vcpus[i];

		if (vcpu->started && vcpu != current)
			pthread_kill(vcpu->thread, KICK_SIGNAL);
	}
}

static void update_attention_locked(struct sv_vm *vm)
{
	atomic_store(&vm->attention, vm->pause_wanted || vm->stop_wanted);
}

void vcpus_hold(struct sv_vm *vm)
{
	pthread_mutex_lock(&vm->pause_lock);
	vm->pause_wanted = true;
	/* Before the kicks: a vCPU that clears immediate_exit afterwards still finds the request. */
	update_attention_locked(vm);
	kick_all_locked(vm);
	pthread_mutex_unlock(&vm->pause_lock);
}

void vcpu_guest_ended(struct sv_vm *vm, uint64_t cause)
{
	struct sv_event event = {.kind = SV_EVENT_SHUTDOWN, .data = {cause}};

	event.source = current ? (uint32_t)current->index : 0;
	vcpus_hold(vm);
	events_post(&vm->events, &event);
}

void vcpu_failed(struct vcpu *vcpu, int error)
{
	struct sv_event event = {.kind = SV_EVENT_VCPU_FAILED, .source = (uint32_t)vcpu->index};

	event.data[0] = vcpu->run->exit_reason;
	event.data[3] = (uint64_t)error;
	arch_describe(vcpu, &event);
	vcpus_hold(vcpu->vm);
	events_post(&vcpu->vm->events, &event);
}

/* Waits while the machine is paused; false when the thread has to end. */
static bool park(struct sv_vm *vm)
{
	bool go_on;

	pthread_mutex_lock(&vm->pause_lock);
	if (vm->pause_wanted && !vm->stop_wanted) {
		vm->parked++;
		pthread_cond_broadcast(&vm->pause_change);
		while (vm->pause_wanted && !vm->stop_wanted)
			pthread_cond_wait(&vm->pause_change, &vm->pause_lock);
		vm->parked--;
	}
	go_on = !vm->stop_wanted;
	pthread_mutex_unlock(&vm->pause_lock);
	return go_on;
}

static void run(struct vcpu *vcpu)
{
	struct sv_vm *vm = vcpu->vm;

	for (;;) {
		__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_RELAXED);
		/* Pairs with update_attention_locked: the store above must not pass this load, or a kick is
		 * lost. */
		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_load(&vm->attention) && !park(vm))
			return;
		if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
			vcpu_handle_exit(vcpu);
		} else if (errno != EINTR && errno != EAGAIN) {
			vcpu_failed(vcpu, errno);
		}
	}
}

/* Gives up what a vCPU does not need, and says that the thread is there; false when it must not run. */
static bool begin(struct vcpu *vcpu)
{
	struct sv_vm *vm = vcpu->vm;
	int tid = (int)syscall(SYS_gettid);
	char name[NAME_SIZE];
	int error;

	mem_fault_unblock();
	snprintf(name, sizeof(name), "CPU %d/KVM", vcpu->index);
	pthread_setname_np(pthread_self(), name);
	error = sandbox_enter(&vm->sandboxes[SV_SANDBOX_VCPU], name);
	pthread_mutex_lock(&vm->pause_lock);
	vcpu->tid = tid;
	vcpu->failure = error;
	pthread_cond_broadcast(&vm->pause_change);
	pthread_mutex_unlock(&vm->pause_lock);
	return error == 0;
}

static void *thread_main(void *argument)
{
	struct vcpu *vcpu = argument;
	struct sv_vm *vm = vcpu->vm;
	sigset_t kick;

	current = vcpu;
	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	if (begin(vcpu))
		run(vcpu);
	pthread_mutex_lock(&vm->pause_lock);
	vm->running--;
	pthread_cond_broadcast(&vm->pause_change);
	pthread_mutex_unlock(&vm->pause_lock);
	return NULL;
}

int sv_vcpu_add(struct sv_vm *vm, int vcpu_fd, uint64_t run_size)
{
	struct vcpu *vcpu = &vm->vcpus[vm->vcpu_count];
	void *map;

	if (vm->vcpu_count == SV_MAX_VCPUS)
		return -ENOSPC;
	map = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	vcpu->fd = dup(vcpu_fd);
	if (vcpu->fd < 0) {
		int error = -errno;

		munmap(map, run_size);
		return error;
	}
	vcpu->vm = vm;
	vcpu->index = vm->vcpu_count;
	vcpu->run = map;
	vcpu->run_size = run_size;
	return vm->vcpu_count++;
}

/* The thread starts with every signal blocked: those of the process are for the control thread. */
static int start_thread(struct sv_vm *vm, struct vcpu *vcpu)
{
	sigset_t all;
	sigset_t before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_mutex_lock(&vm->pause_lock);
	error = pthread_create(&vcpu->thread, NULL, thread_main, vcpu);
	if (error == 0) {
		vcpu->started = true;
		vm->running++;
	}
	pthread_mutex_unlock(&vm->pause_lock);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

/* Waits until the thread is there; returns its failure. */
static int wait_begun(struct sv_vm *vm, const struct vcpu *vcpu)
{
	int failure;

	pthread_mutex_lock(&vm->pause_lock);
	while (vcpu->started && vcpu->tid == 0)
		pthread_cond_wait(&vm->pause_change, &vm->pause_lock);
	failure = vcpu->failure;
	pthread_mutex_unlock(&vm->pause_lock);
	return failure;
}

static int start_threads(struct sv_vm *vm)
{
	int error = 0;

	for (int i = 0; i < vm->vcpu_count && error == 0; i++)
		error = start_thread(vm, &vm->vcpus[i]);
	/* The guest runs already, but for a vCPU that could not be confined. */
	for (int i = 0; i < vm->vcpu_count && error == 0; i++)
		error = wait_begun(vm, &vm->vcpus[i]);
	return error;
}

int sv_vcpus_start(struct sv_vm *vm, int parked)
{
	struct sigaction action = {.sa_handler = on_kick};
	int error;

	if (sigaction(KICK_SIGNAL, &action, NULL) < 0)
		return -errno;
	vm->pause_wanted = parked != 0;
	update_attention_locked(vm);
	error = start_threads(vm);
	if (error < 0)
		vcpus_stop(vm);
	return error;
}

int sv_vcpu_tid(struct sv_vm *vm, int index)
{
	if (index < 0 || index >= vm->vcpu_count)
		return -EINVAL;
	return vm->vcpus[index].tid;
}

int sv_pause(struct sv_vm *vm)
{
	vcpus_hold(vm);
	return 0;
}

int sv_resume(struct sv_vm *vm)
{
	pthread_mutex_lock(&vm->pause_lock);
	vm->pause_wanted = false;
	update_attention_locked(vm);
	pthread_cond_broadcast(&vm->pause_change);
	pthread_mutex_unlock(&vm->pause_lock);
	return 0;
}

int sv_wait_parked(struct sv_vm *vm, int milliseconds)
{
	struct timespec until;
	int error = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += milliseconds / 1000;
	until.tv_nsec += (long)(milliseconds % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&vm->pause_lock);
	while (vm->parked < vm->running && error == 0)
		error = pthread_cond_timedwait(&vm->pause_change, &vm->pause_lock, &until);
	pthread_mutex_unlock(&vm->pause_lock);
	return -error;
}

int sv_vcpus_stop(struct sv_vm *vm)
{
	vcpus_stop(vm);
	return 0;
}

void vcpus_stop(struct sv_vm *vm)
{
	pthread_mutex_lock(&vm->pause_lock);
	vm->stop_wanted = true;
	update_attention_locked(vm);
	kick_all_locked(vm);
	pthread_cond_broadcast(&vm->pause_change);
	pthread_mutex_unlock(&vm->pause_lock);
	for (int i = 0; i < vm->vcpu_count; i++) {
		if (vm->vcpus[i].started)
			pthread_join(vm->vcpus[i].thread, NULL);
		vm->vcpus[i].started = false;
	}
}
