#include "disk.h"

#define SECTORS 2048u

/* Writes sector after sector, each with its number in it, flushes each, and says each number that the disk
 * has acknowledged; for ever, or until a request fails. */
void guest_main(void *zero_page)
{
	(void)zero_page;
	start_disk();
	print("begins\n");
	for (uint64_t number = 1;; number++) {
		uint32_t outcome;

		for (int i = 0; i < 64; i++)
			((volatile uint64_t *)buffer)[i] = number;
		outcome = request(1, number % SECTORS);
		if (outcome == 0)
			outcome = request(4, 0);
		print(outcome == 0 ? "ack " : "fail ");
		print_hex(number);
		print("\n");
		if (outcome != 0)
			power_off();
	}
}
