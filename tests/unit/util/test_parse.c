/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "../suite.h"
#include "util/assert.h"
#include "util/parse.h"

#define UNTOUCHED UINT64_C(0xdead)

typedef int (*parse_fn)(struct slice s, uint64_t *ret);

/* The two with results of another type, in the form of the rest. */
static int octal_mode(struct slice s, uint64_t *ret)
{
	uint32_t v = (uint32_t)*ret;
	int r = parse_octal_mode(s, &v);

	*ret = v;
	return r;
}

static int boolean(struct slice s, uint64_t *ret)
{
	bool v = false;
	int r = parse_bool(s, &v);

	if (r == 0)
		*ret = v;
	return r;
}

static const struct {
	parse_fn fn;
	const char *in;
	uint64_t want;
} good[] = {
	{ parse_uint, "0", 0 },
	{ parse_uint, "8080", 8080 },
	{ parse_uint, "007", 7 },
	{ parse_uint, "18446744073709551615", UINT64_MAX },
	{ parse_duration_ms, "0s", 0 },
	{ parse_duration_ms, "500ms", 500 },
	{ parse_duration_ms, "3s", 3000 },
	{ parse_duration_ms, "5m", 300000 },
	{ parse_duration_ms, "1h", 3600000 },
	{ parse_duration_ms, "7d", 604800000 },
	{ parse_duration_ms, "18446744073709551615ms", UINT64_MAX },
	{ parse_duration_ms, "18446744073709551s", UINT64_C(18446744073709551000) },
	{ parse_size, "0", 0 },
	{ parse_size, "4096", 4096 },
	{ parse_size, "64KiB", 65536 },
	{ parse_size, "1MiB", 1048576 },
	{ parse_size, "2GiB", UINT64_C(2147483648) },
	{ parse_size, "17179869183GiB", UINT64_C(17179869183) << 30 },
	{ octal_mode, "0600", 0600 },
	{ octal_mode, "0", 0 },
	{ octal_mode, "07777", 07777 },
	{ octal_mode, "0000644", 0644 },
	{ boolean, "true", 1 },
	{ boolean, "false", 0 },
	{ parse_decimal_percent, "1.25", 125 },
	{ parse_decimal_percent, "1.2", 120 },
	{ parse_decimal_percent, "1.05", 105 },
	{ parse_decimal_percent, "10", 1000 },
	{ parse_decimal_percent, "0.00", 0 },
	{ parse_decimal_percent, "184467440737095516.15", UINT64_MAX },
};

