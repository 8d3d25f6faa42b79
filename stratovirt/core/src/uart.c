/* A 16550A: transmits straight to a host fd, never blocking on it; receives what Python feeds. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "sv.h"

/* Register offsets; DLAB selects the divisor latch at 0 and 1. */
enum { RBR_THR = 0, IER = 1, IIR_FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7, UART_PORTS = 8 };

#define IER_RECEIVE    0x01
#define IER_TRANSMIT   0x02
#define IER_MASK       0x0f
#define IIR_NONE       0x01
#define IIR_TRANSMIT   0x02
#define IIR_RECEIVE    0x04
#define IIR_FIFO       0xc0
#define FCR_CLEAR_RX   0x02
#define LCR_DLAB       0x80
#define MCR_OUT2       0x08
#define MCR_LOOP       0x10
#define LSR_DATA_READY 0x01
#define LSR_TX_EMPTY   0x60 /* holding register and shifter */
#define MSR_PRESENT    0xb0 /* carrier, data set ready, clear to send */

#define RX_SIZE      1024
#define BACKLOG_SIZE 16384 /* output that the host's reader has not taken yet */

struct sv_uart {
	struct sv_vm *vm;
	struct sv_iothread *io;
	/* out_fd; with epoll only while there is a backlog: one whose reader is gone is ready for ever */
	struct io_source source;
	bool watched;
	int irq_fd;
	pthread_mutex_t lock;
	uint8_t ier, lcr, mcr, scr;
	uint16_t divisor;
	bool transmit_pending; /* the holding register became empty and the guest was not told */
	bool line;             /* interrupt line as last computed */
	bool room_wanted;      /* Python has more input than fitted */
	uint8_t rx[RX_SIZE];
	uint32_t rx_head, rx_count;
	uint8_t backlog[BACKLOG_SIZE];
	uint32_t backlog_head, backlog_count;
};

static uint8_t pending(const struct sv_uart *uart)
{
	if ((uart->ier & IER_RECEIVE) && uart->rx_count > 0)
		return IIR_RECEIVE;
	if ((uart->ier & IER_TRANSMIT) && uart->transmit_pending)
		return IIR_TRANSMIT;
	return IIR_NONE;
}

/* The line is edge-triggered: each new condition is one pulse. */
static void update_line(struct sv_uart *uart)
{
	bool level = pending(uart) != IIR_NONE;

	if (level && !uart->line)
		irq_raise(uart->irq_fd);
	uart->line = level;
}

/* As above, for a condition that comes while another one holds the line. */
static void pulse(struct sv_uart *uart)
{
	uart->line = false;
	update_line(uart);
}

static bool transmit_blocked(const struct sv_uart *uart)
{
	return uart->backlog_count == BACKLOG_SIZE;
}

static bool writable_now(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

	return poll(&poll_fd, 1, 0) == 1;
}

static void watch_output(struct sv_uart *uart)
{
	if (!uart->watched && iothread_add(uart->io, &uart->source, EPOLLOUT) == 0)
		uart->watched = true;
}

static void transmit(struct sv_uart *uart, uint8_t byte)
{
	if (uart->backlog_count == 0 && writable_now(uart->source.fd)) {
		/* One byte after POLLOUT does not block; what a broken output does not take is lost. */
		ssize_t put = write(uart->source.fd, &byte, 1);

		if (put == 1 || (errno != EAGAIN && errno != EINTR))
			return;
	}
	if (transmit_blocked(uart))
		return; /* the guest wrote although the holding register was not empty */
	uart->backlog[(uart->backlog_head + uart->backlog_count++) % BACKLOG_SIZE] = byte;
	watch_output(uart);
}

