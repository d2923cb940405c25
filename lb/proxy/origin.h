/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Origin: whose a connection is, where a proxy stands in between. PROXY headers tell: lb reads them
 * from the peers that `proxy_protocol.from` lists (proxy/preamble.c), and writes them to the
 * backends of a pool with `proxy_protocol`.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include <stdbool.h>

struct addr;
struct buf;
struct conf_listener;
struct session;

/* Whether connections from `peer` must begin with a PROXY header on this listener. */
bool origin_is_announced(const struct conf_listener *l, const struct addr *peer);

/*
 * origin_header() - write the PROXY header for the session's backend
 *
 * Of the version that the session's pool names. It has the client's address and the address that
 * the client has connected to: those of the client's PROXY header, or those of its socket. Version
 * 2 also has what a handshake of TLS has found out, and the session's id.
 *
 * Returns a buffer, which is the caller's, or NULL when memory is short.
 */
struct buf *origin_header(const struct session *s);
