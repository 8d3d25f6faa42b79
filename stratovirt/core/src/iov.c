#include "iov.h"

#include <string.h>

struct span span_of(struct iovec *iov, uint32_t count)
{
	struct span span = {.iov = iov, .count = count};

	for (uint32_t i = 0; i < count; i++)
		span.bytes += iov[i].iov_len;
	return span;
}

void span_limit(struct span *span, uint64_t n)
{
	uint64_t left = n;
	uint32_t count = 0;

	if (span->bytes <= n)
		return;
	while (left > 0) { /* ends inside: there are more bytes than n */
		struct iovec *piece = &span->iov[count++];

		if (piece->iov_len > left)
			piece->iov_len = left;
		left -= piece->iov_len;
	}
	span->count = count;
	span->bytes = n;
}

/* The part of the first buffer that n bytes reach. */
static uint64_t first_piece(const struct span *span, uint64_t n)
{
	return n < span->iov->iov_len ? n : span->iov->iov_len;
}

static void drop_from_first(struct span *span, uint64_t n)
{
	span->iov->iov_base = (uint8_t *)span->iov->iov_base + n;
	span->iov->iov_len -= n;
	span->bytes -= n;
	if (span->iov->iov_len == 0) {
		span->iov++;
		span->count--;
	}
}

void span_skip(struct span *span, uint64_t n)
{
	while (n > 0) {
		uint64_t piece = first_piece(span, n);

		drop_from_first(span, piece);
		n -= piece;
	}
}

void span_cut(struct span *span, uint64_t n)
{
	uint64_t left = n;
	uint32_t count = 0;

	while (left > 0) {
		struct iovec *last = &span->iov[count++];

		if (last->iov_len > left)
			last->iov_len = left;
		left -= last->iov_len;
	}
	span->count = count;
	span->bytes = n;
}

void span_take(struct span *span, void *to, uint64_t n)
{
	uint8_t *at = to;

	while (n > 0) {
		uint64_t piece = first_piece(span, n);

		memcpy(at, span->iov->iov_base, piece);
		drop_from_first(span, piece);
		at += piece;
		n -= piece;
	}
}

void span_put(struct span *span, const void *from, uint64_t n)
{
	const uint8_t *at = from;

	while (n > 0) {
		uint64_t piece = first_piece(span, n);

		memcpy(span->iov->iov_base, at, piece);
		drop_from_first(span, piece);
		at += piece;
		n -= piece;
	}
}

uint8_t *span_last(struct span *span)
{
	struct iovec *last = &span->iov[span->count - 1];
	uint8_t *byte = (uint8_t *)last->iov_base + last->iov_len - 1;

	last->iov_len--;
	span->bytes--;
	if (last->iov_len == 0)
		span->count--;
	return byte;
}
