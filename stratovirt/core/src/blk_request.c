#include <errno.h>
#include <string.h>

#include "blk.h"

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 }; /* 5.2.6 */

#define WRITE_ZEROES_F_UNMAP 1

#define REPORT_INTERVAL_NS 1000000000

struct blk_header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

struct blk_segment {
	uint64_t sector;
	uint32_t num_sectors;
	uint32_t flags;
};

/* Tells Python of a fault of the host, at most once a second for each device: a guest may retry for ever. */
static void report(struct blk_request *request, int error)
{
	struct blk *blk = request->blk;
	struct sv_event event = {.kind = SV_EVENT_IO_ERROR,
				 .source = blk->device.id,
				 .data = {(uint64_t)error, request->type, request->sector}};
	uint64_t now = clock_now();

	if (blk->last_report != 0 && now - blk->last_report < REPORT_INTERVAL_NS) {
		blk->unreported++;
		return;
	}
	event.data[3] = blk->unreported;
	blk->last_report = now;
	blk->unreported = 0;
	events_post(&blk->device.vm->events, &event);
}

static void fail(struct blk_request *request, int error)
{
	report(request, error);
	blk_complete(request, BLK_S_IOERR);
}

/* VIRTIO 1.2, 5.2.6.2: a driver that does not know FLUSH gets a disk that writes through. */
static bool writes_through(const struct blk *blk)
{
	return !(blk->device.features & VIRTIO_BLK_F_FLUSH);
}

static void start_transfer(struct blk_request *request)
{
	request->op.iov = request->data.iov;
	request->op.iov_count = request->data.count;
	blk_start(request);
}

static void start_sync(struct blk_request *request)
{
	request->op.kind = AIO_SYNC;
	blk_start(request);
}

static bool is_inside(const struct blk *blk, uint64_t sector, uint64_t sectors)
{
	return sector <= blk->config.capacity && sectors <= blk->config.capacity - sector;
}

/* Through the bounce buffer; what a stop interrupts is either forgotten by it, or goes on afterwards. */
static void bounce(struct blk_request *request)
{
	int error = blk_bounce(request);

	request->interrupted = error == -ECANCELED;
	if (request->interrupted)
		blk_append(&request->blk->ended, request);
	else if (error < 0)
		fail(request, -error);
	else
		blk_complete(request, BLK_S_OK);
}

static void begin_transfer(struct blk_request *request, enum aio_kind kind)
{
	struct blk *blk = request->blk;

	if (kind == AIO_WRITE && blk->readonly) {
		blk_complete(request, BLK_S_IOERR);
		return;
	}
	if (request->data.bytes % SECTOR_SIZE != 0 ||
	    !is_inside(blk, request->sector, request->data.bytes / SECTOR_SIZE)) {
		blk_complete(request, BLK_S_IOERR);
		return;
	}
	request->written =
	    kind == AIO_READ ? (uint32_t)request->data.bytes : 0; /* below 2^32: see the chain */
	request->op.kind = kind;
	request->op.durable = kind == AIO_WRITE && writes_through(blk);
	request->op.offset = request->sector * SECTOR_SIZE;
	if (request->data.bytes == 0)
		blk_complete(request, BLK_S_OK);
	else if (blk_needs_bounce(request))
		bounce(request);
	else
		start_transfer(request);
}

static void answer_id(struct blk_request *request)
{
	uint64_t size = request->data.bytes < BLK_ID_SIZE ? request->data.bytes : BLK_ID_SIZE;

	span_put(&request->data, request->blk->id, size);
	request->written = (uint32_t)size;
	blk_complete(request, BLK_S_OK);
}

/* Looks at the one segment of a discard or write-zeroes request; returns the status that it deserves. */
static uint8_t check_segment(const struct blk *blk, uint32_t type, const struct blk_segment *segment)
{
	uint32_t known = type == T_WRITE_ZEROES ? WRITE_ZEROES_F_UNMAP : 0;

	if (segment->flags & ~known) /* 5.2.6.2 */
		return BLK_S_UNSUPP;
	if (segment->num_sectors > BLK_MAX_DISCARD_SECTORS ||
	    !is_inside(blk, segment->sector, segment->num_sectors))
		return BLK_S_IOERR;
	return BLK_S_OK;
}

