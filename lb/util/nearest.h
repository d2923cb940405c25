/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Nearest: which of several words a misspelt word may stand for ("did you mean").
 *
 * Thread: any. Layer: util.
 */

#include <stddef.h>

#include "util/slice.h"

#define NEAREST_TEXT_MAX 96 /* bytes of the longest text of nearest_hint(), with its NUL */

struct nearest {
	/* private to nearest.c */
	struct slice to;   /* borrowed */
	struct slice best; /* borrowed */
	size_t distance;
};

/* Begins the search for the word that `to` may stand for. */
void nearest_init(struct nearest *n, struct slice to);

/*
 * Compares one more word, which must live until the last call of nearest_word() or nearest_hint().
 * Of words that are equally near, the first one wins.
 */
void nearest_try(struct nearest *n, struct slice word);

/* The nearest word, borrowed. Empty when no word is near enough to be meant. */
struct slice nearest_word(const struct nearest *n);

/* Writes `, did you mean "word"?`, or "" when nearest_word() is empty; returns `out`. */
const char *nearest_hint(const struct nearest *n, char out[NEAREST_TEXT_MAX]);
