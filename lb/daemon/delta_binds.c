/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listeners of a delta: which address keeps its sockets, and which is bound anew.
 *
 * Terms. The registry's `listeners` are in use; its `leaving` are removed, and at least one worker
 * has not closed its socket yet. An address is free when no other program's socket would take its
 * connections.
 *
 *   delta_binds_prepare()  for each address of the file (prepare_bind()):
 *     find_for_bind()      when the registry has a listener at this address, keeps the listener
 *     probe_free()         else asks the kernel whether the address is free
 *     bind_all()           and binds one socket for each worker, which does not listen yet
 *   delta_binds_give()     at a start: the new sockets are given to `user`
 *   delta_binds_listen()   the last step that can fail: all new sockets listen
 *   delta_binds_free()     main's descriptors are closed; the workers have their own by then
 *
 * Why the kernel is asked first: every worker has a socket of its own at one address, so all these
 * sockets have SO_REUSEPORT. With SO_REUSEPORT, binding to an address of another lb of the same
 * user would succeed, too, and lb would get a part of the other lb's connections. So probe_free()
 * first listens with a socket that does not have SO_REUSEPORT, and closes that socket at once.
 *
 * probe_free()'s socket is also refused when a socket of this lb overlaps the address, for example
 * when a reload replaces 127.0.0.1 by 0.0.0.0. Then occupied.c lists the sockets that are in the
 * way, and is_own() tells by their inodes which of them are lb's.
 *
 * After a failure the other addresses are still tried, so that `e` names every address that cannot
 * be bound. The words of each error are refusal.c's.
 *
 * Thread: main.
 */
#include "daemon/delta_binds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/delta.h"
#include "daemon/name_index.h"
#include "daemon/occupied.h"
#include "daemon/refusal.h"
#include "daemon/registry.h"
#include "net/sock.h"
#include "proxy/listener.h"
#include "proxy/names.h"

/*
 * The registry's listener for the address `b`; NULL when the address is new. When `b` has port 0,
 * the kernel chose a port when the listener was bound, so the listener is found by its name and its
 * address without the port.
 */
static struct listener *find_for_bind(struct registry *reg, const struct directory *all,
				      const struct conf_bind *b, const char *name)
{
	if (b->addr.port != 0)
		return directory_listener(all, &b->addr);
	list_for_each(it, &reg->listeners)
	{
		struct registry_listener *rl = list_entry(it, struct registry_listener, link);
		struct addr any = rl->listener->addr;

		any.port = 0;
		if (rl->listener->is_any_port && addr_eq(&any, &b->addr) &&
		    strcmp(atomic_load(&rl->listener->name), name) == 0)
			return rl->listener;
	}
	return NULL;
}

/* ---- an address that overlaps one of lb's own ------------------------------------------------ */

static bool has_inode(const struct listener *l, uint32_t n_workers, uint32_t inode)
{
	for (uint32_t w = 0; w < n_workers; w++)
		if (l->inodes[w] == inode)
			return true;
	return false;
}

/* The argument of is_own(): the registry, and the new address. */
struct own {
	const struct registry *reg;
	const struct addr *a;
};

/*
 * Whether the socket with this inode is lb's and is not in the way of the new address. A socket of
 * a leaving listener is in the way when it has exactly the new address, because the kernel would
 * give this socket a part of the new connections, and the socket drops them. (A leaving listener's
 * socket still listens only while lb is at a limit and cannot accept the connections in its queue.)
 */
static bool is_own(void *arg, uint32_t inode)
{
	const struct own *o = arg;

	if (inode == 0)
		return false;
	list_for_each(it, &o->reg->listeners)
	{
		const struct listener *l = list_entry(it, struct registry_listener, link)->listener;
		if (has_inode(l, o->reg->n_workers, inode))
			return true;
	}
	list_for_each(it, &o->reg->leaving)
	{
		const struct listener *l = list_entry(it, struct registry_listener, link)->listener;
		if (has_inode(l, o->reg->n_workers, inode))
			return !addr_eq(&l->addr, o->a);
	}
	return false;
}

