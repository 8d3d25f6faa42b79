#include "guest.h"

/* Makes a text that is in no file, and keeps it in memory (tests/guest/test_confine.py). */
void guest_main(void *zero_page)
{
	static volatile unsigned char secret[256];
	unsigned int state = 1;

	(void)zero_page;
	for (unsigned int i = 0; i < sizeof(secret); i++) {
		state = state * 1103515245 + 12345;
		secret[i] = (unsigned char)(state >> 16);
	}
	print("kept\n");
	for (;;)
		__asm__ volatile("pause");
}
