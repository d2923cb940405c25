/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The doctor: `lb doctor`, the forecast for a person or, as JSON, for a program.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>

#include "conf/conf.h"
#include "util/text.h"

/*
 * doctor_report() - what holds how many connections, which limit binds first, what raises it
 *
 * Reads the machine below the directory `root` ("": the machine itself) and adds a table with a
 * sentence at its end to `out`, or one line of JSON. Returns 0 or -ENOMEM.
 */
int doctor_report(const struct conf *conf, const char *root, bool is_json,
		  struct text *out) LB_MUST_CHECK;
