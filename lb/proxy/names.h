/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Names that outlive their configuration: of routes and listeners.
 *
 * A relaying session may be logged days after the file that named its route was replaced; so such
 * names are kept, each distinct one once, until lb ends.
 *
 * Thread: main. The strings may be read by any thread they were mailed to. Layer: proxy.
 */

struct names;

/* NULL when memory is short. */
struct names *names_new(void);

/* NULL is fine. Returns NULL. */
struct names *names_free(struct names *n);

/* The kept copy of `name`, or NULL when memory is short. */
const char *names_intern(struct names *n, const char *name);
