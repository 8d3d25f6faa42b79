/* A virtio device as its transport sees it: status, features, queues, reset (VIRTIO 1.2, 2 and 3).
 *
 * Registers belong to the vCPU threads and are under `lock`. Rings belong to the device's I/O thread, which
 * never takes `lock`: a vCPU holds it while it waits for that thread. What both need is atomic.
 *
 * Reset, and a queue that is stopped, wait for host I/O in flight, since the host may write to the buffers
 * until it ends: at most one operation of the sync engine, or what io_uring was given. Nothing new is begun,
 * and what the rate limit holds back is not waited for. The vCPU takes no kick while it waits: a pause comes
 * after it.
 */
#ifndef SV_VIRTIO_H
#define SV_VIRTIO_H

#include "sv.h"
#include "virtq.h"

#define VIRTIO_MAX_QUEUES 33 /* of a network card with 16 pairs and a control queue */

#define VIRTIO_STATUS_ACKNOWLEDGE 0x01 /* VIRTIO 1.2, 2.1 */
#define VIRTIO_STATUS_DRIVER      0x02
#define VIRTIO_STATUS_DRIVER_OK   0x04
#define VIRTIO_STATUS_FEATURES_OK 0x08
#define VIRTIO_STATUS_NEEDS_RESET 0x40
#define VIRTIO_STATUS_FAILED      0x80

#define VIRTIO_F_INDIRECT_DESC ((uint64_t)1 << 28) /* VIRTIO 1.2, 6 */
#define VIRTIO_F_EVENT_IDX     ((uint64_t)1 << 29)
#define VIRTIO_F_VERSION_1     ((uint64_t)1 << 32)

#define VIRTIO_INTERRUPT_QUEUE  1 /* VIRTIO 1.2, 4.2.2: InterruptStatus */
#define VIRTIO_INTERRUPT_CONFIG 2

/* All but `free` and `config_written` run on the device's I/O thread. */
struct virtio_ops {
	uint32_t type; /* VIRTIO 1.2, 5 */
	/* The driver wrote its config space, which is changed already; on a vCPU thread, with `lock` held.
	 * NULL for a config space that a driver cannot write. */
	void (*config_written)(struct sv_virtio *device);
	/* The driver is ready: the started queues' rings are in place. May be NULL. */
	void (*activate)(struct sv_virtio *device);
	/* The driver has notified a queue that runs; a queue found broken goes to virtio_broken(). */
	void (*process)(struct sv_virtio *device, uint32_t queue);
	/* Waits for host I/O of the queue and forgets its requests; the rings are not touched any more. */
	void (*stop)(struct sv_virtio *device, uint32_t queue);
	/* Whoever serves the rings (`external`) has given up; says whether the device goes on without him.
	 * May be NULL. */
	bool (*lost)(struct sv_virtio *device);
	/* The last call of all, when no thread is left; waits for host I/O. */
	void (*free)(struct sv_virtio *device);
};

struct virtio_queue {
	struct sv_virtio *device;
	uint32_t index;
	uint32_t max_size;
	/* registers */
	struct virtq_layout layout;
	bool ready;
	/* the I/O thread's */
	struct virtq ring;
	bool runs;
	struct io_source kick;
};

/* What was told of a driver's steps; under the device's lock. */
struct virtio_trace {
	uint64_t since;  /* time in ns; 0 for never */
	uint32_t told;   /* steps since then */
	uint64_t untold; /* steps since the last one that was told */
};

struct sv_virtio {
	struct sv_vm *vm;
	const struct virtio_ops *ops;
	struct sv_iothread *io;
	uint32_t id;      /* in events */
	uint64_t offered; /* features */
	bool external;    /* somebody else serves the rings: see virtio_plan */
	bool kicks_shared;
	struct io_source lost; /* external: whoever serves the rings says here that he cannot go on; or -1 */
	uint8_t *config;       /* under config_lock, once the driver can see it */
	uint32_t config_size;
	pthread_mutex_t config_lock; /* a leaf of the lock order: any thread, for a copy only */
	uint32_t queue_count;
	struct virtio_queue queues[VIRTIO_MAX_QUEUES];
	uint64_t window; /* where the transport has placed the device */
	int irq_fd;      /* -1 until it has */

