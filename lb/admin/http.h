/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * HTTP: what the admin port answers to a request. GET and HEAD of /healthz, /metrics and /stats are
 * served.
 *
 * http_answer() gets a request's head and writes the bytes of the answer. admin.c has the
 * connection, sends the answer and then closes the connection.
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
 * `v` is the verdict on `head`, whose bytes are in `buf`. HTTP1_MORE means that the head is longer
 * than the buffer. The caller makes sure that `out` is empty.
 */
void http_answer(const struct admin_ops *ops, void *arg, enum http1_verdict v,
		 const struct http1_head *head, const uint8_t *buf, struct text *out);
