/* virtio-net (VIRTIO 1.2, 5.1): up to 16 pairs of queues before packet descriptors, usually those of a tap.
 *
 *   net.c        the device: configuration, features, life
 *   net_port.c   the descriptors: waiting for them, what a tap is told, plug and unplug
 *   net_rx.c     frames from a descriptor into the driver's buffers
 *   net_tx.c     the driver's frames into a descriptor
 *   net_ctrl.c   the control queue: how many pairs are in use
 *   net_vhost.c  the same queues served by the host's kernel
 *
 * Everything runs on the device's I/O thread. Frames move between guest memory and the host's kernel in one
 * copy, which the kernel makes. All state is allocated with the device: a guest cannot make it allocate.
 */
#ifndef SV_NET_H
#define SV_NET_H

#include "virtio.h"

#define NET_QUEUE_SIZE  256
#define NET_HEADER_SIZE 12 /* VIRTIO 1.2, 5.1.6: struct virtio_net_hdr with num_buffers */
#define NET_NUM_BUFFERS 10 /* where num_buffers is in it */

/* The longest frame with its header: Ethernet and VLAN headers before an IP packet. */
#define NET_FRAME_MAX (NET_HEADER_SIZE + 14 + 4 + 65535)

#define NET_CHAIN_IOV (NET_QUEUE_SIZE + GUESTMEM_MAX_REGIONS) /* a buffer may cross regions */
#define NET_RX_IOV    1023 /* <limits.h>, IOV_MAX, less the one for what finds no room */

/* Frames that a queue moves before other queues and devices of the thread have a turn. */
#define NET_BUDGET 64

#define VIRTIO_NET_F_CSUM       ((uint64_t)1 << 0) /* VIRTIO 1.2, 5.1.3 */
#define VIRTIO_NET_F_GUEST_CSUM ((uint64_t)1 << 1)
#define VIRTIO_NET_F_MAC        ((uint64_t)1 << 5)
#define VIRTIO_NET_F_GUEST_TSO4 ((uint64_t)1 << 7)
#define VIRTIO_NET_F_GUEST_TSO6 ((uint64_t)1 << 8)
#define VIRTIO_NET_F_GUEST_ECN  ((uint64_t)1 << 9)
#define VIRTIO_NET_F_GUEST_UFO  ((uint64_t)1 << 10)
#define VIRTIO_NET_F_HOST_TSO4  ((uint64_t)1 << 11)
#define VIRTIO_NET_F_HOST_TSO6  ((uint64_t)1 << 12)
#define VIRTIO_NET_F_HOST_ECN   ((uint64_t)1 << 13)
#define VIRTIO_NET_F_HOST_UFO   ((uint64_t)1 << 14)
#define VIRTIO_NET_F_MRG_RXBUF  ((uint64_t)1 << 15)
#define VIRTIO_NET_F_STATUS     ((uint64_t)1 << 16)
#define VIRTIO_NET_F_CTRL_VQ    ((uint64_t)1 << 17)
#define VIRTIO_NET_F_MQ         ((uint64_t)1 << 22)

#define VIRTIO_NET_S_LINK_UP 1 /* VIRTIO 1.2, 5.1.4 */

/* VIRTIO 1.2, 5.1.4 */
struct net_config_space {
	uint8_t mac[6];
	uint16_t status;
	uint16_t max_virtqueue_pairs;
};

/* A chain that was taken off the receive queue and waits for a frame. */
struct net_chain {
	uint16_t head;
	uint16_t buffers; /* of net_rx.iov */
	uint64_t bytes;
};

struct net_rx {
	struct net_chain chains[NET_QUEUE_SIZE]; /* oldest first */
	uint32_t chain_count;
	struct iovec iov[NET_RX_IOV + 1]; /* the chains' buffers in the same order, and one for the spill */
	uint32_t buffer_count;
	uint64_t room; /* bytes of all chains */
	/* A frame that was longer than the room there was: its start is in the chains, the rest in spill, and
	 * it waits for more chains. */
	uint32_t frame;   /* its length, 0 for none */
	uint32_t spilled; /* how much of it is in spill */
	uint8_t *spill;   /* NET_FRAME_MAX + 1 bytes: one more tells of a frame that is too long */
};

