/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash: the first in the key's order (balance/rendezvous.h) that has room.
 *
 * With load_factor whoever has reached its bound is passed over too. The bound goes by the mean
 * load: of up to 256 members summed for each pick, of more as balance/bounded_load.h knows it.
 */
#include "balance/bounded_load.h"
#include "balance/member.h"
#include "balance/policy.h"
#include "balance/rendezvous.h"

/*
 * Steps down a key's order before all are looked at: few can be left then. Measured among 10,000:
 * a step costs some 0.13 us, a look at all some 70.
 */
#define MAX_STEPS 64

/* A pick under way. */
struct search {
	const struct members *m;
	const struct pick *k;
	const struct bounded_load_sums *sums; /* NULL: no bounds */
};

/* load_factor times the mean for its weight, the new one counted, rounded up. sums->weight > 0. */
static uint32_t bound_of(const struct members *m, const struct members_entry *e,
			 const struct bounded_load_sums *sums)
{
	uint64_t bound =
		((sums->active + 1) * m->load_percent * e->weight + 100 * sums->weight - 1) /
		(100 * sums->weight);

	return bound < UINT32_MAX ? (uint32_t)bound : UINT32_MAX;
}

static bool has_room(size_t index, void *arg)
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

static const struct members_entry *take(const struct search *s)
{
	const struct members *m = s->m;
	struct rendezvous_walk w;

	rendezvous_start(m->rendezvous, s->k->key, &w);
	for (int step = 0; step < MAX_STEPS; step++) {
		size_t i = rendezvous_next(&w);
		if (i == RENDEZVOUS_END)
			return NULL;
		if (member_is_candidate(&m->entry[i], s->k) && reserve(s, &m->entry[i]))
			return &m->entry[i];
	}
	/* Somebody else may take the last place between the look and the reservation. */
	for (size_t tries = 0; tries <= m->n; tries++) {
		struct search copy = *s;
		size_t i = rendezvous_first_of(m->rendezvous, s->k->key, has_room, &copy);
		if (i == RENDEZVOUS_END)
			return NULL;
		if (reserve(s, &m->entry[i]))
			return &m->entry[i];
	}
	return NULL;
}

/*
 * Without the full ones: they take nothing, so all others would sooner or later be above a mean
 * that counts them, and refuse what they have room for.
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
	 * Somebody is always below the bound, but loads move while they are summed: when a pick
	 * comes away with nothing, a connection is worth more than the bound.
	 */
	if (e == NULL)
		e = take(&(struct search){ .m = m, .k = k });
	if (e != NULL && m->bounded_load != NULL)
		bounded_load_note(m, e);
	return e;
}
