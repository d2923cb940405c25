/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * HTTP: what the admin port answers to a request: GET and HEAD of /healthz, /metrics and /stats.
 *
 * A head in, bytes out; the connection is admin.c's. Every answer closes its connection.
 *
 * Thread: main. Layer: admin.
 */

#include <stdint.h>

#include "admin/admin.h"
#include "proto/http1.h"
#include "util/text.h"

/*
 * http_answer() - add the whole answer to `out`
 *
 * `v` is the verdict on the head and `buf` has its bytes. HTTP1_MORE says that there is no room for
 * the rest of it.
 */
void http_answer(const struct admin_ops *ops, void *arg, enum http1_verdict v,
		 const struct http1_head *head, const uint8_t *buf, struct text *out);
