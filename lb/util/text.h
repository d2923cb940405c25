/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Text: a buffer that grows with what is added.
 *
 * When memory is short, `failed` is set, and nothing more is added: so the caller may look at
 * `failed` once, at the end. Not for the hot path.
 *
 * Thread: the owner's. Layer: util.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/assert.h"
#include "util/slice.h"

struct text {
	char *p;     /* owns; NULL before the first addition; later p[n] is a NUL */
	size_t n;    /* length in bytes, without the NUL */
	size_t cap;  /* bytes allocated */
	bool failed; /* an addition failed, because memory was short */
};

#define TEXT_INIT ((struct text){ 0 })

/* Adds bytes; they may contain NULs. */
void text_add(struct text *t, struct slice s);

/* Adds what printf would write, without a limit of length. */
void text_addf(struct text *t, const char *fmt, ...) LB_PRINTF(2, 3);
void text_vaddf(struct text *t, const char *fmt, va_list ap) LB_PRINTF(2, 0);

/* Adds the byte `c` `n` times. */
void text_pad(struct text *t, char c, size_t n);

/* What was added so far; valid until the next addition. */
static inline struct slice text_slice(const struct text *t)
{
	return (struct slice){ .p = t->p, .n = t->n };
}

/* Empties the text and clears `failed`, but keeps the memory. */
void text_clear(struct text *t);

/* Frees the memory; the text is TEXT_INIT afterwards. */
void text_deinit(struct text *t);
