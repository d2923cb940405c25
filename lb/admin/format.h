/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Formats: a snapshot or a list of connections as JSON (for programs) or as tables (for people). No
 * line of a table is empty.
 *
 * Thread: main. Layer: admin.
 */

#include <stddef.h>

#include "admin/admin.h"
#include "util/json.h"
#include "util/text.h"

/* One line each, without a newline. The keys are stable, see lbctl(1). */
void format_status_json(const struct status *s, struct json *j);
/* {"pools":[...]}, of one pool where `pool` is not "". */
void format_backends_json(const struct status *s, const char *pool, struct json *j);
void format_conns_json(const struct admin_conn *rows, size_t n, struct json *j);

void format_status_text(const struct status *s, struct text *out);
void format_backends_text(const struct status *s, const char *pool, struct text *out);
void format_conns_text(const struct admin_conn *rows, size_t n, struct text *out);
