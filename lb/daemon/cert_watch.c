/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate is known by its file and by its end, so that a renewed one begins anew, and one
 * that a reload has kept is not warned of again. Its stage is the number of thresholds that it has
 * passed.
 */
#include "daemon/cert_watch.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/snapshot.h"
#include "util/assert.h"
#include "util/log.h"

#define DAY_S 86400

/* How often the dates are compared while no configuration changes. */
#define LOOK_S 60

/* Days left; the last threshold is the end. */
static const int64_t thresholds[] = { 30, 14, 7, 1, 0 };

struct cert_seen {
	char *file; /* owns */
	int64_t not_after_s;
	unsigned stage;
};

int64_t cert_days_left(int64_t not_after_s, uint64_t now_s)
{
	int64_t left = not_after_s - (int64_t)now_s;

	return left >= 0 ? left / DAY_S : -((-left + DAY_S - 1) / DAY_S);
}

static unsigned stage_of(int64_t not_after_s, uint64_t now_s)
{
	int64_t left = not_after_s - (int64_t)now_s;
	unsigned stage = 0;

	while (stage < ARRAY_SIZE(thresholds) && left < thresholds[stage] * DAY_S)
		stage++;
	return stage;
}

static int compare(const void *pa, const void *pb)
{
	const struct cert_seen *a = pa, *b = pb;
	int r = strcmp(a->file, b->file);

	if (r != 0)
		return r;
	return a->not_after_s < b->not_after_s ? -1 : a->not_after_s > b->not_after_s;
}

static void free_seen(struct cert_seen *seen, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(seen[i].file);
	free(seen);
}

/* Of those that are the same, the first one stays. */
static size_t drop_doubles(struct cert_seen *seen, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (kept > 0 && compare(&seen[kept - 1], &seen[i]) == 0)
			free(seen[i].file);
		else
			seen[kept++] = seen[i];
	}
	return kept;
}

/* Takes the certificates of the snapshot, with the stages that they had. False: memory is short. */
static bool take(struct cert_watch *w, const struct snapshot *p, uint64_t now_s)
{
	size_t n = 0, i = 0;

	for (size_t l = 0; l < p->n_listeners; l++)
		n += p->listeners[l].n_certs;
	struct cert_seen *seen = calloc(n + 1, sizeof(*seen));
	if (seen == NULL)
		return false;
	for (size_t l = 0; l < p->n_listeners; l++) {
		for (size_t k = 0; k < p->listeners[l].n_certs; k++) {
			const struct snapshot_cert *c = &p->listeners[l].certs[k];
			seen[i].file = strdup(c->file);
			seen[i].not_after_s = c->not_after_s;
			if (seen[i++].file == NULL) {
				free_seen(seen, i);
				return false;
			}
		}
	}
	qsort(seen, n, sizeof(*seen), compare);
	n = drop_doubles(seen, n);
	for (i = 0; i < n; i++) {
		const struct cert_seen *old =
			w->n > 0 ? bsearch(&seen[i], w->seen, w->n, sizeof(*seen), compare) : NULL;
		bool is_over = stage_of(seen[i].not_after_s, now_s) == ARRAY_SIZE(thresholds);
		seen[i].stage = old != NULL ? old->stage : is_over ? ARRAY_SIZE(thresholds) : 0;
	}
	free_seen(w->seen, w->n);
	w->seen = seen;
	w->n = n;
	w->of = p;
	return true;
}

void cert_watch_tick(struct cert_watch *w, const struct snapshot *p, uint64_t now_s,
		     const struct log *log)
{
	if (w->of == p && now_s < w->next_s)
		return;
	if (w->of != p && !take(w, p, now_s))
		return; /* tried again at the next tick */
	w->next_s = now_s + LOOK_S;
	for (size_t i = 0; i < w->n; i++) {
		struct cert_seen *c = &w->seen[i];
		unsigned stage = stage_of(c->not_after_s, now_s);
		if (stage <= c->stage)
			continue;
		c->stage = stage;
		if (stage == ARRAY_SIZE(thresholds))
			log_warn(log, "certificate has expired file=%s", c->file);
		else
			log_warn(log, "certificate expires soon file=%s days_left=%lld", c->file,
				 (long long)cert_days_left(c->not_after_s, now_s));
	}
}

void cert_watch_deinit(struct cert_watch *w)
{
	free_seen(w->seen, w->n);
	*w = CERT_WATCH_INIT;
}
