/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash that util/hash.h defines: FNV-1a with a seed (hash_bytes()), then the finaliser of
 * splitmix64 (hash_finish()), which hash_mix() uses, too.
 *
 * The values are part of lb's interface. tests/unit/util/test_hash.c has the vectors of
 * docs/hash.md.
 */
#include "util/hash.h"

/* FNV-1a's parameters for 64 bits, as published. */
#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

/* hash_mix() adds this number to `a`, because hash_finish(0) is 0. The number is 2^64 divided by
 * the golden ratio. */
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

/* The finaliser of splitmix64. When one bit of `x` changes, about half of the bits of the result
 * change. */
static uint64_t hash_finish(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	x ^= x >> 31;
	return x;
}

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
	const uint8_t *b = p;
	uint64_t h = FNV_BASIS ^ hash_finish(seed);

	for (size_t i = 0; i < n; i++) {
		h ^= b[i];
		h *= FNV_PRIME;
	}
	return hash_finish(h);
}

uint64_t hash_mix(uint64_t a, uint64_t b)
{
	return hash_finish(hash_finish(a + GOLDEN) + b);
}
