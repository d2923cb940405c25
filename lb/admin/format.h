/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Format: a snapshot or a list of connections as JSON (for programs) or as tables (for people). No
 * line of a table is empty, because an empty line ends an answer.
 *
 * Thread: main. Layer: admin.
 */

#include <stddef.h>
#include <stdint.h>

#include "admin/admin.h"
#include "util/json.h"
#include "util/text.h"

/*
 * The next three functions add one JSON object without a newline. The keys are stable, see
 * lbctl(1).
 */
void format_status_json(const struct status *s, struct json *j);
/* {"pools":[...]}, with the pool of this name, or with all pools when `pool` is "". */
void format_backends_json(const struct status *s, const char *pool, struct json *j);
/* {"conns":[...],"total":N} */
void format_conns_json(const struct admin_conn_list *list, struct json *j);

/*
 * Tables for a terminal. When a table would be wider than `max_width` characters, the columns that
 * an operator needs least are left out and named in a line below the table. With FORMAT_WIDE no
 * column is left out.
 */
#define FORMAT_NARROW 80
#define FORMAT_WIDE SIZE_MAX

void format_status_text(const struct status *s, size_t max_width, struct text *out);
void format_backends_text(const struct status *s, const char *pool, size_t max_width,
			  struct text *out);
/*
 * When list->total is more than list->n, a line below the table says how many connections there
 * are.
 */
void format_conns_text(const struct admin_conn_list *list, size_t max_width, struct text *out);
