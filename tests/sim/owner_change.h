/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A world in which connections change their owner while bytes are on their way.
 *
 * It has conns (net/conn.h) and no sessions, because no feature of lb changes the owner of a conn
 * yet. It is run beside the scenario of the same seed (scenario.h), in a simulation of its own.
 */

#include "sim.h"

struct owner_change_result {
	uint64_t n_completions;
	uint64_t n_armed_changes; /* changes of owner with a receive in flight */
};

/* Runs one seed; ends the process where a promise is broken. */
struct owner_change_result owner_change_run(const struct sim_opts *o);