static bool is_port_own(const struct registry *reg, uint16_t port)
{
	list_for_each(it, &reg->listeners) if (list_entry(it, struct registry_listener, link)
						       ->listener->addr.port == port) return true;
	list_for_each(it, &reg->leaving) if (list_entry(it, struct registry_listener, link)
						     ->listener->addr.port == port) return true;
	return false;
}

/*
 * Returns 0 when the address `a` is free, or a negative errno. When a->port is 0, sets a->port to a
 * free port. *ret_is_untold becomes true when lb itself has the port and the kernel does not tell
 * whether another program has the port, too; the address then counts as in use.
 */
static int probe_free(struct registry *reg, struct addr *a, bool *ret_is_untold)
{
	*ret_is_untold = false;
	int r = sock_probe_free(reg->loop, a, &a->port);

	LB_ASSERT(r < 0 || a->port != 0);
	if (r != -EADDRINUSE || !is_port_own(reg, a->port))
		return r;
	struct own own = { .reg = reg, .a = a };
	int others = occupied_by_others(a, is_own, &own);
	*ret_is_untold = others < 0 && others != -EADDRINUSE;
	return others == 0 ? 0 : r;
}

/* Whether a worker still has a socket of a removed listener at exactly this address. */
static bool is_leaving(const struct registry *reg, const struct addr *a)
{
	list_for_each(it, &reg->leaving)
	{
		const struct listener *l = list_entry(it, struct registry_listener, link)->listener;
		if (addr_eq(&l->addr, a))
			return true;
	}
	return false;
}

/* Writes the error of an address that cannot be bound. When lb itself has the address, the error
 * says so; otherwise refusal_bind() writes it. */
static int refuse_bind(const struct registry *reg, const struct conf_bind *b, int r, bool is_untold,
		       struct err *e)
{
	char own[ADDR_TEXT_MAX + 80], http[ADDR_TEXT_MAX];

	if (r == -EADDRINUSE && reg->http.family != 0 && addr_overlaps(&reg->http, &b->addr)) {
		(void)snprintf(own, sizeof(own),
			       "for the admin.http %s that it was started with: take another port, "
			       "or restart lb",
			       addr_format(&reg->http, http));
		return refusal_own(e, b->at, b->text, own);
	}
	if (r == -EADDRINUSE && is_leaving(reg, &b->addr))
		return refusal_own(
			e, b->at, b->text,
			"from before an earlier reload, and is closing it: reload again");
	if (r == -EADDRINUSE && is_untold)
		return refusal_own(e, b->at, b->text,
				   "and the kernel does not tell whether another program has it, "
				   "too: take another port, or restart lb");
	return refusal_bind(e, b->at, &b->addr, b->text, r);
}

/* Binds one socket for each worker. After a failure the sockets that were bound stay in dl->fd, and
 * delta_free() closes them. */
static int bind_all(struct registry *reg, struct delta_listener *dl, const struct addr *a)
{
	LB_ASSERT(dl->is_new && dl->fd == NULL);
	dl->fd = malloc(reg->n_workers * sizeof(*dl->fd));
	if (dl->fd == NULL)
		return -ENOMEM;
	for (uint32_t w = 0; w < reg->n_workers; w++)
		dl->fd[w] = -1;
	for (uint32_t w = 0; w < reg->n_workers; w++) {
		dl->fd[w] = sock_bind_shared(reg->loop, a);
		if (dl->fd[w] < 0)
			return dl->fd[w];
		dl->listener->inodes[w] = occupied_inode(dl->fd[w]);
	}
	return 0;
}

