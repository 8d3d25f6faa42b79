#include "virtio.h"

/* Writes sector 3, reads it back, reads sector 0, fails beyond the end, and says each outcome. */
void guest_main(void *zero_page)
{
	(void)zero_page;
	start_device();
	for (int i = 0; i < 512; i++)
		buffer[i] = (uint8_t)(i * 7);
	print("write ");
	print_hex(request(1, 3));
	for (int i = 0; i < 512; i++)
		buffer[i] = 0;
	print("\nread ");
	print_hex(request(0, 3));
	print(buffer[511] == (uint8_t)(511 * 7) ? " same\n" : " other\n");
	request(0, 0);
	for (int i = 0; i < 8; i++)
		out8(SERIAL, buffer[i]);
	print("\nbeyond ");
	print_hex(request(0, 1ull << 40));
	print("\nflush ");
	print_hex(request(4, 0));
	print("\n");
	power_off();
}
