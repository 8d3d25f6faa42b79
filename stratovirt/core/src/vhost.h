/* Rings that the host's kernel serves: the part that all vhost modules share (<linux/vhost.h>). The device is
 * `external`: its kick eventfds go to the module, and the module writes the device's irq_fd.
 */
#ifndef SV_VHOST_H
#define SV_VHOST_H

#include "virtio.h"

/* Takes the module for this process and returns its features of the ring and of the device, or -errno. */
int vhost_claim(int fd, uint64_t *features);
/* Tells the module what the driver accepted and where guest memory is. */
int vhost_set_up(int fd, const struct sv_virtio *device, uint64_t features);
/* Gives the module one started queue, from the entry on that is next; `index` is the module's number for it.
 */
int vhost_give_queue(int fd, struct virtio_queue *queue, uint32_t index);
/* Takes a queue back as far as the module knows it: its eventfds are forgotten, and how far the module came
 * is where the queue goes on when it is given again. */
void vhost_take_queue(int fd, struct virtio_queue *queue, uint32_t index);

#endif
