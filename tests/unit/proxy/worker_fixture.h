/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Two workers (workers.h) under main's orders: a listener on both, one pool with one backend, and
 * clients, which are plain sockets, as the backend is.
 */

#include "workers.h"

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/sock.h"
#include "proxy/listener.h"
#include "proxy/names.h"
#include "proxy/plan.h"

/* A configuration in force, as the registry would hold it: one pool with one backend. */
static struct conf *conf;
static struct names *names;
static struct pool *pool;
static struct backend *backend;
static struct members *members;
static struct plan *plan;
static struct listener *listener;
static const char *mode = "tcp"; /* of the listener */
static int backend_fd;           /* accepts in the kernel, answers nothing */

static inline struct members *members_with(uint32_t weight)
{
	struct members_entry e = { .backend = backend, .weight = weight };
	struct members *m = members_new(pool, CONF_BALANCE_FIRST, 0, &e, 1);

	ck_assert_ptr_nonnull(m);
	return m;
}

static inline void begin_orders(int engine)
{
	struct addr any = { .family = AF_INET, .v4 = { 127, 0, 0, 1 } };
	uint16_t port;

	begin_workers(engine);
	backend_fd = listening(4096, &port);
	conf = written("listeners: [{name: l, bind: '127.0.0.1:1', mode: %s, pool: p}]\n"
		       "pools: [{name: p, backends: [{name: b, address: '127.0.0.1:%u'}]}]\n",
		       mode, port);
	names = names_new();
	pool = pool_new(&conf->pools[0], 0);
	pool_configure(pool, &conf->pools[0]);
	backend = backend_new("p", &conf->pools[0].backends[0], N_WORKERS, 0);
	backend_set_health(backend, BACKEND_UP, 0);
	members = members_with(1);
	plan = plan_new(conf, &pool, names);
	ck_assert_int_eq(sock_probe_free(loop, &any, &any.port), 0);
	listener = listener_new(1, &any, names_intern(names, "l"), N_WORKERS);
	ck_assert_ptr_nonnull(listener);
	turn_all(); /* what was closed is gone */
}

/* Whatever the workers held of it has been given back: each object has one reference left. */
static inline void end_orders(void)
{
	turn_all();
	for (int i = 0; i < N_WORKERS; i++)
		ck_assert(list_is_empty(&rigs[i].w->listen));
	close(backend_fd);
	end_workers();
	ck_assert_uint_eq(ref_count(&listener->refs), 1);
	listener_unref(listener);
	ck_assert_uint_eq(ref_count(&plan->refs), 1);
	plan_unref(plan);
	ck_assert_uint_eq(ref_count(&members->refs), 1);
	members_unref(members);
	ck_assert_uint_eq(backend_active(backend), 0);
	ck_assert_uint_eq(ref_count(&backend->refs), 1);
	backend_unref(backend);
	pool_unref(pool);
	names_free(names);
	conf_unref(conf);
}

/* ---- orders ---------------------------------------------------------------------------------- */

static struct order *answered; /* the latest, for the test to free */
static int n_answers;

static inline void on_done(struct order *o, void *arg)
{
	ck_assert_ptr_null(arg);
	n_answers++;
	order_free(answered);
	answered = o;
}

/* Sends an order and waits for its answer; its result. */
static inline int ordered(int worker, struct order *o)
{
	int want = n_answers + 1;

	ck_assert_ptr_nonnull(o);
	ck_assert_uint_eq(o->worker, (uint32_t)worker);
	o->done = on_done;
	mailbox_post(&rigs[worker].mail, &o->mail);
	TURN_UNTIL(n_answers == want);
	ck_assert_ptr_eq(answered, o);
	return o->result;
}

static inline void forget_answer(void)
{
	answered = order_free(answered);
}

/* A socket for each worker, bound but not listening, in its channel. */
static inline void pass_socket(int worker, uint64_t number, int *ret_copy)
{
	int fd = sock_bind_shared(loop, &listener->addr);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(loop_pass_fd(loop, rigs[worker].channel[0], fd, number), 0);
	if (ret_copy != NULL)
		*ret_copy = fd;
	else
		loop_close(loop, fd);
}

static inline struct order *order_take(int worker)
{
	struct order *o = order_new(ORDER_TAKE, (uint32_t)worker);

	o->listeners = calloc(1, sizeof(struct listener *));
	o->listeners[o->n_listeners++] = listener_ref(listener);
	return o;
}

static inline struct order *order_apply(int worker, bool has_listener)
{
	struct order *o = order_new(ORDER_APPLY, (uint32_t)worker);

	o->plan = plan_ref(plan);
	o->members = calloc(1, sizeof(struct members *));
	o->members[o->n_members++] = members_ref(members);
	ck_assert_int_eq(order_make_slots(o), 0);
	listener->plan_index = has_listener ? 0 : LISTENER_REMOVED;
	return o;
}

/* Passes, takes and listens on both workers: the kernel's queues are open, nobody accepts. */
static inline void listen_parked(void)
{
	int copies[N_WORKERS];

	for (int i = 0; i < N_WORKERS; i++)
		pass_socket(i, 1, &copies[i]);
	for (int i = 0; i < N_WORKERS; i++)
		ck_assert_int_eq(ordered(i, order_take(i)), 0);
	for (int i = 0; i < N_WORKERS; i++) {
		ck_assert_int_eq(loop_listen(loop, copies[i], SOCK_BACKLOG), 0);
		loop_close(loop, copies[i]);
	}
	turn_all(); /* the copies are gone */
}

static inline void apply_all(void)
{
	for (int i = 0; i < N_WORKERS; i++)
		ck_assert_int_eq(ordered(i, order_apply(i, true)), 0);
	forget_answer();
}

/* As a reload does. */
static inline void put_in_force(void)
{
	listen_parked();
	apply_all();
}

/* The listeners leave the configuration, and with them members and plan their last user here. */
static inline void put_out_of_force(void)
{
	for (int i = 0; i < N_WORKERS; i++)
		ck_assert_int_eq(ordered(i, order_apply(i, false)), 0);
	forget_answer();
}

/* ---- clients --------------------------------------------------------------------------------- */

#define MAX_CLIENTS 700

static int clients[MAX_CLIENTS];
static int n_clients;

static inline uint32_t n_relaying(void)
{
	uint32_t n = 0;

	for (int i = 0; i < N_WORKERS; i++)
		n += rigs[i].w->n_sessions;
	for (int i = 0; i < N_WORKERS; i++)
		n -= (uint32_t)counter_read(&rigs[i].w->stats->handshaking);
	return n;
}

static inline void open_clients(int n)
{
	for (int i = 0; i < n; i++)
		clients[n_clients++] = dial(listener->addr.port);
	TURN_UNTIL(n_relaying() == (uint32_t)n_clients);
}

static inline void close_clients(void)
{
	for (int i = 0; i < n_clients; i++)
		close_peer(clients[i], true);
	n_clients = 0;
	TURN_UNTIL(rigs[0].w->n_sessions + rigs[1].w->n_sessions == 0);
	for (int fd; (fd = loop_accept_now(loop, backend_fd)) >= 0;)
		close(fd);
}
