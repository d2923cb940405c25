/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Print: a configuration as the YAML that says all of it, made by the tables of options.
 *
 * What is written is read as the same configuration again. A row of a plain type is written by its
 * type; a row of OPT_CALL has a write() that uses the functions below.
 *
 * Thread: main. Layer: conf.
 */

#include <stddef.h>

#include "util/slice.h"
#include "util/text.h"

struct conf;
struct opt;

struct printer {
	const struct conf *conf; /* borrowed */
	/* private to print.c */
	struct text *out;
	unsigned indent;    /* spaces before the keys of the map that is being written */
	bool is_item;       /* the next key is the first one of a list's item */
	struct slice group; /* borrowed: "timeouts." of a row's key, the map that is open */
};

/* Writes all rows of a table, whose values are in `object`. */
void print_map(struct printer *p, const struct opt *table, const void *object);

/* ---- for the write() of OPT_CALL rows ---- */

/* Adds a text as a scalar, in quotes where YAML would make something else of it. */
void print_scalar(struct text *t, struct slice s);

/* Writes the row's key and a text. */
void print_text(struct printer *p, const struct opt *o, struct slice s);

/* Writes the row's key and a value that is YAML already. */
void print_yaml(struct printer *p, const struct opt *o, const struct text *value);

/* Writes the row's key, whose value is a list of maps; each print_item() writes one. */
void print_list(struct printer *p, const struct opt *o);
void print_item(struct printer *p, const struct opt *table, const void *object);