static const struct {
	parse_fn fn;
	const char *in;
	int want;
} bad[] = {
	{ parse_uint, "", -EINVAL },
	{ parse_uint, "-1", -EINVAL },
	{ parse_uint, "+1", -EINVAL },
	{ parse_uint, " 1", -EINVAL },
	{ parse_uint, "1 ", -EINVAL },
	{ parse_uint, "0x10", -EINVAL },
	{ parse_uint, "1_000", -EINVAL },
	{ parse_uint, "18446744073709551616", -ERANGE },
	{ parse_uint, "99999999999999999999999999", -ERANGE },
	{ parse_uint, "99999999999999999999999999x", -EINVAL },
	{ parse_duration_ms, "", -EINVAL },
	{ parse_duration_ms, "5", -EINVAL },
	{ parse_duration_ms, "s", -EINVAL },
	{ parse_duration_ms, "5 s", -EINVAL },
	{ parse_duration_ms, "1.5s", -EINVAL },
	{ parse_duration_ms, "-1s", -EINVAL },
	{ parse_duration_ms, "5S", -EINVAL },
	{ parse_duration_ms, "5sec", -EINVAL },
	{ parse_duration_ms, "1m30s", -EINVAL },
	{ parse_duration_ms, "5w", -EINVAL },
	{ parse_duration_ms, "18446744073709552s", -ERANGE },
	{ parse_duration_ms, "18446744073709551616ms", -ERANGE },
	{ parse_size, "", -EINVAL },
	{ parse_size, "KiB", -EINVAL },
	{ parse_size, "64 KiB", -EINVAL },
	{ parse_size, "64kib", -EINVAL },
	{ parse_size, "64KB", -EINVAL },
	{ parse_size, "64K", -EINVAL },
	{ parse_size, "1.5MiB", -EINVAL },
	{ parse_size, "17179869184GiB", -ERANGE },
	{ octal_mode, "", -EINVAL },
	{ octal_mode, "600", -EINVAL },
	{ octal_mode, "0680", -EINVAL },
	{ octal_mode, "0o600", -EINVAL },
	{ octal_mode, "rw-", -EINVAL },
	{ octal_mode, "010000", -ERANGE },
	{ octal_mode, "07777777777777777777777777777", -ERANGE },
	{ boolean, "", -EINVAL },
	{ boolean, "True", -EINVAL },
	{ boolean, "yes", -EINVAL },
	{ boolean, "1", -EINVAL },
	{ boolean, "truer", -EINVAL },
	{ parse_decimal_percent, "", -EINVAL },
	{ parse_decimal_percent, ".5", -EINVAL },
	{ parse_decimal_percent, "1.", -EINVAL },
	{ parse_decimal_percent, "1.234", -EINVAL },
	{ parse_decimal_percent, "1,2", -EINVAL },
	{ parse_decimal_percent, "-1", -EINVAL },
	{ parse_decimal_percent, "1.2.3", -EINVAL },
	{ parse_decimal_percent, "1e3", -EINVAL },
	{ parse_decimal_percent, "1.-2", -EINVAL },
	{ parse_decimal_percent, "184467440737095516.16", -ERANGE },
	{ parse_decimal_percent, "99999999999999999999999", -ERANGE },
	{ parse_decimal_percent, "99999999999999999999999.x", -EINVAL },
};

START_TEST(good_is_read)
{
	uint64_t v = UNTOUCHED;

	ck_assert_msg(good[_i].fn(slice_of(good[_i].in), &v) == 0, "%s", good[_i].in);
	ck_assert_msg(v == good[_i].want, "%s", good[_i].in);
}
END_TEST

START_TEST(bad_is_refused)
{
	uint64_t v = UNTOUCHED;

	ck_assert_msg(bad[_i].fn(slice_of(bad[_i].in), &v) == bad[_i].want, "%s", bad[_i].in);
	ck_assert_msg(v == UNTOUCHED, "%s", bad[_i].in);
}
END_TEST

/* Nothing behind the slice is read, and a NUL inside is no end. */
START_TEST(slice_has_its_own_end)
{
	uint64_t v = UNTOUCHED;

	ck_assert_int_eq(parse_uint((struct slice){ "1234", 2 }, &v), 0);
	ck_assert_uint_eq(v, 12);
	ck_assert_int_eq(parse_uint(SLICE("1\0"), &v), -EINVAL);
	ck_assert_int_eq(parse_duration_ms((struct slice){ "5ms", 2 }, &v), 0);
	ck_assert_uint_eq(v, 300000);
	ck_assert_int_eq(parse_duration_ms((struct slice){ "50ms", 2 }, &v), -EINVAL);
	ck_assert_int_eq(parse_uint((struct slice){ 0 }, &v), -EINVAL);
}
END_TEST

static const struct {
	const char *a, *b;
	size_t want;
} distances[] = {
	{ "", "", 0 },
	{ "", "abc", 3 },
	{ "abc", "", 3 },
	{ "timeout", "timeout", 0 },
	{ "timout", "timeout", 1 },
	{ "timeouts", "timeout", 1 },
	{ "tineout", "timeout", 1 },
	{ "kitten", "sitting", 3 },
	{ "ab", "ba", 2 },
};

START_TEST(distance_is_right)
{
	struct slice a = slice_of(distances[_i].a), b = slice_of(distances[_i].b);

	ck_assert_uint_eq(parse_distance(a, b), distances[_i].want);
	ck_assert_uint_eq(parse_distance(b, a), distances[_i].want);
}
END_TEST

