/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between a receive's completion and the step that gets the bytes, where the bytes are records.
 *
 * A close_notify ends the stream as a FIN ends a plain one. A FIN without it ends the stream, too,
 * as it does elsewhere, and is counted: somebody on the way may have cut the stream short. Broken
 * records, and an alert of the peer's, end it as a reset does.
 *
 * Thread: owner worker. Hot: no lock.
 */
#include "proxy/records.h"

#include <errno.h>

#include "net/tls.h"
#include "proxy/exchange.h"
#include "proxy/worker.h"

static int broken(struct session *s, const struct tls *t)
{
	if (s->x != NULL)
		s->x->error = tls_error(t);
	session_set_end_reason(s, SESS_END_TLS_FAILED);
	return -ECONNRESET;
}

int records_open(struct session *s, enum side side, const struct completion *c, struct queue *out)
{
	struct tls_ends *es = s->worker->tls;
	struct tls *t = conn_tls(s->conn[side]);

	LB_ASSERT(t != NULL && tls_is_started(t));
	if (c != NULL && c->res <= 0) {
		if (c->res == 0 && !tls_got_close(t))
			counter_add(&s->worker->stats->tls_truncated, 1);
		return c->res;
	}
	if (c != NULL)
		tls_feed(es, t, c->buf);
	switch (tls_reserve(es) == 0 ? tls_open(es, t, out) : TLS_NO_BUFS) {
	case TLS_DONE:
	case TLS_MORE:
		if (tls_wants_seal(t)) /* a KeyUpdate asks for one */
			session_mark_dirty(s, dir_to(side));
		return RECORDS_GO_ON;
	case TLS_END: return 0;
	case TLS_NO_BUFS: return -ENOMEM;
	case TLS_RESET: return -ECONNRESET;
	case TLS_FAILED: return broken(s, t);
	}
	return -ECONNRESET;
}
