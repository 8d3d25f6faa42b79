#include "guest.h"

/* Jumps to where no memory is: nothing there can be fetched, so KVM has to give up on it. */
void guest_main(void *zero_page)
{
	(void)zero_page;
	print("jump\n");
	__asm__ volatile("jmp *%0" : : "r"(0x30000000ull));
	for (;;)
		;
}
