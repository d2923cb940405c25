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
 * doctor_report() - how many connections each limit allows, which limit binds, and how to raise it
 *
 * Reads /proc and /sys below the directory `root` ("" for the machine itself). Adds a table with a
 * sentence at its end, or one line of JSON, to `out`. Returns 0 or -ENOMEM.
 */
int doctor_report(const struct conf *conf, const char *root, bool is_json,
		  struct text *out) LB_MUST_CHECK;
