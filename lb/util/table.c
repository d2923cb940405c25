/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of text in aligned columns.
 *
 * A table holds all cells, the headers first, in one text, each with a NUL at its end. table_cell()
 * formats a cell behind the last one, and cell_end() replaces its control characters and updates
 * the width of its column, so that table_print() takes one pass. Columns that are hidden have cells
 * like all others, and are left out when the table is printed.
 *
 * Thread: the owner's.
 */
#include "util/table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct column {
	size_t width;  /* of the column's widest cell, in characters */
	bool is_right; /* aligned to the right */
	bool is_hidden;
};

struct table {
	size_t n_cols, n_cells; /* n_cells counts the headers, too */
	struct text cells;
	struct column col[];
};

static size_t n_chars(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80; /* not a UTF-8 continuation byte */
	return n;
}

/* Ends the cell whose text begins at offset `from` of t->cells. */
static void cell_end(struct table *t, size_t from)
{
	LB_ASSERT(from <= t->cells.n);
	text_pad(&t->cells, '\0', 1);
	if (t->cells.failed)
		return;

	char *cell = t->cells.p + from;
	for (char *c = cell; c < t->cells.p + t->cells.n - 1; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';

	struct column *col = &t->col[t->n_cells++ % t->n_cols];
	size_t width = n_chars(cell);
	if (width > col->width)
		col->width = width;
}

void table_cell(struct table *t, const char *fmt, ...)
{
	size_t from = t->cells.n;
	va_list ap;

	va_start(ap, fmt);
	text_vaddf(&t->cells, fmt, ap);
	va_end(ap);
	cell_end(t, from);
}

struct table *table_new(size_t n_cols, const char *const *header)
{
	LB_ASSERT(n_cols > 0 && n_cols <= SIZE_MAX / sizeof(struct column) / 2);

	struct table *t = calloc(1, sizeof(*t) + n_cols * sizeof(t->col[0]));
	if (t == NULL)
		return NULL;
	t->n_cols = n_cols;
	for (size_t i = 0; i < n_cols; i++)
		table_cell(t, "%s", header[i]);
	return t->cells.failed ? table_free(t) : t;
}

struct table *table_free(struct table *t)
{
	if (t != NULL)
		text_deinit(&t->cells);
	free(t);
	return NULL;
}

void table_align_right(struct table *t, size_t col)
{
	LB_ASSERT(col < t->n_cols);
	t->col[col].is_right = true;
}

void table_hide(struct table *t, size_t col)
{
	LB_ASSERT(col < t->n_cols);
	t->col[col].is_hidden = true;
}

bool table_is_hidden(const struct table *t, size_t col)
{
	LB_ASSERT(col < t->n_cols);
	return t->col[col].is_hidden;
}

size_t table_width(const struct table *t)
{
	size_t width = 0;

	for (size_t i = 0; i < t->n_cols; i++)
		if (!t->col[i].is_hidden)
			width += t->col[i].width + (width > 0 ? 2 : 0);
	return width;
}

void table_print(const struct table *t, struct text *out)
{
	const char *cell = t->cells.p;
	size_t due = 0; /* spaces to be written before the next text of this line */

	for (size_t i = 0; i < t->n_cells; i++) {
		const struct column *col = &t->col[i % t->n_cols];
		size_t n = strlen(cell), width = n_chars(cell);
		LB_ASSERT(width <= col->width);
		size_t pad = col->width - width;

		if (col->is_right && !col->is_hidden)
			due += pad;
		if (n != 0 && !col->is_hidden) {
			text_pad(out, ' ', due);
			text_add(out, (struct slice){ .p = cell, .n = n });
			due = 0;
		}
		if (!col->is_hidden)
			due += 2 + (col->is_right ? 0 : pad);
		if ((i + 1) % t->n_cols == 0 || i + 1 == t->n_cells) {
			text_add(out, SLICE("\n"));
			due = 0;
		}
		cell += n + 1;
	}
	if (t->cells.failed)
		out->failed = true;
}
