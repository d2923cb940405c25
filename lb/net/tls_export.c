/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_export.h"

#include "net/tls_priv.h"
#include "util/slab.h"

void tls_export(struct tls *t, struct tls_export *ret)
{
	LB_ASSERT(t->state == TLS_IS_COMPACT);
	*ret = (struct tls_export){
		.rx = t->rx,
		.tx = t->tx,
		.messages = t->messages,
		.suite = t->suite,
		.n_idle = t->n_idle,
		.is_client = t->is_client,
		.got_close = t->got_close,
		.sent_close = t->sent_close,
		.must_update = t->must_update,
		.must_request = t->must_request,
		.has_requested = t->has_requested,
	};
	tls_break(t, "handed over");
}

struct tls *tls_import(struct tls_ends *es, const struct tls_export *e)
{
	struct tls *t = slab_get(es->slab);

	LB_ASSERT(e->suite.aead < TLS_N_AEADS && e->n_idle <= TLS_IDLE_RECORDS_MAX);
	LB_ASSERT(e->suite.is_tls_1_3 || !(e->must_update || e->must_request));
	if (t == NULL)
		return NULL;
	t->rx = e->rx;
	t->tx = e->tx;
	t->messages = e->messages;
	t->suite = e->suite;
	t->n_idle = e->n_idle;
	t->is_client = e->is_client;
	t->got_close = e->got_close;
	t->sent_close = e->sent_close;
	t->must_update = e->must_update;
	t->must_request = e->must_request;
	t->has_requested = e->has_requested;
	tls_set_state(t, TLS_IS_COMPACT);
	return t;
}
