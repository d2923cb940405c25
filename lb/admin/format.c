/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/format.h"

#include <inttypes.h>
#include <string.h>

#include "util/parse.h"
#include "util/table.h"

/* ---- JSON ------------------------------------------------------------------------------------ */

static void add_workers(const struct status *s, struct json *j)
{
	json_key(j, "workers");
	json_array_begin(j);
	for (size_t i = 0; i < s->n_workers; i++) {
		json_object_begin(j);
		json_kv_uint(j, "id", s->workers[i].id);
		json_kv_uint(j, "active", s->workers[i].active);
		json_kv_uint(j, "accepted", s->workers[i].accepted);
		json_kv_uint(j, "limit", s->workers[i].limit);
		json_object_end(j);
	}
	json_array_end(j);
}

static void add_listeners(const struct status *s, struct json *j)
{
	json_key(j, "listeners");
	json_array_begin(j);
	for (size_t i = 0; i < s->n_listeners; i++) {
		const struct status_listener *l = &s->listeners[i];
		json_object_begin(j);
		json_kv_string(j, "name", l->name);
		json_kv_string(j, "bind", l->bind);
		json_kv_uint(j, "active", l->active);
		json_kv_uint(j, "accepted", l->accepted);
		json_kv_uint(j, "rejected", l->rejected);
		json_object_end(j);
	}
	json_array_end(j);
}

static void add_ports(const struct status_backend *b, struct json *j)
{
	json_key(j, "ports");
	json_array_begin(j);
	for (size_t i = 0; i < b->n_sources; i++) {
		json_object_begin(j);
		json_kv_string(j, "source", b->sources[i].text);
		json_kv_uint(j, "used", b->ports_used);
		json_kv_uint(j, "limit", b->ports_limit);
		json_object_end(j);
	}
	json_array_end(j);
}

static void add_backend(const struct status_backend *b, struct json *j)
{
	json_object_begin(j);
	json_kv_string(j, "name", b->name);
	json_kv_string(j, "address", b->address);
	json_kv_string(j, "state", b->state);
	json_kv_uint(j, "weight", b->weight);
	json_kv_uint(j, "active", b->active);
	json_kv_uint(j, "total", b->total);
	json_kv_uint(j, "failed", b->failed);
	json_kv_uint(j, "bytes_in", b->bytes_in);
	json_kv_uint(j, "bytes_out", b->bytes_out);
	json_key(j, "check");
	json_object_begin(j);
	json_kv_string(j, "type", b->check_type != NULL ? b->check_type : "none");
	json_kv_string(j, "result", b->check_result);
	json_kv_uint(j, "since_s", b->since_s);
	json_object_end(j);
	json_kv_uint(j, "max_connections", b->max_conns);
	add_ports(b, j);
	if (b->is_removed)
		json_kv_bool(j, "removed", true);
	json_object_end(j);
}

static bool is_wanted(const struct status_pool *p, const char *pool)
{
	return pool[0] == '\0' || strcmp(p->name, pool) == 0;
}

static void add_pools(const struct status *s, const char *pool, struct json *j)
{
	json_key(j, "pools");
	json_array_begin(j);
	for (size_t i = 0; i < s->n_pools; i++) {
		const struct status_pool *p = &s->pools[i];
		if (!is_wanted(p, pool))
			continue;
		json_object_begin(j);
		json_kv_string(j, "name", p->name);
		json_kv_string(j, "balance", p->balance);
		json_kv_uint(j, "active", p->active);
		json_key(j, "backends");
		json_array_begin(j);
		for (size_t b = 0; b < p->n_backends; b++)
			add_backend(&p->backends[b], j);
		json_array_end(j);
		json_object_end(j);
	}
	json_array_end(j);
}

