/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Advice: the end of a message about a value, which says what was probably meant.
 *
 * Each function writes text that follows a message, as `; write "10s"`, or nothing where it has no
 * idea, and returns `out`.
 *
 * Thread: any. Layer: conf.
 */

#include "util/slice.h"

struct opt;

#define ADVICE_TEXT_MAX 224

/* Of a number that cannot be read by its row, as `10 sec`. */
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
 * What is wrong with a text as a file's path, where something else was meant, as `off` or
 * `syslog`; "": nothing is.
 */
const char *advice_file(const struct opt *o, const char *text);
