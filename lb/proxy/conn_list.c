/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of connections. A sorted list of at most n rows keeps the n connections with the greatest
 * ranks. Its rows are a heap, whose root has the smallest rank. When the list is full, each further
 * connection is compared with the root, and replaces the root or is left out. So a list needs
 * memory for its limit of rows, however many connections there are.
 */
#include "proxy/conn_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "proxy/exchange.h"
#include "proxy/listener.h"
#include "proxy/session.h"

/* The array has room for this many rows at first; when the array is full, it is doubled. */
#define FIRST_ROWS 64

static bool is_wanted(const struct conn_filter *f, const struct session *s, uint64_t age_ns)
{
	if (age_ns < f->min_age_ns)
		return false;
	if (f->pool[0] != '\0' && (s->pool == NULL || strcmp(pool_name(s->pool), f->pool) != 0))
		return false;
	if (f->backend[0] != '\0' &&
	    (s->backend == NULL || strcmp(s->backend->name, f->backend) != 0))
		return false;
	return !f->has_client || cidr_contains(&f->client, &s->client);
}

static uint64_t rank_of(const struct conn_filter *f, const struct session *s)
{
	switch (f->sort) {
	case CONN_UNSORTED: return 0;
	case CONN_BY_AGE: return UINT64_MAX - s->start_ns;
	case CONN_BY_BYTES:
		return session_flow(s, TO_BACKEND)->n_sent + session_flow(s, TO_CLIENT)->n_sent;
	}
	return 0;
}

/* ---- the heap -------------------------------------------------------------------------------- */

static void swap_rows(struct conn_row *a, struct conn_row *b)
{
	struct conn_row t = *a;

	*a = *b;
	*b = t;
}

/* Restores the heap's order after a row was appended: moves the last row up until its parent's rank
 * is not greater. */
static void heap_up(struct conn_row *rows, size_t n)
{
	LB_ASSERT(n > 0);
	for (size_t i = n - 1; i > 0 && rows[i].rank < rows[(i - 1) / 2].rank; i = (i - 1) / 2)
		swap_rows(&rows[i], &rows[(i - 1) / 2]);
}

/* Restores the heap's order after the root was replaced: moves the root down until no child has a
 * smaller rank. */
static void heap_down(struct conn_row *rows, size_t n)
{
	for (size_t i = 0, least; (least = 2 * i + 1) < n; i = least) {
		if (least + 1 < n && rows[least + 1].rank < rows[least].rank)
			least++;
		if (rows[i].rank <= rows[least].rank)
			return;
		swap_rows(&rows[i], &rows[least]);
	}
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Makes room in the array for one more row. Returns 0 or -ENOMEM. */
static int grow(struct conn_list *l)
{
	if (l->n_rows < l->rows_cap)
		return 0;
	size_t cap = l->rows_cap != 0 ? 2 * l->rows_cap : FIRST_ROWS;
	struct conn_row *grown = reallocarray(l->rows, cap, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	l->rows = grown;
	l->rows_cap = cap;
	return 0;
}

static void fill_row(struct conn_row *row, const struct session *s, uint64_t age_ns, uint64_t rank)
{
	*row = (struct conn_row){
		.id = s->id,
		.client = s->client,
		.listener = atomic_load_explicit(&s->from->listener->name, memory_order_acquire),
		.backend = s->backend != NULL ? backend_ref(s->backend) : NULL,
		.state = session_phase_word(s),
		.conn_state = session_state_word(s),
		.request_state =
			s->x != NULL && s->state == SESS_BUSY ? exchange_state_word(s->x) : "",
		.age_ns = age_ns,
		.bytes_in = session_flow(s, TO_BACKEND)->n_sent,
		.bytes_out = session_flow(s, TO_CLIENT)->n_sent,
		.rank = rank,
	};
	if (s->pool != NULL)
		(void)strncpy(row->pool, pool_name(s->pool), sizeof(row->pool) - 1);
}

int conn_list_add(struct conn_list *l, const struct session *s, uint64_t now_ns)
{
	const struct conn_filter *f = &l->filter;

	LB_ASSERT(f->limit > 0 && now_ns >= s->start_ns);
	uint64_t age_ns = now_ns - s->start_ns, rank = rank_of(f, s);

	if (!is_wanted(f, s, age_ns))
		return 0;
	l->n_matching++;
	LB_ASSERT(l->n_rows <= f->limit);
	if (l->n_rows == f->limit) {
		/* In an unsorted list all ranks are 0, so the condition is true. */
		if (rank <= l->rows[0].rank)
			return 0;
		backend_unref(l->rows[0].backend);
		fill_row(&l->rows[0], s, age_ns, rank);
		heap_down(l->rows, l->n_rows);
		return 0;
	}
	int r = grow(l);
	if (r < 0)
		return r;
	fill_row(&l->rows[l->n_rows++], s, age_ns, rank);
	if (f->sort != CONN_UNSORTED)
		heap_up(l->rows, l->n_rows);
	return 0;
}

void conn_list_deinit(struct conn_list *l)
{
	for (size_t i = 0; i < l->n_rows; i++)
		backend_unref(l->rows[i].backend);
	free(l->rows);
	*l = (struct conn_list){ .filter = l->filter };
}
