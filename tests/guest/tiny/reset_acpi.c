#include "guest.h"

void guest_main(void *zero_page)
{
	(void)zero_page;
	print("reset\n");
	out8(RESET, 1);
	for (;;)
		;
}
