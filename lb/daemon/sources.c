/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When this machine does not have a source address of a pool, connections from this address fail.
 * So each source address is bound once to see whether the machine has it.
 *
 * Thread: main.
 */
#include "daemon/sources.h"

#include "conf/conf.h"
#include "daemon/refusal.h"
#include "ev/loop.h"
#include "net/sock.h"

static int try_pool(struct loop *l, const struct conf_pool *c, struct err *e)
{
	int result = 0;

	for (size_t i = 0; i < c->n_sources; i++) {
		int r = sock_try_source(l, &c->sources[i]);
		if (r < 0)
			result = refusal_source(e, c->sources_at[i], &c->sources[i], r);
	}
	return result;
}

int sources_try(struct loop *l, const struct conf *conf, struct err *e)
{
	int result = 0;

	loop_assert_owner(l);
	/* After a failure the other addresses are still tried, so that `e` names every address that
	 * this machine does not have. */
	for (size_t i = 0; i < conf->n_pools; i++) {
		int r = try_pool(l, &conf->pools[i], e);
		if (r < 0)
			result = r;
	}
	return result;
}
