/* Numbers that look random and are the same for the same seed. */
#ifndef CHANCE_H
#define CHANCE_H

#include "own_memory.h"

/* 31 bits of a linear congruential generator (Knuth's MMIX). */
static inline uint32_t chance(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33);
}

/* Mostly numbers that are special to somebody; never one that names our own memory. */
static inline uint32_t odd(uint64_t *state)
{
	uint32_t r = chance(state);
	uint32_t value = r << 1;

	switch (r & 7) {
	case 0:
		return r >> 3 & 0xff;
	case 1:
		return 1u << (r >> 3 & 31);
	case 2:
		return 0u - (r >> 3 & 31);
	case 3:
		return 0;
	case 4:
		return r >> 3 & 0x7fff; /* as the number of a page it is not ours either */
	default:
		return value >= OWN && value < OWN_END ? ~value : value;
	}
}

/* The next decimal number of a text, which goes on behind it. */
static inline uint64_t number(const char **text)
{
	uint64_t value = 0;

	while (**text == ' ')
		(*text)++;
	for (; **text >= '0' && **text <= '9'; (*text)++)
		value = value * 10 + (uint64_t)(**text - '0');
	return value;
}

#endif
