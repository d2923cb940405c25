/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Cover: which earlier rows of a listener's routes leave no request for a later row.
 *
 * A row is compared only with the few rows whose host and path could cover it, not with each row
 * before it, so that a file with many routes is checked fast.
 *
 * Thread: main. Layer: conf.
 */

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"

struct cover;

/*
 * Makes the index that cover_find() searches. Borrows the listener, whose routes must not change.
 * NULL when memory is short.
 */
struct cover *cover_new(const struct conf_listener *l);

/*
 * cover_find() - the rows before `index` that match every request that this row matches
 *
 * `index` may be n_routes, which stands for the listener's `pool`: a row without conditions. Sets
 * by[] to the indexes of these rows, in the order of the rows, and returns their number: 1 when one
 * row matches all these requests; 2 when one row matches the upgrades to WebSocket and another row
 * the other requests; 0 when no such rows were found within the bounds of the search (cover.c).
 */
size_t cover_find(const struct cover *c, size_t index, size_t by[2]);

/* Frees `c`, which may be NULL. Returns NULL. */
struct cover *cover_free(struct cover *c);
