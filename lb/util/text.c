/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A buffer of bytes that grows.
 *
 * Every addition goes through text_grow(), which doubles the memory when the bytes and the NUL
 * behind them do not fit, so that an addition is O(1) on average. When memory is short, text_grow()
 * sets `failed`, and no later addition changes the text: so the caller may look at `failed` once,
 * at the end.
 *
 * Thread: the owner's.
 */
#include "util/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_CAP_MIN 128u

/* Makes the memory large enough for `n` more bytes and a NUL. */
static bool text_grow(struct text *t, size_t n)
{
	LB_ASSERT(t->n <= t->cap);
	if (t->failed)
		return false;
	if (t->cap > t->n && t->cap - t->n > n)
		return true;

	size_t cap = t->cap < TEXT_CAP_MIN ? TEXT_CAP_MIN : t->cap;
	while (cap <= SIZE_MAX / 4 && cap - t->n <= n)
		cap *= 2;

	char *p = cap - t->n > n ? realloc(t->p, cap) : NULL;
	if (p == NULL) {
		t->failed = true;
		return false;
	}
	t->p = p;
	t->cap = cap;
	return true;
}

void text_add(struct text *t, struct slice s)
{
	if (!text_grow(t, s.n))
		return;
	if (s.n != 0)
		memcpy(t->p + t->n, s.p, s.n);
	t->n += s.n;
	t->p[t->n] = '\0';
}

void text_vaddf(struct text *t, const char *fmt, va_list ap)
{
	va_list again;

	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0) {
		t->failed = true;
		return;
	}
	if (!text_grow(t, (size_t)n))
		return;
	int written = vsnprintf(t->p + t->n, (size_t)n + 1, fmt, ap);
	LB_ASSERT(written == n);
	t->n += (size_t)n;
}

void text_addf(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_vaddf(t, fmt, ap);
	va_end(ap);
}

void text_pad(struct text *t, char c, size_t n)
{
	if (!text_grow(t, n))
		return;
	memset(t->p + t->n, c, n);
	t->n += n;
	t->p[t->n] = '\0';
}

void text_clear(struct text *t)
{
	t->n = 0;
	t->failed = false;
	if (t->p != NULL)
		t->p[0] = '\0';
}

void text_deinit(struct text *t)
{
	free(t->p);
	*t = TEXT_INIT;
}
