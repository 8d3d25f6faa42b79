#include "guest.h"

void guest_main(void *zero_page)
{
	(void)zero_page;
	print("hello\n");
	power_off();
}
