/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_robin: a cycle of turns, in which each backend has as many turns as its weight says.
 *
 * Terms. A turn is a place in the cycle, and names a backend. A ticket is a number that a pick
 * takes from the pool; all workers share the tickets. The ticket modulo the cycle's length is the
 * turn.
 *
 * Main makes the cycle once for each version of the members: policy_rr_build() reduces the weights
 * (shrink()), gives each turn of each backend its place (place_of_turn()), and sorts the turns by
 * their places (place_turns()). When all weights are equal, the cycle is the members in the order
 * of the file (build_plain()).
 *
 * The cycle is smooth: the turns of one backend lie at equal distances. Weights 4 and 1 give A A A
 * B A, not A A A A B. The first turns of the backends are spread by the golden ratio, so that the
 * turns of many light backends do not all lie between two turns of a heavy one.
 *
 * A pick, policy_rr(), takes a ticket and reserves a slot at the turn's backend. When that backend
 * is no candidate or is full, the pick takes another ticket. This takes the ticket of the next turn
 * from other picks, so the turns of a backend that is down are spread over all other backends,
 * instead of going to its neighbour in the cycle. After MAX_TURNS tickets policy_least() looks at
 * all entries.
 *
 * Thread: any; main for policy_rr_build(). Hot, but for that.
 */
#include <errno.h>
#include <stdlib.h>

#include "balance/member.h"
#include "balance/policy.h"

/*
 * The most turns of a cycle, unless there are more backends than that. shrink() scales the weights
 * down, so that they sum up to at most this number.
 */
#define MAX_CYCLE 4096u

/*
 * After so many tickets policy_least() looks at all entries, because few of them can have a free
 * slot then. A guess.
 */
#define MAX_TURNS 256u

/*
 * 2^32 divided by the golden ratio. For every n, its first n multiples are evenly spread modulo
 * 2^32.
 */
#define GOLDEN 2654435769u

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b != 0) {
		uint32_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

/*
 * Divides the weights by their greatest common divisor, and scales them down to MAX_CYCLE turns. A
 * weight above 0 stays above 0. Returns the sum of the new weights.
 */
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

/* Makes the cycle for equal weights: each entry has one turn, in the order of the file. */
static int build_plain(struct members *m)
{
	m->schedule = calloc(m->n, sizeof(*m->schedule));
	if (m->schedule == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < m->n; i++)
		m->schedule[m->n_schedule++] = (uint32_t)i;
	return 0;
}

/* The place of the j-th turn of the i-th entry, 0 <= j < weight, in a cycle of `total` turns. */
static uint64_t place_of_turn(size_t i, uint32_t j, uint32_t weight, uint64_t total)
{
	/*
	 * offset of the entry's turns: a fraction, in 1/2^32, of the distance between two of them
	 */
	uint64_t phase = (uint32_t)i * GOLDEN;

	LB_DASSERT(j < weight);
	uint64_t place = ((((uint64_t)j << 32) + phase) * total / weight) >> 32;

	LB_ASSERT(place < total);
	return place;
}

/* Sorts all turns by their places, by counting sort. `next` is an array of total + 1 zeros. */
static void place_turns(struct members *m, const uint32_t *weight, uint64_t total, uint32_t *next)
{
	for (size_t i = 0; i < m->n; i++)
		for (uint32_t j = 0; j < weight[i]; j++)
			next[place_of_turn(i, j, weight[i], total) + 1]++;
	for (uint64_t p = 1; p <= total; p++)
		next[p] += next[p - 1];
	for (size_t i = 0; i < m->n; i++)
		for (uint32_t j = 0; j < weight[i]; j++)
			m->schedule[next[place_of_turn(i, j, weight[i], total)]++] = (uint32_t)i;
	LB_ASSERT(next[total] == total); /* every turn of the cycle has its entry */
	m->n_schedule = (uint32_t)total;
}

int policy_rr_build(struct members *m)
{
	if (m->total_weight == 0)
		return 0;
	if (are_equal(m))
		return build_plain(m);

	uint32_t *weight = calloc(m->n, sizeof(*weight));
	if (weight == NULL)
		return -ENOMEM;
	uint64_t total = shrink(m, weight);
	LB_ASSERT(total > 0 && total <= UINT32_MAX);
	uint32_t *next = calloc(total + 1, sizeof(*next));
	m->schedule = calloc(total, sizeof(*m->schedule));
	int r = next == NULL || m->schedule == NULL ? -ENOMEM : 0;

	if (r == 0)
		place_turns(m, weight, total, next);
	free(weight);
	free(next);
	return r;
}

const struct members_entry *policy_rr(const struct members *m, struct pick *k)
{
	uint32_t n_turns = m->n_schedule < MAX_TURNS ? m->n_schedule : MAX_TURNS;

	for (uint32_t i = 0; i < n_turns; i++) {
		/* Relaxed, because all that matters is that no two picks get the same number. */
		uint64_t t = atomic_fetch_add_explicit(&m->pool->ticket, 1, memory_order_relaxed);
		const struct members_entry *e = &m->entry[m->schedule[t % m->n_schedule]];

		LB_ASSERT(e < m->entry + m->n && e->weight > 0);
		if (member_is_candidate(e, k) && backend_reserve(e->backend))
			return e;
	}
	/*
	 * No ticket of this pick has met an entry with a free slot: other workers may have taken
	 * the tickets of all such entries.
	 */
	return policy_least(m, k);
}
