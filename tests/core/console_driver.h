/* A driver for a virtio-console device, and clients of its socket. The two queues are two views of one
 * device: `rx` has its rings where driver.h puts them, `tx` has them TX_SHIFT higher.
 */
#ifndef CONSOLE_DRIVER_H
#define CONSOLE_DRIVER_H

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "console.h"
#include "driver.h"

#define TX_SHIFT 0x100000u
#define BULK     (RAM_GPA + 0x200000u) /* 1 MiB of output */

struct guest {
	struct driver rx;
	struct driver tx;
	int listener;
};

/* A socket that listens under a name which the kernel chose; nothing is left in a file system. */
static inline int new_listener(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	CHECK(bind(fd, (struct sockaddr *)&name, sizeof(sa_family_t)) == 0);
	CHECK(listen(fd, 4096) == 0);
	return fd;
}

static inline int connect_to(struct guest *g)
{
	struct timeval patience = {.tv_sec = 20};
	struct sockaddr_un name;
	socklen_t size = sizeof(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(getsockname(g->listener, (struct sockaddr *)&name, &size) == 0);
	CHECK(connect(fd, (struct sockaddr *)&name, size) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
	return fd;
}

static inline void guest_open(struct guest *g)
{
	g->rx = driver_without_device();
	g->listener = new_listener();
	CHECK(sv_console_create(g->rx.vm, g->listener, NULL, &g->rx.device) == 0);
	CHECK(sv_mmio_place(g->rx.vm, g->rx.device, WINDOW, 5) == 0);
	g->tx = g->rx;
	g->tx.ring.ram += TX_SHIFT;
}

static inline void guest_close(struct guest *g)
{
	driver_close(&g->rx);
	close(g->listener);
}

static inline void guest_start(struct guest *g, uint64_t features)
{
	struct virtq_layout layout = ring_layout(&g->tx.ring);

	layout.desc += TX_SHIFT;
	layout.avail += TX_SHIFT;
	layout.used += TX_SHIFT;
	driver_prepare(&g->rx, features);
	memset(g->tx.ring.ram, 0, TABLES - RAM_GPA);
	g->tx.ring.avail = 0;
	g->tx.waited = 0;
	reg_write(&g->tx, R_QUEUE_SEL, CONSOLE_TX);
	driver_write_layout(&g->tx, &layout);
	reg_write(&g->rx, R_STATUS, S_READY | S_DRIVER_OK);
	EQUAL(reg_read(&g->rx, R_STATUS), S_READY | S_DRIVER_OK);
}

static inline void notify(struct guest *g, uint32_t queue)
{
	reg_write(&g->rx, R_NOTIFY, queue);
}

/* Publishes one readable buffer of output; `slot` is below QUEUE_SIZE. */
static inline void put_output(struct guest *g, uint32_t slot, uint64_t data, uint32_t length)
{
	put_desc(&g->tx.ring, slot, data, length, 0, 0);
	publish(&g->tx.ring, slot);
	notify(g, CONSOLE_TX);
}

/* Publishes room for input. */
static inline void put_room(struct guest *g, uint32_t slot, uint64_t data, uint32_t length)
{
	put_desc(&g->rx.ring, slot, data, length, F_WRITE, 0);
	publish(&g->rx.ring, slot);
	notify(g, CONSOLE_RX);
}

/* Writes one short text as the guest and waits until the device has taken it. */
static inline void say(struct guest *g, const char *text)
{
	memcpy(at_gpa(&g->rx.ring, DATA), text, strlen(text));
	put_output(g, 0, DATA, (uint32_t)strlen(text));
	wait_used(&g->tx, 1);
}

/* Reads exactly so many bytes from a socket. */
static inline void hear(int client, void *to, size_t length)
{
	size_t got = 0;

	while (got < length) {
		ssize_t n = recv(client, (uint8_t *)to + got, length - got, 0);

		CHECK(n > 0);
		got += (size_t)n;
	}
}

static inline void expect(int client, const char *text)
{
	char heard[128] = {0};

	hear(client, heard, strlen(text));
	EQUAL(strcmp(heard, text), 0);
}

static inline bool hears_nothing(int client)
{
	char byte;

	return recv(client, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

#endif
