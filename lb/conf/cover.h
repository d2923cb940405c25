/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Cover: which earlier rows of a listener's routes leave no request for a later one.
 *
 * A row is looked up among those that can cover it (the same host and path, any, a suffix, a
 * prefix), not compared with each row before it, so that a file with many routes is judged fast.
 *
 * Thread: main. Layer: conf.
 */

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"

struct cover;

/* Borrows the listener, which has its routes. NULL where memory is short. */
struct cover *cover_new(const struct conf_listener *l);

/*
 * cover_find() - the rows before `index` that match every request that this row matches
 *
 * `index` may be n_routes: then the row is one without conditions, which is what the listener's
 * `pool` stands for. Sets by[] to the indexes of the rows, in their order, and returns how many: 1;
 * 2 where one takes the upgrades to WebSocket and another the rest; 0 where some request is left,
 * or where more rows of one host and one path differ in their headers than are compared.
 */
size_t cover_find(const struct cover *c, size_t index, size_t by[2]);

/* NULL is fine. Returns NULL. */
struct cover *cover_free(struct cover *c);
