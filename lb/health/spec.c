/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a probe's checks are to do, as copies that the probe owns. The configuration that the
 * settings came from may be freed while a check runs.
 *
 * Thread: main.
 */
#include "health/spec.h"

#include <stdlib.h>
#include <string.h>

bool check_spec_set_conf(struct check_spec *s, const struct conf_health *conf,
			 enum conf_proxy proxy)
{
	char *path = strdup(conf->path);
	char *host = conf->host != NULL ? strdup(conf->host) : NULL;

	if (path == NULL || (conf->host != NULL && host == NULL)) {
		free(path);
		free(host);
		return false;
	}
	free(s->conf.path);
	free(s->conf.host);
	s->conf = *conf;
	s->conf.path = path;
	s->conf.host = host;
	s->proxy = proxy;
	return true;
}

bool check_spec_set_sources(struct check_spec *s, const struct addr *sources, size_t n)
{
	struct addr *own = NULL;
	size_t n_own = 0;

	if (n > 0) {
		own = calloc(n, sizeof(*own));
		if (own == NULL)
			return false;
	}
	for (size_t i = 0; i < n; i++)
		if (sources[i].family == s->addr.family)
			own[n_own++] = sources[i];
	free(s->sources);
	s->sources = own;
	s->n_sources = n_own;
	return true;
}

const struct addr *check_spec_next_source(struct check_spec *s)
{
	return s->n_sources > 0 ? &s->sources[s->next_source++ % s->n_sources] : NULL;
}

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool check_spec_is_same(const struct check_spec *s, const struct conf_health *conf,
			enum conf_proxy proxy)
{
	const struct conf_health *own = &s->conf;

	return s->proxy == proxy && own->type == conf->type &&
	       own->interval_ms == conf->interval_ms && own->timeout_ms == conf->timeout_ms &&
	       own->status_min == conf->status_min && own->status_max == conf->status_max &&
	       is_same_text(own->path, conf->path) && is_same_text(own->host, conf->host);
}

void check_spec_clear(struct check_spec *s)
{
	free(s->conf.path);
	free(s->conf.host);
	free(s->sources);
	*s = (struct check_spec){ .addr = s->addr };
}
