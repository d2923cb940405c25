/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Sources: whether this machine has the addresses that a file names as `source`.
 *
 * Thread: main. Layer: daemon.
 */

#include "util/err.h"

struct conf;
struct loop;

/*
 * sources_try() - bind a socket to each source address of each pool
 *
 * Returns 0, or -EINVAL when an address cannot be bound; `e` has a reason for each such address.
 */
int sources_try(struct loop *l, const struct conf *conf, struct err *e);
