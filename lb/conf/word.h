/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Words: which forms the texts of lb.yaml may have. Pure functions.
 *
 * Thread: any. Layer: conf.
 */

#include <stdbool.h>

#include "util/slice.h"

#define WORD_NAME_MAX 63 /* bytes; a name has to fit into tables, log lines and commands */

/* Whether a character is an ASCII letter or digit. */
static inline bool word_is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/*
 * Whether a text may be the name of a listener, a route, a pool or a backend: 1 to 63 bytes without
 * spaces, invisible and control characters, and without `/` and `|`, which separate names in
 * commands.
 */
bool word_is_name(struct slice s);

/* Whether a text is a token (RFC 9110, 5.6.2), as the name of a field or a cookie is. */
bool word_is_token(struct slice s);

/*
 * Whether a text may be the name of a query parameter: visible ASCII without `&`, `=` and `#`,
 * which would end the name.
 */
bool word_is_parameter(struct slice s);

/* Whether a text may be the value of a field: no control characters but tabs. */
bool word_is_field_value(struct slice s);

/*
 * Whether a text is a host without a port: a name, an IPv4 address, or an IPv6 address in brackets.
 */
bool word_is_host(struct slice s);

/* Whether a text is an absolute path: visible ASCII without `#` and `?`. */
bool word_is_path(struct slice s);

/* Whether a text is an absolute path, perhaps with a query: visible ASCII without `#`. */
bool word_is_path_and_query(struct slice s);

#define WORD_SHOWN_MAX 80 /* most bytes that word_show() writes, with the NUL */

/*
 * Writes a text as messages show it: a control character is `?`, an invisible character is its code
 * in angle brackets, and a long text is cut. Returns `out`.
 */
const char *word_show(const char *text, char out[WORD_SHOWN_MAX]);
