/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Check: the rules about more than one value of lb.yaml.
 *
 * Thread: main. Layer: conf.
 */

struct opt_ctx;
struct yaml_node;

/*
 * check_all() - judge ctx->conf, which was read from `root`
 *
 * Each mistake goes to ctx->err with the mark of the value at fault. Values that were found bad
 * when they were read are left out, so that one mistake is reported once. The caller makes sure
 * that ctx->no_memory is false. When memory runs short, check_all() sets it.
 */
void check_all(struct opt_ctx *ctx, const struct yaml_node *root);
