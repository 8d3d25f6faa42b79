/* Sectors with their number in them, each flushed and said: "ack" when the disk has it, "fail" when not. */
#ifndef RECORD_H
#define RECORD_H

#include "disk.h"

#define SECTORS 2048u

/* Returns what the disk said, 0 for well done. */
static inline uint32_t write_record(uint64_t number)
{
	uint32_t outcome;

	for (int i = 0; i < 64; i++)
		((volatile uint64_t *)buffer)[i] = number;
	outcome = request(1, number % SECTORS);
	if (outcome == 0)
		outcome = request(4, 0);
	print(outcome == 0 ? "ack " : "fail ");
	print_hex(number);
	print("\n");
	return outcome;
}

#endif
