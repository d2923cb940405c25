/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The specification of a target's checks: the address, the settings of `health:`, and the local
 * addresses to connect from. A spec owns copies of all that it is given.
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
	struct addr *sources;    /* owns: local addresses of addr's family */
	size_t n_sources;
	size_t next_source; /* goes up by one per connect; modulo n_sources it is an index */
};

/* Replaces the settings. False where memory is short: the spec stays as it was. */
bool check_spec_set_conf(struct check_spec *s, const struct conf_health *conf) LB_MUST_CHECK;

/*
 * check_spec_set_sources() - replace the local addresses by those of `sources` of addr's family
 *
 * A session chooses its local address from the same ones. False where memory is short: the spec
 * stays as it was.
 */
bool check_spec_set_sources(struct check_spec *s, const struct addr *sources,
			    size_t n) LB_MUST_CHECK;

/* The local address of the next connect, or NULL: the kernel chooses. */
const struct addr *check_spec_next_source(struct check_spec *s);

/* Whether a check that runs under `s` is the check that `conf` asks for, rise and fall apart. */
bool check_spec_is_same(const struct check_spec *s, const struct conf_health *conf);

/* Frees the copies. */
void check_spec_clear(struct check_spec *s);
