/* virtio-blk (VIRTIO 1.2, 5.2): one queue over one image.
 *
 *   blk.c          the device: configuration, taking requests off the queue, rate limit, stop
 *   blk_request.c  one request: what it asks, host I/O in as many steps as it takes, status
 *   blk_bounce.c   images opened with O_DIRECT, and buffers that such an image refuses
 *
 * Everything runs on the device's I/O thread. Requests are allocated with the device: a guest cannot make it
 * allocate. A request is in flight from its chain's pop until its push, and at most BLK_QUEUE_SIZE are.
 */
#ifndef SV_BLK_H
#define SV_BLK_H

#include "aio.h"
#include "iov.h"
#include "ratelimit.h"
#include "virtio.h"

#define SECTOR_SIZE    512
#define BLK_QUEUE_SIZE 256
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
#define VIRTIO_BLK_F_DISCARD      ((uint64_t)1 << 13)
#define VIRTIO_BLK_F_WRITE_ZEROES ((uint64_t)1 << 14)

enum { BLK_S_OK = 0, BLK_S_IOERR = 1, BLK_S_UNSUPP = 2 }; /* VIRTIO 1.2, 5.2.6 */

struct blk;

struct blk_request {
	struct aio_op op; /* first: a reaped operation is its request */
	struct blk_request *next_free;
	struct blk *blk;
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

struct blk {
	struct sv_virtio device; /* first: the device is its blk */
	int fd;
	bool readonly;
	uint32_t alignment; /* of O_DIRECT; 1 for none */
	uint8_t id[BLK_ID_SIZE];
	struct blk_config_space config;
	struct aio aio;
	struct io_source completions; /* of the engine, when it has any */
	struct io_source timer;       /* fires when the rate limit allows the next request */
	struct ratelimit limit;
	uint8_t *bounce;      /* NULL when alignment is 1 */
	uint64_t last_report; /* time of the last SV_EVENT_IO_ERROR, in ns; 0 for none */
	bool starved;         /* the queue has requests that wait for a free blk_request */

	struct blk_request *requests;
	uint32_t fresh; /* requests from here on were never used: their pages cost nothing */
	struct blk_request *free;
};

uint64_t blk_now(void); /* monotonic, in ns */

/* blk.c */
/* Ends a request: status byte, used ring, free list. */
void blk_complete(struct blk_request *request, uint8_t status);
/* Hands requests that have made a step on, and ends those that are through. */
void blk_reap(struct blk *blk);

/* blk_request.c: begins what a popped chain asks; it may have ended on return. */
void blk_request_begin(struct blk_request *request, const struct chain *chain);
/* An operation of the request has ended: begins the next one, or ends the request. */
void blk_request_continue(struct blk_request *request);

/* blk_bounce.c */
bool blk_needs_bounce(const struct blk_request *request);
/* Moves all of the request's data through the bounce buffer; 0 or -errno. */
int blk_bounce(struct blk_request *request);

#endif
