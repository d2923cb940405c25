/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Warn: settings of lb.yaml that are allowed, but hardly ever meant.
 *
 * Thread: main. Layer: conf.
 */

struct opt_ctx;
struct yaml_node;

/*
 * warn_all() - look at ctx->conf, which was read from `root` and has no mistake
 *
 * Each finding goes to ctx->err as a warning with the mark of its place. When memory is short,
 * ctx->no_memory is set.
 */
void warn_all(struct opt_ctx *ctx, const struct yaml_node *root);
