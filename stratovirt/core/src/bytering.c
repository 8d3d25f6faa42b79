#include "bytering.h"

/* Up to `length` bytes from position `at` on, as pieces that do not wrap. */
static int pieces_of(struct bytering *ring, uint32_t at, uint32_t length, struct iovec pieces[2])
{
	uint32_t start = at % BYTERING_SIZE;
	uint32_t head = length < BYTERING_SIZE - start ? length : BYTERING_SIZE - start;

	pieces[0] = (struct iovec){ring->bytes + start, head};
	pieces[1] = (struct iovec){ring->bytes, length - head};
	return (pieces[0].iov_len > 0) + (pieces[1].iov_len > 0);
}

int bytering_filled(struct bytering *ring, struct iovec pieces[2])
{
	return pieces_of(ring, ring->first, ring->count, pieces);
}

int bytering_room(struct bytering *ring, struct iovec pieces[2])
{
	return pieces_of(ring, ring->first + ring->count, BYTERING_SIZE - ring->count, pieces);
}

void bytering_added(struct bytering *ring, uint32_t n)
{
	ring->count += n;
}

void bytering_drop(struct bytering *ring, uint32_t n)
{
	ring->first = (ring->first + n) % BYTERING_SIZE;
	ring->count -= n;
}

void bytering_add(struct bytering *ring, struct span *span)
{
	struct iovec pieces[2];
	int count = bytering_room(ring, pieces);

	for (int i = 0; i < count && span->bytes > 0; i++) {
		uint64_t n = span->bytes < pieces[i].iov_len ? span->bytes : pieces[i].iov_len;

		span_take(span, pieces[i].iov_base, n);
		bytering_added(ring, (uint32_t)n);
	}
}

void bytering_keep_newest(struct bytering *ring, struct span *span)
{
	uint32_t room;

	if (span->bytes > BYTERING_SIZE)
		span_skip(span, span->bytes - BYTERING_SIZE);
	room = BYTERING_SIZE - ring->count;
	if (span->bytes > room)
		bytering_drop(ring, (uint32_t)span->bytes - room);
	bytering_add(ring, span);
}

uint32_t bytering_move(struct bytering *ring, struct span *span)
{
	uint32_t n = span->bytes < ring->count ? (uint32_t)span->bytes : ring->count;
	struct iovec pieces[2];
	int count = pieces_of(ring, ring->first, n, pieces);

	for (int i = 0; i < count; i++)
		span_put(span, pieces[i].iov_base, pieces[i].iov_len);
	bytering_drop(ring, n);
	return n;
}
