/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_robin: one cycle over the weights, through which all workers move with one shared ticket.
 *
 * The cycle is smooth: weights 4 and 1 give A A B A A, not A A A A B (each step, every backend
 * gains its weight, the one ahead is taken and pays the total). Whoever cannot be picked costs a
 * ticket, so that its turns spread over all others instead of falling to its neighbour.
 */
#include <errno.h>
#include <stdlib.h>

#include "balance/policy.h"

/* The longest cycle; weights that need more are rounded to it. */
#define MAX_CYCLE 4096u

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b != 0) {
		uint32_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

/* Weights as small as can be; at least 1 where there is any. Returns their sum. */
static uint64_t shrink(const struct members *m, uint32_t *weight)
{
	uint64_t most = m->n > MAX_CYCLE ? m->n : MAX_CYCLE;
	uint64_t sum = 0;
	uint32_t divisor = 0;

	for (size_t i = 0; i < m->n; i++)
		divisor = gcd(divisor, m->entry[i].weight);
	for (size_t i = 0; i < m->n && divisor > 0; i++)
		sum += weight[i] = m->entry[i].weight / divisor;
	if (sum <= most)
		return sum;

	uint64_t scaled = 0;
	for (size_t i = 0; i < m->n; i++) {
		uint64_t w = (weight[i] * most + sum / 2) / sum;
		weight[i] = weight[i] > 0 && w == 0 ? 1 : (uint32_t)w;
		scaled += weight[i];
	}
	return scaled;
}

static bool are_equal(const struct members *m)
{
	for (size_t i = 1; i < m->n; i++)
		if (m->entry[i].weight != m->entry[0].weight)
			return false;
	return true;
}

/* Equal weights need no search for who is ahead, which is quadratic. */
static int build_plain(struct members *m)
{
	m->schedule = calloc(m->n, sizeof(*m->schedule));
	if (m->schedule == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < m->n; i++)
		m->schedule[m->n_schedule++] = (uint32_t)i;
	return 0;
}

static size_t step(int64_t *credit, const uint32_t *weight, size_t n, int64_t total)
{
	size_t best = 0;

	for (size_t i = 0; i < n; i++) {
		credit[i] += weight[i];
		if (credit[i] > credit[best])
			best = i;
	}
	credit[best] -= total;
	return best;
}

int policy_rr_build(struct members *m)
{
	if (m->total_weight == 0)
		return 0;
	if (are_equal(m))
		return build_plain(m);

	uint32_t *weight = calloc(m->n, sizeof(*weight));
	int64_t *credit = calloc(m->n, sizeof(*credit));
	uint64_t total = weight != NULL ? shrink(m, weight) : 0;
	m->schedule = total > 0 ? calloc(total, sizeof(*m->schedule)) : NULL;
	int r = credit == NULL || m->schedule == NULL ? -ENOMEM : 0;

	for (uint64_t i = 0; i < total && r == 0; i++)
		m->schedule[m->n_schedule++] = (uint32_t)step(credit, weight, m->n, (int64_t)total);
	free(weight);
	free(credit);
	return r;
}

const struct members_entry *policy_rr(const struct members *m, struct pick *k)
{
	for (uint32_t i = 0; i < m->n_schedule; i++) {
		/* Relaxed: only the numbers must differ. */
		uint64_t t = atomic_fetch_add_explicit(&m->pool->ticket, 1, memory_order_relaxed);
		const struct members_entry *e = &m->entry[m->schedule[t % m->n_schedule]];

		if (policy_is_candidate(e, k) && backend_reserve(e->backend))
			return e;
	}
	return NULL;
}
