/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Synonyms: words of other load balancers, and the words of lb that mean the same.
 *
 * One table has a row for words that mean the same at a place. Messages about unknown keys and
 * values use it.
 *
 * Thread: any. Layer: conf.
 */

#include <stddef.h>

#include "util/slice.h"

enum synonym_kind {
	SYNONYM_KEY, /* a key; `where`: the map's place, as "pools.health"; `ours`: a key's place */
	SYNONYM_VALUE, /* a value; `where`: the row's key, as "health.type"; `ours`: a value */
	SYNONYM_UNIT,  /* a unit; `where`: "duration" or "size"; `ours`: "N UNIT", as "7 d" */
};

struct synonym {
	enum synonym_kind kind;
	const char *where; /* the place of the words; NULL: any place */
	const char *words; /* words of other load balancers, separated by spaces */
	const char *ours;  /* what lb has for them; NULL: nothing */
	/* What to do, as the end of a sentence. NULL only when `ours` is enough. */
	const char *advice;
};

/*
 * synonym_find() - the row of a word at a place, or NULL
 *
 * Letters are compared in any case, and "-" is equal to "_". The first row wins, so that in the
 * table rows of a place come before rows that hold anywhere.
 */
const struct synonym *synonym_find(enum synonym_kind kind, const char *where, struct slice word);

#define SYNONYM_TEXT_MAX 224

/*
 * Writes the end of a message about the word, as `; in lb it is "pools"`, or "" when the word has
 * no row; returns `out`. Not for SYNONYM_UNIT.
 */
const char *synonym_hint(enum synonym_kind kind, const char *where, struct slice word,
			 char out[SYNONYM_TEXT_MAX]);

/* All rows, for the test that compares them with the tables of options. */
extern const struct synonym synonyms[];
extern const size_t n_synonyms;
