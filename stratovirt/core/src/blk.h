/* virtio-blk (VIRTIO 1.2, 5.2): queues over one image, which may be put in and taken out.
 *
 *   blk.c          the queues: taking requests off them, ending requests, stop
 *   blk_image.c    making the device, its configuration, putting an image in and taking it out
 *   blk_limit.c    rate limits, and the requests that they hold back
 *   blk_request.c  one request: what it asks, host I/O in as many steps as it takes, status
 *   blk_bounce.c   images opened with O_DIRECT, and buffers that such an image refuses
 *
 * Everything runs on the device's I/O thread. Requests are allocated with the device: a guest cannot make it
 * allocate. A request is taken from its chain's pop until its push, and at most BLK_QUEUE_SIZE of a queue
 * are. Meanwhile it is in one place: with the engine, held back by a limit, or in `ended`.
 */
#ifndef SV_BLK_H
#define SV_BLK_H

#include "aio.h"
#include "clock.h"
#include "iov.h"
#include "ratelimit.h"
#include "virtio.h"

#define SECTOR_SIZE    512
#define BLK_QUEUE_SIZE 256
#define BLK_MAX_QUEUES 16
#define BLK_SEG_MAX    (BLK_QUEUE_SIZE - 2) /* data segments: a header and a status go with them */
#define BLK_IOV_MAX    (BLK_QUEUE_SIZE + GUESTMEM_MAX_REGIONS) /* a buffer may cross regions */
#define BLK_ID_SIZE    20                                      /* VIRTIO 1.2, 5.2.6: VIRTIO_BLK_ID_BYTES */

/* What a guest may ask of one discard or write-zeroes request: 2 GiB, so that none keeps the host busy for
 * long. */
#define BLK_MAX_DISCARD_SECTORS (1u << 22)

#define BLK_MAX_ALIGNMENT 65536
#define BLK_BOUNCE_SIZE   (2 * BLK_MAX_ALIGNMENT)

#define VIRTIO_BLK_F_SEG_MAX      ((uint64_t)1 << 2) /* VIRTIO 1.2, 5.2.3 */
#define VIRTIO_BLK_F_RO           ((uint64_t)1 << 5)
#define VIRTIO_BLK_F_BLK_SIZE     ((uint64_t)1 << 6)
#define VIRTIO_BLK_F_FLUSH        ((uint64_t)1 << 9)
#define VIRTIO_BLK_F_TOPOLOGY     ((uint64_t)1 << 10)
#define VIRTIO_BLK_F_MQ           ((uint64_t)1 << 12)
#define VIRTIO_BLK_F_DISCARD      ((uint64_t)1 << 13)
#define VIRTIO_BLK_F_WRITE_ZEROES ((uint64_t)1 << 14)

enum { BLK_S_OK = 0, BLK_S_IOERR = 1, BLK_S_UNSUPP = 2 }; /* VIRTIO 1.2, 5.2.6 */

struct blk;
struct blk_queue;

struct blk_request {
	struct aio_op op;         /* first: a reaped operation is its request */
	struct blk_request *next; /* in the one list that it is in */
	struct blk *blk;
	struct blk_queue *queue;
	bool interrupted; /* bouncing, until the device was to stop */
	uint32_t type;
	uint64_t sector; /* as the guest named it, for messages */
	uint16_t head;
	uint8_t *status;
	uint32_t written; /* bytes that a success has put into the guest's buffers */
	struct span data; /* what is still to be read or written */
	struct iovec iov[BLK_IOV_MAX];
};

/* VIRTIO 1.2, 5.2.4 */
struct blk_config_space {
	uint64_t capacity; /* in sectors */
	uint32_t size_max;
	uint32_t seg_max;
	uint8_t geometry[4];
	uint32_t blk_size;
	uint8_t physical_block_exp;
	uint8_t alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback;
	uint8_t unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors;
	uint32_t max_discard_seg;
	uint32_t discard_sector_alignment;
	uint32_t max_write_zeroes_sectors;
	uint32_t max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
};

struct blk_list {
	struct blk_request *first;
	struct blk_request *last;
};

struct blk_queue {
	struct virtq *ring;
	struct blk_request *requests;
	uint32_t fresh; /* requests from here on were never used: their pages cost nothing */
	struct blk_request *free;
	uint32_t in_flight; /* with the engine */
	bool starved;       /* the queue has requests that wait for a free blk_request */
};

