/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot in Prometheus' text format 0.0.4, for /metrics.
 *
 * Terms of the format: a "metric" has a name, a kind (counter, gauge, histogram) and a help text; a
 * "sample" is one value of a metric, with labels; samples of a metric with the same labels over
 * time are a "series". All samples of a metric stand together, below its # HELP and # TYPE lines
 * (type()). No two samples of a page may have the same metric and labels.
 *
 * prom_print() calls one print_NAME() for each group of metrics. Most groups come from a table of
 * struct figure, one row for each metric, whose offset leads to a uint64_t in the struct that the
 * samples are about (value_at()): a listener, a worker, a backend.
 *
 * Backends need one step more, because a pool may have several backends of one name, which have to
 * share their series: one in the file, removed backends that still have connections, and the sums
 * of backends that are gone (struct status_past). make_series() makes one struct series for each of
 * them, and merge() adds up the struct series of one name. A struct series without a state stands
 * for backends that are gone: it has counters, but no gauges.
 *
 * A "past pool" has left the file. Its counters are still printed, so that no counter of the page
 * ever goes down. In status.pools past pools come after the pools of the file.
 *
 * Relies on names without control characters; label() escapes the characters that the format asks
 * for. When memory is short, the struct text remembers that, and the caller reports it.
 *
 * Thread: main.
 */
#include "admin/prom.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"

