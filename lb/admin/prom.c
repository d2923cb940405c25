/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/prom.h"

#include <inttypes.h>
#include <string.h>

static void type(struct text *out, const char *name, const char *kind, const char *help)
{
	text_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

/* A label's value, escaped as the format asks. */
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

/* ---- one row per figure, a sample per thing that has it -------------------------------------- */

struct figure {
	const char *name, *kind, *help;
	size_t offset; /* of the uint64_t in the thing's struct */
};

static uint64_t value_at(const void *thing, size_t offset)
{
	uint64_t v;

	memcpy(&v, (const char *)thing + offset, sizeof(v));
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

#define AT(member) offsetof(struct status_backend, member)
static const struct figure backend_figures[] = {
	{ "lb_backend_connections_active", "gauge",
	  "Connections a backend has, from the pick on.", AT(active) },
	{ "lb_backend_connections_total", "counter", "Connections given to a backend.", AT(total) },
	{ "lb_backend_connections_limit", "gauge",
	  "Connections a backend takes at most (max_connections), 0 for no limit.", AT(max_conns) },
	{ "lb_backend_failed_total", "counter",
	  "Failed connects to a backend and bad handshakes of it.", AT(failed) },
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

typedef uint64_t (*backend_fn)(const struct status_backend *b, size_t offset);

static uint64_t plain(const struct status_backend *b, size_t offset)
{
	return value_at(b, offset);
}

static uint64_t is_up(const struct status_backend *b, size_t offset)
{
	(void)offset;
	return strcmp(b->state, "up") == 0;
}

static uint64_t weight(const struct status_backend *b, size_t offset)
{
	(void)offset;
	return b->is_removed ? 0 : b->weight;
}

static bool is_same_name(const struct status_pool *p, size_t a, size_t b)
{
	return strcmp(p->backends[a].name, p->backends[b].name) == 0;
}

/* Two backends of one name: all but one of them are removed ones. */
static bool may_have_doubles(const struct status_pool *p)
{
	for (size_t i = 0; i < p->n_backends; i++)
		if (p->backends[i].is_removed)
			return true;
	return false;
}

/* Sums over all backends of the k-th one's name. False: an earlier one has spoken for it. */
static bool sum_of(const struct status_pool *p, size_t k, backend_fn fn, size_t offset,
		   uint64_t *ret)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < k; i++)
		if (is_same_name(p, i, k))
			return false;
	for (size_t i = k; i < p->n_backends; i++)
		if (is_same_name(p, i, k))
			sum += fn(&p->backends[i], offset);
	*ret = sum;
	return true;
}

/* One sample per name. `extra` is one more label with its comma, or "". */
static void print_samples(const struct status *s, const char *name, backend_fn fn, size_t offset,
			  const char *extra, struct text *out)
{
	for (size_t i = 0; i < s->n_pools; i++) {
		const struct status_pool *p = &s->pools[i];
		bool has_doubles = may_have_doubles(p);

		for (size_t k = 0; k < p->n_backends; k++) {
			uint64_t v = fn(&p->backends[k], offset);

			if (has_doubles && !sum_of(p, k, fn, offset, &v))
				continue;
			text_addf(out, "%s{", name);
			label(out, "pool", p->name);
			text_addf(out, ",");
			label(out, "backend", p->backends[k].name);
			text_addf(out, "%s} %" PRIu64 "\n", extra, v);
		}
	}
}

/* One sample per backend in the file and source address. */
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
	const char *bytes = "lb_backend_bytes_total";

	for (size_t f = 0; f < ARRAY_SIZE(backend_figures); f++) {
		const struct figure *fig = &backend_figures[f];

		type(out, fig->name, fig->kind, fig->help);
		print_samples(s, fig->name, plain, fig->offset, "", out);
	}
	type(out, "lb_backend_up", "gauge", "1 where a backend is up, 0 in any other state.");
	print_samples(s, "lb_backend_up", is_up, 0, "", out);
	type(out, "lb_backend_weight", "gauge", "A backend's weight.");
	print_samples(s, "lb_backend_weight", weight, 0, "", out);
	type(out, bytes, "counter", "Bytes from clients (in) and to clients (out).");
	print_samples(s, bytes, plain, offsetof(struct status_backend, bytes_in),
		      ",direction=\"in\"", out);
	print_samples(s, bytes, plain, offsetof(struct status_backend, bytes_out),
		      ",direction=\"out\"", out);
	type(out, "lb_backend_ports_used", "gauge",
	     "Local ports of a source address that a backend's connections take, about.");
	print_ports(s, "lb_backend_ports_used", offsetof(struct status_backend, ports_used), out);
	type(out, "lb_backend_ports_limit", "gauge",
	     "Local ports that a source address has for connections to a backend.");
	print_ports(s, "lb_backend_ports_limit", offsetof(struct status_backend, ports_limit), out);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void print_handshake(const struct metric_hist_total *h, struct text *out)
{
	const char *name = "lb_handshake_seconds";

	type(out, name, "histogram", "From the accept until the tunnel stood or the answer began.");
	for (size_t i = 0; i < METRIC_HIST_N; i++)
		text_addf(out, "%s_bucket{le=\"%s\"} %" PRIu64 "\n", name, metric_hist_le[i],
			  h->le[i]);
	text_addf(out, "%s_sum %" PRIu64 ".%09" PRIu64 "\n", name, h->sum_ns / 1000000000u,
		  h->sum_ns % 1000000000u);
	text_addf(out, "%s_count %" PRIu64 "\n", name, h->le[METRIC_HIST_N - 1]);
}

static void print_process(const struct status *s, struct text *out)
{
	type(out, "lb_info", "gauge", "Which lb runs, always 1.");
	text_addf(out, "lb_info{");
	label(out, "version", s->version);
	text_addf(out, ",");
	label(out, "engine", s->engine);
	text_addf(out, "} 1\n");
	single(out, "lb_uptime_seconds", "gauge", "Seconds since the start.", s->uptime_s);
	single(out, "lb_generation", "gauge", "Configurations loaded so far.", s->generation);
}

static void print_connections(const struct status *s, struct text *out)
{
	single(out, "lb_connections_active", "gauge",
	       "Open connections, those that shake hands included.", s->connections.active);
	single(out, "lb_connections_handshaking", "gauge", "Connections without a tunnel yet.",
	       s->connections.handshaking);
	single(out, "lb_connections_total", "counter", "Connections accepted.",
	       s->connections.total);
	single(out, "lb_connections_limit", "gauge", "Connections taken at most.",
	       s->connections.limit);
	single(out, "lb_connections_forecast", "gauge",
	       "Connections that this machine and the file can hold.", s->connections.forecast);
}

static void print_counters(const struct status *s, struct text *out)
{
	type(out, "lb_ends_total", "counter", "Connections that ended, by reason.");
	for (size_t i = 0; i < s->n_ends; i++) {
		text_addf(out, "lb_ends_total{");
		label(out, "reason", s->ends[i].word);
		text_addf(out, "} %" PRIu64 "\n", s->ends[i].n);
	}
	for (size_t i = 0; i < s->n_counters; i++) {
		const struct status_counter *c = &s->counters[i];

		text_addf(out, "# HELP lb_%s_total %s.\n# TYPE lb_%s_total counter\n", c->name,
			  c->help, c->name);
		text_addf(out, "lb_%s_total %" PRIu64 "\n", c->name, c->n);
	}
}

void prom_print(const struct status *s, struct text *out)
{
	print_process(s, out);
	print_connections(s, out);
	print_listeners(s, out);
	print_workers(s, out);
	print_backends(s, out);
	print_counters(s, out);
	print_handshake(&s->handshake, out);
}
