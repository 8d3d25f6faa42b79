/* RST packets that the guest is owed for ports that nobody has: a bounded queue. */
#ifndef SV_VSOCK_REPLY_H
#define SV_VSOCK_REPLY_H

#include "vsock_packet.h"

#define VSOCK_REPLIES 128u

struct vsock_reply {
	uint64_t src_cid; /* as whom we answer */
	uint32_t src_port;
	uint32_t dst_port;
	uint16_t type;
};

struct vsock_replies {
	struct vsock_reply ring[VSOCK_REPLIES];
	uint32_t first;
	uint32_t count;
};

bool vsock_replies_full(const struct vsock_replies *replies);
/* Appends one; nothing happens when it is full. */
void vsock_replies_put(struct vsock_replies *replies, const struct vsock_reply *reply);
/* Appends the answer to a packet; an RST gets none (VIRTIO 1.2, 5.10.6.4.1). */
void vsock_replies_refuse(struct vsock_replies *replies, const struct vsock_header *header);
/* Takes the oldest; false when there is none. */
bool vsock_replies_take(struct vsock_replies *replies, struct vsock_header *header);

#endif
