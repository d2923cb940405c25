/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Parse: scalars as a person writes them, to numbers and back.
 *
 * Each parser takes the whole slice, without spaces and signs around, and returns 0 and sets *ret,
 * or leaves *ret alone and returns -EINVAL where the text is malformed, -ERANGE where it is well
 * formed and its value does not fit. Whether a value makes sense is the caller's to judge.
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

/* An integer with a unit, in milliseconds: "500ms", "3s", "5m", "1h", "1d". A bare number is
 * -EINVAL. */
int parse_duration_ms(struct slice s, uint64_t *ret) LB_MUST_CHECK;

/* Bytes, or an integer with a unit: "4096", "64KiB", "1MiB", "2GiB". */
int parse_size(struct slice s, uint64_t *ret) LB_MUST_CHECK;

/* Octal with a leading 0: "0600" (and "0"). Above 07777 is -ERANGE. */
int parse_octal_mode(struct slice s, uint32_t *ret) LB_MUST_CHECK;

/* "true" or "false". */
int parse_bool(struct slice s, bool *ret) LB_MUST_CHECK;

/* A decimal with at most two digits after the point, times 100: "1.25" is 125, "10" is 1000. */
int parse_decimal_percent(struct slice s, uint64_t *ret) LB_MUST_CHECK;

#define PARSE_DISTANCE_MAX 64 /* the longest name that parse_distance() compares */

/*
 * parse_distance() - how many bytes to insert, delete or replace to make `b` from `a`
 *
 * For "did you mean". SIZE_MAX where either is longer than PARSE_DISTANCE_MAX.
 */
size_t parse_distance(struct slice a, struct slice b);

#define PARSE_TEXT_MAX 28 /* longest text of the three below, with its NUL */

/*
 * parse_format_duration() - milliseconds for a person: "500ms", "3s", "1m30s", "1h", "2d"
 *
 * The largest unit and the next one, the rest is cut: 3,661 s is "1h1m". Returns `out`.
 */
char *parse_format_duration(uint64_t ms, char out[PARSE_TEXT_MAX]);

/* A number with its thousands apart: "66,824". Returns `out`. */
char *parse_format_uint(uint64_t n, char out[PARSE_TEXT_MAX]);

/* Bytes for a person, rounded to a tenth: "812 B", "4.1 KiB", "12.3 MiB". Returns `out`. */
char *parse_format_bytes(uint64_t n, char out[PARSE_TEXT_MAX]);
