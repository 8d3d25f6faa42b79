#include "record.h"

/* Writes sector after sector for ever, or until a request fails. */
void guest_main(void *zero_page)
{
	(void)zero_page;
	start_disk();
	print("begins\n");
	for (uint64_t number = 1;; number++)
		if (write_record(number) != 0)
			power_off();
}
