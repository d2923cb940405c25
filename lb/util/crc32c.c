/* SPDX-License-Identifier: Apache-2.0 */
#include "util/crc32c.h"

/* The polynomial 0x1edc6f41 with its bits reversed: the lowest bit is the first one. */
#define POLYNOMIAL 0x82f63b78u

#define BIT(c) ((c) >> 1 ^ (((c)&1u) != 0 ? POLYNOMIAL : 0u))
#define NIBBLE(c) BIT(BIT(BIT(BIT(c))))
#define FOUR(c) NIBBLE(c), NIBBLE((c) + 1u), NIBBLE((c) + 2u), NIBBLE((c) + 3u)

/* Four bits at a time: 64 bytes of table, computed by the compiler. */
static const uint32_t table[16] = { FOUR(0u), FOUR(4u), FOUR(8u), FOUR(12u) };

uint32_t crc32c_add(uint32_t crc, const void *p, size_t n)
{
	const uint8_t *b = p;

	crc = ~crc;
	for (size_t i = 0; i < n; i++) {
		crc ^= b[i];
		crc = crc >> 4 ^ table[crc & 0xf];
		crc = crc >> 4 ^ table[crc & 0xf];
	}
	return ~crc;
}
