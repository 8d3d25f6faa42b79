#include "guest.h"

#define FROM (32ull << 20)
#define TO   (256ull << 20)
#define PAGE 4096

/* Touches all of its memory, page after page, again and again. */
void guest_main(void *zero_page)
{
	(void)zero_page;
	print("devours\n");
	for (;;)
		for (uint64_t at = FROM; at < TO; at += PAGE)
			*(volatile uint64_t *)at = at;
}