static int prepare_bind(struct registry *reg, const struct directory *all, struct delta *d,
			size_t snapshot_index, const struct conf_bind *b, struct err *e)
{
	const struct conf_listener *c = &d->conf->listeners[snapshot_index];
	struct delta_listener *dl = &d->listeners[d->n_listeners];
	struct listener *kept = find_for_bind(reg, all, b, c->name);
	struct addr a = b->addr;

	LB_ASSERT(dl->listener == NULL);
	d->n_listeners++;
	*dl = (struct delta_listener){
		.fresh = calloc(1, sizeof(*dl->fresh)),
		.name = names_intern(reg->names, c->name),
		.snapshot_index = snapshot_index,
	};
	if (dl->fresh == NULL || dl->name == NULL)
		return err_at(e, b->at, "out of memory");
	if (kept != NULL) {
		dl->listener = listener_ref(kept);
		return 0;
	}

	bool is_untold;
	int r = probe_free(reg, &a, &is_untold);
	if (r < 0)
		return refuse_bind(reg, b, r, is_untold, e);
	dl->listener = listener_new(++reg->next_number, &a, dl->name, reg->n_workers);
	if (dl->listener == NULL)
		return err_at(e, b->at, "out of memory");
	dl->listener->is_any_port = b->addr.port == 0;
	dl->is_new = true;
	r = bind_all(reg, dl, &a);
	return r < 0 ? refusal_bind(e, b->at, &b->addr, b->text, r) : 0;
}

int delta_binds_prepare(struct registry *reg, const struct directory *all, struct delta *d,
			struct err *e)
{
	size_t n = 0;
	int result = 0;

	loop_assert_owner(reg->loop);
	LB_ASSERT(d->listeners == NULL && d->n_listeners == 0 && d->conf != NULL);
	for (size_t i = 0; i < d->conf->n_listeners; i++)
		n += d->conf->listeners[i].n_binds;
	d->listeners = calloc(n, sizeof(*d->listeners));
	if (d->listeners == NULL)
		return err_add(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < d->conf->n_listeners; i++) {
		const struct conf_listener *c = &d->conf->listeners[i];
		for (size_t b = 0; b < c->n_binds; b++) {
			int r = prepare_bind(reg, all, d, i, &c->binds[b], e);
			result = r < 0 ? r : result;
		}
	}
	LB_ASSERT(d->n_listeners == n);
	return result;
}

int delta_binds_give(const struct registry *reg, const struct delta *d, uid_t uid, gid_t gid)
{
	for (size_t i = 0; i < d->n_listeners; i++)
		for (uint32_t w = 0; d->listeners[i].is_new && w < reg->n_workers; w++)
			if (fchown(d->listeners[i].fd[w], uid, gid) < 0)
				return -errno;
	return 0;
}

int delta_binds_listen(struct registry *reg, struct delta *d, struct err *e)
{
	for (size_t i = 0; i < d->n_listeners; i++) {
		struct delta_listener *dl = &d->listeners[i];
		LB_ASSERT(dl->is_new == (dl->fd != NULL));
		for (uint32_t w = 0; dl->is_new && w < reg->n_workers; w++) {
			LB_ASSERT(dl->fd[w] >= 0);
			int r = loop_listen(reg->loop, dl->fd[w], SOCK_BACKLOG);
			if (r < 0)
				return err_add(e, r, "cannot listen on %s: %s", dl->listener->text,
					       strerror(-r));
		}
	}
	return 0;
}

void delta_binds_free(struct registry *reg, struct delta *d)
{
	for (size_t i = 0; i < d->n_listeners; i++) {
		struct delta_listener *dl = &d->listeners[i];
		LB_ASSERT(dl->fd == NULL || dl->is_new);
		LB_ASSERT(!d->is_committed || (dl->fresh == NULL && dl->name == NULL));
		for (uint32_t w = 0; dl->fd != NULL && w < reg->n_workers; w++)
			if (dl->fd[w] >= 0)
				loop_close(reg->loop, dl->fd[w]);
		free(dl->fd);
		free(dl->fresh);
		listener_unref(dl->listener);
		names_unref(dl->name);
	}
	free(d->listeners);
	d->listeners = NULL;
	d->n_listeners = 0;
}
