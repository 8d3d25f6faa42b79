#include "guest.h"

#define RTC_INDEX 0x70
#define RTC_DATA  0x71
#define STATUS_A  0x0a

/* The status of the keyboard controller, and that of the clock: what kernels poll before they go on. */
void guest_main(void *zero_page)
{
	(void)zero_page;
	out8(RTC_INDEX, STATUS_A);
	print_hex((uint64_t)in8(I8042_COMMAND) << 8 | in8(RTC_DATA));
	print("\n");
	power_off();
}
