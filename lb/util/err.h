/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Errors that a person will read: start-up, configuration, reload.
 *
 * All mistakes of a run are collected and printed once, by daemon/. The data path does not use this
 * type; it uses `enum sess_end` (proxy/end.h). Thread: the one that owns the struct (main).
 *
 * Layer: util.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

/* A place in a file the user wrote. */
struct mark {
	const char *file; /* borrowed: lives as long as the configuration tree; NULL is no file */
	uint32_t line;    /* 1-based; 0 is the whole file */
	uint32_t col;     /* 1-based; 0 is the whole line */
};

#define ERR_TEXT_MAX 512 /* longer texts are cut; a path and a key fit */
#define ERR_KEPT_MAX 200 /* errors kept; the rest is only counted */

struct err_item {
	char text[ERR_TEXT_MAX]; /* `file:line:column: text`, or the text alone */
	size_t place_len;        /* bytes of the text that are the place, with its ": " */
	bool is_warning;         /* the file is usable all the same */
	uint32_t line, col;      /* for sorting by place; 0 where there is none */
};

struct err {
	size_t n;              /* how many errors were reported, without the warnings */
	size_t n_warnings;     /* how many warnings were reported */
	size_t n_kept;         /* how many of both are in `item` */
	struct err_item *item; /* owns */
};

#define ERR_INIT ((struct err){ 0 })

/* Adds one error and returns -EINVAL, so `return err_at(...)` reads well. */
int err_at(struct err *e, struct mark at, const char *fmt, ...) LB_PRINTF(3, 4);

/* The same without a place in a file; returns `negative_errno` unchanged. */
int err_add(struct err *e, int negative_errno, const char *fmt, ...) LB_PRINTF(3, 4);

/* Adds a warning: something that is allowed and is probably not what the user wants. */
void err_warn_at(struct err *e, struct mark at, const char *fmt, ...) LB_PRINTF(3, 4);

/* Orders the errors by line and column, those without a place first. */
void err_sort(struct err *e);

/*
 * The number of lines that err_line() gives: the kept errors and warnings and, if some were not
 * kept, "and N more".
 */
size_t err_n_lines(const struct err *e);

/* Line `i` as text; `scratch` serves the last line and must live as long as the result. */
const char *err_line(const struct err *e, size_t i, char *scratch, size_t scratch_len);

/* Frees what is kept. A struct err on the stack may carry _cleanup_(err_deinit). */
void err_deinit(struct err *e);
