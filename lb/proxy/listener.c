/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listener that all workers share, and those functions of a worker's listening socket that a
 * session needs. The functions that accept are in accept.c.
 *
 * Thread: main for struct listener, the owner worker for struct listen_socket.
 */
#include "proxy/listener.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/worker.h"
#include "util/slab.h"

/* ---- the shared object ----------------------------------------------------------------------- */

struct listener *listener_new(uint64_t number, const struct addr *addr, const char *name,
			      uint32_t n_workers)
{
	char text[ADDR_TEXT_MAX];
	LB_ASSERT(n_workers > 0 && name != NULL);
	struct listener *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	ref_init(&l->refs);
	atomic_init(&l->name, name);
	l->number = number;
	l->snapshot_index = LISTENER_REMOVED;
	l->addr = *addr;
	l->n_workers = n_workers;
	l->text = strdup(addr_format(addr, text));
	l->tally = aligned_alloc(_Alignof(struct listener_tally), n_workers * sizeof(*l->tally));
	l->inodes = calloc(n_workers, sizeof(*l->inodes));
	if (l->text == NULL || l->tally == NULL || l->inodes == NULL)
		return listener_unref(l);
	memset(l->tally, 0, n_workers * sizeof(*l->tally));
	return l;
}

struct listener *listener_ref(struct listener *l)
{
	ref_get(&l->refs);
	return l;
}

struct listener *listener_unref(struct listener *l)
{
	if (l == NULL || !ref_put(&l->refs))
		return NULL;
	free(l->tally);
	free(l->inodes);
	free(l->text);
	free(l);
	return NULL;
}

bool listener_is_unused(const struct listener *l)
{
	return ref_is_only(&l->refs);
}

/* ---- a worker's socket ----------------------------------------------------------------------- */

struct listener_tally *listen_socket_tally(const struct listen_socket *ls)
{
	return &ls->listener->tally[ls->worker->id];
}

void listen_socket_free_if_unused(struct listen_socket *ls)
{
	if (ls->state != LISTEN_CLOSED || ls->n_sessions > 0)
		return;
	worker_assert_owner(ls->worker);
	LB_ASSERT(ls->fd < 0 && ls->snapshot == NULL && ls->pl == NULL && !ls->is_armed);
	list_del(&ls->link);
	listener_unref(ls->listener);
	slab_put(ls->worker->sockets, ls);
}

void listen_socket_session_ended(struct listen_socket *ls)
{
	LB_ASSERT(ls->n_sessions > 0);
	ls->n_sessions--;
	counter_sub(&listen_socket_tally(ls)->active, 1);
	listen_socket_free_if_unused(ls);
}
