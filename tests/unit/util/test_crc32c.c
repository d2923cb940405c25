/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "util/assert.h"
#include "util/crc32c.h"

#include <check.h>
#include <string.h>

#define S(literal) (literal), sizeof(literal) - 1
#define ZEROS_8 "\0\0\0\0\0\0\0\0"
#define ONES_8 "\xff\xff\xff\xff\xff\xff\xff\xff"

/* The first is the usual check value, the others are those of RFC 3720, appendix B.4. */
static const struct {
	const char *name, *text;
	size_t n;
	uint32_t want;
} rows[] = {
	{ "nine digits", S("123456789"), 0xe3069283u },
	{ "32 zeros", S(ZEROS_8 ZEROS_8 ZEROS_8 ZEROS_8), 0x8a9136aau },
	{ "32 ones", S(ONES_8 ONES_8 ONES_8 ONES_8), 0x62a8ab43u },
	{ "32 bytes that rise",
	  S("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
	    "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"),
	  0x46dd794eu },
	{ "nothing", S(""), 0 },
};

START_TEST(the_sum_is_the_standards)
{
	ck_assert_msg(crc32c_add(0, rows[_i].text, rows[_i].n) == rows[_i].want, "%s",
		      rows[_i].name);
}
END_TEST

START_TEST(the_sum_of_pieces)
{
	for (size_t cut = 0; cut <= rows[_i].n; cut++) {
		uint32_t crc = crc32c_add(0, rows[_i].text, cut);

		crc = crc32c_add(crc, rows[_i].text + cut, rows[_i].n - cut);
		ck_assert_msg(crc == rows[_i].want, "%s, cut at %zu", rows[_i].name, cut);
	}
	ck_assert_uint_eq(crc32c_add(5, NULL, 0), 5);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, the_sum_is_the_standards, 0, (int)ARRAY_SIZE(rows));
	tcase_add_loop_test(t, the_sum_of_pieces, 0, (int)ARRAY_SIZE(rows));
}

int main(void)
{
	return run_suite("util/crc32c", add_tests);
}
