/* A hostile guest at the ports of the board: serial port, keyboard controller, clock, sleep and reset. The
 * machine is used for many inputs.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "check.h"
#include "fuzz.h"
#include "sv.h"

#ifdef __x86_64__

#define INPUTS_PER_MACHINE 50

#define SERIAL 0x3f8u
#define I8042  0x60u
#define RTC    0x70u
#define SLEEP  0x600u
#define RESET  0x604u

enum { LCR = 3, MCR = 4, SCR = 7 }; /* of the serial port */

static struct sv_vm *vm;
static struct sv_uart *uart;
static int output[2];
static uint32_t uses;

static void renew_machine(void)
{
	struct sv_board_config board = {
	    .i8042_port = I8042, .rtc_port = RTC, .sleep_port = SLEEP, .reset_port = RESET};

	if (vm) {
		sv_vm_destroy(vm);
		close(output[0]);
		close(output[1]);
	}
	CHECK(pipe2(output, O_NONBLOCK | O_CLOEXEC) == 0);
	CHECK(sv_vm_create(-1, &vm) == 0);
	CHECK(sv_board_create(vm, &board) == 0);
	CHECK(sv_uart_create(vm, SERIAL, 4, output[1], &uart) == 0);
}

static uint16_t some_port(struct input *input)
{
	static const uint16_t places[] = {SERIAL, I8042, RTC, SLEEP, RESET};

	return (uint16_t)(places[take(input, 1) % 5] + take(input, 1) % 9);
}

static void drain(void)
{
	uint8_t bytes[4096];

	while (read(output[0], bytes, sizeof(bytes)) > 0)
		continue;
	CHECK(errno == EAGAIN);
}

static void step(struct input *input)
{
	static const uint8_t keys[256];
	uint32_t size;
	uint16_t port;

	switch (take(input, 1) % 6) {
	case 0:
	case 1:
		port = some_port(input);
		size = 1u << take(input, 1) % 3;
		bus_write(&vm->arch.ports, port, size, take(input, 4));
		break;
	case 2:
		port = some_port(input);
		bus_read(&vm->arch.ports, port, 1u << take(input, 1) % 3);
		break;
	case 3:
		bus_write(&vm->arch.ports, SERIAL, 1, take(input, 1));
		break;
	case 4:
		sv_uart_feed(uart, keys, (int)take(input, 1));
		break;
	default:
		drain();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct sv_event events[16];

	alarm(30); /* nothing here takes long: a hang is a finding */
	if (uses++ % INPUTS_PER_MACHINE == 0)
		renew_machine();
	while (input.left > 0)
		step(&input);
	/* Whatever was: the registers of a proper driver are as it wrote them. */
	bus_write(&vm->arch.ports, SERIAL + LCR, 1, 3);
	bus_write(&vm->arch.ports, SERIAL + MCR, 1, 0);
	bus_write(&vm->arch.ports, SERIAL + SCR, 1, 0x5a);
	CHECK(bus_read(&vm->arch.ports, SERIAL + LCR, 1) == 3);
	CHECK(bus_read(&vm->arch.ports, SERIAL + SCR, 1) == 0x5a);
	drain();
	sv_events_take(vm, events, 16);
	return 0;
}

#else

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)data;
	(void)size;
	return 0;
}

#endif
