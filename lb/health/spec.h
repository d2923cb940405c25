/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The specification of a target's checks: the address, the settings of `health:`, the pool's
 * `proxy_protocol`, and the local addresses to connect from. A spec owns copies of all that it is
 * given.
 *
 * Thread: main. Layer: health.
 */

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"
#include "util/assert.h"
#include "util/sockaddr.h"

struct check_spec {
	struct addr addr;
	struct conf_health conf; /* owns path and host */
	enum conf_proxy proxy;   /* the PROXY header that is sent first */
	struct addr *sources;    /* owns: local addresses of addr's family */
	size_t n_sources;
	/* goes up by one per connect; next_source % n_sources is the index of the next source */
	size_t next_source;
};

/* Replaces the settings. Returns false when memory is short; the spec is unchanged then. */
bool check_spec_set_conf(struct check_spec *s, const struct conf_health *conf,
			 enum conf_proxy proxy) LB_MUST_CHECK;

/*
 * check_spec_set_sources() - replace the local addresses by those of `sources` that are of addr's
 * family
 *
 * Sessions choose their local addresses from the same `sources`. Returns false when memory is
 * short; the spec is unchanged then.
 */
bool check_spec_set_sources(struct check_spec *s, const struct addr *sources,
			    size_t n) LB_MUST_CHECK;

/* The local address of the next connect, or NULL when the kernel chooses it. */
const struct addr *check_spec_next_source(struct check_spec *s);

/* Whether `conf` and `proxy` ask for the same checks as the settings of `s`. `rise` and `fall` may
 * differ. */
bool check_spec_is_same(const struct check_spec *s, const struct conf_health *conf,
			enum conf_proxy proxy);

/* Frees the copies. */
void check_spec_clear(struct check_spec *s);
