/* Types inside the core. Lock order: pause lock, then a virtio device's register lock, then a serial port's
 * lock, then an I/O thread's call lock, then events lock. A vCPU may wait for an I/O thread while it holds a
 * register lock, so no I/O thread ever takes one. A queue has one owner thread and no lock. */
#ifndef SV_H
#define SV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>

#include "api.h"

#include "arch.h"
#include "bus.h"
#include "events.h"
#include "guestmem.h"
#include "sandbox.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define SV_MAX_VCPUS     254
#define SV_MAX_IOTHREADS 9 /* the main one and eight by name */
#define SV_MAX_VIRTIO    32
#define SV_MAX_PARTS     8

struct kvm_run;

struct vcpu {
	struct sv_vm *vm;
	int index;
	int fd;
	struct kvm_run *run;
	uint64_t run_size;
	pthread_t thread;
	bool started;
	int tid; /* 0 until the thread has begun; this and the next one under pause_lock until sv_vcpus_start
		    ends */
	int failure; /* -errno when it could not be confined, and does not run */
};

struct mapping {
	void *host;
	uint64_t size;
};

/* What an architecture's board is made of. */
struct part {
	void *what;
	void (*release)(void *what);
};

struct sv_vm {
	int fd; /* KVM's VM, or -1 */
	struct guestmem memory;
	uint64_t page_size; /* of the host pages that guest memory is made of */
	bool memory_shared; /* others can map it: pages go back by MADV_REMOVE */
	struct mapping maps[GUESTMEM_MAX_REGIONS];
	uint32_t map_count;
	struct bus mmio;
	struct arch arch;
	struct events events;
	bool traces; /* drivers' steps are told */

	/* run state of the vCPUs, under pause_lock */
	pthread_mutex_t pause_lock;
	pthread_cond_t pause_change; /* parked count or request changed */
	bool pause_wanted;
	bool stop_wanted;
	int parked;
	int running;           /* threads that have not ended */
	atomic_bool attention; /* pause or stop wanted: read without the lock before each KVM_RUN */
	struct vcpu vcpus[SV_MAX_VCPUS];
	int vcpu_count;

	struct sv_iothread *iothreads[SV_MAX_IOTHREADS]; /* [0] is the main one, made on first need */
	int iothread_count;
	struct sv_virtio *devices[SV_MAX_VIRTIO];
	int device_count;
	struct part parts[SV_MAX_PARTS];
	int part_count;
	struct sandbox sandboxes[SV_SANDBOX_KINDS];
};

/* vm.c: the machine releases a part at its end, when its threads have ended; 0 or -ENOSPC. */
int vm_own(struct sv_vm *vm, void *what, void (*release)(void *what));

/* vcpu.c */
void vcpus_stop(struct sv_vm *vm);

/* mem.c */
void mem_unmap(struct sv_vm *vm);
/* Has the host find the pages of a mapping by madvise(), or by touching them where it does not know the
 * advice; 0 or -errno. */
int mem_populate_piece(uint8_t *from, uint64_t size, int advice);

/* mem_fault.c: a page of a watched mapping that the host does not have ends the process, with a line. */
int mem_fault_watch(const void *host, uint64_t size); /* 0 or -errno */
void mem_fault_forget(const void *host);
void mem_fault_unblock(void); /* by each thread that was made with every signal blocked */

/* irq.c: an interrupt line behind an irqfd; with vm->fd -1 it is a bare eventfd that tests read. */
int irq_open(struct sv_vm *vm, uint32_t gsi);
void irq_raise(int fd);

/* iothread.c: each has its own epoll; handlers run on its thread. */
typedef void (*io_handler)(void *context, uint32_t epoll_events);
struct io_source {
	int fd;
	io_handler run;
	void *context;
};
int iothread_main(struct sv_vm *vm, struct sv_iothread **out);   /* makes the main one on first need */
int iothread_or_main(struct sv_vm *vm, struct sv_iothread **io); /* the main one where there is none yet */
int iothread_add(struct sv_iothread *io, struct io_source *source, uint32_t epoll_events);    /* any thread */
int iothread_modify(struct sv_iothread *io, struct io_source *source, uint32_t epoll_events); /* any thread */
void iothread_remove(struct sv_iothread *io, struct io_source *source);                       /* any thread */
/* Runs work on the io thread and waits until it has run; at once when called on it or when it has ended. */
void iothread_call(struct sv_iothread *io, void (*work)(void *), void *context);
void iothread_stop(struct sv_iothread *io); /* joins; handlers run no more */
void iothread_free(struct sv_iothread *io);

/* virtio.c */
void virtio_stop(struct sv_virtio *device); /* has its I/O thread wait for what is in flight, for good */
void virtio_free(struct sv_virtio *device); /* after its iothread was stopped */

#endif
