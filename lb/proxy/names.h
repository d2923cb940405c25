/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Names that outlive their configuration: of routes and listeners.
 *
 * A relaying session may be logged days after the file that named its route was replaced; so such
 * names are counted, and each distinct one is kept once. One that nobody counts any more stays
 * until names_sweep(): a worker may be reading a listener's name without counting it.
 *
 * Thread: main, but for names_ref() and names_unref(). Layer: proxy.
 */

#include <stddef.h>

struct names;

/* NULL when memory is short. */
struct names *names_new(void);

/* Frees all, counted or not. NULL is fine. Returns NULL. */
struct names *names_free(struct names *n);

/* The kept copy of `name`, counted once more, or NULL when memory is short. */
const char *names_intern(struct names *n, const char *name);

/* Counts a kept name once more, and returns it; or once less. NULL is fine. Thread: any. */
const char *names_ref(const char *kept);
void names_unref(const char *kept);

/*
 * names_sweep() - free the names that nobody counts
 *
 * To be called when no worker can still read a listener's former name: each has taken a mail that
 * main posted behind the renaming.
 */
void names_sweep(struct names *n);

/* How many are kept. */
size_t names_count(const struct names *n);
