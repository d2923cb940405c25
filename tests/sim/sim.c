/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world: sockets, time, turns. What the loops' operations do with them is in engine.c.
 */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_priv.h"

/* splitmix64: a generator whose next state is a pure function of this one. */
uint64_t sim_rand(struct sim *w, uint64_t n)
{
	uint64_t z = (w->rng += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) % n;
}

uint64_t sim_now_ns(const struct sim *w)
{
	return w->now_ns;
}

struct sim *sim_new(const struct sim_opts *o)
{
	struct sim *w = calloc(1, sizeof(*w));

	LB_ASSERT(w != NULL);
	w->rng = o->seed;
	w->seed = o->seed;
	w->window = o->window ? o->window : 16384;
	w->is_traced = o->is_traced;
	w->now_ns = 1000000000;
	w->next_port = 30000;
	return w;
}

struct sim *sim_free(struct sim *w)
{
	if (w == NULL)
		return NULL;
	LB_ASSERT(sim_n_open(w) == 0);
	LB_ASSERT(w->n_loops == 0);
	free(w);
	return NULL;
}

size_t sim_n_open(const struct sim *w)
{
	size_t n = 0;

	for (int fd = 0; fd < SIM_MAX_FDS; fd++)
		n += w->sock[fd].kind != SIM_FREE;
	return n;
}

void sim_trace(struct sim *w, const char *what, int fd, long n)
{
	if (w->is_traced)
		(void)fprintf(stderr, "%10.3f ms  %-8s fd=%d n=%ld\n", (double)w->now_ns / 1e6,
			      what, fd, n);
}

/* ---- sockets --------------------------------------------------------------------------------- */

struct sim_sock *sim_sock(struct sim *w, int fd)
{
	LB_ASSERT(fd >= SIM_FIRST_FD && fd < SIM_MAX_FDS && w->sock[fd].kind != SIM_FREE);
	return &w->sock[fd];
}

int sim_open(struct sim *w, enum sim_kind kind)
{
	for (int fd = SIM_FIRST_FD; fd < SIM_MAX_FDS; fd++) {
		if (w->sock[fd].kind != SIM_FREE)
			continue;
		w->sock[fd] = (struct sim_sock){ .kind = kind, .peer = -1 };
		if (kind == SIM_STREAM)
			w->sock[fd].rx = malloc(w->window);
		return fd;
	}
	return -EMFILE;
}

int sim_find_listener(struct sim *w, const struct addr *a)
{
	for (int fd = SIM_FIRST_FD; fd < SIM_MAX_FDS; fd++)
		if (w->sock[fd].kind == SIM_LISTEN && addr_eq(&w->sock[fd].local, a))
			return fd;
	return -ECONNREFUSED;
}

int sim_listen(struct sim *w, const struct addr *a)
{
	int fd = sim_open(w, SIM_LISTEN);

	LB_ASSERT(fd >= 0);
	w->sock[fd].local = *a;
	return fd;
}

/* Joins `fd` to a new socket in the listener's queue. Returns 0 or a negative errno. */
int sim_join(struct sim *w, int fd, const struct addr *to)
{
	int l = sim_find_listener(w, to);
	if (l < 0)
		return l;
	struct sim_sock *ls = &w->sock[l];
	if (ls->n_queue == SIM_BACKLOG)
		return -EAGAIN;

	int other = sim_open(w, SIM_STREAM);
	if (other < 0)
		return other;
	struct sim_sock *a = &w->sock[fd], *b = &w->sock[other];
	a->peer = other;
	b->peer = fd;
	a->local = (struct addr){ .family = AF_INET, .port = w->next_port++ };
	a->local.v4[0] = 127;
	a->local.v4[3] = 1;
	a->remote = *to;
	b->local = *to;
	b->remote = a->local;
	ls->queue[ls->n_queue++] = other;
	sim_trace(w, "connect", fd, other);
	return 0;
}

int sim_connect(struct sim *w, const struct addr *to)
{
	int fd = sim_open(w, SIM_STREAM);

	LB_ASSERT(fd >= 0);
	int r = sim_join(w, fd, to);
	if (r < 0) {
		sim_close(w, fd);
		return r;
	}
	return fd;
}

int sim_accept(struct sim *w, int fd)
{
	struct sim_sock *ls = sim_sock(w, fd);

	LB_ASSERT(ls->kind == SIM_LISTEN);
	if (ls->n_queue == 0)
		return -EAGAIN;
	int got = ls->queue[0];
	memmove(ls->queue, ls->queue + 1, --ls->n_queue * sizeof(ls->queue[0]));
	sim_trace(w, "accept", fd, got);
	return got;
}

