/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator can do over the admin socket, apart from reading figures (stats.c).
 *
 * Terms. A job is what a command needs until its answer can be given. It holds the caller's `done`
 * and `ctx`, and is freed when `done` has been called.
 *
 *   commands_conns()    posts CONNS to every worker (begin_conns()); on_conns() takes each reply;
 *                       with the last one conns_finish() makes the list and calls `done`
 *   commands_reload()   asks for a reload; on_reloaded() makes one text of the errors or warnings
 *   commands_backend()  finds the pool and the backend by name, and changes the backend's state or
 *                       weight through membership.c, which keeps the change over a reload that is
 *                       under way
 *
 * A list of connections is cut twice: each worker keeps the rows with the greatest ranks, at most
 * `limit` of them, and conns_finish() does the same with the rows of all workers. When a worker
 * could not make its list, or memory is short, `done` gets the error and no row.
 *
 * A name that is not found is answered with the nearest name that is known. A pool or backend that
 * has left the file but still has connections is answered as removed.
 *
 * Relies on: control.c (the phase, the workers), membership.c, health.c, proxy/message_conns.h.
 *
 * Thread: main. The admin server calls these functions from main's loop.
 */
#include "daemon/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "daemon/control.h"
#include "proxy/message_conns.h"
#include "util/nearest.h"
#include "util/text.h"

/* ---- connections ----------------------------------------------------------------------------- */

/* One `conns` command. Every worker lists its own connections; the last reply completes the job. */
struct conns_job {
	admin_conns_fn done;
	void *ctx;
	struct message_conns **replies; /* owns: a reply of each worker */
	uint32_t n_workers, n_waiting;
	uint32_t limit;
	bool is_sorted;
	int result;
};

