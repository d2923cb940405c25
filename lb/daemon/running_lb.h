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
	long pid; /* 0: none was found */
	size_t n;
	struct addr *listeners; /* owns: with their real ports */
	bool has_http;
	struct addr http; /* of admin.http */
};

#define RUNNING_LB_INIT ((struct running_lb){ 0 })

/*
 * running_lb_ask() - ask the program that answers on the Unix socket at `path`
 *
 * Waits some seconds at most. Returns 0 and fills *ret, which was RUNNING_LB_INIT; -EPROTO when the
 * program does not answer as lb does; or another negative errno when the program cannot be asked
 * (-EACCES, or -EAGAIN when it does not answer in time).
 */
int running_lb_ask(const char *path, struct running_lb *ret) LB_MUST_CHECK;

/* Reads the answer to "stats json". Returns 0, -EPROTO or -ENOMEM. */
int running_lb_read(struct slice answer, struct running_lb *ret) LB_MUST_CHECK;

/* Whether one of the running lb's listeners has exactly this address. */
bool running_lb_has(const struct running_lb *r, const struct addr *a);

/* An address of the running lb, of a listener or of admin.http, that overlaps `a`; NULL: none. */
const struct addr *running_lb_in_way(const struct running_lb *r, const struct addr *a);

void running_lb_deinit(struct running_lb *r);
