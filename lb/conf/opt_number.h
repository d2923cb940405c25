/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Numbers: how the number of a row is read and written. Pure functions.
 *
 * Thread: any. Layer: conf.
 */

#include <stdbool.h>
#include <stdint.h>

#include "conf/opt.h"
#include "util/slice.h"

struct text;

/* Whether a text is a number of the row's type and range. If so, *ret is the number. */
bool opt_number(const struct opt *o, struct slice s, uint64_t *ret);

/* What a number of the type looks like, for messages: "a whole number". */
const char *opt_number_form(enum opt_type type);

/*
 * Adds a number as the file would have it. When `v` stands for no value, which is 0 where the row
 * has no default and does not accept 0, adds nothing and returns false.
 */
bool opt_number_format(const struct opt *o, uint64_t v, struct text *ret);
