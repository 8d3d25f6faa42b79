/* The x86 board's ports that a guest finds at fixed places: enough to end the machine and to tell the time.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "vcpu.h"

#define I8042_STATUS       4 /* port 0x64, counted from 0x60 */
#define I8042_OUTPUT_FULL  0x01
#define I8042_PULSE_RESET  0xfe
#define ACPI_SLEEP_ENABLE  0x20 /* ACPI 6.4, 4.8.3.7: SLP_EN */
#define ACPI_SLEEP_TYPE    (7 << 2)
#define ACPI_SLEEP_TYPE_S5 (5 << 2) /* what the \_S5 of our DSDT says */
#define ACPI_RESET_VALUE   1

struct board {
	struct sv_vm *vm;
	atomic_uchar rtc_index;
};

/* An output buffer that is always full makes Linux's probe give up after 16 reads, and an input buffer that
 * is never full lets its reboot code write the reset pulse without waiting: nobody loses time on a controller
 * that is not there.
 */
static uint64_t i8042_read(void *device, uint64_t offset, uint32_t size)
{
	(void)device;
	(void)size;
	return offset == I8042_STATUS ? I8042_OUTPUT_FULL : 0xff;
}

static void i8042_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
	struct board *board = device;

	(void)size;
	if (offset == I8042_STATUS && (value & 0xff) == I8042_PULSE_RESET)
		vcpu_guest_ended(board->vm, SV_SHUTDOWN_RESET);
}

static uint8_t bcd(int value)
{
	return (uint8_t)((value / 10 % 10) << 4 | value % 10);
}

/* MC146818: time of day in BCD, 24 hours, never updating, battery fine. */
static uint8_t rtc_register(uint8_t index)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	switch (index) {
	case 0x00:
		return bcd(tm.tm_sec);
	case 0x02:
		return bcd(tm.tm_min);
	case 0x04:
		return bcd(tm.tm_hour);
	case 0x06:
		return bcd(tm.tm_wday + 1);
	case 0x07:
		return bcd(tm.tm_mday);
	case 0x08:
		return bcd(tm.tm_mon + 1);
	case 0x09:
		return bcd(tm.tm_year % 100);
	case 0x32:
		return bcd((tm.tm_year + 1900) / 100);
	case 0x0a:
		return 0x26; /* 32.768 kHz divider, no update in progress */
	case 0x0b:
		return 0x02; /* 24-hour mode */
	case 0x0d:
		return 0x80; /* valid RAM and time */
	default:
		return 0;
	}
}

static uint64_t rtc_read(void *device, uint64_t offset, uint32_t size)
{
	struct board *board = device;

	(void)size;
	return offset == 1 ? rtc_register(atomic_load(&board->rtc_index)) : 0xff;
}

static void rtc_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
	struct board *board = device;

	(void)size;
	if (offset == 0)
		atomic_store(&board->rtc_index, (unsigned char)(value & 0x7f)); /* bit 7 masks NMI */
}

static uint64_t read_zero(void *device, uint64_t offset, uint32_t size)
{
	(void)device;
	(void)offset;
	(void)size;
	return 0;
}

/* Sleep control and sleep status registers, ACPI 6.4, 4.8.3.7. */
static void sleep_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
	struct board *board = device;

	(void)size;
	if (offset == 0 && (value & ACPI_SLEEP_TYPE) == ACPI_SLEEP_TYPE_S5 && (value & ACPI_SLEEP_ENABLE))
		vcpu_guest_ended(board->vm, SV_SHUTDOWN_POWEROFF);
}

static void reset_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
	struct board *board = device;

	(void)offset;
	(void)size;
	if ((value & 0xff) == ACPI_RESET_VALUE)
		vcpu_guest_ended(board->vm, SV_SHUTDOWN_RESET);
}

static const struct bus_ops i8042_ops = {i8042_read, i8042_write};
static const struct bus_ops rtc_ops = {rtc_read, rtc_write};
static const struct bus_ops sleep_ops = {read_zero, sleep_write};
static const struct bus_ops reset_ops = {read_zero, reset_write};

int sv_board_create(struct sv_vm *vm, const struct sv_board_config *config)
{
	struct board *board = calloc(1, sizeof(*board));
	int error;

	if (!board)
		return -ENOMEM;
	board->vm = vm;
	error = vm_own(vm, board, free);
	if (error < 0) {
		free(board);
		return error;
	}
	error = bus_add(&vm->arch.ports, config->i8042_port, 5, &i8042_ops, board);
	if (error == 0)
		error = bus_add(&vm->arch.ports, config->rtc_port, 2, &rtc_ops, board);
	if (error == 0)
		error = bus_add(&vm->arch.ports, config->sleep_port, 2, &sleep_ops, board);
	if (error == 0)
		error = bus_add(&vm->arch.ports, config->reset_port, 1, &reset_ops, board);
	return error; /* the ports that are there already know it: it goes with the machine */
}
