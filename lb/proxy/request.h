/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * HELLO in mode http: the request's head is read, judged and routed.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "proxy/session.h"

void request_start(struct session *s);
void request_on_recv(struct session *s, const struct completion *c);
void request_on_timeout(struct session *s);
