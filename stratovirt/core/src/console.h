/* virtio-console (VIRTIO 1.2, 5.3): one port, whose other end is a Unix stream socket that listens.
 *
 *   console.c         the device: queues, configuration, the size of the window
 *   console_client.c  the socket: one client at a time, and what waits for it or was left by it
 *
 * Everything runs on the main I/O thread. While a client is connected nothing is dropped in either direction:
 * a queue is just not served when the other side takes nothing. Output that the client does not take yet
 * waits in `unread`, and then in its chain; what nobody is there to take goes to `unread` too, which then
 * keeps the newest 64 KiB for the next client.
 *
 * There is one exception. Linux's driver waits for each piece of output in a loop, with interrupts off, and
 * so a client that has stopped reading would stop a whole processor of the guest. A client that has taken
 * nothing for CONSOLE_PATIENCE_NS therefore counts as nobody until it reads again.
 */
#ifndef SV_CONSOLE_H
#define SV_CONSOLE_H

#include "bytering.h"
#include "clock.h"
#include "virtio.h"

#define CONSOLE_QUEUE_SIZE  64
#define CONSOLE_IOV_MAX     (CONSOLE_QUEUE_SIZE + GUESTMEM_MAX_REGIONS) /* a buffer may cross regions */
#define CONSOLE_PATIENCE_NS (10ull * CLOCK_SECOND)
#define CONSOLE_RETRY_NS    CLOCK_SECOND

enum { CONSOLE_RX = 0, CONSOLE_TX = 1 }; /* VIRTIO 1.2, 5.3.2, seen from the driver */

/* VIRTIO 1.2, 5.3.4 */
struct console_config_space {
	uint16_t cols;
	uint16_t rows;
	uint32_t max_nr_ports;
	uint32_t emerg_wr;
};

/* A chain that was taken off its queue and is not yet given back. */
struct console_chain {
	bool held;
	uint16_t head;
	struct span data;
	struct iovec iov[CONSOLE_IOV_MAX];
};

struct console {
	struct sv_virtio device; /* first: the device is its console */
	struct console_config_space config;
	bool told_size; /* the driver that runs now was told of the window's size after its first output */
	struct console_chain chains[2]; /* by queue */

	struct io_source listener;
	struct io_source client; /* fd -1 while nobody is connected */
	struct io_source timer;  /* ends the patience with a client, or has the listener tried again */
	uint32_t watched;        /* what epoll tells of the client, besides its end */
	bool input_ended;        /* the client has shut its side down, and may still read */
	bool wants_input;        /* a chain waits for bytes of the client */
	bool wants_room;         /* output waits for the client */
	bool given_up;           /* the client took nothing for too long */
	uint64_t last_report;    /* time of the last SV_EVENT_HOST_ERROR, in ns; 0 for none */

	struct bytering unread;   /* output for the next client */
	struct bytering leftover; /* input of a client that has gone */
};

/* console.c: serves a queue as far as it goes. */
void console_run(struct console *console, uint32_t queue);

/* console_client.c */
int console_client_open(struct console *console, int listener_fd);
int console_client_watch(struct console *console); /* after virtio_init() */
void console_client_close(struct console *console);
/* Sends what waits in `unread`, then as much of the span as the client takes now; what has gone is dropped
 * from it. With nobody there all of it has gone. True when the span is empty; else console_run() follows. */
bool console_client_send(struct console *console, struct span *span);
/* Reads bytes of a client into the span, which is not empty; 0 when there are none yet: console_run()
 * follows.
 */
uint32_t console_client_receive(struct console *console, struct span *span);
/* Has epoll tell what the queues wait for now. */
void console_client_rewatch(struct console *console);

#endif
