/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Two workers (workers.h) and main's messages to them: a listener on both, one pool with one
 * backend, and clients, which are plain sockets, as the backend is.
 */

#include "workers.h"

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/sock.h"
#include "proxy/listener.h"
#include "proxy/message_conf.h"
#include "proxy/message_conns.h"
#include "proxy/message_stop.h"
#include "proxy/names.h"
#include "proxy/snapshot.h"

/* A configuration in force, as the registry would hold it: one pool with one backend. */
static struct conf *conf;
static struct names *names;
static struct pool *pool;
static struct backend *backend;
static struct members *members;
static struct snapshot *snapshot;
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

static inline void begin_serving(int engine)
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
	snapshot = snapshot_new(conf, &pool, names);
	ck_assert_int_eq(sock_probe_free(loop, &any, &any.port), 0);
	listener = listener_new(1, &any, names_intern(names, "l"), N_WORKERS);
	ck_assert_ptr_nonnull(listener);
	turn_all(); /* what was closed is gone */
}

/* Whatever the workers held of it has been given back: each object has one reference left. */
static inline void end_serving(void)
{
	turn_all();
	for (int i = 0; i < N_WORKERS; i++)
		ck_assert(list_is_empty(&rigs[i].w->listen));
	close(backend_fd);
	end_workers();
	ck_assert_uint_eq(ref_count(&listener->refs), 1);
	listener_unref(listener);
	ck_assert_uint_eq(ref_count(&snapshot->refs), 1);
	snapshot_unref(snapshot);
	ck_assert_uint_eq(ref_count(&members->refs), 1);
	members_unref(members);
	ck_assert_uint_eq(backend_active(backend), 0);
	ck_assert_uint_eq(ref_count(&backend->refs), 1);
	backend_unref(backend);
	pool_unref(pool);
	names_free(names);
	conf_unref(conf);
}

/* ---- messages -------------------------------------------------------------------------------- */

static struct message *reply; /* the latest, for the test to look at; free_reply() frees it */
static int n_replies;

static inline void on_reply(struct message *m, void *arg)
{
	ck_assert_ptr_null(arg);
	n_replies++;
	message_free(reply);
	reply = m;
}

static inline void free_reply(void)
{
	reply = message_free(reply);
}

/* Posts a message to its worker; on_reply() has its reply. */
static inline void post(struct message *m)
{
	m->done = on_reply;
	mailbox_post(&rigs[m->worker].mail, &m->mail);
}

/* Posts a message and waits for its reply, which is in `reply` then; its result. */
static inline int ask(struct message *m)
{
	int want = n_replies + 1;

	ck_assert_ptr_nonnull(m);
	post(m);
	TURN_UNTIL(n_replies == want);
	ck_assert_ptr_eq(reply, m);
	return m->result;
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

/* An ADOPT of one listener. */
static inline struct message *adopt_of(int worker, struct listener *l)
{
	struct message_adopt *m = message_adopt_new((uint32_t)worker, 1);

	ck_assert_ptr_nonnull(m);
	message_adopt_add(m, l);
	return &m->base;
}

static inline int ask_adopt(int worker)
{
	return ask(adopt_of(worker, listener));
}

/* An APPLY of a snapshot and members, which has the listener or not. */
static inline struct message_apply *apply_of(int worker, struct snapshot *next, struct members *m,
					     bool has_listener)
{
	struct message_apply *apply = message_apply_new((uint32_t)worker, next, 1);

	ck_assert_ptr_nonnull(apply);
	if (m != NULL)
		message_apply_set(apply, m);
	listener->snapshot_index = has_listener ? 0 : LISTENER_REMOVED;
	return apply;
}

static inline int ask_apply(int worker, bool has_listener)
{
	return ask(&apply_of(worker, snapshot, members, has_listener)->base);
}

/* A CONNS of at most `limit` rows. */
static inline struct message_conns *conns_of(int worker, uint32_t limit)
{
	const struct conn_filter f = { .limit = limit };
	struct message_conns *m = message_conns_new((uint32_t)worker, &f);

	ck_assert_ptr_nonnull(m);
	return m;
}

/* The list of the latest reply, which is that of a CONNS. */
static inline const struct conn_list *listed(void)
{
	return &container_of(reply, struct message_conns, base)->list;
}

/* Posts a CONNS and waits for its list, which lives as long as the reply. */
static inline const struct conn_list *list_conns(int worker, const struct conn_filter *f)
{
	struct message_conns *m = message_conns_new((uint32_t)worker, f);

	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(ask(&m->base), 0);
	return listed();
}

/* Passes, adopts and listens on both workers: the kernel's queues are open, nobody accepts. */
static inline void listen_parked(void)
{
	int copies[N_WORKERS];

	for (int i = 0; i < N_WORKERS; i++)
		pass_socket(i, 1, &copies[i]);
	for (int i = 0; i < N_WORKERS; i++)
		ck_assert_int_eq(ask_adopt(i), 0);
	for (int i = 0; i < N_WORKERS; i++) {
		ck_assert_int_eq(loop_listen(loop, copies[i], SOCK_BACKLOG), 0);
		loop_close(loop, copies[i]);
	}
	turn_all(); /* the copies are gone */
}

static inline void apply_all(void)
{
	for (int i = 0; i < N_WORKERS; i++)
		ck_assert_int_eq(ask_apply(i, true), 0);
	free_reply();
}

/* As a reload does. */
static inline void put_in_force(void)
{
	listen_parked();
	apply_all();
}

/* The listeners leave the configuration, and with them members and snapshot their last user here.
 */
static inline void put_out_of_force(void)
{
	for (int i = 0; i < N_WORKERS; i++)
		ck_assert_int_eq(ask_apply(i, false), 0);
	free_reply();
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
