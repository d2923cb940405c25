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

/* What a command that takes a while needs for its answer; kept by who has asked. */
struct command_ctx {
	const struct admin_ops *ops; /* borrows */
	void *arg;                   /* of ops */
	struct text *out;            /* borrows: where the answer goes */
	bool is_json;
};

enum command_result {
	COMMAND_DONE,  /* the answer is in ctx->out */
	COMMAND_WAITS, /* `done` of the operation brings it: see command_conns(), command_reload()
			*/
	COMMAND_NONE,  /* an empty line: no answer */
};

/*
 * command_run() - carry out one line
 *
 * `conns` and `reload` are started with the callbacks given, and `waiter` as their ctx.
 */
enum command_result command_run(struct command_ctx *ctx, struct slice line, admin_conns_fn on_conns,
				admin_reload_fn on_reload, void *waiter);

/* Write the answers of what took a while, with its empty line. */
void command_conns(struct command_ctx *ctx, int result, const struct admin_conn *rows, size_t n);
void command_reload(struct command_ctx *ctx, int result, const char *why);

/* An error's answer, whole. */
void command_error(struct text *out, const char *fmt, ...) LB_PRINTF(2, 3);
