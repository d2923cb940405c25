/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Errors that a person will read: start-up, configuration, reload.
 *
 * All mistakes of a run are collected and printed once, by daemon/. The data path uses `enum
 * sess_end` (proxy/end.h) instead of this type. Thread: the one that owns the struct (main).
 *
 * Layer: util.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

/* A place in a file the user wrote. */
struct mark {
	const char *file; /* borrowed from the configuration tree; NULL: no file */
	uint32_t line;    /* counts from 1; 0: the whole file */
	uint32_t col;     /* counts from 1; 0: the whole line */
};

#define ERR_TEXT_MAX 512 /* with the NUL; a longer text is cut; a path and a key fit */
#define ERR_KEPT_MAX 200 /* errors and warnings that are kept; the rest is only counted */

struct err_item {
	char text[ERR_TEXT_MAX]; /* `file:line:column: text`, or the text alone */
	size_t place_len;        /* length of the place at the start of `text`, with its ": " */
	bool is_warning;         /* the file can be used all the same */
	uint32_t line, col;      /* the place, for err_sort(); 0: the item has no place */
};

struct err {
	size_t n;              /* how many errors were reported, without the warnings */
	size_t n_warnings;     /* how many warnings were reported */
	size_t n_kept;         /* elements of `item`: errors and warnings that are kept */
	struct err_item *item; /* owns */
};

#define ERR_INIT ((struct err){ 0 })

/* Adds one error and returns -EINVAL, so that a caller can write `return err_at(...)`. */
int err_at(struct err *e, struct mark at, const char *fmt, ...) LB_PRINTF(3, 4);

/* Adds one error without a place in a file. Returns `negative_errno` unchanged. */
int err_add(struct err *e, int negative_errno, const char *fmt, ...) LB_PRINTF(3, 4);

/* Adds a warning, for what is allowed but is probably not what the user wants. */
void err_warn_at(struct err *e, struct mark at, const char *fmt, ...) LB_PRINTF(3, 4);

/* Orders the errors and warnings by line and column. Those without a place come first. */
void err_sort(struct err *e);

/*
 * The number of lines that err_line() gives: the kept errors and warnings and, if some were not
 * kept, "and N more".
 */
size_t err_n_lines(const struct err *e);

/* Line `i` as text. The line "and N more" is written to `scratch`, which must live as long as the
 * result. */
const char *err_line(const struct err *e, size_t i, char *scratch, size_t scratch_len);

/* Frees the errors and warnings; *e is ERR_INIT afterwards. A struct err on the stack may carry
 * _cleanup_(err_deinit). */
void err_deinit(struct err *e);
