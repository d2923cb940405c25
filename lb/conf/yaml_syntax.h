/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * YAML syntax: messages about texts that are no YAML.
 *
 * libyaml says at which place it could not go on, in terms of its grammar. That place is often a
 * line after the mistake. These functions look at the text around the place, and report the mistake
 * that its writer probably made.
 *
 * Thread: main. Layer: conf.
 */

#include <stddef.h>

#include "util/err.h"
#include "util/slice.h"

/* What libyaml says about a syntax error. Lines and columns are 1-based; 0 is none. */
struct yaml_problem {
	const char *problem; /* what libyaml expected or found; never NULL */
	const char *context; /* what libyaml was parsing ("while scanning ..."), or NULL */
	struct mark at;      /* where libyaml stopped */
	struct mark from;    /* where the context begins; not used when `context` is NULL */
};

/* Adds one error at the place of the probable mistake, and returns -EINVAL. */
int yaml_syntax_report(struct err *e, struct slice text, const struct yaml_problem *p);

/*
 * Add one error at the byte `offset` of the text, and return -EINVAL: for the control character
 * `c`, which YAML does not accept, and for a byte that is not UTF-8.
 */
int yaml_control_report(struct err *e, const char *file, struct slice text, size_t offset, int c);
int yaml_utf8_report(struct err *e, const char *file, struct slice text, size_t offset, int byte);
