/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Running lb: asks the lb that runs already, over its admin socket, which addresses it has.
 *
 * Thread: any one. Layer: daemon.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/assert.h"
#include "util/slice.h"
#include "util/sockaddr.h"

struct running_lb {
	long pid; /* 0: not known */
	size_t n;
	struct addr *listeners; /* owns: listening addresses, with the ports that are bound */
	bool has_http;
	struct addr http; /* address of admin.http, when has_http */
};

#define RUNNING_LB_INIT ((struct running_lb){ 0 })

/*
 * running_lb_ask() - ask the program that answers on the Unix socket at `path`
 *
 * Waits some seconds at most. *ret has to be RUNNING_LB_INIT. Returns 0 and fills *ret, or -EPROTO
 * when the program's answer is not that of an lb, or another negative errno when the program cannot
 * be asked (-EACCES) or its answer does not come in time (-EAGAIN).
 */
int running_lb_ask(const char *path, struct running_lb *ret) LB_MUST_CHECK;

/* Fills *ret from the answer to "stats json". Returns 0, -EPROTO or -ENOMEM. */
int running_lb_read(struct slice answer, struct running_lb *ret) LB_MUST_CHECK;

/* Whether one of the running lb's listeners has exactly this address. */
bool running_lb_has(const struct running_lb *r, const struct addr *a);

/* The first address of the running lb's listeners or of its admin.http that overlaps `a`; NULL when
 * no address does. */
const struct addr *running_lb_in_way(const struct running_lb *r, const struct addr *a);

void running_lb_deinit(struct running_lb *r);
