/* virtio-vsock (VIRTIO 1.2, 5.10): sockets between guest and host.
 *
 *   vsock_packet.c  the header of a packet, and what of it can be believed
 *   vsock_event.c   the event queue, and what both backends' devices share
 *   vsock_vhost.c   the device whose streams the host's kernel serves (vhost-vsock)
 *   vsock.c         the device whose streams end in Unix sockets: queues and interrupts
 *   vsock_muxer.c   its connections: who is meant, who comes next, who has to go; host programs that connect
 *   vsock_reply.c   what the guest is told of ports that nobody has
 *   vsock_host.c    the Unix sockets: who connects, and where a guest's connection goes
 *   vsock_conn.c    one connection: bytes both ways, credit, shutdown
 *
 * Everything runs on the device's I/O thread. Connections and their buffers are allocated with the device, so
 * that neither a guest nor a program on the host can make it allocate.
 */
#ifndef SV_VSOCK_H
#define SV_VSOCK_H

#include "virtio.h"
#include "vsock_muxer.h"
#include "vsock_packet.h"

/* What the devices of both backends begin with. */
struct vsock_base {
	struct sv_virtio device; /* first: the device is its vsock_base */
	uint64_t guest_cid;      /* the configuration space (5.10.4) */
	bool reset_owed;         /* a transport reset that found no buffer on the event queue */
	/* Forgets every connection; on the I/O thread. May be NULL. */
	void (*forget)(struct vsock_base *base);
};

struct vsock {
	struct vsock_base base; /* first */
	struct vsock_muxer muxer;
	bool tx_waits; /* packets of the guest wait until it has taken some of ours */
	bool held;     /* a chain of the receive queue waits for a packet: */
	struct chain chain;
	struct iovec iov[VSOCK_IOV_MAX];
};

/* vsock_event.c: the driver has notified the event queue; false when the queue is broken. */
bool vsock_event_process(struct vsock_base *base);
/* Whether a number can be a guest's context id. */
bool vsock_is_guest_cid(uint64_t cid);
/* What the plans of both devices have in common. */
struct virtio_plan vsock_plan(struct vsock_base *base, const struct virtio_ops *ops);

#endif
