/* Rings that another process of the host serves: the front end of the vhost-user protocol (QEMU's
 * docs/interop/vhost-user). What vhost.h does by ioctl() is a message over a Unix socket here, and guest
 * memory goes with it as a file: it has to be shared.
 *
 * One thread at a time uses it. A process that does not answer in time, or not as the protocol says, is done
 * with: the connection is shut down, and each later call fails.
 */
#ifndef SV_VHOST_USER_H
#define SV_VHOST_USER_H

#include "virtio.h"

struct vhost_user {
	int fd;            /* the connection; owned */
	bool acks;         /* the other side confirms each message that asks for it */
	uint64_t deadline; /* of the answers to come, by clock_now() */
};

/* Takes the process over a connection, which is duplicated; returns its features of the ring and of the
 * device, or -errno. */
int vhost_user_claim(struct vhost_user *user, int fd, uint64_t *features);
void vhost_user_close(struct vhost_user *user);
/* Cuts the process off: each later call fails. */
void vhost_user_cut(struct vhost_user *user);
/* Whatever is asked until the next call has to be answered within five seconds in all. */
void vhost_user_begin(struct vhost_user *user);
/* Tells the process what the driver accepted and where guest memory is in its file. */
int vhost_user_set_up(struct vhost_user *user, const struct sv_virtio *device, int memory_fd);
/* As vhost_give_queue() and vhost_take_queue(). */
int vhost_user_give_queue(struct vhost_user *user, struct virtio_queue *queue, uint32_t index);
int vhost_user_take_queue(struct vhost_user *user, struct virtio_queue *queue, uint32_t index);

#endif