static void add_figures(const struct status *s, struct json *j)
{
	json_key(j, "ends");
	json_object_begin(j);
	for (size_t i = 0; i < s->n_ends; i++)
		json_kv_uint(j, s->ends[i].word, s->ends[i].n);
	json_object_end(j);

	json_key(j, "counters");
	json_object_begin(j);
	for (size_t i = 0; i < s->n_counters; i++)
		json_kv_uint(j, s->counters[i].name, s->counters[i].n);
	json_object_end(j);

	json_key(j, "handshake_seconds");
	json_object_begin(j);
	json_kv_uint(j, "count", s->handshake.le[METRIC_HIST_N - 1]);
	json_key(j, "sum");
	json_double(j, (double)s->handshake.sum_ns / 1e9);
	json_object_end(j);
}

void format_status_json(const struct status *s, struct json *j)
{
	json_object_begin(j);
	json_kv_string(j, "version", s->version);
	json_kv_uint(j, "pid", (uint64_t)s->pid);
	json_kv_uint(j, "uptime_s", s->uptime_s);
	json_kv_uint(j, "generation", s->generation);
	json_kv_string(j, "engine", s->engine);
	add_workers(s, j);
	json_key(j, "connections");
	json_object_begin(j);
	json_kv_uint(j, "active", s->connections.active);
	json_kv_uint(j, "handshaking", s->connections.handshaking);
	json_kv_uint(j, "total", s->connections.total);
	json_kv_uint(j, "limit", s->connections.limit);
	json_kv_uint(j, "forecast", s->connections.forecast);
	json_kv_string(j, "forecast_by", s->connections.forecast_by);
	json_object_end(j);
	add_listeners(s, j);
	add_pools(s, "", j);
	add_figures(s, j);
	json_object_end(j);
}

void format_backends_json(const struct status *s, const char *pool, struct json *j)
{
	json_object_begin(j);
	add_pools(s, pool, j);
	json_object_end(j);
}