START_TEST(distance_has_a_limit)
{
	char x[PARSE_DISTANCE_MAX + 1], y[PARSE_DISTANCE_MAX + 1];
	struct slice a = { x, PARSE_DISTANCE_MAX }, b = { y, PARSE_DISTANCE_MAX };

	memset(x, 'x', sizeof(x));
	memset(y, 'y', sizeof(y));
	ck_assert_uint_eq(parse_distance(a, b), PARSE_DISTANCE_MAX);
	a.n++;
	ck_assert_uint_eq(parse_distance(a, b), SIZE_MAX);
	ck_assert_uint_eq(parse_distance(b, a), SIZE_MAX);
}
END_TEST

static const struct {
	uint64_t ms;
	const char *want;
} durations[] = {
	{ 0, "0s" },
	{ 1, "1ms" },
	{ 500, "500ms" },
	{ 1000, "1s" },
	{ 1500, "1s500ms" },
	{ 3000, "3s" },
	{ 90000, "1m30s" },
	{ 60001, "1m" },
	{ 3600000, "1h" },
	{ 3661000, "1h1m" },
	{ 3601000, "1h" },
	{ 86399000, "23h59m" },
	{ 86400000, "1d" },
	{ UINT64_C(360000000), "4d4h" },
	{ UINT64_C(8640000000), "100d" },
	{ UINT64_MAX, "213503982334d14h" },
};

static const struct {
	uint64_t n;
	const char *want;
} numbers[] = {
	{ 0, "0" },          { 999, "999" },           { 1000, "1,000" },
	{ 66824, "66,824" }, { 1234567, "1,234,567" }, { UINT64_MAX, "18,446,744,073,709,551,615" },
};

START_TEST(number_is_written)
{
	char out[PARSE_TEXT_MAX];

	ck_assert_str_eq(parse_format_uint(numbers[_i].n, out), numbers[_i].want);
}
END_TEST

START_TEST(duration_is_written)
{
	char out[PARSE_TEXT_MAX];

	ck_assert_str_eq(parse_format_duration(durations[_i].ms, out), durations[_i].want);
}
END_TEST

static const struct {
	uint64_t n;
	const char *want;
} sizes[] = {
	{ 0, "0 B" },
	{ 812, "812 B" },
	{ 1023, "1023 B" },
	{ 1024, "1.0 KiB" },
	{ 4198, "4.1 KiB" },
	{ 1536, "1.5 KiB" },
	{ 1048524, "1023.9 KiB" },
	{ 1048525, "1.0 MiB" },
	{ 12897485, "12.3 MiB" },
	{ UINT64_C(1) << 30, "1.0 GiB" },
	{ UINT64_C(1) << 40, "1.0 TiB" },
	{ UINT64_C(1) << 50, "1.0 PiB" },
	{ UINT64_C(1) << 60, "1.0 EiB" },
	{ UINT64_MAX, "16.0 EiB" },
};

START_TEST(bytes_are_written)
{
	char out[PARSE_TEXT_MAX];

	ck_assert_str_eq(parse_format_bytes(sizes[_i].n, out), sizes[_i].want);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, good_is_read, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(t, bad_is_refused, 0, ARRAY_SIZE(bad));
	tcase_add_test(t, slice_has_its_own_end);
	tcase_add_loop_test(t, distance_is_right, 0, ARRAY_SIZE(distances));
	tcase_add_test(t, distance_has_a_limit);
	tcase_add_loop_test(t, duration_is_written, 0, ARRAY_SIZE(durations));
	tcase_add_loop_test(t, number_is_written, 0, ARRAY_SIZE(numbers));
	tcase_add_loop_test(t, bytes_are_written, 0, ARRAY_SIZE(sizes));
}

int main(void)
{
	return run_suite("util/parse", add_tests);
}
