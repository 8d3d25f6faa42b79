#include "guest.h"

void guest_main(void *zero_page)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) nothing = {0, 0};

	(void)zero_page;
	print("fault\n");
	__asm__ volatile("lidt %0" : : "m"(nothing));
	/* A page fault that no table describes, then the double fault that none describes either. */
	mmio_read(0x4000000000ull);
	for (;;)
		;
}
