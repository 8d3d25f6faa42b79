/* Packets of virtio-vsock (VIRTIO 1.2, 5.10.6): their header, and what of a guest's packet can be believed.
 */
#ifndef SV_VSOCK_PACKET_H
#define SV_VSOCK_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#include "guestmem.h"
#include "iov.h"

#define VIRTIO_ID_VSOCK 19 /* VIRTIO 1.2, 5 */

#define VSOCK_RX          0 /* 5.10.2: the queues */
#define VSOCK_TX          1
#define VSOCK_EVENT       2
#define VSOCK_QUEUE_COUNT 3
#define VSOCK_QUEUE_SIZE  128
#define VSOCK_IOV_MAX     (VSOCK_QUEUE_SIZE + GUESTMEM_MAX_REGIONS) /* a buffer may cross regions */

#define VSOCK_CID_HOST 2          /* 5.10.4 */
#define VSOCK_PORT_ANY UINT32_MAX /* VMADDR_PORT_ANY of vsock(7): never a port */

#define VSOCK_TYPE_STREAM 1 /* 5.10.6 */

#define VSOCK_SHUTDOWN_RCV  1u /* 5.10.6.4: the sender of the packet will not receive any more */
#define VSOCK_SHUTDOWN_SEND 2u /* ... will not send any more */
#define VSOCK_SHUTDOWN_BOTH (VSOCK_SHUTDOWN_RCV | VSOCK_SHUTDOWN_SEND)

enum vsock_op {
	VSOCK_OP_INVALID,
	VSOCK_OP_REQUEST,
	VSOCK_OP_RESPONSE,
	VSOCK_OP_RST,
	VSOCK_OP_SHUTDOWN,
	VSOCK_OP_RW,
	VSOCK_OP_CREDIT_UPDATE,
	VSOCK_OP_CREDIT_REQUEST,
};

/* struct virtio_vsock_hdr. In guest memory it has VSOCK_HEADER_SIZE bytes, fewer than a C structure. */
struct vsock_header {
	uint64_t src_cid;
	uint64_t dst_cid;
	uint32_t src_port;
	uint32_t dst_port;
	uint32_t len; /* of the data behind the header */
	uint16_t type;
	uint16_t op;
	uint32_t flags;
	uint32_t buf_alloc; /* 5.10.6.3: what the sender buffers, and how much it has handed on */
	uint32_t fwd_cnt;
};

#define VSOCK_HEADER_SIZE 44

enum vsock_verdict {
	VSOCK_DROP,   /* no header, or it lies about who sent it: nobody can be answered */
	VSOCK_REFUSE, /* the sender is answered with RST, and a connection of that name is over */
	VSOCK_ACCEPT, /* a packet for a stream of the host; `chain` is its data, header.len bytes */
};

/* Takes the header off the front of a guest's packet and judges it. */
enum vsock_verdict vsock_packet_take(struct span *chain, uint64_t guest_cid, struct vsock_header *header);
/* Puts a header at the front of a chain of at least VSOCK_HEADER_SIZE bytes. */
void vsock_packet_put(struct span *chain, const struct vsock_header *header);

/* 5.10.6.3: how many bytes a peer takes now that has told buf_alloc and fwd_cnt and was sent tx_cnt; counters
 * wrap, and a peer that contradicts itself takes none. */
uint32_t vsock_credit(uint32_t buf_alloc, uint32_t fwd_cnt, uint32_t tx_cnt);

#endif