static void begin_discard(struct blk_request *request)
{
	struct blk *blk = request->blk;
	uint64_t feature = request->type == T_DISCARD ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES;
	struct blk_segment segment;
	uint8_t status;

	if (!(blk->device.features & feature) || !blk->discard) {
		blk_complete(request, BLK_S_UNSUPP);
		return;
	}
	if (blk->readonly) { /* put in after the driver had been offered to discard */
		blk_complete(request, BLK_S_IOERR);
		return;
	}
	if (request->data.bytes != sizeof(segment)) { /* max_discard_seg is 1 */
		blk_complete(request, BLK_S_IOERR);
		return;
	}
	span_take(&request->data, &segment, sizeof(segment));
	status = check_segment(blk, request->type, &segment);
	if (status != BLK_S_OK || segment.num_sectors == 0) {
		blk_complete(request, status);
		return;
	}
	request->sector = segment.sector;
	request->op.kind = request->type == T_DISCARD || segment.flags ? AIO_PUNCH : AIO_ZERO;
	request->op.offset = segment.sector * SECTOR_SIZE;
	request->op.length = (uint64_t)segment.num_sectors * SECTOR_SIZE;
	blk_start(request);
}

void blk_request_begin(struct blk_request *request)
{
	if (request->blk->fd < 0 && request->type != T_GET_ID) {
		blk_complete(request, BLK_S_IOERR);
		return;
	}
	switch (request->type) {
	case T_IN:
		begin_transfer(request, AIO_READ);
		break;
	case T_OUT:
		begin_transfer(request, AIO_WRITE);
		break;
	case T_FLUSH:
		/* Covers each write that the guest has seen completed: they had ended before this begins. */
		start_sync(request);
		break;
	case T_GET_ID:
		answer_id(request);
		break;
	case T_DISCARD:
	case T_WRITE_ZEROES:
		begin_discard(request);
		break;
	default:
		blk_complete(request, BLK_S_UNSUPP);
		break;
	}
}

bool blk_request_read(struct blk_request *request, const struct chain *chain)
{
	struct span readable = span_of(request->iov, chain->readable);
	struct span writable = span_of(request->iov + chain->readable, chain->writable);
	struct blk_header header;

	request->head = chain->head;
	request->written = 0;
	request->interrupted = false;
	request->op.durable = false;
	/* The status is the last writable byte, and the header the first readable ones, however they are
	 * split over descriptors (2.7.4.1). */
	request->status = writable.bytes > 0 ? span_last(&writable) : NULL;
	if (!request->status || readable.bytes < sizeof(header)) {
		blk_complete(request, BLK_S_IOERR);
		return false;
	}
	span_take(&readable, &header, sizeof(header));
	request->type = header.type;
	request->sector = header.sector;
	request->data = header.type == T_IN || header.type == T_GET_ID ? writable : readable;
	return true;
}

uint32_t blk_request_direction(const struct blk_request *request)
{
	return request->type == T_IN || request->type == T_GET_ID ? BLK_READS : BLK_WRITES;
}

uint64_t blk_request_bytes(const struct blk_request *request)
{
	return request->type == T_IN || request->type == T_OUT ? request->data.bytes : 0;
}

static void continue_transfer(struct blk_request *request)
{
	uint64_t moved = (uint64_t)request->op.result;

	if (moved == 0) { /* the image ends before its size: somebody has cut it */
		fail(request, request->op.kind == AIO_READ ? ENODATA : ENOSPC);
		return;
	}
	span_skip(&request->data, moved < request->data.bytes ? moved : request->data.bytes);
	if (request->data.bytes == 0) {
		blk_complete(request, BLK_S_OK);
		return;
	}
	request->op.offset += moved;
	start_transfer(request);
}

void blk_request_continue(struct blk_request *request)
{
	struct aio_op *op = &request->op;

	if (request->interrupted) {
		bounce(request);
	} else if (op->kind == AIO_ZERO && op->result == -EOPNOTSUPP) {
		op->kind = AIO_PUNCH; /* a hole reads as zeroes too; the host merely loses the reservation */
		blk_start(request);
	} else if (op->result == -EOPNOTSUPP) {
		blk_complete(request, BLK_S_UNSUPP);
	} else if (op->result < 0) {
		fail(request, (int)-op->result);
	} else if (op->kind == AIO_READ || op->kind == AIO_WRITE) {
		continue_transfer(request);
	} else if (op->kind != AIO_SYNC && writes_through(request->blk)) {
		start_sync(request);
	} else {
		blk_complete(request, BLK_S_OK);
	}
}
