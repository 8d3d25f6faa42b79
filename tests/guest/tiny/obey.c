#include "disk.h"

#define MUCH      0x8000000 /* nobody touches it: the guest has 256 MiB */
#define MUCH_SIZE (1u << 20)

#define LINE_STATUS 5
#define DATA_READY  1
#define CMOS_INDEX  0x70
#define CMOS_DATA   0x71

static uint8_t read_byte(void)
{
	while (!(in8(SERIAL + LINE_STATUS) & DATA_READY))
		__asm__ volatile("pause");
	return in8(SERIAL);
}

/* Reads hexadecimal digits up to the end of the line. */
static uint64_t read_number(void)
{
	uint64_t number = 0;

	for (;;) {
		uint8_t byte = read_byte();

		if (byte == '\n')
			return number;
		if (byte >= '0' && byte <= '9')
			number = number << 4 | (uint64_t)(byte - '0');
		else if (byte >= 'a' && byte <= 'f')
			number = number << 4 | (uint64_t)(byte - 'a' + 10);
	}
}

/* Reads sector 0, and has the device write its outcome to a place that nobody has touched; returns it. */
static uint64_t status_at(uint64_t place)
{
	uint16_t before = used->index;

	header->type = 0;
	header->sector = 0;
	set_desc(0, (uint64_t)header, 16, NEXT, 1);
	set_desc(1, (uint64_t)buffer, 512, NEXT | WRITE, 2);
	set_desc(2, place, 1, WRITE, 0);
	offer(0);
	while (used->index == before)
		;
	return *(volatile uint8_t *)place;
}

static uint64_t obey(uint8_t command, uint64_t number)
{
	switch (command) {
	case 'w':
		for (int i = 0; i < 64; i++)
			((volatile uint64_t *)buffer)[i] = number;
		return request(1, number);
	case 'r':
		if (request(0, number) != 0)
			return ~0ull;
		return *(volatile uint64_t *)buffer;
	case 'f':
		return request(4, 0);
	case 'm': /* writes a MiB of nothing from this sector on */
		return request_with(1, number, MUCH, MUCH_SIZE);
	case 't': /* touches a page */
		*(volatile uint64_t *)number = number;
		return *(volatile uint64_t *)number;
	case 'd':
		return status_at(number);
	case 'b': /* jumps to where no memory is: KVM has to give up */
		__asm__ volatile("jmp *%0" : : "r"(0x30000000ull));
		return 0;
	case 'n': /* begins anew with these features */
		start_device_with((uint32_t)number);
		return reg_read(STATUS);
	case 's': /* goes on with the disk of this number, from 0 */
		start_disk_after(number);
		return reg_read(STATUS);
	case 'c':
		out8(CMOS_INDEX, (uint8_t)number);
		return in8(CMOS_DATA);
	default:
		return ~0ull;
	}
}

/* Does what each line on its serial port says: a letter and a number; answers with the letter and a number.
 */
void guest_main(void *zero_page)
{
	(void)zero_page;
	start_disk();
	print("obeys\n");
	for (;;) {
		uint8_t command = read_byte();
		uint64_t number = read_number();
		uint64_t result;

		if (command == 'q')
			power_off();
		result = obey(command, number);
		out8(SERIAL, command);
		print(" ");
		print_hex(result);
		print("\n");
	}
}
