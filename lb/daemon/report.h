/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Report: what the admin socket asks for, answered from the registry and the workers' counters
 * (struct admin_ops; `arg` is the struct control).
 *
 * Thread: main. Layer: daemon.
 */

#include "admin/admin.h"

int report_status(void *arg, struct status *ret);
void report_conns(void *arg, const struct admin_conn_query *q, admin_conns_fn done, void *ctx);
void report_reload(void *arg, admin_reload_fn done, void *ctx);
int report_backend(void *arg, enum admin_backend_op op, const char *pool, const char *backend,
		   uint32_t weight, char *why, size_t why_len);
bool report_is_accepting(void *arg);
