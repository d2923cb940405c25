/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Commands: what an operator asks to be done over the admin socket (admin/admin.h says how each
 * answers). Figures are read by stats.c.
 *
 * Thread: main. Layer: daemon.
 */

#include "admin/admin.h"

struct control;

/* Lists connections. `done` is called once: later, or with an error before this returns. */
void commands_conns(struct control *c, const struct admin_conn_query *q, admin_conns_fn done,
		    void *ctx);

/* Reads the configuration again. `done` is called once, later or before this returns. */
void commands_reload(struct control *c, admin_reload_fn done, void *ctx);

/*
 * commands_backend() - set a backend's state (drain, ready, maint) or weight
 *
 * Returns 0, or a negative errno with the reason in `why`: -ENOENT when the pool or the backend is
 * unknown (`why` then has the nearest known name) or removed, -ESHUTDOWN when the workers were told
 * to end, or -ENOMEM. After an error nothing has changed.
 */
int commands_backend(struct control *c, enum admin_backend_op op, const char *pool,
		     const char *backend, uint32_t weight, char *why, size_t why_len) LB_MUST_CHECK;