void format_conns_json(const struct admin_conn *rows, size_t n, struct json *j)
{
	char client[ADDR_TEXT_MAX];

	json_object_begin(j);
	json_key(j, "conns");
	json_array_begin(j);
	for (size_t i = 0; i < n; i++) {
		json_object_begin(j);
		json_kv_uint(j, "id", rows[i].id);
		json_kv_string(j, "client", addr_format(&rows[i].client, client));
		json_kv_string(j, "listener", rows[i].listener);
		json_kv_string(j, "pool", rows[i].pool);
		json_kv_string(j, "backend", rows[i].backend);
		json_kv_string(j, "state", rows[i].state);
		json_kv_uint(j, "age_s", rows[i].age_ms / 1000);
		json_kv_uint(j, "bytes_in", rows[i].bytes_in);
		json_kv_uint(j, "bytes_out", rows[i].bytes_out);
		json_object_end(j);
	}
	json_array_end(j);
	json_object_end(j);
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* A table whose columns from `n_left` on are numbers. */
static struct table *new_table(const char *const *header, size_t n, size_t n_left)
{
	struct table *t = table_new(n, header);

	for (size_t i = n_left; t != NULL && i < n; i++)
		table_align_right(t, i);
	return t;
}

static void finish(struct table *t, struct text *out)
{
	if (t == NULL) {
		out->failed = true;
		return;
	}
	table_print(t, out);
	table_free(t);
}

static void print_ends(const struct status *s, struct text *out)
{
	bool has_any = false;

	text_addf(out, "ends:");
	for (size_t i = 0; i < s->n_ends; i++) {
		if (s->ends[i].n == 0)
			continue;
		text_addf(out, " %s=%" PRIu64, s->ends[i].word, s->ends[i].n);
		has_any = true;
	}
	text_addf(out, "%s\n", has_any ? "" : " none");
}

void format_status_text(const struct status *s, struct text *out)
{
	static const char *const header[] = { "LISTENER", "BIND", "ACTIVE", "ACCEPTED",
					      "REJECTED" };
	char uptime[PARSE_TEXT_MAX];

	text_addf(out, "lb %s, pid %d, up %s, generation %" PRIu64 ", engine %s, %zu workers\n",
		  s->version, s->pid, parse_format_duration(s->uptime_s * 1000, uptime),
		  s->generation, s->engine, s->n_workers);
	text_addf(out,
		  "connections: %" PRIu64 " active (%" PRIu64 " shaking hands), %" PRIu64
		  " in all, limit %" PRIu64 ", forecast %" PRIu64 " (%s)\n",
		  s->connections.active, s->connections.handshaking, s->connections.total,
		  s->connections.limit, s->connections.forecast, s->connections.forecast_by);

	struct table *t = new_table(header, ARRAY_SIZE(header), 2);
	for (size_t i = 0; i < s->n_listeners && t != NULL; i++) {
		const struct status_listener *l = &s->listeners[i];
		table_cell(t, "%s", l->name);
		table_cell(t, "%s", l->bind);
		table_cell(t, "%" PRIu64, l->active);
		table_cell(t, "%" PRIu64, l->accepted);
		table_cell(t, "%" PRIu64, l->rejected);
	}
	finish(t, out);
	format_backends_text(s, "", out);
	print_ends(s, out);
}

void format_backends_text(const struct status *s, const char *pool, struct text *out)
{
	static const char *const header[] = { "POOL",   "BACKEND", "ADDRESS", "STATE",
					      "CHECK",  "WEIGHT",  "ACTIVE",  "TOTAL",
					      "FAILED", "IN",      "OUT" };
	struct table *t = new_table(header, ARRAY_SIZE(header), 5);

	for (size_t i = 0; i < s->n_pools && t != NULL; i++) {
		const struct status_pool *p = &s->pools[i];
		for (size_t k = 0; k < p->n_backends && is_wanted(p, pool); k++) {
			const struct status_backend *b = &p->backends[k];
			char in[PARSE_TEXT_MAX], bytes_out[PARSE_TEXT_MAX];

			table_cell(t, "%s", p->name);
			table_cell(t, "%s", b->name);
			table_cell(t, "%s", b->address);
			table_cell(t, "%s%s", b->state, b->is_removed ? " (removed)" : "");
			table_cell(t, "%s", b->check_result[0] != '\0' ? b->check_result : "-");
			table_cell(t, "%u", b->weight);
			table_cell(t, "%" PRIu64, b->active);
			table_cell(t, "%" PRIu64, b->total);
			table_cell(t, "%" PRIu64, b->failed);
			table_cell(t, "%s", parse_format_bytes(b->bytes_in, in));
			table_cell(t, "%s", parse_format_bytes(b->bytes_out, bytes_out));
		}
	}
	finish(t, out);
}

void format_conns_text(const struct admin_conn *rows, size_t n, struct text *out)
{
	static const char *const header[] = { "ID",    "CLIENT", "LISTENER", "POOL", "BACKEND",
					      "STATE", "AGE",    "IN",       "OUT" };
	struct table *t = new_table(header, ARRAY_SIZE(header), 6);

	for (size_t i = 0; i < n && t != NULL; i++) {
		char client[ADDR_TEXT_MAX], age[PARSE_TEXT_MAX], in[PARSE_TEXT_MAX],
			bytes_out[PARSE_TEXT_MAX];

		table_cell(t, "%" PRIu64, rows[i].id);
		table_cell(t, "%s", addr_format(&rows[i].client, client));
		table_cell(t, "%s", rows[i].listener);
		table_cell(t, "%s", rows[i].pool[0] != '\0' ? rows[i].pool : "-");
		table_cell(t, "%s", rows[i].backend[0] != '\0' ? rows[i].backend : "-");
		table_cell(t, "%s", rows[i].state);
		table_cell(t, "%s", parse_format_duration(rows[i].age_ms / 1000 * 1000, age));
		table_cell(t, "%s", parse_format_bytes(rows[i].bytes_in, in));
		table_cell(t, "%s", parse_format_bytes(rows[i].bytes_out, bytes_out));
	}
	finish(t, out);
}
