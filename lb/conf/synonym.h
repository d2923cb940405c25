/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Synonyms: the words that people bring along from other load balancers, and what lb has for them.
 *
 * One table, one row for each word at a place. Messages about unknown keys and values ask it.
 *
 * Thread: any. Layer: conf.
 */

#include <stddef.h>

#include "util/slice.h"

enum synonym_kind {
	SYNONYM_KEY, /* of a key: `where` is the map's place, as "pools.health"; ours is a place */
	SYNONYM_VALUE, /* of a value: `where` is the row's key, as "health.type"; ours is a value */
	SYNONYM_UNIT,  /* of a unit: `where` is "duration" or "size"; ours is "N UNIT", as "7 d" */
};

struct synonym {
	enum synonym_kind kind;
	const char *where; /* NULL: anywhere */
	const char *words; /* separated by spaces */
	const char *ours;  /* NULL: lb has nothing of the kind */
	const char
		*advice; /* NULL: `ours` says it all; else what to do, as the end of a sentence */
};

/*
 * synonym_find() - what a word means to lb at a place, or NULL
 *
 * Letters are compared in any case, and a `-` is a `_`. A row of the place itself comes before one
 * that holds anywhere.
 */
const struct synonym *synonym_find(enum synonym_kind kind, const char *where, struct slice word);

#define SYNONYM_TEXT_MAX 224

/*
 * Writes what a message about the word ends with, as `; in lb it is "pools"`, or nothing where the
 * word is not known; returns `out`. Not of units.
 */
const char *synonym_hint(enum synonym_kind kind, const char *where, struct slice word,
			 char out[SYNONYM_TEXT_MAX]);

/* All rows, for the test that holds them against the tables of options. */
extern const struct synonym synonyms[];
extern const size_t n_synonyms;
