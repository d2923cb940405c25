/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Print: writes the values of a configuration as YAML, by the tables of options.
 *
 * conf_load() reads the same values from the YAML. A row of OPT_CALL has a write(), which uses the
 * functions below; any other row is written by its type.
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
	unsigned indent; /* spaces before the keys of the map that is being written */
	bool is_item;    /* the next line is the first one of a list's item and begins with "- " */
	struct slice group; /* borrowed: the open group (see print.c), as "timeouts." */
};

/* Writes all rows of a table, whose values are in `object`. */
void print_map(struct printer *p, const struct opt *table, const void *object);

/* ---- for the write() of OPT_CALL rows ---- */

/* Adds a text as a scalar: in quotes when YAML would read it as something else without quotes. */
void print_scalar(struct text *t, struct slice s);

/* Writes the row's key and a text. */
void print_text(struct printer *p, const struct opt *o, struct slice s);

/* Writes the row's key and `value`, a text that already is YAML. */
void print_yaml(struct printer *p, const struct opt *o, const struct text *value);

/* Writes the row's key, whose value is a list of maps. After it, print_item() writes each map. */
void print_list(struct printer *p, const struct opt *o);
void print_item(struct printer *p, const struct opt *table, const void *object);
