/* A span of buffers that shrinks from the front as its bytes are used. */
#ifndef SV_IOV_H
#define SV_IOV_H

#include <stdint.h>
#include <sys/uio.h>

struct span {
	struct iovec *iov; /* changed as the span shrinks */
	uint32_t count;
	uint64_t bytes;
};

struct span span_of(struct iovec *iov, uint32_t count);
/* Drops what is beyond the first n bytes; nothing when it has fewer. */
void span_limit(struct span *span, uint64_t n);
/* Drops n bytes from the front; n is at most span->bytes. */
void span_skip(struct span *span, uint64_t n);
/* Keeps the first n bytes; n is at most span->bytes. */
void span_cut(struct span *span, uint64_t n);
/* Moves n bytes from the front to a buffer; n is at most span->bytes. */
void span_take(struct span *span, void *to, uint64_t n);
/* Moves n bytes of a buffer to the front; n is at most span->bytes. */
void span_put(struct span *span, const void *from, uint64_t n);
/* Takes the last byte off and returns where it is; the span is not empty. */
uint8_t *span_last(struct span *span);

#endif
