/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Parse: scalars as a person writes them, to numbers and back.
 *
 * Each parser takes the whole slice, which may have no space and no sign. When the slice is
 * malformed, the parser returns -EINVAL; when its value does not fit, -ERANGE; both leave *ret as
 * it was. Otherwise the parser sets *ret and returns 0. The caller judges whether the value makes
 * sense.
 *
 * Thread: any (pure functions). Layer: util.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"
#include "util/slice.h"

/* Decimal digits only: "0", "8080", "007" (7). */
int parse_uint(struct slice s, uint64_t *ret) LB_MUST_CHECK;

/* An integer with a unit, in milliseconds: "500ms", "3s", "5m", "1h", "1d". A number without a unit
 * gives -EINVAL. */
int parse_duration_ms(struct slice s, uint64_t *ret) LB_MUST_CHECK;

/* Bytes, or an integer with a unit: "4096", "64KiB", "1MiB", "2GiB". */
int parse_size(struct slice s, uint64_t *ret) LB_MUST_CHECK;

/* Octal with a leading 0: "0600" (and "0"). A value above 07777 gives -ERANGE. */
int parse_octal_mode(struct slice s, uint32_t *ret) LB_MUST_CHECK;

/* "true" or "false". */
int parse_bool(struct slice s, bool *ret) LB_MUST_CHECK;

/* A decimal number with at most two digits after the point. *ret is 100 times the number: "1.25"
 * gives 125, "10" gives 1000. */
int parse_decimal_percent(struct slice s, uint64_t *ret) LB_MUST_CHECK;

#define PARSE_DISTANCE_MAX 64 /* bytes of the longest name that parse_distance() compares */

/*
 * parse_distance() - how many bytes to insert, delete or replace to make `b` from `a`
 *
 * For "did you mean". Returns SIZE_MAX when `a` or `b` is longer than PARSE_DISTANCE_MAX.
 */
size_t parse_distance(struct slice a, struct slice b);

#define PARSE_TEXT_MAX 28 /* bytes of the longest text of parse_format_...(), with its NUL */

/*
 * parse_format_duration() - milliseconds for a person: "500ms", "3s", "1m30s", "1h", "2d"
 *
 * Writes the largest unit and the next one, and cuts the rest: 3,661 s give "1h1m". Returns `out`.
 */
char *parse_format_duration(uint64_t ms, char out[PARSE_TEXT_MAX]);

/* Writes a number with commas between its thousands: "66,824". Returns `out`. */
char *parse_format_uint(uint64_t n, char out[PARSE_TEXT_MAX]);

/* Writes a number of bytes for a person, rounded to a tenth of its unit: "812 B", "4.1 KiB", "12.3
 * MiB". Returns `out`. */
char *parse_format_bytes(uint64_t n, char out[PARSE_TEXT_MAX]);
