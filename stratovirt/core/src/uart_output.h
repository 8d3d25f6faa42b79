/* Where a serial port's bytes go: a host descriptor that is never waited for, and what it has not taken yet.
 */
#ifndef SV_UART_OUTPUT_H
#define SV_UART_OUTPUT_H

#include "bytering.h"
#include "sv.h"

struct uart_output {
	struct sv_iothread *io; /* the main one */
	/* With epoll only while bytes wait: an output whose reader is gone is ready for ever. */
	struct io_source source;
	bool watched;
	struct bytering waiting;
};

/* Owns a copy of fd. on_room runs on the I/O thread when a waiting output takes bytes. 0 or -errno. */
int uart_output_open(struct uart_output *output, struct sv_vm *vm, int fd,
		     void (*on_room)(void *context, uint32_t epoll_events), void *context);
void uart_output_close(struct uart_output *output);

/* The caller sees to it that only one thread at a time is in these. */
bool uart_output_full(const struct uart_output *output);
/* Writes the byte, or lets it wait; one for which there is no room is lost. */
void uart_output_put(struct uart_output *output, uint8_t byte);
/* Writes some of what waits. On the I/O thread. */
void uart_output_drain(struct uart_output *output);

#endif
