#include "rings.h"

/* Attacks all that a guest can reach: each virtio-mmio window and its rings, ports, interrupt controllers,
 * memory that is not there. The command line is "SEED ROUNDS INTERRUPTS"; a second vCPU, where there is one,
 * attacks the same devices at the same time. INTERRUPTS, 0 or 1, says whether what the controllers deliver is
 * taken; with 1 there has to be a second vCPU. After the rounds each device has to take a proper driver's
 * first steps; how many do is said.
 */

#define CMD_LINE 0x228 /* of the zero page */

static struct {
	uint64_t base, piece;
	uint32_t type, queues;
} windows[WINDOWS];
static uint32_t window_count;
static uint64_t seed, rounds;
static uint32_t second_is_done = 1;

/* All that a guest may write to a port without ending its own machine. */
static uint32_t harmless(uint32_t port, uint32_t value)
{
	switch (port) {
	case I8042_COMMAND: /* 0xfe is a reset */
		return value | 1;
	case SLEEP_CONTROL: /* SLP_EN */
		return value & ~0x20u;
	case RESET:
		return value & ~1u;
	default:
		return value;
	}
}

static void attack_port(struct attacker *a)
{
	static const uint16_t known[] = {0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3ff, 0x60,
					 0x64,  0x70,  0x71,  0x600, 0x601, 0x602, 0xcf8, 0xcfc};
	uint32_t r = chance(&a->chance);
	uint16_t port = r & 7 ? known[r >> 8 & 15] : (uint16_t)(r >> 8);
	uint32_t value = harmless(port, odd(&a->chance));
	uint64_t at = data(a);
	uint64_t count = r >> 28 & 7;

	switch (r >> 4 & 7) {
	case 0:
		__asm__ volatile("outb %b0, %1" : : "a"(value), "d"(port));
		break;
	case 1:
		__asm__ volatile("outw %w0, %1" : : "a"(value), "d"(port));
		break;
	case 2:
		__asm__ volatile("outl %0, %1" : : "a"(value), "d"(port));
		break;
	case 3:
		__asm__ volatile("inw %1, %w0" : "=a"(value) : "d"(port));
		break;
	case 4:
		__asm__ volatile("inl %1, %0" : "=a"(value) : "d"(port));
		break;
	case 5:
		__asm__ volatile("rep insb" : "+D"(at), "+c"(count) : "d"(port) : "memory");
		break;
	case 6:
		if (port < 0x60 || port > 0x602 || (port & 0xff0) == 0x3f0)
			__asm__ volatile("rep outsw" : "+S"(at), "+c"(count) : "d"(port) : "memory");
		break;
	default:
		__asm__ volatile("inb %1, %b0" : "=a"(value) : "d"(port));
		break;
	}
}

/* Where nothing is, and across the ends of windows. */
static void attack_hole(struct attacker *a)
{
	uint32_t r = chance(&a->chance);
	uint32_t width = 1u << (r & 3);
	uint64_t at;

	switch (r >> 2 & 7) {
	case 0:
		at = RAM_END + (chance(&a->chance) & 0x7fffffff);
		break;
	case 1:
		at = MMIO_BASE - (r >> 8 & 15);
		break;
	case 2:
		at = MMIO_BASE + (r >> 8 & 31) * MMIO_STRIDE - (r >> 16 & 7);
		break;
	case 3:
		at = MMIO_BASE + 64 * MMIO_STRIDE + (r >> 8 & 0xfffff);
		break;
	case 4:
		at = HIGH + (r >> 5);
		break;
	default:
		at = RAM_END - (r >> 8 & 7);
		break;
	}
	access(at, width, odd(&a->chance), r >> 5 & 1);
}

static void attack_once(struct attacker *a)
{
	uint32_t r = chance(&a->chance);
	uint32_t which = (r >> 8) % window_count;

	a->base = windows[which].base;
	a->piece = windows[which].piece;
	a->type = windows[which].type;
	a->queues = windows[which].queues;
	switch (r & 7) {
	case 0:
		for (uint32_t i = 0; i < 32; i++)
			attack_register(a);
		break;
	case 1:
		for (uint32_t i = 0; i < 32; i++)
			attack_port(a);
		break;
	case 2:
		for (uint32_t i = 0; i < 16; i++) {
			attack_hole(a);
			attack_controller(&a->chance);
		}
		break;
	default:
		attack_rings(a);
		break;
	}
}

/* A line on the serial port, whatever was done to it. */
static void say(const char *text, uint64_t value)
{
	out8(SERIAL + 3, 3);
	out8(SERIAL + 4, 8);
	out8(SERIAL + 1, 0);
	print("\n@");
	print(text);
	print_hex(value);
	print("@\n");
}

static void find_windows(void)
{
	for (uint64_t i = 0; i < WINDOWS; i++) {
		uint64_t base = MMIO_BASE + i * MMIO_STRIDE;

		if (mmio_read(base + MAGIC) != 0x74726976)
			continue;
		windows[window_count].base = base;
		windows[window_count].piece = PLAYGROUND + i * PIECE;
		windows[window_count].type = mmio_read(base + DEVICE_ID);
		for (uint32_t queue = 0; queue < 64; queue++) {
			mmio_write(base + QUEUE_SEL, queue);
			if (mmio_read(base + QUEUE_NUM_MAX) == 0)
				break;
			windows[window_count].queues++;
		}
		window_count++;
	}
}

/* True for a device that does what VIRTIO says of a driver's first steps. */
static int is_sound(uint64_t base)
{
	mmio_write(base + STATUS, 0);
	if (mmio_read(base + STATUS) != 0)
		return 0;
	mmio_write(base + STATUS, ACKNOWLEDGE | DRIVER);
	mmio_write(base + DRIVER_FEATURES_SEL, 1);
	mmio_write(base + DRIVER_FEATURES, 1);
	mmio_write(base + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	return mmio_read(base + STATUS) == (ACKNOWLEDGE | DRIVER | FEATURES_OK) &&
	       mmio_read(base + MAGIC) == 0x74726976;
}

static void attack_with_second(void)
{
	struct attacker a = {.chance = ~seed};

	if (takes_interrupts)
		take_interrupts();
	__atomic_store_n(&second_is_done, 0, __ATOMIC_SEQ_CST);
	for (uint64_t round = 0; round < rounds; round++)
		attack_once(&a);
	__atomic_store_n(&second_is_done, 1, __ATOMIC_SEQ_CST);
	for (;;)
		__asm__ volatile("hlt");
}

static void attack(void)
{
	struct attacker a = {.chance = seed};
	uint64_t sound = 0;

	find_windows();
	say("windows ", window_count);
	if (takes_interrupts)
		take_interrupts();
	start_second(attack_with_second);
	while (takes_interrupts && __atomic_load_n(&second_is_done, __ATOMIC_SEQ_CST))
		__asm__ volatile("pause");
	for (uint64_t round = 0; round < rounds; round++) {
		attack_once(&a);
		if (round % 64 == 63)
			say("round ", round + 1);
	}
	while (!__atomic_load_n(&second_is_done, __ATOMIC_SEQ_CST))
		__asm__ volatile("pause");
	for (uint32_t i = 0; i < window_count; i++)
		sound += (uint64_t)is_sound(windows[i].base);
	say("sound ", sound);
	for (;;)
		__asm__ volatile("hlt");
}

void guest_main(void *zero_page)
{
	const char *words = (const char *)(uint64_t)(*(uint32_t *)((uint8_t *)zero_page + CMD_LINE));

	seed = number(&words);
	rounds = number(&words);
	takes_interrupts = (uint32_t)number(&words);
	move_in(attack);
}
