/* virtio-balloon (VIRTIO 1.2, 5.5): memory that the guest gives back, and what it tells of the rest.
 *
 *   balloon.c        the device: configuration, queues
 *   balloon_stats.c  statistics: the buffer that goes to and fro
 *   balloon_pages.c  guest memory: which of it the host may take, in as few system calls as it goes
 *   balloon_wait.c   a request to take out pages that the host has not
 *
 * Queues run on the main I/O thread. The driver writes `actual` on a vCPU thread, and the control thread sets
 * the target and reads: what they share is atomic, or under a lock that is held for a copy only.
 */
#ifndef SV_BALLOON_H
#define SV_BALLOON_H

#include "clock.h"
#include "iov.h"
#include "virtio.h"

#define BALLOON_PAGE       4096u /* VIRTIO 1.2, 5.5.6: what page numbers count, whatever pages there are */
#define BALLOON_QUEUE_SIZE 256
#define BALLOON_IOV_MAX    (BALLOON_QUEUE_SIZE + GUESTMEM_MAX_REGIONS) /* a buffer may cross regions */

/* Page numbers that are sorted and merged at a time. */
#define BALLOON_CHUNK 1024

/* What a guest may name in one request: 64 MiB. Linux names 256 pages, others 1024. It bounds how long the
 * I/O thread is away from its other devices. */
#define BALLOON_MAX_PFNS 16384

#define VIRTIO_BALLOON_F_MUST_TELL_HOST ((uint64_t)1 << 0) /* VIRTIO 1.2, 5.5.3 */
#define VIRTIO_BALLOON_F_STATS_VQ       ((uint64_t)1 << 1)
#define VIRTIO_BALLOON_F_DEFLATE_ON_OOM ((uint64_t)1 << 2)
#define VIRTIO_BALLOON_F_PAGE_REPORTING ((uint64_t)1 << 5)

/* Bytes that are taken back in one turn, or one page more: the host clears them. */
#define BALLOON_TAKEN_MOST ((uint64_t)4 << 20)

enum balloon_taken {
	BALLOON_TAKEN, /* all is there */
	BALLOON_MORE,  /* enough for this turn */
	BALLOON_LACKS, /* the host has no page now */
};

/* VIRTIO 1.2, 5.5.2. There is no free page hinting, so a driver finds the reporting queue at 4 when it goes
 * by the specification, and at 3 when it counts only the queues that are there, as Linux does: both are it.
 */
enum { INFLATE_QUEUE, DEFLATE_QUEUE, STATS_QUEUE, REPORTING_QUEUE, LAST_QUEUE };

/* Guest memory as the balloon sees it. Only whole host pages go back to the host. */
struct balloon_memory {
	const struct guestmem *mem;
	uint64_t page_size; /* of the host */
	int advice;         /* for madvise(2) */
	int error;          /* errno of the first page that the host refused, or 0 */
	/* Where a host page is larger than BALLOON_PAGE: one bit for each page number that is in the balloon,
	 * so that a host page is given when the last of its parts is. Else NULL. */
	uint64_t *inflated;
	uint64_t pfn_count;
	/* The driver tells before it takes a page out (MUST_TELL_HOST), so bits stay true from one request to
	 * the next. */
	bool is_told;
	uint64_t taken; /* bytes, in this turn */
	uint32_t chunk[BALLOON_CHUNK];
};

/* VIRTIO 1.2, 5.5.4, without what free page hinting and page poisoning add */
struct balloon_config_space {
	uint32_t num_pages;
	uint32_t actual;
};

struct balloon {
	struct sv_virtio device;            /* first: the device is its balloon */
	struct balloon_config_space config; /* under the device's config_lock */
	uint64_t ram;                       /* bytes */
	uint32_t stats_interval;
	atomic_uint target; /* num_pages as we want it */
	atomic_uint actual; /* at most ram */
	atomic_bool active;
	atomic_bool announced; /* an event was posted and nobody has read since */

	/* the I/O thread's */
	struct balloon_memory memory;
	bool refusal_told;
	uint64_t wait_ns;       /* for the next look; 0: nobody waits */
	uint64_t lacked_ns;     /* when the host last had no page, by clock_now; 0: never */
	struct io_source retry; /* it is time to look for pages that a guest waits for */
	struct io_source timer; /* it is time to ask for statistics */
	bool stats_held;        /* a buffer of the driver waits for that */
	uint16_t stats_head;
	struct iovec iov[BALLOON_IOV_MAX];

	pthread_mutex_t stats_lock; /* a leaf of the lock order: for a copy only */
	uint64_t stats_time;
	uint32_t stats_known;
	uint64_t stats[SV_BALLOON_STATS];
};

/* balloon.c */
void balloon_signal(struct balloon *balloon, uint32_t queue);

/* balloon_pages.c */
int balloon_memory_open(struct balloon_memory *memory, const struct sv_vm *vm);
void balloon_memory_close(struct balloon_memory *memory);
/* A driver begins with an empty balloon. */
void balloon_memory_begin(struct balloon_memory *memory, bool is_told);
/* Takes a list of page numbers, 32 bits each, and gives the host what it can; those that are no guest memory
 * count for nothing. */
void balloon_memory_inflate(struct balloon_memory *memory, struct span *pfns);
/* Takes back what the host has been given of a list. Unless all is there, the list is to be tried again, as a
 * whole, before the guest hears that it may use the pages. */
enum balloon_taken balloon_memory_deflate(struct balloon_memory *memory, struct span *pfns);
/* Gives the host the whole pages inside a range of guest memory. */
void balloon_memory_give(struct balloon_memory *memory, void *host, uint64_t length);

/* balloon_wait.c; the first two for a device that is made, or is not used any more. */
int balloon_wait_open(struct balloon *balloon, struct sv_iothread *io);
void balloon_wait_close(struct balloon *balloon);
/* The newest request of the deflate queue is in the ring again, to be looked at later. */
void balloon_wait_begin(struct balloon *balloon);
void balloon_wait_end(struct balloon *balloon);

/* balloon_stats.c; the first two for a device that is made, or is not used any more. */
int balloon_stats_open(struct balloon *balloon, struct sv_iothread *io);
void balloon_stats_close(struct balloon *balloon);
/* A driver begins: what its predecessor told counts no more. */
void balloon_stats_begin(struct balloon *balloon);
void balloon_stats_stop(struct balloon *balloon);
/* Takes what the driver tells and keeps its buffer: that it comes back is how the driver is asked again. */
void balloon_stats_take(struct balloon *balloon, const struct chain *chain);

#endif
