/* Bytes of an input, taken from the front; an input that is used up gives zeroes. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *at;
	size_t left;
};

static inline uint64_t take(struct input *input, uint32_t bytes)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < bytes && input->left > 0; i++, input->left--)
		value |= (uint64_t)*input->at++ << (8 * i);
	return value;
}

#endif