	pthread_mutex_t lock; /* registers: down to features, and those of the queues */
	uint32_t status;
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint32_t queue_select;
	uint64_t features; /* written by the driver; fixed from FEATURES_OK on */
	struct virtio_trace trace;

	atomic_uint interrupt_status;
	atomic_uint config_generation;
	atomic_bool needs_reset;
	atomic_bool has_driver; /* one has found the device: it is told of changes */
	atomic_bool stopping;   /* a vCPU waits for stop: begin nothing more */

	/* the I/O thread's */
	uint64_t broken_told;   /* time of the last event about a reset, in ns; 0 for none */
	uint64_t broken_untold; /* times that it broke since then */
};

struct virtio_plan {
	const struct virtio_ops *ops;
	struct sv_iothread *io;
	uint64_t features; /* of the device type; those of the ring are added */
	uint32_t queue_count;
	uint32_t queue_size;
	void *config; /* part of the device; virtio_change_config() changes it */
	uint32_t config_size;
	/* Somebody else serves the rings (vhost): he reads the kick eventfds, writes irq_fd for what he used,
	 * and `lost` when a ring makes no sense. There is no telling when he did, so InterruptStatus always
	 * says that a buffer was used. */
	bool external;
	/* That somebody is a process, which may have made the kick eventfds ones that block: they are neither
	 * read nor written here. */
	bool kicks_shared;
};

/* Fills a zeroed device and lists it in vm, which frees it from then on; on failure nothing is left open. */
int virtio_init(struct sv_virtio *device, struct sv_vm *vm, const struct virtio_plan *plan);

/* For transports, with `lock` held. */
uint32_t virtio_read_status(struct sv_virtio *device);
void virtio_write_status(struct sv_virtio *device, uint32_t value);
uint32_t virtio_offered_page(const struct sv_virtio *device, uint32_t page); /* 32 bits of the features */
void virtio_accept_page(struct sv_virtio *device, uint32_t page, uint32_t value);
struct virtio_queue *virtio_selected_queue(struct sv_virtio *device); /* NULL when it does not exist */
bool virtio_queue_is_open(const struct sv_virtio *device);            /* queue registers take values now */
void virtio_write_ready(struct sv_virtio *device, struct virtio_queue *queue, bool ready);
void virtio_notify(struct sv_virtio *device, uint32_t queue); /* as an ioeventfd would */
uint64_t virtio_read_config(struct sv_virtio *device, uint64_t offset, uint32_t size);
void virtio_write_config(struct sv_virtio *device, uint64_t offset, uint32_t size, uint64_t value);
uint32_t virtio_read_interrupt_status(const struct sv_virtio *device);

/* Tells of a step of the driver, SV_DRIVER_*, if sv_trace() was called; with `lock` held. */
void virtio_trace(struct sv_virtio *device, uint32_t step, uint64_t first, uint64_t second);

/* For devices, on their I/O thread. */
void virtio_interrupt(struct sv_virtio *device, uint32_t cause);
void virtio_broken(struct sv_virtio *device, uint32_t queue, enum virtq_error why);
/* Whoever is to serve the device does not, for this errno; the driver is told in the same way. */
void virtio_refused(struct sv_virtio *device, int error);
/* Stops all queues; the context is the device. */
void virtio_stop_here(void *context);
/* The handler of `lost`; the context is the device. */
void virtio_on_lost(void *context, uint32_t epoll_events);
bool virtio_is_stopping(struct sv_virtio *device);
/* Has process() called again after other sources had their turn. */
void virtio_process_later(struct sv_virtio *device, uint32_t queue);

/* For devices, on any thread: changes bytes of the config space and tells the driver, if there is one (VIRTIO
 * 1.2, 2.5). */
void virtio_change_config(struct sv_virtio *device, uint32_t offset, const void *bytes, uint32_t size);
/* For devices, on any thread: copies bytes of the config space. */
void virtio_copy_config(struct sv_virtio *device, uint32_t offset, void *bytes, uint32_t size);

#endif
