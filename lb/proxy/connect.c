/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new connection to a backend: its socket, the local address that it connects from, and its
 * time-out.
 *
 *   pick.c --connect_start()--> in flight --> pick_on_connect()
 *                                  | timeouts.connect: connect_on_timeout() cancels it
 *                                  +--> pick_on_connect() with -ECANCELED, x->is_connect_late set
 *
 * A pool may name source addresses (`sources`). connect_start() takes them in turn, and only those
 * of the backend's family. When no port is left at a source address (EADDRNOTAVAIL),
 * connect_from_next_source() tries the next one. That is not counted as a retry, because no backend
 * has failed.
 *
 * What a failure means for the session is decided in pick.c.
 *
 * Thread: owner worker.
 */
#include "proxy/connect.h"

#include <errno.h>
#include <netinet/in.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/sock.h"
#include "proxy/exchange.h"
#include "proxy/worker.h"

/* Returns the local address to connect from. NULL when the pool names no source address of the
 * backend's family; then the kernel chooses an address. */
static const struct addr *next_source(struct session *s)
{
	struct exchange *x = s->x;
	const struct conf_pool *c = x->conf;

	LB_ASSERT(c->n_sources == 0 || x->n_sources_tried < c->n_sources);
	if (c->n_sources == 0)
		return NULL;
	if (x->n_sources_tried == 0)
		x->source = pool_next_source(s->pool);
	for (size_t i = 0; i < c->n_sources; i++) {
		const struct addr *a = &c->sources[x->source++ % c->n_sources];
		x->n_sources_tried++;
		if (a->family == s->backend->addr.family)
			return a;
	}
	return NULL;
}

int connect_start(struct session *s)
{
	struct loop *l = s->worker->loop;
	uint32_t user_ms = pool_user_ms(s->pool);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&s->backend->addr, &sa);
	int fd = sock_for_connect(l, &s->backend->addr, next_source(s),
				  user_ms == CONF_OFF ? 0 : user_ms);
	if (fd < 0)
		return fd;

	LB_ASSERT(s->x->state == EXCHANGE_CONNECT && s->has_slot);
	conn_open(s->conn[BACKEND], fd);
	s->x->is_connect_late = false;
	conn_connect(&s->worker->conns, s->conn[BACKEND], (struct sockaddr *)&sa, len);
	session_timeout(s, s->x->conf->connect_ms);
	return 0;
}

bool connect_lacks_port(int error)
{
	return error == -EADDRNOTAVAIL;
}

bool connect_lacks_resources(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

int connect_from_next_source(struct session *s, int error)
{
	const struct exchange *x = s->x;

	LB_ASSERT(error < 0);
	if (!connect_lacks_port(error) || x->n_sources_tried >= x->conf->n_sources)
		return error;
	conn_close(&s->worker->conns, s->conn[BACKEND]);
	return connect_start(s);
}

void connect_on_timeout(struct session *s)
{
	LB_ASSERT(s->x->state == EXCHANGE_CONNECT);
	s->x->is_connect_late = true;
	conn_cancel(&s->worker->conns, s->conn[BACKEND], CONN_CONNECT);
}