struct net_tx {
	bool busy; /* iov holds a frame that the descriptor did not take yet */
	uint16_t head;
	uint32_t count;
	struct iovec iov[NET_CHAIN_IOV];
};

struct net_pair {
	struct net_rx rx;
	struct net_tx tx;
};

struct net;

/* A descriptor. That of pair n is port n; a pair beyond them sends through port n modulo their number. */
struct net_port {
	struct io_source source;
	struct net *net;
	uint32_t index;
	bool attached; /* the tap gives it frames */
	bool wants_room;
};

struct net {
	struct sv_virtio device; /* first: the device is its net */
	struct net_config_space config;
	uint64_t features;     /* that the driver accepted */
	uint32_t pair_count;   /* of queues */
	uint32_t active_pairs; /* that the driver uses */
	uint32_t control;      /* index of the control queue, UINT32_MAX without one */
	struct net_pair *pairs;
	uint32_t port_count; /* 0: the link is down */
	struct net_port ports[SV_NET_MAX_PAIRS];

	bool vhost;              /* the card was made for modules, */
	bool left;               /* and without a tap they do not have its rings */
	uint64_t vhost_features; /* of the modules */
	int vhost_fds[SV_NET_MAX_PAIRS];
	struct io_source watch;                  /* a timer: is the tap still there? */
	bool vhost_serves[2 * SV_NET_MAX_PAIRS]; /* queues that the kernel has */
};

static inline struct virtq *net_ring(struct net *net, uint32_t queue)
{
	return &net->device.queues[queue].ring;
}

static inline bool net_has(const struct net *net, uint64_t feature)
{
	return net->features & feature;
}

/* The host's kernel has the rings, or will when there is a driver. */
static inline bool net_is_external(const struct net *net)
{
	return net->vhost && !net->left;
}

/* Gives a queue a turn soon. */
static inline void net_later(struct net *net, uint32_t queue)
{
	virtio_process_later(&net->device, queue);
}

/* net.c */
void net_signal(struct net *net, uint32_t queue);
void net_signal_pair(struct net *net, uint32_t pair);       /* one interrupt for both directions */
void net_failed(struct net *net, int error, uint32_t what); /* posts SV_EVENT_NET_FAILED */
bool net_is_running(struct net *net, uint32_t queue);
void net_serve_by_vhost(struct net *net);     /* a module that refuses is told of */
struct net *net_of(struct sv_virtio *device); /* NULL for a device of another type */

/* net_port.c */
int net_port_open(struct net *net, const struct sv_net_backend *backend);
void net_port_close(struct net *net); /* any thread */
uint64_t net_offload_features(uint32_t offloads);
/* Tells the taps what the driver accepted and which of them it reads. */
void net_port_activate(struct net *net);
/* As many ports as pairs are in use give frames from here on; 0 or -errno. */
int net_port_attach(struct net *net);
/* The port's descriptor takes no frame at present: its pairs send on when it does. */
void net_port_wait_for_room(struct net_port *port);
/* The tap has gone: the link is down from here on. */
void net_port_lost(struct net *net, int error);

/* net_rx.c, net_tx.c, net_ctrl.c: what a queue's turn is, and what its stop is. */
void net_rx_run(struct net *net, uint32_t pair);
void net_rx_stop(struct net_rx *rx);
void net_tx_run(struct net *net, uint32_t pair);
void net_ctrl_run(struct net *net);

/* net_vhost.c */
/* Takes the modules for this process and learns their features; 0 or -errno. */
int net_vhost_open(struct net *net, const struct sv_net_backend *backend);
/* Looks after what the modules do not: the control queue, and whether the tap is still there; 0 or -errno. */
int net_vhost_watch(struct net *net);
/* Has the kernel serve the pairs in use; it takes no queue of a tap that is detached. 0 or -errno. */
int net_vhost_start(struct net *net);
void net_vhost_stop(struct net *net, uint32_t queue);
/* Takes all rings from the modules: a card whose tap is gone is served like one without a tap. */
void net_vhost_leave(struct net *net);
/* Gives the rings to the modules again, which go on with the taps that there are now; 0 or -errno. */
int net_vhost_join(struct net *net);
/* Looks whether the tap is gone, and has the modules leave then; says whether they have, now or before. */
bool net_vhost_lost(struct net *net);
void net_vhost_close(struct net *net);

#endif
