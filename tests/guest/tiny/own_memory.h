/* Memory that a guest keeps for itself while devices write wherever they are sent: code, stacks and page
 * tables move to one large page whose number no small one resembles, and everything else may be overwritten.
 * With it, a second vCPU.
 */
#ifndef OWN_MEMORY_H
#define OWN_MEMORY_H

#include "guest.h"

#define IMAGE      0x1000000ull /* where we are linked, and remain for ourselves */
#define IMAGE_SIZE 0x40000ull
#define OWN        0xca00000ull /* where we are then */
#define OWN_END    0xcc00000ull
#define HIGH       0x100000000ull /* 1 GiB here shows what is far above memory */
#define HIGH_SHOWS 0x7fc0000000ull

#define PRESENT 3ull /* and writable */
#define LARGE   0x80ull
#define MIB_2   0x200000ull

#define TRAMPOLINE  0x8000ull
#define ICR         0xfee00300ull
#define INIT        0x0c4500u /* to all but self */
#define STARTUP     0x0c4600u
#define STACK_BYTES 0x4000

static struct {
	uint64_t pml4[512], pdpt[512], pd[5][512];
} tables __attribute__((aligned(4096)));
static uint8_t stacks[2][STACK_BYTES] __attribute__((aligned(16)));

static inline uint64_t own(const void *at)
{
	return (uint64_t)at - IMAGE + OWN;
}

/* Goes on at `then`, on the first stack, in our own memory: an identity map but for the image and HIGH. */
static inline void move_in(void (*then)(void))
{
	tables.pml4[0] = own(tables.pdpt) | PRESENT;
	for (uint64_t i = 0; i < 5; i++) {
		uint64_t shows = i == 4 ? HIGH_SHOWS : i << 30;

		tables.pdpt[i] = own(tables.pd[i]) | PRESENT;
		for (uint64_t j = 0; j < 512; j++)
			tables.pd[i][j] = (shows + j * MIB_2) | PRESENT | LARGE;
	}
	tables.pd[0][IMAGE / MIB_2] = OWN | PRESENT | LARGE;
	for (uint64_t at = 0; at < IMAGE_SIZE; at += 8)
		*(volatile uint64_t *)(OWN + at) = *(volatile uint64_t *)(IMAGE + at);
	__asm__ volatile("mov %0, %%cr3\n"
			 "mov %1, %%rsp\n"
			 "call *%2\n"
			 "1: hlt\n"
			 "jmp 1b\n"
			 :
			 : "r"(own(tables.pml4)), "r"(stacks[0] + STACK_BYTES), "r"(then)
			 : "memory");
	__builtin_unreachable();
}

/* From real mode to long mode in one step (Intel SDM 3A, 9.8.5); it runs where it was copied to. */
extern const uint8_t trampoline[], trampoline_end[], trampoline_cr3[], trampoline_stack[], trampoline_main[];
__asm__(".section .rodata\n"
	".code16\n"
	"trampoline:\n"
	"	cli\n"
	"	xor %ax, %ax\n"
	"	mov %ax, %ds\n"
	"	lgdtl 0x8000 + trampoline_gdtr - trampoline\n"
	"	mov $0x20, %eax\n" /* PAE */
	"	mov %eax, %cr4\n"
	"	mov 0x8000 + trampoline_cr3 - trampoline, %eax\n"
	"	mov %eax, %cr3\n"
	"	mov $0xc0000080, %ecx\n" /* EFER.LME */
	"	rdmsr\n"
	"	or $0x100, %eax\n"
	"	wrmsr\n"
	"	mov $0x80000001, %eax\n" /* PG and PE */
	"	mov %eax, %cr0\n"
	"	ljmpl $8, $0x8000 + trampoline_long - trampoline\n"
	".code64\n"
	"trampoline_long:\n"
	"	mov $16, %eax\n"
	"	mov %eax, %ds\n"
	"	mov %eax, %es\n"
	"	mov %eax, %ss\n"
	"	mov trampoline_stack(%rip), %rsp\n"
	"	call *trampoline_main(%rip)\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	"	.align 8\n"
	"trampoline_gdt: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff\n"
	"trampoline_gdtr: .word 23\n"
	"	.long 0x8000 + trampoline_gdt - trampoline\n"
	"	.align 8\n"
	"trampoline_cr3: .quad 0\n"
	"trampoline_stack: .quad 0\n"
	"trampoline_main: .quad 0\n"
	"trampoline_end:\n"
	".text\n");

static inline void put_word(const uint8_t *place, uint64_t value)
{
	*(volatile uint64_t *)(TRAMPOLINE + (uint64_t)(place - trampoline)) = value;
}

/* Has every other vCPU run `then` on the second stack: there may be one. */
static inline void start_second(void (*then)(void))
{
	for (const uint8_t *at = trampoline; at < trampoline_end; at++)
		*(volatile uint8_t *)(TRAMPOLINE + (uint64_t)(at - trampoline)) = *at;
	put_word(trampoline_cr3, own(tables.pml4));
	put_word(trampoline_stack, (uint64_t)(stacks[1] + STACK_BYTES));
	put_word(trampoline_main, (uint64_t)then);
	mmio_write(ICR, INIT);
	mmio_write(ICR, STARTUP | TRAMPOLINE >> 12);
}

#endif
