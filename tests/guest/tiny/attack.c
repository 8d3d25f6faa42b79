#include "chance.h"
#include "virtio.h"

/* Attacks all that a guest can reach: each virtio-mmio window and its rings, ports, memory that is not there.
 * The command line is "SEED ROUNDS"; a second vCPU, where there is one, attacks the same devices at the same
 * time. After the rounds each device has to take a proper driver's first steps; how many do is said.
 */

#define WINDOWS    16
#define QUEUES     4   /* of a device, that are attacked as rings */
#define MOST_DESCS 256 /* of a queue */

#define PLAYGROUND  0x4000000ull /* rings and buffers, a piece for each window */
#define PIECE       0x40000ull
#define QUEUE_BYTES 0x4000ull
#define AVAIL_AT    0x1000ull
#define USED_AT     0x2000ull
#define TABLE_AT    0x3000ull
#define DATA_AT     0x10000ull
#define DATA_BYTES  0x20000u

#define RAM_END  0x10000000ull
#define GAP_END  0xf0100000ull
#define IOAPIC   0xfec00000ull
#define LAPIC    0xfee00000ull
#define CMD_LINE 0x228 /* of the zero page */

#define LOW_RESERVED 0xca0000u /* below it a small buffer does not reach our own memory */

enum { NET = 1, BLK = 2, CONSOLE = 3, RNG = 4, BALLOON = 5, VSOCK = 19 };

static struct {
	uint64_t base, piece;
	uint32_t type, queues;
} windows[WINDOWS];
static uint32_t window_count;
static uint64_t seed, rounds;
static uint32_t second_is_done = 1;

/* The vCPU's own: where its numbers are, and the window that it attacks. */
struct attacker {
	uint64_t chance;
	uint64_t base, piece;
	uint32_t type, queues;
};

static void access(uint64_t address, uint32_t width, uint64_t value, uint32_t writes)
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

static void set(const struct attacker *a, uint32_t offset, uint32_t value)
{
	mmio_write(a->base + offset, value);
}

/* Any width at any offset; a part of it where registers are. */
static void attack_register(struct attacker *a)
{
	static const uint16_t known[] = {STATUS,    QUEUE_SEL, QUEUE_NUM,     QUEUE_READY,
					 DESC_LOW,  USED_LOW,  INTERRUPT_ACK, DRIVER_FEATURES,
					 DESC_HIGH, AVAIL_LOW, QUEUE_NOTIFY,  CONFIG};
	uint32_t r = chance(&a->chance);
	uint32_t is_known = r >> 1 & 1;
	uint32_t offset = is_known ? known[(r >> 8) % 12] : r >> 8 & 0x1ff;

	access(a->base + offset, is_known && r >> 2 & 1 ? 4 : 1u << (r >> 4 & 3), odd(&a->chance), r & 1);
}

static uint64_t ring(const struct attacker *a, uint32_t queue)
{
	return a->piece + queue * QUEUE_BYTES;
}

static uint64_t data(struct attacker *a)
{
	return a->piece + DATA_AT + (chance(&a->chance) & (DATA_BYTES - 1) & ~7u);
}

/* Where a ring or a buffer may be: mostly in the playground, else at a border or nowhere. */
static uint64_t place(struct attacker *a)
{
	uint32_t r = chance(&a->chance);

	switch (r & 31) {
	case 0:
		return RAM_END - (r >> 5 & 0xfff);
	case 1:
		return RAM_END + (r >> 5 & 0xfffff);
	case 2:
		return 0ull - (r >> 5 & 0xffff);
	case 3:
		return (uint64_t)odd(&a->chance) << 32 | odd(&a->chance);
	case 4:
		return GAP_END + (r >> 5 & 0xffff);
	case 5:
		return HIGH_SHOWS + (r >> 5);
	case 6:
		return (r >> 5) % LOW_RESERVED & ~0xffffu;
	case 7: /* rings, this device's or another's */
		return PLAYGROUND + (r >> 5 & 0x3fffff & ~7u);
	case 8:
		return IOAPIC + (r >> 5 & 0xfff);
	default:
		return data(a);
	}
}

static uint32_t length(struct attacker *a, uint64_t at)
{
	uint32_t r = chance(&a->chance);

	if (at < OWN_END && at + 0x10000 > PLAYGROUND + WINDOWS * PIECE)
		return 16;
	if (at < OWN_END || r & 1)
		return r >> 4 & (r & 2 ? 0xfffc : 0xfc);
	return odd(&a->chance);
}

/* What a request of the device begins with: right in most of its fields, for what is all wrong goes nowhere.
 */
static void write_header(struct attacker *a, volatile uint32_t *at)
{
	uint32_t r = chance(&a->chance);

	switch (a->type) {
	case BLK:
		at[0] = r & 15;
		at[1] = odd(&a->chance);
		at[2] = r & 16 ? r >> 5 & 0x3ff : odd(&a->chance);
		at[3] = r & 32 ? 0 : odd(&a->chance);
		break;
	case VSOCK:
		at[0] = 7; /* our CID, and the host's */
		at[1] = 0;
		at[2] = 2;
		at[3] = 0;
		at[4] = 1000 + (r & 3);
		at[5] = r & 4 ? 52 : odd(&a->chance);
		at[6] = r & 8 ? 0 : odd(&a->chance);
		at[7] = 1 | (r >> 4 & 7) << 16;
		at[8] = r >> 7 & 3;
		at[9] = odd(&a->chance);
		at[10] = odd(&a->chance);
		break;
	default: /* page numbers, packets, commands of a card */
		for (uint32_t i = 0; i < 8; i++)
			at[i] = odd(&a->chance);
		break;
	}
}

