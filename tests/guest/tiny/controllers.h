/* The interrupt controllers: any register of LAPIC and IOAPIC, any value that leaves the guest running. */
#ifndef CONTROLLERS_H
#define CONTROLLERS_H

#include "chance.h"

#define IOAPIC        0xfec00000ull
#define IOAPIC_SELECT 0x00u
#define IOAPIC_WINDOW 0x10u
#define LAPIC         0xfee00000ull

enum { SMI = 2, NMI = 4, INIT_MODE = 5 }; /* Intel SDM 3A, 11.6.1: bits 8 to 10 */

static uint32_t takes_interrupts; /* handlers are there */

static struct {
	uint64_t low, high;
} gates[256] __attribute__((aligned(16)));
static const uint64_t segments[] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff};
struct pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

extern const uint8_t interrupted[];
__asm__(".text\n"
	"interrupted: iretq\n");

/* Every interrupt goes back to where it came from, unacknowledged: an attack may write the EOI. The segments
 * move to our own memory too, for devices overwrite those that we were started with. */
static inline void take_interrupts(void)
{
	struct pointer gdt = {sizeof(segments) - 1, (uint64_t)segments};
	struct pointer idt = {sizeof(gates) - 1, (uint64_t)gates};
	uint64_t at = (uint64_t)interrupted;

	for (uint32_t i = 0; i < 256; i++) {
		gates[i].low = (at & 0xffff) | 8u << 16 | 0x8e00ull << 32 | (at >> 16 & 0xffff) << 48;
		gates[i].high = at >> 32;
	}
	__asm__ volatile("lgdt %0\n"
			 "lidt %1\n"
			 "mov $16, %%eax\n"
			 "mov %%eax, %%ss\n"
			 "mov %%eax, %%ds\n"
			 "mov %%eax, %%es\n"
			 "push $8\n"
			 "lea 1f(%%rip), %%rax\n"
			 "push %%rax\n"
			 "lretq\n"
			 "1: sti\n"
			 :
			 : "m"(gdt), "m"(idt)
			 : "rax", "memory");
}

/* SMI and INIT end what the guest does, and so does an NMI that nobody takes. */
static inline uint32_t survivable(uint32_t value)
{
	uint32_t mode = value >> 8 & 7;

	if (mode == SMI || mode == INIT_MODE || (mode == NMI && !takes_interrupts))
		return value & ~0x700u;
	return value;
}

static inline void attack_ioapic(uint64_t *state)
{
	uint32_t r = chance(state);
	uint32_t width = r & 6 ? 4 : 1u << (r >> 3 & 3);
	uint32_t offset = r & 0xe0 ? IOAPIC_WINDOW : r >> 8 & 0xfff;

	access(IOAPIC + IOAPIC_SELECT, 4, r & 0x100000 ? 0x10 + (r >> 21 & 63) : odd(state), 1);
	access(IOAPIC + offset, width, survivable(odd(state)), r & 1);
}

static inline void attack_lapic(uint64_t *state)
{
	static const uint16_t known[] = {0x020, 0x080, 0x0b0, 0x0d0, 0x0e0, 0x0f0, 0x280, 0x2f0,
					 0x300, 0x310, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370,
					 0x380, 0x3e0, 0x0b0, 0x0b0, 0x0f0, 0x300, 0x300, 0x0b0};
	uint32_t r = chance(state);
	uint32_t width = r & 6 ? 4 : 1u << (r >> 3 & 3);
	uint32_t offset = r & 0xe0 ? known[(r >> 8) % 24] : r >> 8 & 0xfff;
	uint32_t value = survivable(odd(state));

	access(LAPIC + offset, width, offset == 0x0f0 ? value | 0x100 : value, r & 1);
}

static inline void attack_controller(uint64_t *state)
{
	if (chance(state) & 1)
		attack_ioapic(state);
	else
		attack_lapic(state);
}

#endif
