/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lb's own answers. The request's outcome gives the status and the text of an answer, and the end
 * reason of the connection (the table in outcome.h). The connection ends with the request, because
 * lb serves one request per connection.
 *
 * A 503 has a Retry-After of 1 to 5 seconds at random, so that clients that were refused at the
 * same moment do not all try again at the same moment.
 *
 * Thread: owner worker.
 */
#include "proxy/answer.h"

#include <stdio.h>

#include "proto/forward.h"
#include "proxy/closing.h"
#include "proxy/exchange.h"
#include "proxy/listener.h"
#include "proxy/worker.h"

#define EXTRA_MAX 40

/* Returns the field lines that only an answer of this status has, each with its CRLF: Retry-After
 * when `status` is 503. */
static const char *extra_lines(struct session *s, int status, char buf[static EXTRA_MAX])
{
	uint8_t r;

	if (status != 503)
		return "";
	loop_random(s->worker->loop, &r, 1);
	(void)snprintf(buf, EXTRA_MAX, "Retry-After: %d\r\n", 1 + r % 5);
	return buf;
}

/* Returns a buffer for an answer, or NULL when no answer can be given: in mode tcp, or when memory
 * is short. */
static struct buf *get_buf(struct session *s)
{
	struct buf_pool *pool = s->worker->loop->bufs;

	if (!s->is_http || s->x == NULL || buf_reserve(pool, BUF_SMALL, 1) < 0)
		return NULL;
	return buf_get(pool, BUF_SMALL);
}

void answer_status(struct session *s, enum outcome o, int status, const char *why)
{
	struct worker *w = s->worker;
	char extra[EXTRA_MAX];

	if (session_is_over(s))
		return;
	LB_ASSERT(s->x != NULL && outcome_end(o) != SESS_END_NONE);
	exchange_set_outcome(s->x, o);
	if (s->x->state <= EXCHANGE_PICK)
		counter_add(&s->from->listener->tally[w->id].rejected, 1);
	s->x->error = why;
	const char *lines = extra_lines(s, status, extra);
	struct buf *b = get_buf(s);
	if (b == NULL) {
		s->must_reset = true;
		session_close_now(s, outcome_end(o));
		return;
	}

	enum forward_body body = s->x->req.method == HTTP1_HEAD ? FORWARD_NO_BODY : FORWARD_BODY;
	int n = forward_error(status, why, lines, body, b->data, b->cap);
	LB_ASSERT(n > 0);
	b->len = (uint32_t)n;
	session_set_status(s, (unsigned)status);
	closing_send(s, outcome_end(o), b);
}

void answer_error(struct session *s, enum outcome o, const char *why)
{
	answer_status(s, o, outcome_status(o), why != NULL ? why : outcome_told(o));
}

void answer_out_of_memory(struct session *s)
{
	s->worker->is_short = true;
	answer_error(s, OUTCOME_NO_BACKEND, "out of memory");
}
