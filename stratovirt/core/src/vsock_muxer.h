/* The connections of a vsock device that end in Unix sockets: their table, those that host programs begin
 * with the line `CONNECT PORT`, and whose turn it is to send to the guest.
 *
 * It knows no queue: packets are handed to it, and taken from it. Bounds: VSOCK_CONNECTIONS of all kinds,
 * VSOCK_HANDSHAKES of them without a port yet, VSOCK_REPLIES packets for ports that nobody has.
 */
#ifndef SV_VSOCK_MUXER_H
#define SV_VSOCK_MUXER_H

#include "vsock_conn.h"
#include "vsock_reply.h"

#define VSOCK_CONNECTIONS 256u
#define VSOCK_HANDSHAKES  64u

#define VSOCK_HANDSHAKE_NS 5000000000u /* how long a host program has for its first line */

struct vsock_muxer {
	struct sv_iothread *io;
	void (*wake)(void *context); /* sockets had news: packets may wait for the guest */
	void *context;
	uint64_t guest_cid;
	uint64_t handshake_ns;
	struct io_source listener;
	struct io_source timer; /* fires when the oldest handshake is over */
	bool open;              /* a driver is there */
	bool listening;         /* for host programs that connect */
	char path[SV_VSOCK_PATH_SIZE];
	uint8_t *buffers; /* of all connections: pages that are not written cost nothing */
	uint64_t serial;
	uint32_t next_host_port;
	uint32_t handshakes;

	struct vsock_conn *first_ready;
	struct vsock_conn *last_ready;
	struct vsock_replies replies;

	uint64_t keys[VSOCK_CONNECTIONS]; /* the ports of each connection: guest's and host's */
	struct vsock_conn connections[VSOCK_CONNECTIONS];
};

/* Fills a zeroed muxer; vsock_muxer_free() is due also when it fails. */
int vsock_muxer_init(struct vsock_muxer *muxer, struct sv_iothread *io, const struct sv_vsock_config *config);
/* Releases what init made; no thread is left, or knows it. */
void vsock_muxer_free(struct vsock_muxer *muxer);

/* On the I/O thread: */
void vsock_muxer_open(struct vsock_muxer *muxer);
/* Drops every connection without a word to the guest; host programs that connect from now on wait. */
void vsock_muxer_close(struct vsock_muxer *muxer);
/* False when a packet that has to be answered could not be: the guest has to take some first. */
bool vsock_muxer_has_room(const struct vsock_muxer *muxer);
/* Takes a packet of the guest that vsock_packet_take() has judged. There is room. */
void vsock_muxer_receive(struct vsock_muxer *muxer, enum vsock_verdict verdict,
			 const struct vsock_header *header, struct span *data);
/* Makes the next packet for the guest, its data at the front of `space`; false when there is none. */
bool vsock_muxer_next(struct vsock_muxer *muxer, struct vsock_header *header, const struct span *space);
/* True when vsock_muxer_next() may have one. */
bool vsock_muxer_is_ready(const struct vsock_muxer *muxer);

/* For connections: */
/* Puts it at the end of the list of those that have something for the guest. */
void vsock_muxer_queue(struct vsock_conn *conn);
/* Gives the connection's place back; the host's side is closed. */
void vsock_muxer_release(struct vsock_conn *conn);
/* The guest knows the connection no longer: its ports are free. */
void vsock_muxer_forget_ports(struct vsock_conn *conn);
/* Begins a new state. */
void vsock_muxer_enter(struct vsock_conn *conn, enum vsock_state state);
/* Closes the host's side and gives the place back, without a word to the guest. */
void vsock_muxer_drop(struct vsock_conn *conn);
/* For the host's side: takes a program that has connected, and has until `deadline` to name a port. */
void vsock_muxer_meet(struct vsock_muxer *muxer, int fd, uint64_t deadline);
/* A host program's first line may have come. */
void vsock_muxer_handshake(struct vsock_conn *conn);

#endif