static void write_descs(struct attacker *a, uint64_t table, uint32_t count)
{
	volatile struct desc *d = (volatile struct desc *)table;
	uint32_t writable = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t r = chance(&a->chance);
		uint64_t at = place(a);

		if (i == 0) {
			at = data(a);
			write_header(a, (volatile uint32_t *)at);
		}
		d[i].address = at;
		d[i].length = i == 0 ? (a->type == VSOCK ? 44 : 16 + (r >> 20 & 0x10)) : length(a, at);
		writable |= a->type == RNG || (i > 0 && (r & 3) == 0);
		d[i].flags = (uint16_t)((r & 0x1c ? NEXT : 0) | (writable ? WRITE : 0) |
					((r & 0x3e0) == 0 ? INDIRECT : 0));
		d[i].next = (uint16_t)(r & 0x3c00 ? i + 1 : r >> 14);
	}
	d[count - 1].flags &= (uint16_t) ~(chance(&a->chance) & 7 ? NEXT : 0);
}

static void fill_ring(struct attacker *a, uint32_t queue)
{
	volatile uint16_t *ring_avail = (volatile uint16_t *)(ring(a, queue) + AVAIL_AT);
	uint32_t r = chance(&a->chance);
	uint32_t count = 1 + (r & 3);

	write_descs(a, ring(a, queue), 4 + (r >> 4 & 7));
	if (r & 0x100)
		write_descs(a, ring(a, queue) + TABLE_AT, 4);
	if (r & 0x200) {
		volatile struct desc *d = (volatile struct desc *)ring(a, queue);

		d[0].address = ring(a, queue) + TABLE_AT;
		d[0].length = 16 * (1 + (r >> 10 & 7)) + (r & 0x4000 ? 0 : 1);
		d[0].flags = INDIRECT | (r & 0x8000 ? 0 : NEXT);
	}
	for (uint32_t i = 0; i < count; i++)
		ring_avail[2 + ((ring_avail[1] + i) & (MOST_DESCS - 1))] =
		    (uint16_t)(r & 0x70000 ? 0 : r >> 20);
	ring_avail[0] = r >> 19 & 1;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	ring_avail[1] = (uint16_t)(r & 0xf00000 ? ring_avail[1] + count : odd(&a->chance));
}

static void set_up_queue(struct attacker *a, uint32_t queue)
{
	uint32_t r = chance(&a->chance);
	uint64_t desc = ring(a, queue);
	uint64_t available = desc + AVAIL_AT;
	uint64_t done = desc + USED_AT;

	if ((r & 15) == 0)
		desc = place(a);
	if ((r >> 4 & 15) == 0)
		available = place(a);
	if ((r >> 8 & 15) == 0)
		done = place(a);
	*(volatile uint32_t *)(ring(a, queue) + AVAIL_AT) = 0;
	set(a, QUEUE_SEL, queue);
	set(a, QUEUE_NUM, r & 0xf000 ? 16u << (r >> 16 & 3) : odd(&a->chance));
	set(a, DESC_LOW, (uint32_t)desc);
	set(a, DESC_HIGH, (uint32_t)(desc >> 32));
	set(a, AVAIL_LOW, (uint32_t)available);
	set(a, AVAIL_HIGH, (uint32_t)(available >> 32));
	set(a, USED_LOW, (uint32_t)done);
	set(a, USED_HIGH, (uint32_t)(done >> 32));
	set(a, QUEUE_READY, 1);
}

/* As a driver does it, with a step left out or doubled now and then. */
static void set_up(struct attacker *a)
{
	uint32_t r = chance(&a->chance);

	set(a, STATUS, 0);
	set(a, STATUS, ACKNOWLEDGE | DRIVER);
	set(a, DRIVER_FEATURES_SEL, 0);
	set(a, DRIVER_FEATURES, r & 1 ? UINT32_MAX : odd(&a->chance));
	set(a, DRIVER_FEATURES_SEL, 1);
	set(a, DRIVER_FEATURES, r & 0x1e ? 1 : odd(&a->chance));
	set(a, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	for (uint32_t queue = 0; queue < QUEUES && queue < a->queues; queue++)
		if (r & 0x700)
			set_up_queue(a, queue);
	if (r & 0xf0000)
		set(a, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

static void attack_rings(struct attacker *a)
{
	set_up(a);
	for (uint32_t i = 0; i < 12; i++) {
		uint32_t r = chance(&a->chance);
		uint32_t queue = (r >> 8) % QUEUES;

		switch (r & 15) {
		case 0:
			set(a, STATUS, 0);
			return;
		case 1:
			attack_register(a);
			break;
		case 2: /* the device is told to go on where it has been */
			*(volatile uint16_t *)(ring(a, queue) + AVAIL_AT + 2) = (uint16_t)odd(&a->chance);
			break;
		case 3:
			set(a, QUEUE_SEL, queue);
			set(a, QUEUE_READY, 0);
			break;
		case 4:
			mmio_read(a->base + STATUS);
			set(a, INTERRUPT_ACK, mmio_read(a->base + INTERRUPT_STATUS));
			break;
		case 5: /* descriptors change while the device may look at them */
			write_descs(a, ring(a, queue), 8);
			break;
		default:
			fill_ring(a, queue);
			set(a, QUEUE_NOTIFY, queue);
			break;
		}
	}
}

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

/* Where nothing is, across the ends of windows, and the interrupt controllers, read only: a guest can stop
 * itself with them. */
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
	case 5:
		access(IOAPIC + (r >> 8 & 0xfff), width, 0, 0);
		return;
	case 6:
		access(LAPIC + (r >> 8 & 0xff0), 4, 0, 0);
		return;
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
		for (uint32_t i = 0; i < 16; i++)
			attack_hole(a);
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
	start_second(attack_with_second);
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
	move_in(attack);
}
