#include "guest.h"

void guest_main(void *zero_page)
{
	(void)zero_page;
	print("pulse\n");
	out8(I8042_COMMAND, 0xfe);
	for (;;)
		;
}