enum { BLK_READS, BLK_WRITES, BLK_DIRECTIONS }; /* what is no read counts as a write */

struct blk_limits {
	bool any;
	struct ratelimit operations;
	struct ratelimit bytes; /* in sectors, like those below */
	struct ratelimit operations_of[BLK_DIRECTIONS];
	struct ratelimit bytes_of[BLK_DIRECTIONS];
	struct blk_list held[BLK_DIRECTIONS]; /* a slow direction does not hold the other one up */
	uint32_t turn;                        /* whose held request is looked at first */
};

struct blk {
	struct sv_virtio device; /* first: the device is its blk */
	uint32_t queue_count;
	struct blk_queue queues[BLK_MAX_QUEUES];
	uint8_t id[BLK_ID_SIZE];
	struct blk_config_space config;
	struct io_source timer; /* fires when a limit allows the next request */
	struct blk_limits limits;
	uint64_t last_report; /* time of the last SV_EVENT_IO_ERROR, in ns; 0 for none */
	uint64_t unreported;  /* faults of the host since then */

	/* the image */
	int fd; /* -1 for none */
	bool readonly;
	bool discard;
	uint32_t alignment; /* of O_DIRECT; 1 for none */
	struct aio aio;
	struct io_source completions; /* of the engine, when it has any */
	struct sv_iothread *watched;  /* who watches them, or NULL */
	uint8_t *bounce;              /* NULL until an image wants alignment */
	struct blk_list ended;        /* went out of the engine while the device was to stop */
};

/* blk.c */
extern const struct virtio_ops blk_ops;
void blk_append(struct blk_list *list, struct blk_request *request);
struct blk_request *blk_first(struct blk_list *list); /* takes it off; NULL for none */
/* Drops what is of the queue. */
void blk_forget(struct blk_list *list, const struct blk_queue *queue);
/* Gives an operation of the request to the engine. */
void blk_start(struct blk_request *request);
/* Ends a request: status byte, used ring, free list. The driver sees it a few requests later, or with the
 * next blk_signal(): for each single one its core and ours would pass the index to and fro. */
void blk_complete(struct blk_request *request, uint8_t status);
/* Hands requests that have made a step on, and ends those that are through; none while the device is to stop.
 */
void blk_reap(struct blk *blk);
/* Waits until the engine is empty; nothing that it gave back is handed on. */
void blk_drain(struct blk *blk);
/* Publishes what has ended, and tells the driver of it. */
void blk_signal(struct blk *blk);
void blk_on_completions(void *context, uint32_t epoll_events);
void blk_on_timer(void *context, uint32_t epoll_events);

/* blk_image.c: releases what there is of a device, also one that was never finished. */
void blk_destroy(struct blk *blk);

/* blk_limit.c */
void blk_limit_init(struct blk *blk, const struct sv_blk_config *config);
/* Counts the request, or holds it back behind those of its direction; true when it is held. */
bool blk_limit_holds(struct blk_request *request);
/* Takes a held request that may start now, or returns NULL and the time to wait, 0 when none is held. */
struct blk_request *blk_limit_next(struct blk *blk, uint64_t *wait_ns);
/* Forgets what is held of the queue. */
void blk_limit_forget(struct blk *blk, const struct blk_queue *queue);

/* blk_request.c */
/* Reads what a popped chain asks; false when it is malformed, and has ended. */
bool blk_request_read(struct blk_request *request, const struct chain *chain);
/* What a limit counts: BLK_READS or BLK_WRITES, and the bytes read or written. */
uint32_t blk_request_direction(const struct blk_request *request);
uint64_t blk_request_bytes(const struct blk_request *request);
/* Begins it; it may have ended on return. */
void blk_request_begin(struct blk_request *request);
/* An operation of the request has ended: begins the next one, or ends the request. */
void blk_request_continue(struct blk_request *request);

/* blk_bounce.c */
bool blk_needs_bounce(const struct blk_request *request);
/* Moves all of the request's data through the bounce buffer; 0 or -errno. -ECANCELED when the device is to
 * stop: called again, it goes on. */
int blk_bounce(struct blk_request *request);

#endif
