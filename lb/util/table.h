/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Table: rows of text under headers, in columns as wide as their longest cell.
 *
 *	struct table *t = table_new(2, (const char *const[]){ "BACKEND", "ACTIVE" });
 *	table_align_right(t, 1);
 *	table_cell(t, "%s", b->name);
 *	table_cell(t, "%u", b->active);
 *	table_print(t, &out);
 *	t = table_free(t);
 *
 * Cells are for a terminal: a control character in one is shown as `?`. Width is counted in UTF-8
 * characters. Thread: the owner's. Layer: util.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/assert.h"
#include "util/text.h"

struct table;

/* Copies the headers. Returns NULL when memory is short. */
struct table *table_new(size_t n_cols, const char *const *header);

/* Frees the table; NULL is fine. Returns NULL. */
struct table *table_free(struct table *t);

/* Aligns a column and its header to the right, as is usual for numbers. Columns count from 0. */
void table_align_right(struct table *t, size_t col);

/* Adds the next cell. Cells fill a row from left to right, and then the next row. */
void table_cell(struct table *t, const char *fmt, ...) LB_PRINTF(2, 3);

/* Leaves a column out of what table_print() writes. Columns count from 0. */
void table_hide(struct table *t, size_t col);

/* Whether table_hide() was called for a column. */
bool table_is_hidden(const struct table *t, size_t col);

/* The width of the longest line, in characters. Hidden columns do not count. */
size_t table_width(const struct table *t);

/*
 * table_print() - add the table to `out`, without its hidden columns
 *
 * Two spaces between columns, none at the end of a line, a newline after each row; cells that the
 * last row lacks are empty. When memory was short for a cell, `failed` is set in `out`.
 */
void table_print(const struct table *t, struct text *out);
