/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole sessions, on the simulated engine (tests/sim/scenario.h): the first eight bytes of the
 * input are the seed of a scenario, the others decide what its chance would have decided first: who
 * comes, what they mean to do, who acts next and how far. What is promised is checked there, after
 * every turn.
 */
#include "fuzz.h"

#include "scenario.h"

#define SEED_BYTES 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t seed = 0;

	if (size < SEED_BYTES)
		return 0;
	memcpy(&seed, data, SEED_BYTES);
	(void)scenario_run(&(struct sim_opts){
		.seed = seed,
		.choices = data + SEED_BYTES,
		.n_choices = size - SEED_BYTES,
	});
	return 0;
}
