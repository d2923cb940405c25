/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One side of a conversation whose streams have begun: it sends its own stream, compares the bytes
 * that it gets with the other side's stream, and leaves as its plan says.
 */
#include <errno.h>
#include <string.h>

#include "scenario.h"

void peer_begin(struct peer *p, const struct peer *other)
{
	stream_init(&p->sends, p->form, p->key, p->total);
	stream_init(&p->gets, other->form, other->key, other->total);
	p->deadline_ms = sim_now_ms(p->t->w) + PATIENCE_MS;
}

bool peer_is_late(const struct peer *p)
{
	return sim_now_ms(p->t->w) >= p->deadline_ms;
}

void peer_leave(struct peer *p, bool with_reset)
{
	if (p->sock < 0)
		return;
	sim_say(p->t->w, "%-7s conversation %u %s, sent %llu got %llu", p->name,
		p->conversation->id, with_reset ? "resets" : "closes",
		(unsigned long long)p->n_sent, (unsigned long long)p->n_got);
	if (with_reset)
		sim_reset(p->t->w, p->sock);
	else
		sim_close(p->t->w, p->sock);
	p->sock = -1;
	p->has_left = true;
	p->is_over = true;
}

void peer_take(struct peer *p, const uint8_t *bytes, size_t n)
{
	size_t right = stream_check(&p->gets, bytes, n);

	SIM_CHECK(right == n, "conversation %u: the %s got a wrong byte at %llu of its stream",
		  p->conversation->id, p->name, (unsigned long long)(p->n_got + right));
	p->n_got += n;
}

bool peer_send(struct peer *p)
{
	struct sim *w = p->t->w;

	if (p->is_shut || p->has_sent_all || p->error != 0)
		return false;
	if (p->n_made == 0) {
		p->made_at = 0;
		p->n_made = stream_make(&p->sends, p->made, 1 + sim_rand(w, sizeof(p->made)));
		if (p->n_made == 0) {
			p->has_sent_all = true;
			return true;
		}
	}
	ssize_t r = sim_send(w, p->sock, p->made + p->made_at, p->n_made);
	if (r > 0) {
		p->n_sent += (size_t)r;
		p->made_at += (size_t)r;
		p->n_made -= (size_t)r;
	} else if (r != -EAGAIN) {
		p->error = (int)r; /* it reads on: bytes may have come before the reset */
	}
	return r != -EAGAIN;
}

bool peer_receive(struct peer *p)
{
	uint8_t bytes[16384];
	size_t most = p->max_read < sizeof(bytes) ? p->max_read : sizeof(bytes);

	if (p->has_eof || p->is_deaf)
		return false;
	ssize_t r = sim_recv(p->t->w, p->sock, bytes, 1 + sim_rand(p->t->w, most));
	if (r == -EAGAIN)
		return false;
	if (r > 0)
		peer_take(p, bytes, (size_t)r);
	else if (r == 0)
		p->has_eof = true;
	else
		p->error = (int)r;
	if (r < 0 && p->error != 0)
		p->has_eof = true; /* a reset is an end, too */
	p->is_deaf = p->n_got >= p->reads_most;
	return true;
}

/* Leaves in the middle of the streams, if that is its plan. Returns whether it has left. */
static bool leave_early(struct peer *p)
{
	if (p->n_sent + p->n_got < p->leaves_at)
		return false;
	if (p->leaving == LEAVE_EARLY) {
		peer_leave(p, false);
	} else if (p->leaving == LEAVE_RESET) {
		peer_leave(p, true);
	} else if (p->leaving == LEAVE_CUT) {
		sim_cut(p->t->w, p->sock);
		p->was_cut = true;
		peer_leave(p, false); /* lb does not learn of it */
	} else {
		return false;
	}
	return true;
}

/* Sends the FIN when all is sent, and leaves when the other side has ended, if that is its plan. */
static void leave_late(struct peer *p)
{
	bool wants_fin = p->leaving == LEAVE_DONE || (p->has_eof && p->leaving != LEAVE_NEVER);

	if (p->has_sent_all && wants_fin && !p->is_shut && p->error == 0 &&
	    !(p->is_client && p->conversation->kind == CONV_PLAIN)) {
		sim_shutdown_write(p->t->w, p->sock);
		p->is_shut = true;
	}
	bool has_nothing_left = p->is_shut || p->has_sent_all || p->error != 0;
	if ((p->has_eof && has_nothing_left) || peer_is_late(p))
		peer_leave(p, false);
}

enum sim_step peer_step(struct peer *p)
{
	if (p->is_over)
		return SIM_DONE;
	bool has_acted = peer_send(p);
	has_acted = peer_receive(p) || has_acted;
	if (!leave_early(p))
		leave_late(p);
	if (p->is_over)
		return SIM_DONE;
	if (p->pause_ms > 0 && sim_chance(p->t->w, 6))
		sim_sleep_ms(p->t->w, 1 + sim_rand(p->t->w, p->pause_ms));
	sim_wake_at_ms(p->t->w, p->deadline_ms);
	return has_acted ? SIM_ACTED : SIM_IDLE;
}
