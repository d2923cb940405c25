/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of backends that are gone. Each record is in two lists: past->records, which has the
 * records of all pools, the oldest first, and past_pool->records. past_add() and past_keep() append
 * a record. past_expire() removes records from the front while they are too old or too many, and
 * adds each record's sums to a backend (see past_heir_fn) or to the pool. No function but
 * past_record_new() allocates, so removing a backend never fails for lack of memory.
 *
 * Thread: main.
 */
#include "daemon/past.h"

#include <stdlib.h>
#include <string.h>

void past_init(struct past *past)
{
	list_init(&past->records);
	past->n = 0;
}

void past_pool_init(struct past_pool *p)
{
	*p = (struct past_pool){ .sums = { 0 } };
	list_init(&p->records);
}

struct past_record *past_record_new(const char *name)
{
	struct past_record *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	list_init(&r->link);
	list_init(&r->in_pool);
	r->name = strdup(name);
	return r->name != NULL ? r : past_record_free(r);
}

struct past_record *past_record_free(struct past_record *r)
{
	if (r == NULL)
		return NULL;
	LB_ASSERT(!list_is_linked(&r->link) && !list_is_linked(&r->in_pool));
	free(r->name);
	free(r);
	return NULL;
}

static void forget(struct past *past, struct past_record *r)
{
	LB_ASSERT(past->n > 0);
	past->n--;
	list_del(&r->link);
	list_del(&r->in_pool);
	past_record_free(r);
}

void past_pool_deinit(struct past *past, struct past_pool *p)
{
	list_for_each(it, &p->records) forget(past, list_entry(it, struct past_record, in_pool));
	LB_ASSERT(list_is_empty(&p->records));
}

void past_add(struct past *past, struct past_pool *p, struct past_record *r,
	      const struct backend_sums *sums, uint64_t now_ns)
{
	if (backend_sums_are_zero(sums))
		past_record_free(r);
	else
		past_keep(past, p, r, sums, now_ns);
}

void past_keep(struct past *past, struct past_pool *p, struct past_record *r,
	       const struct backend_sums *sums, uint64_t now_ns)
{
	LB_ASSERT(!list_is_linked(&r->link) && !list_is_linked(&r->in_pool));
	/* past_expire() needs the records in the order of their times. */
	LB_ASSERT(list_is_empty(&past->records) ||
		  list_entry(past->records.prev, struct past_record, link)->since_ns <= now_ns);
	r->pool = p;
	r->sums = *sums;
	r->since_ns = now_ns;
	list_add_tail(&past->records, &r->link);
	list_add_tail(&p->records, &r->in_pool);
	past->n++;
}

void past_expire(struct past *past, uint64_t now_ns, past_heir_fn *heir, void *arg)
{
	LB_ASSERT(list_is_empty(&past->records) == (past->n == 0));
	list_for_each(it, &past->records)
	{
		struct past_record *r = list_entry(it, struct past_record, link);
		LB_ASSERT(r->since_ns <= now_ns && r->pool != NULL && list_is_linked(&r->in_pool));
		if (past->n <= PAST_MAX && now_ns - r->since_ns < PAST_KEEP_NS)
			return;

		struct backend_sums *to = heir(arg, r->pool, r->name);
		backend_sums_add(to != NULL ? to : &r->pool->sums, &r->sums);
		forget(past, r);
	}
}
