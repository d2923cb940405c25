/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collects errors and warnings with their places in the user's file.
 *
 * err_at(), err_add() and err_warn_at() write a text into the next item (err_next()). At most
 * ERR_KEPT_MAX items are kept; the rest is only counted, and so is a text for which there is no
 * memory. err_sort() orders the items by place. err_line() gives the lines one by one. When some
 * items were not kept, the last line is "and N more".
 *
 * Thread: the owner's.
 */
#include "util/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Returns a new item, zeroed. Returns NULL when ERR_KEPT_MAX items are kept or memory is short. */
static struct err_item *err_next(struct err *e)
{
	if (e->n_kept == ERR_KEPT_MAX)
		return NULL;

	struct err_item *grown = reallocarray(e->item, e->n_kept + 1, sizeof(*grown));
	if (grown == NULL)
		return NULL;
	e->item = grown;

	struct err_item *it = &e->item[e->n_kept++];
	*it = (struct err_item){ 0 };
	return it;
}

static void err_vat(struct err *e, struct mark at, bool is_warning, const char *fmt, va_list ap)
	LB_PRINTF(4, 0);

static void err_vat(struct err *e, struct mark at, bool is_warning, const char *fmt, va_list ap)
{
	struct err_item *it = err_next(e);
	int used = 0;

	if (it == NULL)
		return;
	if (at.file != NULL && at.line != 0 && at.col != 0)
		used = snprintf(it->text, sizeof(it->text), "%s:%u:%u: ", at.file, at.line, at.col);
	else if (at.file != NULL && at.line != 0)
		used = snprintf(it->text, sizeof(it->text), "%s:%u: ", at.file, at.line);
	else if (at.file != NULL)
		used = snprintf(it->text, sizeof(it->text), "%s: ", at.file);
	it->is_warning = is_warning;
	it->line = at.line;
	it->col = at.col;
	if (used < 0 || (size_t)used >= sizeof(it->text))
		return;
	it->place_len = (size_t)used;
	(void)vsnprintf(it->text + used, sizeof(it->text) - (size_t)used, fmt, ap);
}

int err_at(struct err *e, struct mark at, const char *fmt, ...)
{
	va_list ap;

	e->n++;
	va_start(ap, fmt);
	err_vat(e, at, false, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

void err_warn_at(struct err *e, struct mark at, const char *fmt, ...)
{
	va_list ap;

	e->n_warnings++;
	va_start(ap, fmt);
	err_vat(e, at, true, fmt, ap);
	va_end(ap);
}

int err_add(struct err *e, int negative_errno, const char *fmt, ...)
{
	e->n++;
	struct err_item *it = err_next(e);
	if (it == NULL)
		return negative_errno;

	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(it->text, sizeof(it->text), fmt, ap);
	va_end(ap);
	return negative_errno;
}

static int err_compare(const void *pa, const void *pb)
{
	const struct err_item *a = pa, *b = pb;

	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	if (a->col != b->col)
		return a->col < b->col ? -1 : 1;
	return 0;
}

void err_sort(struct err *e)
{
	if (e->n_kept > 1)
		qsort(e->item, e->n_kept, sizeof(e->item[0]), err_compare);
}

size_t err_n_lines(const struct err *e)
{
	LB_ASSERT(e->n_kept <= ERR_KEPT_MAX && e->n_kept <= e->n + e->n_warnings);
	return e->n_kept + (e->n + e->n_warnings > e->n_kept ? 1 : 0);
}

const char *err_line(const struct err *e, size_t i, char *scratch, size_t scratch_len)
{
	LB_ASSERT(i < err_n_lines(e));
	if (i < e->n_kept)
		return e->item[i].text;
	(void)snprintf(scratch, scratch_len, "and %zu more", e->n + e->n_warnings - e->n_kept);
	return scratch;
}

void err_deinit(struct err *e)
{
	free(e->item);
	*e = ERR_INIT;
}
