/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads numbers with units as a person writes them, and writes numbers for a person. Also measures
 * how different two words are, for "did you mean".
 *
 * Terms. A unit is a name and a factor; an empty name stands for a number without a unit. Malformed
 * text gives -EINVAL, a value that does not fit gives -ERANGE, and *ret is set only on success.
 *
 * parse_uint(), parse_duration_ms() and parse_size() give a table of units to with_unit(), which
 * reads the digits (digits_take()) and looks the rest up in the table. When the value has become
 * too large, digits_take() still reads all digits, so that malformed text (-EINVAL) can be told
 * from a value that does not fit (-ERANGE). parse_octal_mode() and parse_decimal_percent() use
 * digits_take() themselves.
 *
 * parse_distance() is the Levenshtein distance of two short names; conf/ and admin/ name the
 * nearest known word with it.
 *
 * parse_format_duration(), parse_format_uint() and parse_format_bytes() write into PARSE_TEXT_MAX
 * bytes of the caller's. A duration shows its largest unit and the next one; bytes are rounded to a
 * tenth of the unit.
 *
 * Thread: any (pure functions).
 */
#include "util/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Reads the digits at the start of *s, sets *ret_n to their number, and moves *s behind them. Reads
 * all digits even when the value has become too large, so that the caller can tell malformed text
 * from a value that does not fit.
 */
static int digits_take(struct slice *s, unsigned base, uint64_t *ret, size_t *ret_n)
{
	bool overflows = false;
	uint64_t v = 0;
	size_t i = 0;

	for (; i < s->n && is_digit(s->p[i]) && (unsigned)(s->p[i] - '0') < base; i++) {
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(s->p[i] - '0'), &v))
			overflows = true;
	}
	if (i == 0)
		return -EINVAL;

	*s = (struct slice){ .p = s->p + i, .n = s->n - i };
	*ret = v;
	*ret_n = i;
	return overflows ? -ERANGE : 0;
}

/* Reads an integer and the name of one of the units. A unit with an empty name allows a number
 * without a unit. */
static int with_unit(struct slice s, const struct unit *unit, size_t n_units, uint64_t *ret)
{
	uint64_t v;
	size_t n_digits;

	int r = digits_take(&s, 10, &v, &n_digits);
	if (r == -EINVAL)
		return r;

	for (size_t i = 0; i < n_units; i++) {
		if (!slice_eq(s, slice_of(unit[i].name)))
			continue;
		if (r < 0 || __builtin_mul_overflow(v, unit[i].factor, &v))
			return -ERANGE;
		*ret = v;
		return 0;
	}
	return -EINVAL;
}

int parse_uint(struct slice s, uint64_t *ret)
{
	static const struct unit none[] = { { "", 1 } };

	return with_unit(s, none, ARRAY_SIZE(none), ret);
}

int parse_duration_ms(struct slice s, uint64_t *ret)
{
	static const struct unit unit[] = {
		{ "ms", 1 },
		{ "s", 1000 },
		{ "m", 60 * 1000 },
		{ "h", 60 * 60 * 1000 },
		{ "d", 24 * 60 * 60 * 1000 },
	};

	return with_unit(s, unit, ARRAY_SIZE(unit), ret);
}

int parse_size(struct slice s, uint64_t *ret)
{
	static const struct unit unit[] = {
		{ "", 1 },
		{ "KiB", UINT64_C(1) << 10 },
		{ "MiB", UINT64_C(1) << 20 },
		{ "GiB", UINT64_C(1) << 30 },
	};

	return with_unit(s, unit, ARRAY_SIZE(unit), ret);
}

int parse_octal_mode(struct slice s, uint32_t *ret)
{
	uint64_t v;
	size_t n_digits;

	if (s.n == 0 || s.p[0] != '0')
		return -EINVAL;
	int r = digits_take(&s, 8, &v, &n_digits);
	if (r == -EINVAL || s.n != 0)
		return -EINVAL;
	if (r < 0 || v > 07777)
		return -ERANGE;
	*ret = (uint32_t)v;
	return 0;
}

