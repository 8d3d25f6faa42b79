/* A 16550A: transmits straight to a host fd, never blocking on it; receives what Python feeds. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "uart_output.h"

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

#define RX_SIZE 1024

struct sv_uart {
	struct sv_vm *vm;
	struct uart_output output;
	int irq_fd;
	pthread_mutex_t lock;
	uint8_t ier, lcr, mcr, scr;
	uint16_t divisor;
	bool transmit_pending; /* the holding register became empty and the guest was not told */
	bool line;             /* interrupt line as last computed */
	bool room_wanted;      /* Python has more input than fitted */
	uint8_t rx[RX_SIZE];
	uint32_t rx_head, rx_count;
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

/* On the main I/O thread: the output takes bytes again. */
static void on_writable(void *context, uint32_t epoll_events)
{
	struct sv_uart *uart = context;
	bool was_full;

	(void)epoll_events;
	pthread_mutex_lock(&uart->lock);
	was_full = uart_output_full(&uart->output);
	uart_output_drain(&uart->output);
	if (was_full && !uart_output_full(&uart->output)) {
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
				 (uart_output_full(&uart->output) ? 0 : LSR_TX_EMPTY));
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
		uart_output_put(&uart->output, value);
	uart->transmit_pending = !uart_output_full(&uart->output);
	pulse(uart);
}

static void write_interrupt_enable(struct sv_uart *uart, uint8_t value)
{
	/* Enabling the transmit interrupt while the holding register is empty raises it at once. */
	if ((value & IER_TRANSMIT) && !(uart->ier & IER_TRANSMIT))
		uart->transmit_pending = !uart_output_full(&uart->output);
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

static void uart_free(void *part)
{
	struct sv_uart *uart = part;

	uart_output_close(&uart->output);
	if (uart->irq_fd >= 0)
		close(uart->irq_fd);
	pthread_mutex_destroy(&uart->lock);
	free(uart);
}

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
	uart->irq_fd = -1;
	error = uart_output_open(&uart->output, vm, out_fd, on_writable, uart);
	if (error < 0)
		goto fail;
	uart->irq_fd = irq_open(vm, gsi);
	error = uart->irq_fd;
	if (error < 0)
		goto fail;
	error = vm_own(vm, uart, uart_free);
	if (error < 0)
		goto fail;
	*out = uart;
	return bus_add(&vm->arch.ports, port, UART_PORTS, &uart_ops, uart);

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
