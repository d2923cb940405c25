/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Commands: one line in, one answer out. An answer ends with an empty line; an error is one line
 * that begins with "error: ".
 *
 * Thread: main. Layer: admin.
 */

#include <stdbool.h>

#include "admin/admin.h"
#include "util/text.h"

#define COMMAND_LINE_MAX 4096 /* bytes of a line, with its newline */

/* Who asks, and where the answer goes. */
struct command_ctx {
	const struct admin_ops *ops; /* borrows */
	void *arg;                   /* of ops */
	struct text *out;            /* borrows: where answers are added */

	/* What ops calls with the answers of `conns` and `reload`, and the ctx of those calls. */
	admin_conns_fn on_conns;
	admin_reload_fn on_reload;
	void *waiter;

	/* private to command.c: of the last line */
	bool is_json, is_wide;
};

enum command_result {
	COMMAND_DONE,  /* the answer is in ctx->out */
	COMMAND_WAITS, /* on_conns or on_reload was called, or will be */
	COMMAND_NONE,  /* an empty line: no answer */
};

/* Carries out one line, without its newline. */
enum command_result command_run(struct command_ctx *ctx, struct slice line);

/* What on_conns and on_reload call to add the answer. */
void command_conns(struct command_ctx *ctx, int result, const struct admin_conn_list *list);
void command_reload(struct command_ctx *ctx, int result, const char *why);

/* Adds an error's answer, whole. */
void command_error(struct text *out, const char *fmt, ...) LB_PRINTF(2, 3);
