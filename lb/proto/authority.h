/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An authority: what a Host field or an absolute target names, host[:port], without userinfo.
 *
 * Thread: any (pure functions). Layer: proto. Includes util/ only.
 */

#include <stdbool.h>

#include "util/assert.h"
#include "util/slice.h"

/*
 * authority_parse() - judge an authority, and find the host that routes compare
 *
 * The host is a reg-name (RFC 3986), an IPv4 address, or an IPv6 address in brackets, perhaps with
 * a zone (RFC 6874). The port, up to 65535, may be missing. *ret_host is the host without the port
 * and without one trailing dot; an IPv6 address keeps its brackets and its zone. It borrows from
 * `s`.
 *
 * Returns false and leaves *ret_host alone when `s` is no authority.
 */
bool authority_parse(struct slice s, struct slice *ret_host) LB_MUST_CHECK;
