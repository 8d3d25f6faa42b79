/* Bytes that wait, oldest first, in a place of fixed size. It knows no device and allocates nothing. */
#ifndef SV_BYTERING_H
#define SV_BYTERING_H

#include <stdint.h>
#include <sys/uio.h>

#include "iov.h"

#define BYTERING_SIZE 65536

struct bytering {
	uint32_t first; /* where the oldest one is */
	uint32_t count;
	uint8_t bytes[BYTERING_SIZE];
};

/* Moves the span's bytes in; when they do not fit, the oldest of all go, so that the newest are kept. */
void bytering_keep_newest(struct bytering *ring, struct span *span);
/* Moves the front of the span in, as much as there is room for. */
void bytering_add(struct bytering *ring, struct span *span);
/* The waiting bytes as up to two pieces; returns how many. */
int bytering_filled(struct bytering *ring, struct iovec pieces[2]);
/* The free room as up to two pieces; returns how many. */
int bytering_room(struct bytering *ring, struct iovec pieces[2]);
/* n bytes have been written to the front of the room; n is at most what there is. */
void bytering_added(struct bytering *ring, uint32_t n);
/* Drops the n oldest bytes; n is at most what there is. */
void bytering_drop(struct bytering *ring, uint32_t n);
/* Moves the oldest bytes to the span, as many as fit; returns how many. */
uint32_t bytering_move(struct bytering *ring, struct span *span);

#endif
