/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a snapshot is freed. daemon/stats.c fills snapshots; format.c and prom.c write them as text.
 */
#include "admin/status.h"

#include <stdlib.h>

void status_deinit(struct status *s)
{
	for (size_t i = 0; i < s->n_pools + s->n_past_pools; i++) {
		free(s->pools[i].backends);
		free(s->pools[i].sources);
		free(s->pools[i].past);
	}
	free(s->workers);
	free(s->listeners);
	free(s->certs);
	free(s->pools);
	free(s->ends);
	free(s->outcomes);
	free(s->counters);
	*s = (struct status){ 0 };
}
