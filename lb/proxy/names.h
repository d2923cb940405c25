/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Names of routes and listeners. A name outlives the configuration that it comes from.
 *
 * A session may be logged days after the configuration that named its route was replaced. So names
 * are counted, and each distinct name is kept once. A name that nothing counts stays until
 * names_sweep(), because a worker may be reading a listener's name without counting it.
 *
 * Thread: main, but for names_ref() and names_unref(). Layer: proxy.
 */

#include <stddef.h>

struct names;

/* Makes an empty set of names. NULL when memory is short. */
struct names *names_new(void);

/* Frees all names, those that are still counted too. NULL is fine. Returns NULL. */
struct names *names_free(struct names *n);

/* Returns the one copy of `name`, counted once more. NULL when memory is short. */
const char *names_intern(struct names *n, const char *name);

/* Raises the count of a name that names_intern() has returned, and returns the name. NULL is fine.
 * Thread: any. */
const char *names_ref(const char *kept);
/* Lowers the count of a name that names_intern() has returned. NULL is fine. Thread: any. */
void names_unref(const char *kept);

/*
 * names_sweep() - free the names that nothing counts
 *
 * May be called only when no worker can still read a listener's former name, that is, when each
 * worker has replied to a message that main posted after the renaming.
 */
void names_sweep(struct names *n);

/* How many names there are, those that nothing counts too. */
size_t names_count(const struct names *n);
