/* The host's side of a vsock device: Unix sockets by the convention that several machine monitors share. A
 * host program connects to PATH, writes `CONNECT PORT\n` and reads `OK HOST_PORT\n`; what a guest sends to
 * port P of the host goes to a program that listens at PATH_P.
 */
#ifndef SV_VSOCK_HOST_H
#define SV_VSOCK_HOST_H

#include <stdint.h>

struct vsock_muxer;

/* Takes a listening socket, which stays the caller's too; vsock_host_free() is due also when it fails. */
int vsock_host_init(struct vsock_muxer *muxer, int listener);
void vsock_host_free(struct vsock_muxer *muxer);
/* Lets programs in, and none any more: they wait in the listener's backlog. */
void vsock_host_listen(struct vsock_muxer *muxer);
void vsock_host_ignore(struct vsock_muxer *muxer);

/* Connects to whoever listens for the port; returns the socket, which does not block, or -errno. */
int vsock_host_connect(const char *path, uint32_t port);
/* Reads the first line of a host program, and not a byte more: 1 with the port, 0 when there is only a part
 * of the line, -1 when it cannot become one any more. */
int vsock_host_read_connect(int fd, uint32_t *port);

#endif
