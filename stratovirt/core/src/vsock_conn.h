/* One stream between a port of the guest and a Unix socket of the host.
 *
 * A connection is made by a host program (HANDSHAKE, REQUESTED, OPEN) or by the guest (OPEN at once). Either
 * side may go first: when the host's has gone, the guest's lingers until the guest says RST (CLOSING), so
 * that it can read what it has; when the guest's has gone, the host's lingers until it took what is buffered
 * (DRAINING). Sockets are watched edge-triggered: `readable` and `writable` hold until a call says EAGAIN.
 */
#ifndef SV_VSOCK_CONN_H
#define SV_VSOCK_CONN_H

#include "sv.h"
#include "vsock_packet.h"

#define VSOCK_BUFFER_SIZE 65536u /* what the guest may have on its way to a host program; buf_alloc */

struct vsock_muxer;

enum vsock_state {
	VSOCK_FREE,
	VSOCK_HANDSHAKE, /* a host program has connected and not yet said where to */
	VSOCK_REQUESTED, /* the guest is asked */
	VSOCK_OPEN,
	VSOCK_CLOSING,   /* the host's side has gone; packets are swallowed until the guest says RST */
	VSOCK_DRAINING,  /* the guest's side has gone; there are bytes left for the host */
	VSOCK_RESETTING, /* both sides are gone; the guest has to be told */
};

/* Packets that a connection owes the guest, most urgent first. */
enum {
	VSOCK_OWES_RST = 1 << 0,
	VSOCK_OWES_REQUEST = 1 << 1,
	VSOCK_OWES_RESPONSE = 1 << 2,
	VSOCK_OWES_CREDIT_UPDATE = 1 << 3,
	VSOCK_OWES_CREDIT_REQUEST = 1 << 4,
	VSOCK_OWES_SHUTDOWN = 1 << 5,
};

struct vsock_conn {
	struct vsock_muxer *muxer;
	struct vsock_conn *next_ready; /* in the muxer's list of those with something to send */
	bool queued;
	enum vsock_state state;
	uint64_t since;    /* serial number of the change of state: who is older */
	uint64_t deadline; /* of a handshake, monotonic, in ns */
	uint32_t guest_port;
	uint32_t host_port;
	uint32_t owes;

	struct io_source source; /* fd is -1 once the host's side has gone */
	bool readable;
	bool writable;
	bool half_closed;        /* the host program sends no more than what is there */
	bool hung_up;            /* the host program has closed; what it sent before is still read */
	uint32_t host_shutdown;  /* VSOCK_SHUTDOWN_* of the host program: SEND when it sends no more */
	uint32_t guest_shutdown; /* ... of the guest */

	/* to the guest: 5.10.6.3 */
	uint32_t peer_buf_alloc;
	uint32_t peer_fwd_cnt;
	uint32_t tx_cnt;
	bool credit_asked;
	/* from the guest */
	uint32_t fwd_cnt;
	uint32_t told_fwd_cnt;
	uint8_t *buffer; /* a ring of VSOCK_BUFFER_SIZE bytes */
	uint32_t first;
	uint32_t used;
	bool buffer_dirty; /* its pages cost memory */
};

/* A packet from the guest for this connection; `data` has header->len bytes. */
void vsock_conn_receive(struct vsock_conn *conn, const struct vsock_header *header, struct span *data);
/* Makes the next packet for the guest: what differs from packet to packet in *header, and data in `space`,
 * which keeps its size. False when there is none now. */
bool vsock_conn_next(struct vsock_conn *conn, struct vsock_header *header, const struct span *space);
/* Has something for the guest, as far as is known. */
bool vsock_conn_is_ready(const struct vsock_conn *conn);
/* The host's socket has news. */
void vsock_conn_on_host(struct vsock_conn *conn, uint32_t epoll_events);
/* Ends it on both sides; the guest is owed an RST. */
void vsock_conn_reset(struct vsock_conn *conn);
/* Stops watching the host's socket and closes it. */
void vsock_conn_hang_up(struct vsock_conn *conn);

#endif