ssize_t sim_send(struct sim *w, int fd, const void *p, size_t n)
{
	struct sim_sock *s = sim_sock(w, fd);

	if (s->error != 0) {
		int error = s->error;
		s->error = 0;
		s->is_broken = true;
		return error;
	}
	if (s->is_write_shut || s->peer < 0 || s->is_broken)
		return -EPIPE;
	struct sim_sock *peer = &w->sock[s->peer];
	if (peer->is_closed_rx) { /* nobody reads there any more: the kernel answers with a reset */
		s->error = -ECONNRESET;
		return (ssize_t)n;
	}
	size_t room = w->window - peer->n_rx;
	if (room == 0)
		return -EAGAIN;
	if (n > room)
		n = room;
	if (n > 1 && sim_rand(w, 4) == 0)
		n = 1 + sim_rand(w, n);
	memcpy(peer->rx + peer->n_rx, p, n);
	peer->n_rx += n;
	sim_trace(w, "send", fd, (long)n);
	return (ssize_t)n;
}

ssize_t sim_recv(struct sim *w, int fd, void *p, size_t n)
{
	struct sim_sock *s = sim_sock(w, fd);

	if (s->n_rx > 0) {
		if (n > s->n_rx)
			n = s->n_rx;
		if (n > 1 && sim_rand(w, 4) == 0)
			n = 1 + sim_rand(w, n);
		memcpy(p, s->rx, n);
		s->n_rx -= n;
		memmove(s->rx, s->rx + n, s->n_rx);
		sim_trace(w, "recv", fd, (long)n);
		return (ssize_t)n;
	}
	if (s->error != 0) {
		int error = s->error;
		s->error = 0;
		s->is_broken = true;
		return error;
	}
	return s->is_eof || s->is_broken ? 0 : -EAGAIN;
}

void sim_shutdown_write(struct sim *w, int fd)
{
	struct sim_sock *s = sim_sock(w, fd);

	s->is_write_shut = true;
	if (s->peer >= 0)
		w->sock[s->peer].is_eof = true;
	sim_trace(w, "fin", fd, 0);
}

void sim_reset(struct sim *w, int fd)
{
	sim_sock(w, fd)->is_resetting = true;
	sim_close(w, fd);
}

void sim_close(struct sim *w, int fd)
{
	struct sim_sock *s = sim_sock(w, fd);

	sim_trace(w, s->is_resetting ? "reset" : "close", fd, 0);
	for (size_t i = 0; i < s->n_queue; i++) {
		w->sock[s->queue[i]].is_resetting = true;
		sim_close(w, s->queue[i]);
	}
	if (s->peer >= 0) {
		struct sim_sock *peer = &w->sock[s->peer];
		/* Unread bytes turn a close into a reset, as in TCP. */
		if (s->is_resetting || s->n_rx > 0)
			peer->error = -ECONNRESET;
		else
			peer->is_eof = true;
		peer->peer = -1;
		peer->is_orphan = true;
	}
	free(s->rx);
	*s = (struct sim_sock){ .kind = SIM_FREE, .generation = s->generation + 1 };
}

/* ---- turns ----------------------------------------------------------------------------------- */

void sim_add_actor(struct sim *w, sim_actor_fn fn, void *arg)
{
	LB_ASSERT(w->n_actors < SIM_MAX_ACTORS);
	w->actor[w->n_actors].fn = fn;
	w->actor[w->n_actors++].arg = arg;
}

/* Nobody can act: time jumps to the earliest timer. False: there is none. */
static bool jump(struct sim *w)
{
	uint64_t wait_ms = UINT64_MAX;

	for (size_t i = 0; i < w->n_loops; i++) {
		uint64_t ms = timer_wheel_wait_ms(&w->loop[i]->timers);
		if (ms < wait_ms)
			wait_ms = ms;
	}
	if (wait_ms == UINT64_MAX)
		return false;
	w->now_ns += (wait_ms > 0 ? wait_ms : 1) * 1000000;
	return true;
}

uint64_t sim_run(struct sim *w, bool (*is_done)(void *arg), void *arg, uint64_t max_turns)
{
	size_t n_idle = 0;

	for (uint64_t turn = 1; turn <= max_turns; turn++) {
		size_t n = w->n_loops + w->n_actors;
		size_t i = sim_rand(w, n);
		bool has_acted;

		if (is_done(arg))
			return turn;
		w->n_done = 0;
		if (i < w->n_loops) {
			(void)loop_turn(w->loop[i], 0);
			has_acted = w->n_done > 0;
		} else {
			has_acted = w->actor[i - w->n_loops].fn(w->actor[i - w->n_loops].arg);
		}
		/* Idle is: nobody did anything in so many turns that everyone had several. */
		n_idle = has_acted ? 0 : n_idle + 1;
		if (n_idle > 16 * n) {
			n_idle = 0;
			if (!jump(w))
				return 0;
		}
	}
	return 0;
}