/* Writes one piece of the backlog that does not wrap; false when the output takes nothing. */
static bool drain_piece(struct sv_uart *uart)
{
	uint32_t piece = BACKLOG_SIZE - uart->backlog_head;
	ssize_t put;

	if (piece > uart->backlog_count)
		piece = uart->backlog_count;
	/* POLLOUT promises one byte's room on a terminal, a page's on a pipe: small writes do not block on
	 * either. */
	if (piece > 64)
		piece = 64;
	put = write(uart->source.fd, uart->backlog + uart->backlog_head, piece);
	if (put < 0)
		put = errno == EAGAIN || errno == EINTR ? 0 : (ssize_t)piece;
	uart->backlog_head = (uart->backlog_head + (uint32_t)put) % BACKLOG_SIZE;
	uart->backlog_count -= (uint32_t)put;
	return put > 0;
}

/* On the main I/O thread: the output takes bytes again. */
static void on_writable(void *context, uint32_t epoll_events)
{
	struct sv_uart *uart = context;
	bool was_blocked;

	(void)epoll_events;
	pthread_mutex_lock(&uart->lock);
	was_blocked = transmit_blocked(uart);
	if (uart->backlog_count > 0)
		drain_piece(uart);
	if (uart->backlog_count == 0 && uart->watched) {
		iothread_remove(uart->io, &uart->source);
		uart->watched = false;
	}
	if (was_blocked && !transmit_blocked(uart)) {
		uart->transmit_pending = true;
		pulse(uart);
	}
	pthread_mutex_unlock(&uart->lock);
}

static void receive(struct sv_uart *uart, uint8_t byte)
{
	if (uart->rx_count == RX_SIZE)
		return;
	uart->rx[(uart->rx_head + uart->rx_count++) % RX_SIZE] = byte;
}

static void announce_room(struct sv_uart *uart)
{
	struct sv_event event = {.kind = SV_EVENT_SERIAL_ROOM};

	if (!uart->room_wanted || uart->rx_count > RX_SIZE / 2)
		return;
	uart->room_wanted = false;
	events_post(&uart->vm->events, &event);
}

static uint8_t read_receiver(struct sv_uart *uart)
{
	uint8_t byte = 0;

	if (uart->rx_count > 0) {
		byte = uart->rx[uart->rx_head];
		uart->rx_head = (uart->rx_head + 1) % RX_SIZE;
		uart->rx_count--;
		announce_room(uart);
	}
	return byte;
}

static uint8_t read_interrupt_id(struct sv_uart *uart)
{
	uint8_t id = pending(uart);

	if (id == IIR_TRANSMIT)
		uart->transmit_pending = false; /* reading it is the acknowledgement */
	return id | IIR_FIFO;
}

static uint8_t read_locked(struct sv_uart *uart, uint64_t offset)
{
	bool latch = uart->lcr & LCR_DLAB;

	switch (offset) {
	case RBR_THR:
		return latch ? (uint8_t)uart->divisor : read_receiver(uart);
	case IER:
		return latch ? (uint8_t)(uart->divisor >> 8) : uart->ier;
	case IIR_FCR:
		return read_interrupt_id(uart);
	case LCR:
		return uart->lcr;
	case MCR:
		return uart->mcr;
	case LSR:
		return (uint8_t)((uart->rx_count > 0 ? LSR_DATA_READY : 0) |
				 (transmit_blocked(uart) ? 0 : LSR_TX_EMPTY));
	case MSR:
		if (uart->mcr & MCR_LOOP) /* outputs come back as inputs: DTR to DSR, RTS to CTS, OUT1 to RI,
					     OUT2 to DCD */
			return (uint8_t)((uart->mcr & 0x0c) << 4 | (uart->mcr & 0x01) << 5 |
					 (uart->mcr & 0x02) << 3);
		return MSR_PRESENT;
	default:
		return uart->scr;
	}
}

static void write_holding(struct sv_uart *uart, uint8_t value)
{
	if (uart->mcr & MCR_LOOP)
		receive(uart, value);
	else
		transmit(uart, value);
	uart->transmit_pending = !transmit_blocked(uart);
	pulse(uart);
}

