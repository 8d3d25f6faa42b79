#include "guest.h"

/* Runs until somebody ends it. */
void guest_main(void *zero_page)
{
	(void)zero_page;
	print("spinning\n");
	for (;;)
		__asm__ volatile("pause");
}