/* Orders rows by rank, the greatest first; of two equal ranks the connection that came first. */
static int by_rank(const void *pa, const void *pb)
{
	const struct conn_row *a = *(const struct conn_row *const *)pa;
	const struct conn_row *b = *(const struct conn_row *const *)pb;

	if (a->rank != b->rank)
		return a->rank > b->rank ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

/* The rows of all workers: sorted if the command asks for that, and at most j->limit of them. NULL
 * when memory is short. */
static const struct conn_row **gather_rows(const struct conns_job *j, size_t *ret_n)
{
	size_t n_rows = 0, n = 0;

	for (uint32_t w = 0; w < j->n_workers; w++)
		n_rows += j->replies[w]->list.n_rows;
	const struct conn_row **rows = calloc(n_rows + 1, sizeof(*rows));
	if (rows == NULL)
		return NULL;
	for (uint32_t w = 0; w < j->n_workers; w++)
		for (size_t i = 0; i < j->replies[w]->list.n_rows; i++)
			rows[n++] = &j->replies[w]->list.rows[i];
	LB_ASSERT(n == n_rows);
	if (j->is_sorted)
		qsort(rows, n, sizeof(*rows), by_rank);
	*ret_n = n < j->limit ? n : j->limit;
	return rows;
}

/* The list's rows, which the caller owns. NULL when memory is short. */
static struct admin_conn *make_rows(const struct conns_job *j, size_t *ret_n)
{
	const struct conn_row **from = gather_rows(j, ret_n);
	struct admin_conn *rows = from != NULL ? calloc(*ret_n + 1, sizeof(*rows)) : NULL;

	for (size_t i = 0; rows != NULL && i < *ret_n; i++)
		rows[i] = (struct admin_conn){
			.id = from[i]->id,
			.client = from[i]->client,
			.listener = from[i]->listener,
			.pool = from[i]->pool,
			.backend = from[i]->backend != NULL ? from[i]->backend->name : "",
			.state = from[i]->state,
			.conn_state = from[i]->conn_state,
			.request_state = from[i]->request_state,
			.age_ms = from[i]->age_ns / 1000000,
			.bytes_in = from[i]->bytes_in,
			.bytes_out = from[i]->bytes_out,
		};
	free(from);
	return rows;
}

static void conns_finish(struct conns_job *j)
{
	struct admin_conn_list list = { 0 };
	struct admin_conn *rows = j->result == 0 ? make_rows(j, &list.n) : NULL;

	LB_ASSERT(j->n_waiting == 0);
	list.rows = rows;
	for (uint32_t w = 0; w < j->n_workers; w++)
		list.total += j->replies[w]->list.n_matching;
	if (rows == NULL) {
		j->result = j->result < 0 ? j->result : -ENOMEM;
		list = (struct admin_conn_list){ 0 };
	}
	j->done(j->ctx, j->result, &list);
	free(rows);
	for (uint32_t w = 0; w < j->n_workers; w++)
		message_free(&j->replies[w]->base);
	free(j->replies);
	free(j);
}

static void on_conns(struct message *m, void *arg)
{
	struct conns_job *j = m->arg;

	(void)arg;
	LB_ASSERT(m->worker < j->n_workers);
	LB_ASSERT(j->n_waiting > 0 && j->replies[m->worker] == NULL);
	if (m->result < 0)
		j->result = m->result;
	j->replies[m->worker] = container_of(m, struct message_conns, base);
	if (--j->n_waiting == 0)
		conns_finish(j);
}

static enum conn_sort sort_of(enum admin_conn_sort sort)
{
	switch (sort) {
	case ADMIN_UNSORTED: return CONN_UNSORTED;
	case ADMIN_BY_AGE: return CONN_BY_AGE;
	case ADMIN_BY_BYTES: return CONN_BY_BYTES;
	}
	return CONN_UNSORTED;
}

static struct message *make_conns(uint32_t worker, void *ctx)
{
	const struct admin_conn_query *q = ctx;
	struct conn_filter f = {
		.has_client = q->has_client,
		.client = q->client,
		.min_age_ns = q->min_age_ms * 1000000,
		.sort = sort_of(q->sort),
		.limit = q->limit,
	};

	_Static_assert(sizeof(f.pool) == sizeof(q->pool), "copied as they are");
	memcpy(f.pool, q->pool, sizeof(f.pool));
	memcpy(f.backend, q->backend, sizeof(f.backend));
	struct message_conns *m = message_conns_new(worker, &f);
	return m == NULL ? NULL : &m->base;
}

/* Asks every worker for its connections. Returns 0, or a negative errno, on which the caller has to
 * call `done`. */
static int begin_conns(struct control *c, struct admin_conn_query q, admin_conns_fn done, void *ctx)
{
	struct broadcast b = BROADCAST_INIT;

	if (!control_has_workers(c))
		return -ESHUTDOWN;
	int r = broadcast_make(&b, c->n_workers, make_conns, &q);
	if (r < 0)
		return r;
	struct conns_job *j = calloc(1, sizeof(*j));
	struct message_conns **replies = calloc(c->n_workers, sizeof(struct message_conns *));
	if (j == NULL || replies == NULL) {
		free(j);
		free(replies);
		broadcast_drop(&b);
		return -ENOMEM;
	}
	*j = (struct conns_job){
		.done = done,
		.ctx = ctx,
		.replies = replies,
		.n_workers = c->n_workers,
		.n_waiting = c->n_workers,
		.limit = q.limit,
		.is_sorted = q.sort != ADMIN_UNSORTED,
	};
	broadcast_post(&b, c->threads, on_conns, j);
	return 0;
}

void commands_conns(struct control *c, const struct admin_conn_query *q, admin_conns_fn done,
		    void *ctx)
{
	loop_assert_owner(c->loop);
	int r = begin_conns(c, *q, done, ctx);

	if (r < 0)
		done(ctx, r, &(struct admin_conn_list){ 0 });
}

/* ---- reload ---------------------------------------------------------------------------------- */

struct reload_job {
	admin_reload_fn done;
	void *ctx;
};

static void on_reloaded(void *arg, int result, const struct err *why)
{
	struct reload_job *j = arg;
	struct text t = TEXT_INIT;
	char scratch[64];

	for (size_t i = 0; i < err_n_lines(why); i++) {
		/* When the file is refused, its warnings are left out. */
		if (result < 0 && i < why->n_kept && why->item[i].is_warning)
			continue;
		text_addf(&t, "%s%s", t.n > 0 ? "\n" : "",
			  err_line(why, i, scratch, sizeof(scratch)));
	}
	j->done(j->ctx, result, t.n > 0 ? t.p : "");
	text_deinit(&t);
	free(j);
}

void commands_reload(struct control *c, admin_reload_fn done, void *ctx)
{
	loop_assert_owner(c->loop);
	struct reload_job *j = calloc(1, sizeof(*j));

	if (j == NULL) {
		done(ctx, -ENOMEM, "out of memory");
		return;
	}
	*j = (struct reload_job){ .done = done, .ctx = ctx };
	reload_request(&c->reload, on_reloaded, j);
}

/* ---- backends -------------------------------------------------------------------------------- */

/* Writes `unknown WHAT "NAME"`, and asks whether the nearest known name was meant. */
static void unknown(char *why, size_t why_len, const char *what, const char *name,
		    const struct nearest *near)
{
	char hint[NEAREST_TEXT_MAX];

	(void)snprintf(why, why_len, "unknown %s \"%s\"%s", what, name, nearest_hint(near, hint));
}

static void removed(char *why, size_t why_len, const char *what, const char *name)
{
	(void)snprintf(why, why_len, "%s \"%s\" was removed from the configuration", what, name);
}

static struct registry_pool *find_pool(struct control *c, const char *name, char *why,
				       size_t why_len)
{
	struct registry_pool *p = registry_find_pool(&c->registry, name);
	struct nearest near;

	if (p != NULL)
		return p;
	nearest_init(&near, slice_of(name));
	list_for_each(it, &c->registry.pools)
	{
		struct registry_pool *other = list_entry(it, struct registry_pool, link);
		if (!other->is_removed) {
			nearest_try(&near, slice_of(pool_name(other->pool)));
		} else if (strcmp(pool_name(other->pool), name) == 0) {
			removed(why, why_len, "pool", name);
			return NULL;
		}
	}
	unknown(why, why_len, "pool", name, &near);
	return NULL;
}

static struct registry_backend *find_backend(struct registry_pool *p, const char *name, char *why,
					     size_t why_len)
{
	struct registry_backend *rb = registry_find_backend(p, name);
	struct nearest near;

	if (rb != NULL)
		return rb;
	nearest_init(&near, slice_of(name));
	list_for_each(it, &p->backends)
	{
		struct registry_backend *other = list_entry(it, struct registry_backend, link);
		if (!other->is_removed) {
			nearest_try(&near, slice_of(other->backend->name));
		} else if (strcmp(other->backend->name, name) == 0) {
			removed(why, why_len, "backend", name);
			return NULL;
		}
	}
	unknown(why, why_len, "backend", name, &near);
	return NULL;
}

int commands_backend(struct control *c, enum admin_backend_op op, const char *pool,
		     const char *backend, uint32_t weight, char *why, size_t why_len)
{
	loop_assert_owner(c->loop);
	struct registry_pool *p = find_pool(c, pool, why, why_len);
	struct registry_backend *rb = p != NULL ? find_backend(p, backend, why, why_len) : NULL;

	if (rb == NULL)
		return -ENOENT;
	if (!control_has_workers(c)) {
		(void)snprintf(why, why_len, "lb is stopping");
		return -ESHUTDOWN;
	}
	LB_ASSERT(!p->is_removed && !rb->is_removed);
	switch (op) {
	case ADMIN_DRAIN: membership_set_admin(&c->membership, p, rb, BACKEND_DRAIN); break;
	case ADMIN_READY: membership_set_admin(&c->membership, p, rb, BACKEND_READY); break;
	case ADMIN_MAINT: membership_set_admin(&c->membership, p, rb, BACKEND_MAINT); break;
	case ADMIN_WEIGHT:
		if (membership_set_weight(&c->membership, p, rb, weight) < 0) {
			(void)snprintf(why, why_len, "out of memory");
			return -ENOMEM;
		}
		break;
	}
	if (op != ADMIN_WEIGHT)
		health_apply_state(&c->health, rb->backend);
	log_notice(&c->log, "backend set by an operator pool=%s backend=%s state=%s weight=%u",
		   pool, backend, backend_state_name(rb->backend), backend_weight(rb->backend));
	return 0;
}