static void write_interrupt_enable(struct sv_uart *uart, uint8_t value)
{
	/* Enabling the transmit interrupt while the holding register is empty raises it at once. */
	if ((value & IER_TRANSMIT) && !(uart->ier & IER_TRANSMIT))
		uart->transmit_pending = !transmit_blocked(uart);
	uart->ier = value & IER_MASK;
	pulse(uart);
}

static void write_locked(struct sv_uart *uart, uint64_t offset, uint8_t value)
{
	bool latch = uart->lcr & LCR_DLAB;

	switch (offset) {
	case RBR_THR:
		if (latch)
			uart->divisor = (uint16_t)((uart->divisor & 0xff00) | value);
		else
			write_holding(uart, value);
		break;
	case IER:
		if (latch)
			uart->divisor = (uint16_t)((uart->divisor & 0x00ff) | value << 8);
		else
			write_interrupt_enable(uart, value);
		break;
	case IIR_FCR:
		if (value & FCR_CLEAR_RX) {
			uart->rx_count = 0;
			announce_room(uart);
		}
		break;
	case LCR:
		uart->lcr = value;
		break;
	case MCR:
		uart->mcr = value & 0x1f;
		break;
	case SCR:
		uart->scr = value;
		break;
	default:
		break; /* LSR and MSR are read-only */
	}
}

static uint64_t uart_read(void *device, uint64_t offset, uint32_t size)
{
	struct sv_uart *uart = device;
	uint8_t value;

	if (size != 1)
		return UINT64_MAX;
	pthread_mutex_lock(&uart->lock);
	value = read_locked(uart, offset);
	update_line(uart);
	pthread_mutex_unlock(&uart->lock);
	return value;
}

static void uart_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
	struct sv_uart *uart = device;

	if (size != 1)
		return;
	pthread_mutex_lock(&uart->lock);
	write_locked(uart, offset, (uint8_t)value);
	update_line(uart);
	pthread_mutex_unlock(&uart->lock);
}

static const struct bus_ops uart_ops = {uart_read, uart_write};

int sv_uart_create(struct sv_vm *vm, uint16_t port, uint32_t gsi, int out_fd, struct sv_uart **out)
{
	struct sv_uart *uart = calloc(1, sizeof(*uart));
	int error;

	if (!uart)
		return -ENOMEM;
	pthread_mutex_init(&uart->lock, NULL);
	uart->vm = vm;
	uart->divisor = 12; /* 9600 baud */
	uart->lcr = 0x03;   /* 8N1 */
	uart->mcr = MCR_OUT2;
	uart->source = (struct io_source){.fd = dup(out_fd), .run = on_writable, .context = uart};
	uart->irq_fd = irq_open(vm, gsi);
	error = uart->source.fd < 0 ? -errno : uart->irq_fd < 0 ? uart->irq_fd : iothread_main(vm, &uart->io);
	if (error < 0)
		goto fail;
	error = bus_add(&vm->ports, port, UART_PORTS, &uart_ops, uart);
	if (error < 0)
		goto fail;
	vm->uart = uart;
	*out = uart;
	return 0;

fail:
	uart_free(uart);
	return error;
}

int sv_uart_feed(struct sv_uart *uart, const void *bytes, int length)
{
	const uint8_t *from = bytes;
	int taken = 0;

	pthread_mutex_lock(&uart->lock);
	while (taken < length && uart->rx_count < RX_SIZE)
		receive(uart, from[taken++]);
	uart->room_wanted = taken < length;
	if (taken > 0)
		pulse(uart);
	pthread_mutex_unlock(&uart->lock);
	return taken;
}

void uart_free(struct sv_uart *uart)
{
	if (!uart)
		return;
	if (uart->source.fd >= 0)
		close(uart->source.fd);
	if (uart->irq_fd >= 0)
		close(uart->irq_fd);
	pthread_mutex_destroy(&uart->lock);
	free(uart);
}
