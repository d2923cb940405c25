/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of lb.yaml: one row's number, with or without a unit, to and from a uint64_t.
 *
 * parse() reads a text by the type of a row alone. opt_number() also checks the row's limits, which
 * are texts ("10ms"), and refuses a leading 0. opt_number_format() goes the other way, for `lb
 * check --print`: it writes the row's default as the row has it, and other values with the largest
 * unit that leaves no remainder.
 *
 * Relies on util/parse.h for the forms of numbers.
 */
#include "conf/opt_number.h"

#include <errno.h>
#include <inttypes.h>

#include "conf/conf.h"
#include "conf/opt.h"
#include "util/parse.h"
#include "util/text.h"

static int parse(enum opt_type type, struct slice s, uint64_t *ret)
{
	uint32_t mode;
	int r;

	switch (type) {
	case OPT_UINT:
	case OPT_COUNT: return parse_uint(s, ret);
	case OPT_DURATION: return parse_duration_ms(s, ret);
	case OPT_SIZE: return parse_size(s, ret);
	case OPT_FACTOR: return parse_decimal_percent(s, ret);
	case OPT_MODE:
		r = parse_octal_mode(s, &mode);
		if (r == 0)
			*ret = mode;
		return r;
	case OPT_WORD:
	case OPT_NAME:
	case OPT_FILE:
	case OPT_ADDRESS:
	case OPT_CALL: break;
	}
	return -EINVAL;
}

const char *opt_number_form(enum opt_type type)
{
	switch (type) {
	case OPT_DURATION: return "a duration with its unit (ms, s, m, h, d)";
	case OPT_SIZE: return "a size in bytes or with its unit (KiB, MiB)";
	case OPT_FACTOR: return "a number with at most two decimals";
	case OPT_MODE: return "an octal mode with a leading 0";
	case OPT_UINT:
	case OPT_COUNT:
	case OPT_WORD:
	case OPT_NAME:
	case OPT_FILE:
	case OPT_ADDRESS:
	case OPT_CALL: break;
	}
	return "a whole number";
}

/* Whether `v` is between the row's limits. */
static bool is_in_range(const struct opt *o, uint64_t v)
{
	uint64_t min = 0, max = UINT64_MAX;

	if (o->min != NULL) {
		int r = parse(o->type, slice_of(o->min), &min);
		LB_ASSERT(r == 0);
	}
	if (o->max != NULL) {
		int r = parse(o->type, slice_of(o->max), &max);
		LB_ASSERT(r == 0);
	}
	LB_ASSERT(min <= max);
	return v >= min && v <= max;
}

/*
 * Whether a number has a leading 0, as `010`, which some readers of YAML take for 8. False for the
 * types whose numbers have a unit or may have a decimal point, and for a mode, which is octal.
 */
static bool is_octal_like(const struct opt *o, struct slice s)
{
	return (o->type == OPT_UINT || o->type == OPT_COUNT || o->type == OPT_SIZE) && s.n > 1 &&
	       s.p[0] == '0';
}

bool opt_number(const struct opt *o, struct slice s, uint64_t *ret)
{
	LB_ASSERT(opt_is_number(o));
	if (is_octal_like(o, s))
		return false;
	return parse(o->type, s, ret) == 0 && is_in_range(o, *ret);
}

/*
 * Adds `v` with the largest unit that leaves no remainder. When `v` is the row's default, adds the
 * default as the row has it.
 */
static void format_with_unit(const struct opt *o, uint64_t v, struct text *ret)
{
	static const struct {
		enum opt_type type;
		uint64_t factor;
		const char *unit;
	} units[] = {
		{ OPT_DURATION, 60 * 60 * 1000, "h" },
		{ OPT_DURATION, 60 * 1000, "m" },
		{ OPT_DURATION, 1000, "s" },
		{ OPT_DURATION, 1, "ms" },
		{ OPT_SIZE, 1 << 20, "MiB" },
		{ OPT_SIZE, 1 << 10, "KiB" },
		{ OPT_SIZE, 1, "" },
	};
	uint64_t def;

	LB_ASSERT(o->type == OPT_DURATION || o->type == OPT_SIZE);
	if (o->def != NULL && parse(o->type, slice_of(o->def), &def) == 0 && def == v) {
		text_add(ret, slice_of(o->def));
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (units[i].type != o->type || v % units[i].factor != 0)
			continue;
		text_addf(ret, "%" PRIu64 "%s", v / units[i].factor, units[i].unit);
		return;
	}
}

static void format_factor(uint64_t hundredths, struct text *ret)
{
	text_addf(ret, "%" PRIu64, hundredths / 100);
	if (hundredths % 100 != 0)
		text_addf(ret, hundredths % 10 == 0 ? ".%" PRIu64 : ".%02" PRIu64,
			  hundredths % 10 == 0 ? hundredths % 100 / 10 : hundredths % 100);
}

bool opt_number_format(const struct opt *o, uint64_t v, struct text *ret)
{
	uint64_t off = o->type == OPT_FACTOR ? 0 : CONF_OFF;

	LB_ASSERT(opt_is_number(o));
	if ((o->flags & OPT_AUTO) != 0 && v == 0)
		text_add(ret, SLICE("auto"));
	else if ((o->flags & OPT_OFF) != 0 && v == off)
		text_add(ret, SLICE("off"));
	else if (o->def == NULL && !is_in_range(o, v))
		return false; /* the file does not have the key, so that `v` is 0 */
	else if (o->type == OPT_FACTOR)
		format_factor(v, ret);
	else if (o->type == OPT_MODE)
		text_addf(ret, "%04" PRIo64, v);
	else if (o->type == OPT_DURATION || o->type == OPT_SIZE)
		format_with_unit(o, v, ret);
	else
		text_addf(ret, "%" PRIu64, v);
	return true;
}
