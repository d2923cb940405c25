/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A slice: borrowed bytes. They are not terminated by a NUL, and may contain NULs.
 *
 * Layer: util.
 */

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct slice {
	const char *p; /* borrowed; may be NULL when n is 0 */
	size_t n;
};

#define SLICE(literal) ((struct slice){ .p = (literal), .n = sizeof(literal) - 1 })
#define SLICE_FMT "%.*s"
#define SLICE_ARG(s) (int)(s).n, (s).p

static inline struct slice slice_of(const char *str)
{
	return (struct slice){ .p = str, .n = strlen(str) };
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* The first place of `word` in `s`, or NULL. */
static inline const char *slice_find(struct slice s, const char *word)
{
	return s.p == NULL ? NULL : memmem(s.p, s.n, word, strlen(word));
}

/* Whether the slices are equal when the case of ASCII letters is ignored. Only ASCII letters have a
 * case here, because lb never calls setlocale(). */
static inline bool slice_eq_nocase(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

static inline bool slice_starts_with(struct slice s, struct slice prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}