static void type(struct text *out, const char *name, const char *kind, const char *help)
{
	text_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

/* Adds NAME="VALUE", with the value escaped as the format asks. */
static void label(struct text *out, const char *name, const char *value)
{
	text_addf(out, "%s=\"", name);
	for (const char *p = value; *p != '\0'; p++) {
		if (*p == '\n')
			text_addf(out, "\\n");
		else if (*p == '"' || *p == '\\')
			text_addf(out, "\\%c", *p);
		else
			text_add(out, (struct slice){ .p = p, .n = 1 });
	}
	text_addf(out, "\"");
}

static void single(struct text *out, const char *name, const char *kind, const char *help,
		   uint64_t v)
{
	type(out, name, kind, help);
	text_addf(out, "%s %" PRIu64 "\n", name, v);
}

/* ---- listeners and workers ------------------------------------------------------------------- */

/* A metric that has one sample for each object of one kind. */
struct figure {
	const char *name, *kind, *help;
	size_t offset; /* offset of the uint64_t in the object's struct */
};

static uint64_t value_at(const void *object, size_t offset)
{
	uint64_t v;

	LB_ASSERT(offset % sizeof(v) == 0);
	memcpy(&v, (const char *)object + offset, sizeof(v));
	return v;
}

/* clang-format off */
#define AT(member) offsetof(struct status_listener, member)
static const struct figure listener_figures[] = {
	{ "lb_listener_connections_active", "gauge",
	  "Connections that came in by a listener and are open.", AT(active) },
	{ "lb_listener_accepted_total", "counter",
	  "Connections accepted by a listener.", AT(accepted) },
	{ "lb_listener_rejected_total", "counter",
	  "Connections that lb itself answered before a backend was reached.", AT(rejected) },
};
#undef AT

#define AT(member) offsetof(struct status_worker, member)
static const struct figure worker_figures[] = {
	{ "lb_worker_connections_active", "gauge", "Connections a worker has.", AT(active) },
	{ "lb_worker_accepted_total", "counter", "Connections a worker has accepted.", AT(accepted) },
	{ "lb_worker_connections_limit", "gauge",
	  "Connections that a worker's descriptors allow.", AT(limit) },
};
#undef AT

/* clang-format on */

static void print_listeners(const struct status *s, struct text *out)
{
	for (size_t f = 0; f < ARRAY_SIZE(listener_figures); f++) {
		const struct figure *fig = &listener_figures[f];

		type(out, fig->name, fig->kind, fig->help);
		for (size_t i = 0; i < s->n_listeners; i++) {
			const struct status_listener *l = &s->listeners[i];

			text_addf(out, "%s{", fig->name);
			label(out, "listener", l->name);
			text_addf(out, ",");
			label(out, "bind", l->bind);
			text_addf(out, "} %" PRIu64 "\n", value_at(l, fig->offset));
		}
	}
}

/* `offset` is that of an int64_t in struct status_cert. */
static void print_cert_figure(const struct status *s, const char *name, const char *help,
			      size_t offset, struct text *out)
{
	type(out, name, "gauge", help);
	for (size_t i = 0; i < s->n_certs; i++) {
		const struct status_cert *c = &s->certs[i];
		int64_t v;

		memcpy(&v, (const char *)c + offset, sizeof(v));
		text_addf(out, "%s{", name);
		label(out, "listener", c->listener);
		text_addf(out, ",");
		label(out, "file", c->file);
		text_addf(out, ",");
		label(out, "name", c->n_names > 0 ? c->names[0] : "");
		text_addf(out, "} %" PRId64 "\n", v);
	}
}

static void print_certs(const struct status *s, struct text *out)
{
	print_cert_figure(s, "lb_certificate_days_left",
			  "Whole days until a certificate expires, negative once it has.",
			  offsetof(struct status_cert, days_left), out);
	print_cert_figure(s, "lb_certificate_not_after_timestamp_seconds",
			  "When a certificate expires, since 1970.",
			  offsetof(struct status_cert, not_after_s), out);
}

static void print_workers(const struct status *s, struct text *out)
{
	for (size_t f = 0; f < ARRAY_SIZE(worker_figures); f++) {
		const struct figure *fig = &worker_figures[f];

		type(out, fig->name, fig->kind, fig->help);
		for (size_t i = 0; i < s->n_workers; i++)
			text_addf(out, "%s{worker=\"%u\"} %" PRIu64 "\n", fig->name,
				  s->workers[i].id, value_at(&s->workers[i], fig->offset));
	}
}

/* ---- backends -------------------------------------------------------------------------------- */

static const char *const states[] = { "up", "down", "draining", "maint", "checking" };

/* The sums over all backends of one name in one pool: those that exist and those that are gone. */
struct series {
	const char *name;
	const char *state; /* NULL: all backends of this name are gone */
	bool is_in_file;
	uint64_t active, limit, is_up, weight;
	struct backend_sums sums;
};

/* clang-format off */
#define AT(member) offsetof(struct series, member)
static const struct figure backend_gauges[] = {
	{ "lb_backend_connections_active", "gauge",
	  "Connections a backend has, from the pick on.", AT(active) },
	{ "lb_backend_connections_limit", "gauge",
	  "Connections a backend takes at most (max_connections), 0 for no limit.", AT(limit) },
	{ "lb_backend_up", "gauge", "1 where a backend is up, 0 in any other state.", AT(is_up) },
	{ "lb_backend_weight", "gauge", "A backend's weight.", AT(weight) },
};
#undef AT

/* Counters of a backend. A pool has the same counters, which are sums over its backends. */
#define AT(member) offsetof(struct backend_sums, member)
static const struct sum {
	const char *name;      /* the end of the metrics' names, behind "lb_backend_" and "lb_pool_" */
	const char *help;      /* the help text in front of "a backend"; NULL: the metric of the row before */
	const char *direction; /* the value of a label "direction"; NULL: no such label */
	size_t offset;
} sums[] = {
	{ "connections_total", "Connections given to", NULL, AT(total) },
	{ "failed_total",
	  "Failed connects, bad handshakes and upgrades answered with 5xx of", NULL, AT(failed) },
	{ "check_failures_total", "Failed health checks of", NULL, AT(check_failures) },
	{ "bytes_total", "Bytes from clients (in) and to clients (out) of", "in", AT(bytes_in) },
	{ "bytes_total", NULL, "out", AT(bytes_out) },
};
#undef AT
/* clang-format on */

/* The struct series of one pool, one for each name after merge(). */
struct series_list {
	struct series *s; /* owns */
	size_t n;
};

static int by_name(const void *pa, const void *pb)
{
	const struct series *a = pa, *b = pb;

	return strcmp(a->name, b->name);
}

static void add_series(struct series *to, const struct series *more)
{
	LB_ASSERT(!(to->is_in_file && more->is_in_file)); /* names in the file differ */
	/* When one of the backends is in the file, the state is the state of that backend. */
	if (to->state == NULL || more->is_in_file)
		to->state = more->state;
	to->is_in_file |= more->is_in_file;
	to->active += more->active;
	to->limit += more->limit;
	to->is_up += more->is_up;
	to->weight += more->weight;
	backend_sums_add(&to->sums, &more->sums);
}

static struct series series_of(const struct status_backend *b)
{
	return (struct series){
		.name = b->name,
		.state = b->state,
		.is_in_file = !b->is_removed,
		.active = b->active,
		.limit = b->max_conns,
		.is_up = strcmp(b->state, "up") == 0,
		.weight = b->is_removed ? 0 : b->weight,
		.sums = {
			.total = b->total,
			.failed = b->failed,
			.bytes_in = b->bytes_in,
			.bytes_out = b->bytes_out,
			.check_failures = b->check_failures,
		},
	};
}

/* Sorts the list by name, and adds up the elements that have one name. */
static void merge(struct series_list *l)
{
	size_t n = 0;

	qsort(l->s, l->n, sizeof(*l->s), by_name);
	for (size_t i = 0; i < l->n; i++) {
		if (n > 0 && strcmp(l->s[n - 1].name, l->s[i].name) == 0)
			add_series(&l->s[n - 1], &l->s[i]);
		else
			l->s[n++] = l->s[i];
	}
	LB_ASSERT(n > 0 && n <= l->n);
	l->n = n;
}

/* Makes the struct series of a pool. Returns 0 or -ENOMEM. The caller frees ret->s. */
static int make_series(const struct status_pool *p, struct series_list *ret)
{
	bool may_have_doubles = p->n_past > 0;

	ret->s = calloc(p->n_backends + p->n_past + 1, sizeof(*ret->s));
	if (ret->s == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_backends; i++) {
		ret->s[ret->n++] = series_of(&p->backends[i]);
		may_have_doubles |= p->backends[i].is_removed;
	}
	for (size_t i = 0; i < p->n_past; i++)
		ret->s[ret->n++] = (struct series){
			.name = p->past[i].name,
			.sums = p->past[i].sums,
		};
	LB_ASSERT(ret->n == p->n_backends + p->n_past);
	if (may_have_doubles)
		merge(ret);
	return 0;
}

/* Prints one sample of a backend. `extra` is one more label behind a comma, or "". */
static void print_sample(const char *name, const struct status_pool *p, const struct series *s,
			 const char *extra, uint64_t v, struct text *out)
{
	text_addf(out, "%s{", name);
	label(out, "pool", p->name);
	text_addf(out, ",");
	label(out, "backend", s->name);
	text_addf(out, "%s} %" PRIu64 "\n", extra, v);
}

static void print_gauges(const struct status *s, const struct series_list *l, struct text *out)
{
	for (size_t f = 0; f < ARRAY_SIZE(backend_gauges); f++) {
		const struct figure *fig = &backend_gauges[f];

		type(out, fig->name, fig->kind, fig->help);
		for (size_t i = 0; i < s->n_pools; i++)
			for (size_t k = 0; k < l[i].n; k++)
				if (l[i].s[k].state != NULL)
					print_sample(fig->name, &s->pools[i], &l[i].s[k], "",
						     value_at(&l[i].s[k], fig->offset), out);
	}
}

static void print_states(const struct status *s, const struct series_list *l, struct text *out)
{
	const char *name = "lb_backend_state";
	char extra[32];

	type(out, name, "gauge", "1 for the state that a backend is in, 0 for the others.");
	for (size_t i = 0; i < s->n_pools; i++) {
		for (size_t k = 0; k < l[i].n; k++) {
			const struct series *b = &l[i].s[k];
			for (size_t n = 0; n < ARRAY_SIZE(states) && b->state != NULL; n++) {
				(void)snprintf(extra, sizeof(extra), ",state=\"%s\"", states[n]);
				print_sample(name, &s->pools[i], b, extra,
					     strcmp(b->state, states[n]) == 0, out);
			}
		}
	}
}

static void print_sums(const struct status *s, const struct series_list *l, struct text *out)
{
	char name[64], extra[32], help[128];

	for (size_t f = 0; f < ARRAY_SIZE(sums); f++) {
		const struct sum *sum = &sums[f];

		(void)snprintf(name, sizeof(name), "lb_backend_%s", sum->name);
		extra[0] = '\0';
		if (sum->direction != NULL)
			(void)snprintf(extra, sizeof(extra), ",direction=\"%s\"", sum->direction);
		if (sum->help != NULL) {
			(void)snprintf(help, sizeof(help), "%s a backend.", sum->help);
			type(out, name, "counter", help);
		}
		for (size_t i = 0; i < s->n_pools + s->n_past_pools; i++)
			for (size_t k = 0; k < l[i].n; k++)
				print_sample(name, &s->pools[i], &l[i].s[k], extra,
					     value_at(&l[i].s[k].sums, sum->offset), out);
	}
}

static void print_pools(const struct status *s, struct text *out)
{
	char name[64], help[128];

	for (size_t f = 0; f < ARRAY_SIZE(sums); f++) {
		const struct sum *sum = &sums[f];

		(void)snprintf(name, sizeof(name), "lb_pool_%s", sum->name);
		if (sum->help != NULL) {
			(void)snprintf(help, sizeof(help),
				       "%s all backends that a pool has and had.", sum->help);
			type(out, name, "counter", help);
		}
		for (size_t i = 0; i < s->n_pools + s->n_past_pools; i++) {
			text_addf(out, "%s{", name);
			label(out, "pool", s->pools[i].name);
			if (sum->direction != NULL) {
				text_addf(out, ",");
				label(out, "direction", sum->direction);
			}
			text_addf(out, "} %" PRIu64 "\n", value_at(&s->pools[i].sums, sum->offset));
		}
	}
}

/* Prints one sample for each backend and each of its source addresses. */
static void print_ports(const struct status *s, const char *name, size_t offset, struct text *out)
{
	for (size_t i = 0; i < s->n_pools; i++) {
		const struct status_pool *p = &s->pools[i];

		for (size_t k = 0; k < p->n_backends; k++) {
			const struct status_backend *b = &p->backends[k];

			for (size_t n = 0; n < b->n_sources; n++) {
				text_addf(out, "%s{", name);
				label(out, "pool", p->name);
				text_addf(out, ",");
				label(out, "backend", b->name);
				text_addf(out, ",");
				label(out, "source", b->sources[n].text);
				text_addf(out, "} %" PRIu64 "\n", value_at(b, offset));
			}
		}
	}
}

static void print_backends(const struct status *s, struct text *out)
{
	size_t n = s->n_pools + s->n_past_pools;
	struct series_list *l = calloc(n + 1, sizeof(*l));
	int r = l == NULL ? -ENOMEM : 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = make_series(&s->pools[i], &l[i]);
	if (r == 0) {
		print_gauges(s, l, out);
		print_states(s, l, out);
		print_sums(s, l, out);
	}
	out->failed |= r < 0;
	for (size_t i = 0; i < n && l != NULL; i++)
		free(l[i].s);
	free(l);
	type(out, "lb_backend_ports_used", "gauge",
	     "Local ports of a source address that a backend's connections use, an estimate.");
	print_ports(s, "lb_backend_ports_used", offsetof(struct status_backend, ports_used), out);
	type(out, "lb_backend_ports_limit", "gauge",
	     "Local ports that a source address has for connections to a backend.");
	print_ports(s, "lb_backend_ports_limit", offsetof(struct status_backend, ports_limit), out);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Prints one histogram. `labels` is pool="...", already escaped. */
static void print_hist(const char *name, const char *labels, const struct metric_hist_total *h,
		       struct text *out)
{
	for (size_t i = 0; i < METRIC_HIST_N; i++)
		text_addf(out, "%s_bucket{%s,le=\"%s\"} %" PRIu64 "\n", name, labels,
			  metric_hist_le[i], h->le[i]);
	text_addf(out, "%s_sum{%s} %" PRIu64 ".%09" PRIu64 "\n", name, labels,
		  h->sum_ns / 1000000000u, h->sum_ns % 1000000000u);
	text_addf(out, "%s_count{%s} %" PRIu64 "\n", name, labels, h->le[METRIC_HIST_N - 1]);
}

/*
 * Prints the histogram of each pool that has at least one observation. Other pools are left out,
 * because with 10,000 pools their lines of zeros, 32 for each pool, would be most of the page.
 * `offset` is the offset of the histogram in struct status_pool.
 */
static void print_hists(const struct status *s, const char *name, const char *help, size_t offset,
			struct text *out)
{
	struct text labels = TEXT_INIT;

	type(out, name, "histogram", help);
	for (size_t i = 0; i < s->n_pools + s->n_past_pools; i++) {
		struct metric_hist_total h;

		memcpy(&h, (const char *)&s->pools[i] + offset, sizeof(h));
		if (h.le[METRIC_HIST_N - 1] == 0)
			continue;
		text_clear(&labels);
		label(&labels, "pool", s->pools[i].name);
		out->failed |= labels.failed;
		if (!out->failed)
			print_hist(name, labels.p, &h, out);
	}
	text_deinit(&labels);
}

static void print_info(const char *name, const struct status *s, struct text *out)
{
	type(out, name, "gauge", "Which lb runs, always 1.");
	text_addf(out, "%s{", name);
	label(out, "version", s->version);
	text_addf(out, ",");
	label(out, "engine", s->engine);
	text_addf(out, "} 1\n");
}

static void real(struct text *out, const char *name, const char *kind, const char *help, double v)
{
	type(out, name, kind, help);
	text_addf(out, "%s %.3f\n", name, v);
}

/* Prints the figures of the process under the names that Prometheus' own client libraries use. */
static void print_process(const struct status_process *p, struct text *out)
{
	real(out, "process_cpu_seconds_total", "counter", "CPU time in user and kernel mode.",
	     p->cpu_s);
	single(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
	       p->resident_bytes);
	single(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.", p->virtual_bytes);
	single(out, "process_open_fds", "gauge",
	       "Open descriptors, in the tables of main and of all workers.", p->open_fds);
	single(out, "process_max_fds", "gauge", "Descriptors that all these tables allow.",
	       p->max_fds);
	real(out, "process_start_time_seconds", "gauge", "Seconds from 1970 to the start of lb.",
	     p->start_time_s);
	single(out, "process_threads", "gauge", "Threads.", p->n_threads);
}

static void print_lb(const struct status *s, struct text *out)
{
	print_info("lb_info", s, out);
	print_info("lb_build_info", s, out);
	single(out, "lb_uptime_seconds", "gauge", "Seconds since the start.", s->uptime_s);
	single(out, "lb_generation", "gauge", "Configurations loaded so far.", s->generation);
	single(out, "lb_config_last_reload_successful", "gauge",
	       "1 when the last reload, or the start, was applied, 0 when the reload was refused.",
	       s->reload.is_ok);
	real(out, "lb_config_last_reload_timestamp_seconds", "gauge",
	     "Seconds from 1970 to the end of the last reload, applied or refused.",
	     s->reload.at_s);
}

static void print_responses_of(const char *pool, const uint64_t *n, struct text *out)
{
	for (unsigned i = 0; i < POOL_N_CLASSES; i++) {
		text_addf(out, "lb_responses_total{");
		label(out, "pool", pool);
		text_addf(out, ",class=\"%uxx\"} %" PRIu64 "\n", i + 1, n[i]);
	}
}

static void print_responses(const struct status *s, struct text *out)
{
	type(out, "lb_responses_total", "counter",
	     "Responses that clients got, by the class of their status; with an empty pool, those "
	     "of "
	     "lb itself before the pool was known.");
	print_responses_of("", s->responses, out);
	for (size_t i = 0; i < s->n_pools + s->n_past_pools; i++)
		print_responses_of(s->pools[i].name, s->pools[i].responses, out);
}

static void print_connections(const struct status *s, struct text *out)
{
	single(out, "lb_connections_active", "gauge",
	       "Open connections, including those in the handshake.", s->connections.active);
	single(out, "lb_connections_handshaking", "gauge", "Connections without a tunnel yet.",
	       s->connections.handshaking);
	single(out, "lb_connections_total", "counter", "Connections accepted.",
	       s->connections.total);
	single(out, "lb_connections_limit", "gauge", "Connections taken at most.",
	       s->connections.limit);
	single(out, "lb_connections_forecast", "gauge",
	       "Connections that this machine and the file can hold.", s->connections.forecast);
}

static void print_end(const char *pool, const char *reason, uint64_t n, struct text *out)
{
	text_addf(out, "lb_ends_total{");
	label(out, "pool", pool);
	text_addf(out, ",reason=\"%s\"} %" PRIu64 "\n", reason, n);
}

/*
 * Prints how many connections ended for each end reason. The pool "" stands for connections that
 * ended before their pool was known, and has a sample for each reason. Another pool has samples
 * only for reasons for which one of its connections has ended.
 */
static void print_ends(const struct status *s, struct text *out)
{
	LB_ASSERT(s->n_ends <= POOL_MAX_ENDS); /* status_pool.ends has a count for each reason */
	type(out, "lb_ends_total", "counter",
	     "Connections that ended, by pool and reason; with an empty pool, those that ended "
	     "before the pool was known.");
	for (size_t e = 0; e < s->n_ends; e++)
		print_end("", s->ends[e].word, s->ends[e].n_before_pool, out);
	for (size_t i = 0; i < s->n_pools + s->n_past_pools; i++)
		for (size_t e = 0; e < s->n_ends; e++)
			if (s->pools[i].ends[e] != 0)
				print_end(s->pools[i].name, s->ends[e].word, s->pools[i].ends[e],
					  out);
}

static void print_requests(const struct status *s, struct text *out)
{
	type(out, "lb_requests_total", "counter", "Requests that are over, by outcome.");
	for (size_t i = 0; i < s->n_outcomes; i++)
		text_addf(out, "lb_requests_total{outcome=\"%s\"} %" PRIu64 "\n",
			  s->outcomes[i].word, s->outcomes[i].n);
}

static void print_counters(const struct status *s, struct text *out)
{
	for (size_t i = 0; i < s->n_counters; i++) {
		const struct status_counter *c = &s->counters[i];

		text_addf(out, "# HELP lb_%s_total %s.\n# TYPE lb_%s_total counter\n", c->name,
			  c->help, c->name);
		text_addf(out, "lb_%s_total %" PRIu64 "\n", c->name, c->n);
	}
}

void prom_print(const struct status *s, struct text *out)
{
	print_lb(s, out);
	print_process(&s->process, out);
	print_connections(s, out);
	print_listeners(s, out);
	print_certs(s, out);
	print_workers(s, out);
	print_backends(s, out);
	print_pools(s, out);
	print_ends(s, out);
	print_requests(s, out);
	print_counters(s, out);
	print_responses(s, out);
	print_hists(s, "lb_response_seconds",
		    "From the accept until the response head of a plain request had come.",
		    offsetof(struct status_pool, response), out);
	print_hists(s, "lb_handshake_seconds",
		    "From the accept until the tunnel stood or its upgrade was refused.",
		    offsetof(struct status_pool, handshake), out);
}
