/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Doctor: `lb doctor`, which shows how many connections fit, as a table or as JSON.
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