int parse_bool(struct slice s, bool *ret)
{
	bool is_true = slice_eq(s, SLICE("true"));

	if (!is_true && !slice_eq(s, SLICE("false")))
		return -EINVAL;
	*ret = is_true;
	return 0;
}

int parse_decimal_percent(struct slice s, uint64_t *ret)
{
	uint64_t whole, part = 0;
	size_t n_digits;

	int r = digits_take(&s, 10, &whole, &n_digits);
	if (r == -EINVAL)
		return r;

	if (s.n != 0) {
		if (s.p[0] != '.')
			return -EINVAL;
		s = (struct slice){ .p = s.p + 1, .n = s.n - 1 };
		if (digits_take(&s, 10, &part, &n_digits) < 0 || s.n != 0 || n_digits > 2)
			return -EINVAL;
		if (n_digits == 1)
			part *= 10;
	}

	if (r < 0 || __builtin_mul_overflow(whole, UINT64_C(100), &whole) ||
	    __builtin_add_overflow(whole, part, &whole))
		return -ERANGE;
	*ret = whole;
	return 0;
}

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* The Levenshtein distance, one row at a time: after pass i, row[j] is the distance between the
 * first i bytes of `a` and the first j bytes of `b`. */
size_t parse_distance(struct slice a, struct slice b)
{
	size_t row[PARSE_DISTANCE_MAX + 1];

	if (a.n > PARSE_DISTANCE_MAX || b.n > PARSE_DISTANCE_MAX)
		return SIZE_MAX;

	for (size_t j = 0; j <= b.n; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			size_t above = row[j];
			size_t replaced = diagonal + (a.p[i - 1] == b.p[j - 1] ? 0 : 1);
			row[j] = min3(above + 1, row[j - 1] + 1, replaced);
			diagonal = above;
		}
	}
	return row[b.n];
}

char *parse_format_duration(uint64_t ms, char out[PARSE_TEXT_MAX])
{
	static const struct unit unit[] = {
		{ "d", 24 * 60 * 60 * 1000 },
		{ "h", 60 * 60 * 1000 },
		{ "m", 60 * 1000 },
		{ "s", 1000 },
		{ "ms", 1 },
	};
	const size_t last = ARRAY_SIZE(unit) - 1;
	size_t i = 0;

	if (ms == 0) {
		(void)snprintf(out, PARSE_TEXT_MAX, "0s");
		return out;
	}
	while (ms < unit[i].factor) /* ends at the last unit, 1 ms */
		i++;

	int n = snprintf(out, PARSE_TEXT_MAX, "%" PRIu64 "%s", ms / unit[i].factor, unit[i].name);
	LB_ASSERT(n > 0 && n < PARSE_TEXT_MAX);
	uint64_t rest = i < last ? ms % unit[i].factor / unit[i + 1].factor : 0;
	if (rest != 0)
		(void)snprintf(out + n, PARSE_TEXT_MAX - (size_t)n, "%" PRIu64 "%s", rest,
			       unit[i + 1].name);
	return out;
}

char *parse_format_uint(uint64_t n, char out[PARSE_TEXT_MAX])
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
	char *p = out;

	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			*p++ = ',';
		*p++ = digits[i];
	}
	LB_ASSERT(p - out < PARSE_TEXT_MAX);
	*p = '\0';
	return out;
}

char *parse_format_bytes(uint64_t n, char out[PARSE_TEXT_MAX])
{
	static const char *const name[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t tenths;
	unsigned i = 0;

	if (n < 1024) {
		(void)snprintf(out, PARSE_TEXT_MAX, "%" PRIu64 " B", n);
		return out;
	}
	/* Finds the unit whose rounded number is below 1024.0. EiB is the largest one that is
	 * needed: 2^64 bytes are 16 EiB. */
	do {
		i++;
		uint64_t whole = n >> (10 * i), rest = n & ((UINT64_C(1) << (10 * i)) - 1);
		tenths = whole * 10 + ((rest * 10 + (UINT64_C(1) << (10 * i - 1))) >> (10 * i));
	} while (tenths >= 10240 && i < ARRAY_SIZE(name) - 1);

	(void)snprintf(out, PARSE_TEXT_MAX, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10,
		       name[i]);
	return out;
}
