/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Schema: a JSON Schema (draft-07) of lb.yaml for editors, made from the tables of options.
 *
 * Each scalar may be of the type that YAML reads (a number, a boolean) or a text. Rules about more
 * than one value are not in the schema.
 *
 * Thread: any. Layer: conf.
 */

#include "util/text.h"

/* Adds the schema, on one line. 0 or -ENOMEM. */
int conf_schema(struct text *out) LB_MUST_CHECK;
