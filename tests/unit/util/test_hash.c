/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdio.h>

#include "../suite.h"
#include "util/assert.h"
#include "util/hash.h"

/* Computed by a second program from the definition in hash.h; docs/hash.md shows some of them. */
static const struct {
	const char *in;
	size_t n;
	uint64_t seed, want;
} bytes[] = {
	{ "", 0, 0, UINT64_C(0xf52a15e9a9b5e89b) },
	{ "a", 1, 0, UINT64_C(0x02c0bdbf481420f8) },
	{ "foobar", 6, 0, UINT64_C(0x404da9e3b74078c2) },
	{ "foobar", 6, 1, UINT64_C(0x1832d3c221be8070) },
	{ "192.0.2.1", 9, 0, UINT64_C(0x4d0e1bc6845259f5) },
	{ "\0", 1, 0, UINT64_C(0x25fc6dd36ce04b20) },
	{ "\0\0", 2, 0, UINT64_C(0x7bc210046bd616cc) },
	{ "chat/b1", 7, UINT64_MAX, UINT64_C(0xd055d38fc2bec3cc) },
};

static const struct {
	uint64_t a, b, want;
} pairs[] = {
	{ 0, 0, UINT64_C(0x48218226ff3cd4bf) },
	{ 0, 1, UINT64_C(0xea8568d2e45fd6cb) },
	{ 1, 0, UINT64_C(0xdce423fc82c0d5b8) },
	{ UINT64_MAX, UINT64_MAX, UINT64_C(0xe8ba9f99ca933538) },
	{ UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210),
	  UINT64_C(0x19420d43f429a92b) },
};

START_TEST(bytes_have_their_value)
{
	ck_assert_uint_eq(hash_bytes(bytes[_i].in, bytes[_i].n, bytes[_i].seed), bytes[_i].want);
}
END_TEST

START_TEST(pairs_have_their_value)
{
	ck_assert_uint_eq(hash_mix(pairs[_i].a, pairs[_i].b), pairs[_i].want);
}
END_TEST

/* Bytes of 0x80 and above are unsigned. */
START_TEST(all_bytes)
{
	uint8_t all[256];

	for (unsigned i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	ck_assert_uint_eq(hash_bytes(all, sizeof(all), 0), UINT64_C(0xef2687f0d4371fe2));
	ck_assert_uint_eq(hash_bytes(NULL, 0, 0), bytes[0].want);
}
END_TEST

/* One bit of the input changes each bit of the result about half the time. */
START_TEST(one_bit_changes_half)
{
	enum { KEYS = 2000 };
	unsigned flips[2][64] = { 0 };

	for (unsigned k = 0; k < KEYS; k++) {
		uint8_t key[8] = { (uint8_t)k, (uint8_t)(k >> 8), 'k' };
		uint64_t h = hash_bytes(key, sizeof(key), 0), m = hash_mix(k, k + 1);
		key[7] ^= (uint8_t)(1u << (k % 8)); /* the last byte, where FNV alone is weak */
		uint64_t d = h ^ hash_bytes(key, sizeof(key), 0);
		uint64_t e = m ^ hash_mix(k, (k + 1) ^ (UINT64_C(1) << (k % 64)));
		for (unsigned b = 0; b < 64; b++) {
			flips[0][b] += (d >> b) & 1;
			flips[1][b] += (e >> b) & 1;
		}
	}
	/* 6 standard deviations of KEYS tosses: 134 */
	for (unsigned b = 0; b < 64; b++) {
		ck_assert_uint_gt(flips[0][b], KEYS / 2 - 134);
		ck_assert_uint_lt(flips[0][b], KEYS / 2 + 134);
		ck_assert_uint_gt(flips[1][b], KEYS / 2 - 134);
		ck_assert_uint_lt(flips[1][b], KEYS / 2 + 134);
	}
}
END_TEST

/* Similar keys spread evenly: chi-squared over the high and the low bits. */
START_TEST(spread_is_even)
{
	enum { KEYS = 64000, SLOTS = 64 };
	unsigned n[2][SLOTS] = { 0 };
	double chi[2] = { 0, 0 };

	for (unsigned k = 0; k < KEYS; k++) {
		char key[32];
		int len = snprintf(key, sizeof(key), "10.0.%u.%u", k / 256, k % 256);
		uint64_t h = hash_bytes(key, (size_t)len, 0);
		n[0][h >> 58]++;
		n[1][h % SLOTS]++;
	}
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned s = 0; s < SLOTS; s++) {
			double off = n[i][s] - (double)KEYS / SLOTS;
			chi[i] += off * off / ((double)KEYS / SLOTS);
		}
		/* 63 degrees of freedom: 63 on average, above 130 once in a million */
		ck_assert_double_lt(chi[i], 130);
	}
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, bytes_have_their_value, 0, ARRAY_SIZE(bytes));
	tcase_add_loop_test(t, pairs_have_their_value, 0, ARRAY_SIZE(pairs));
	tcase_add_test(t, all_bytes);
	tcase_add_test(t, one_bit_changes_half);
	tcase_add_test(t, spread_is_even);
}

int main(void)
{
	return run_suite("util/hash", add_tests);
}
