/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Names that outlive their configuration: of routes and listeners.
 *
 * A session may be logged days after the file that named its route was replaced; so such names are
 * counted, and each distinct one is kept once. A name without a count stays until names_sweep(),
 * because a worker may be reading a listener's name without counting it.
 *
 * Thread: main, but for names_ref() and names_unref(). Layer: proxy.
 */

#include <stddef.h>

struct names;

/* NULL when memory is short. */
struct names *names_new(void);

/* Frees all, counted or not. NULL is fine. Returns NULL. */
struct names *names_free(struct names *n);

/* The one copy of `name`, counted once more, or NULL when memory is short. */
const char *names_intern(struct names *n, const char *name);

/* Counts a name of names_intern() once more and returns it. NULL is fine. Thread: any. */
const char *names_ref(const char *kept);
/* Counts it once less. NULL is fine. Thread: any. */
void names_unref(const char *kept);

/*
 * names_sweep() - free the names that have no count
 *
 * To be called when no worker can still read a listener's former name: each worker has replied to a
 * message that main posted after the renaming.
 */
void names_sweep(struct names *n);

/* How many names there are, those without a count too. */
size_t names_count(const struct names *n);
