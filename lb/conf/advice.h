/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Advice: the end of a message about a value that cannot be read. It says what was probably meant.
 *
 * A function that has `out` writes an advice, as `; write "10s"`, or the empty string when it has
 * none, and returns `out`.
 *
 * Thread: any. Layer: conf.
 */

#include "util/slice.h"

struct opt;

#define ADVICE_TEXT_MAX 224

/* About a number that cannot be read by its row, as `10 sec`. */
const char *advice_number(const struct opt *o, struct slice text, char out[ADVICE_TEXT_MAX]);

/* What kind of address a key takes. */
enum advice_want {
	ADVICE_HOST,    /* an address without a port */
	ADVICE_BACKEND, /* an address and a port to connect to */
	ADVICE_BIND,    /* an address and a port to listen on: a port alone means all addresses */
};

/* About an address that cannot be read. */
const char *advice_address(struct slice text, enum advice_want want, char out[ADVICE_TEXT_MAX]);

/*
 * A whole message about a text that is a path in form but was meant as something else, as `off` or
 * `syslog`; "" when the text is accepted as a path.
 */
const char *advice_file(const struct opt *o, const char *text);
