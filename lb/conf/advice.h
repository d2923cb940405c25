/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Advice: the end of a message about a value that cannot be read. It says what was probably meant.
 *
 * A function with a parameter `out` writes an advice, as `; write "10s"`, into `out`, or the empty
 * string when no advice fits, and returns `out`.
 *
 * Thread: any. Layer: conf.
 */

#include "util/slice.h"

struct opt;

#define ADVICE_TEXT_MAX 224

/* Advice about a number that the row `o` does not accept, as `10 sec`. */
const char *advice_number(const struct opt *o, struct slice text, char out[ADVICE_TEXT_MAX]);

/* What kind of address a key takes. */
enum advice_want {
	ADVICE_HOST,    /* an address without a port */
	ADVICE_BACKEND, /* an address and a port to connect to */
	ADVICE_BIND,    /* an address and a port to listen on: a port alone means all addresses */
};

/*
 * Advice about an address that a key does not accept. `want` is the kind of address that the key
 * takes.
 */
const char *advice_address(struct slice text, enum advice_want want, char out[ADVICE_TEXT_MAX]);

/*
 * Returns a whole message about a text that could be a path, but was meant as something else, as
 * `off` or `syslog`. Returns "" when the text is accepted as a path.
 */
const char *advice_file(const struct opt *o, const char *text);
