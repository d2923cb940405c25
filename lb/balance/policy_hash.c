/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash: the first member in the key's order (balance/rendezvous.h) that is a candidate and has a
 * free slot.
 *
 * Terms. A candidate is a member that the pick may choose (member_is_candidate()). The mean load is
 * the number of connections of the candidates that are not full, divided by the sum of their
 * weights. With load_factor ("consistent hashing with bounded loads") each member has a bound, a
 * number of connections: load_factor times the mean load times the weight of the member
 * (bound_of()). Then policy_hash() also passes over a member that one more connection would lift
 * above its bound.
 *
 * When load_factor is on, policy_hash() first calls take_bounded(), which looks for a member within
 * its bound. When load_factor is off, or take_bounded() has found no member, policy_hash() calls
 * take() without bounds. take() walks down the key's order (rendezvous_next()) and reserves a slot
 * at the first candidate that has a free one. Nearly always that is the first member of the order.
 * When MAX_STEPS members in a row had no free slot, take() looks at all members at once
 * (rendezvous_first_of()), which is cheaper than the rest of the walk.
 *
 * The mean load. With up to 256 members, each pick sums the loads of all members (sum()); with more
 * members, balance/bounded_load.h keeps the sums. backend_reserve_within() compares the number of
 * connections with the bound while it takes the slot, so the bound holds however many workers pick
 * at once.
 *
 * docs/hash.md has the definition and test vectors.
 *
 * Thread: any. Hot.
 */
#include "balance/bounded_load.h"
#include "balance/member.h"
#include "balance/policy.h"
#include "balance/rendezvous.h"

/*
 * After so many steps down a key's order without a free slot, take() looks at all entries, because
 * only few of them can have a free slot then. Measured with 10,000 entries: a step takes 0.13 us, a
 * look at all of them 70 us.
 */
#define MAX_STEPS 64

/* What take() has to know of a pick. */
struct search {
	const struct members *m;
	const struct pick *k;
	const struct bounded_load_sums *sums; /* NULL: no bounds */
};

/*
 * The bound of `e`, in connections: load_factor times the mean load times the weight of `e`,
 * rounded up. The mean load includes the new connection. sums->weight has to be above 0.
 */
static uint32_t bound_of(const struct members *m, const struct members_entry *e,
			 const struct bounded_load_sums *sums)
{
	LB_ASSERT(sums->weight > 0 && e->weight > 0);
	uint64_t bound =
		((sums->active + 1) * m->load_percent * e->weight + 100 * sums->weight - 1) /
		(100 * sums->weight);

	return bound < UINT32_MAX ? (uint32_t)bound : UINT32_MAX;
}

/*
 * For rendezvous_first_of(): whether the entry is a candidate and has a free slot within its bound.
 * Another worker may still take that slot first.
 */
static bool has_free_slot(size_t index, void *arg)
{
	const struct search *s = arg;
	const struct members_entry *e = &s->m->entry[index];

	return member_is_candidate(e, s->k) && !member_is_full(e->backend) &&
	       (s->sums == NULL || backend_active(e->backend) < bound_of(s->m, e, s->sums));
}

static bool reserve(const struct search *s, const struct members_entry *e)
{
	return s->sums == NULL ? backend_reserve(e->backend)
			       : backend_reserve_within(e->backend, bound_of(s->m, e, s->sums));
}

/*
 * Reserves a slot at the first entry of the key's order that has a free one, and returns the entry.
 */
static const struct members_entry *take(const struct search *s)
{
	const struct members *m = s->m;
	struct rendezvous_walk w;

	rendezvous_start(m->rendezvous, s->k->key, &w);
	for (int step = 0; step < MAX_STEPS; step++) {
		size_t i = rendezvous_next(&w);
		if (i == RENDEZVOUS_END)
			return NULL;
		LB_ASSERT(i < m->n);
		if (member_is_candidate(&m->entry[i], s->k) && reserve(s, &m->entry[i]))
			return &m->entry[i];
	}
	/*
	 * When another worker takes the last slot between the look and the reservation, the look is
	 * repeated.
	 */
	for (size_t tries = 0; tries <= m->n; tries++) {
		struct search copy = *s;
		size_t i = rendezvous_first_of(m->rendezvous, s->k->key, has_free_slot, &copy);
		if (i == RENDEZVOUS_END)
			return NULL;
		LB_ASSERT(i < m->n);
		if (reserve(s, &m->entry[i]))
			return &m->entry[i];
	}
	return NULL;
}

/*
 * Sums the candidates that are not full. If the full backends, which take no connection, were
 * counted, the mean could not rise with the loads of the other backends, and these would refuse
 * connections although they have free slots.
 */
static struct bounded_load_sums sum(const struct members *m, const struct pick *k)
{
	struct bounded_load_sums sums = { 0 };

	for (size_t i = 0; i < m->n; i++) {
		const struct members_entry *e = &m->entry[i];
		if (!member_is_candidate(e, k) || member_is_full(e->backend))
			continue;
		sums.active += backend_active(e->backend);
		sums.weight += e->weight;
	}
	return sums;
}

static const struct members_entry *take_bounded(const struct members *m, const struct pick *k)
{
	struct bounded_load_sums sums =
		m->bounded_load != NULL ? bounded_load_sums(m->bounded_load) : sum(m, k);

	return sums.weight > 0 ? take(&(struct search){ .m = m, .k = k, .sums = &sums }) : NULL;
}

const struct members_entry *policy_hash(const struct members *m, struct pick *k)
{
	const struct members_entry *e = m->load_percent != 0 ? take_bounded(m, k) : NULL;

	/*
	 * At least one candidate is below its bound at any moment, but loads change while they are
	 * summed. When no backend was found within its bound, take() picks without bounds, because
	 * serving the connection matters more than the bound.
	 */
	if (e == NULL)
		e = take(&(struct search){ .m = m, .k = k });
	if (e != NULL && m->bounded_load != NULL)
		bounded_load_note(m, e);
	return e;
}
