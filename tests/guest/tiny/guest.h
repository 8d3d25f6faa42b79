/* Freestanding guests in 64-bit mode: ports, MMIO, serial output. Linked flat at 16 MiB, entered at _start.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdint.h>

#define SERIAL        0x3f8
#define SLEEP_CONTROL 0x600
#define RESET         0x602
#define I8042_COMMAND 0x64
#define MMIO_BASE     0xf0100000ull
#define MMIO_STRIDE   0x200ull

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t mmio_read(uint64_t address)
{
	return *(volatile uint32_t *)address;
}

static inline void mmio_write(uint64_t address, uint32_t value)
{
	*(volatile uint32_t *)address = value;
}

/* One access of any width, in bytes. */
static inline void access(uint64_t address, uint32_t width, uint64_t value, uint32_t writes)
{
	if (!writes) {
		switch (width) {
		case 1:
			(void)*(volatile uint8_t *)address;
			return;
		case 2:
			(void)*(volatile uint16_t *)address;
			return;
		case 4:
			(void)*(volatile uint32_t *)address;
			return;
		default:
			(void)*(volatile uint64_t *)address;
			return;
		}
	}
	switch (width) {
	case 1:
		*(volatile uint8_t *)address = (uint8_t)value;
		return;
	case 2:
		*(volatile uint16_t *)address = (uint16_t)value;
		return;
	case 4:
		*(volatile uint32_t *)address = (uint32_t)value;
		return;
	default:
		*(volatile uint64_t *)address = value;
	}
}

static inline void print(const char *text)
{
	while (*text)
		out8(SERIAL, (uint8_t)*text++);
}

static inline void print_hex(uint64_t value)
{
	for (int shift = 60; shift >= 0; shift -= 4)
		out8(SERIAL, (uint8_t)("0123456789abcdef"[(value >> shift) & 15]));
}

static inline void power_off(void)
{
	out8(SLEEP_CONTROL, 5 << 2 | 0x20);
	for (;;)
		__asm__ volatile("hlt");
}

void guest_main(void *zero_page);

/* First in the image: the flat kernel is entered at its first byte. */
__asm__(".section .start, \"ax\"\n"
	".globl _start\n"
	"_start:\n"
	"mov $0x2000000, %rsp\n"
	"mov %rsi, %rdi\n"
	"call guest_main\n"
	"1: hlt\n"
	"jmp 1b\n"
	".text\n");

#endif
