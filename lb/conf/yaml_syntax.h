/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Syntax: where a text is no YAML, and what its writer may have meant.
 *
 * libyaml tells where it could not go on, in words about its own grammar. Often that is a line
 * behind the mistake. The source tells more.
 *
 * Thread: main. Layer: conf.
 */

#include <stddef.h>

#include "util/err.h"
#include "util/slice.h"

/* What libyaml says. Lines and columns are 1-based; 0 is none. */
struct yaml_problem {
	const char *problem; /* its words; never NULL */
	const char *context; /* what it was at, or NULL */
	struct mark at;      /* where it stopped */
	struct mark from;    /* where what it was at begins; without a context of no use */
};

/* Adds one error about the text at the place of the mistake, and returns -EINVAL. */
int yaml_syntax_report(struct err *e, struct slice text, const struct yaml_problem *p);

/*
 * Add one error at the byte `offset` of the text, and return -EINVAL: for the control character
 * `c`, which YAML does not accept, and for a byte that is not UTF-8.
 */
int yaml_control_report(struct err *e, const char *file, struct slice text, size_t offset, int c);
int yaml_utf8_report(struct err *e, const char *file, struct slice text, size_t offset, int byte);
