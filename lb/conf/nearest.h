/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Nearest: which of several words somebody may have meant.
 *
 * Thread: any. Layer: conf.
 */

#include <stddef.h>

#include "util/slice.h"

#define NEAREST_TEXT_MAX 96 /* longest text of nearest_hint(), with its NUL */

struct nearest {
	/* private to nearest.c */
	struct slice to;   /* borrowed */
	struct slice best; /* borrowed */
	size_t distance;
};

/* Begins the search for what `to` may have meant. */
void nearest_init(struct nearest *n, struct slice to);

/* Looks at one word, which must live until nearest_hint(). The first of equally near ones wins. */
void nearest_try(struct nearest *n, struct slice word);

/* Writes `, did you mean "word"?`, or nothing where none is near; returns `out`. */
const char *nearest_hint(const struct nearest *n, char out[NEAREST_TEXT_MAX]);
