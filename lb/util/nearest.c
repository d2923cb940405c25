/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The known word that is nearest to a wrong one, for "did you mean".
 *
 * nearest_try() gets one known word after the other and keeps the one of the least distance
 * (parse_distance()). nearest_word() gives that word only when it is near enough: a word that has
 * little in common with the wrong one would be no hint.
 *
 * Thread: the owner's.
 */
#include "util/nearest.h"

#include <stdint.h>
#include <stdio.h>

#include "util/parse.h"

void nearest_init(struct nearest *n, struct slice to)
{
	*n = (struct nearest){ .to = to, .distance = SIZE_MAX };
}

void nearest_try(struct nearest *n, struct slice word)
{
	size_t d = slice_eq_nocase(n->to, word) ? 0 : parse_distance(n->to, word);

	if (d < n->distance) {
		n->distance = d;
		n->best = word;
	}
}

struct slice nearest_word(const struct nearest *n)
{
	/* A guess: a word may differ by one change, and by one more for every four letters. */
	size_t limit = 1 + n->to.n / 4;
	size_t longer = n->best.n > n->to.n ? n->best.n : n->to.n;

	/* When the distance is less than the longer word's length, the two words share a letter. */
	return n->distance <= limit && n->distance < longer ? n->best : SLICE("");
}

const char *nearest_hint(const struct nearest *n, char out[NEAREST_TEXT_MAX])
{
	struct slice word = nearest_word(n);

	out[0] = '\0';
	if (word.n > 0)
		(void)snprintf(out, NEAREST_TEXT_MAX, ", did you mean \"" SLICE_FMT "\"?",
			       SLICE_ARG(word));
	return out;
}
