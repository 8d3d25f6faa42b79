#include "guest.h"

#define LINE_STATUS 5
#define DATA_READY  1

/* Says what it hears, in capitals; powers off at a full stop. */
void guest_main(void *zero_page)
{
	(void)zero_page;
	print("ready\n");
	for (;;) {
		uint8_t byte;

		while (!(in8(SERIAL + LINE_STATUS) & DATA_READY))
			__asm__ volatile("pause");
		byte = in8(SERIAL);
		out8(SERIAL, (byte >= 'a' && byte <= 'z') ? (uint8_t)(byte - 32) : byte);
		if (byte == '.')
			power_off();
	}
}
