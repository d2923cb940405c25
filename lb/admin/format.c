/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Formats of the answers to `stats`, `backends` and `conns`: each as JSON, for programs, and as a
 * table, for people. format_NAME_json() and format_NAME_text() get the same input, which is a
 * snapshot (struct status) or a list of connections.
 *
 * The JSON is one object, whose keys are documented in lbctl(1) and stable. Each function
 * add_NAME() adds one part of the object, in the order of lbctl(1). When memory is short, the
 * struct json or the struct text remembers that, and the caller reports it.
 *
 * A table is made by struct layout, which says how many columns there are, which of them are
 * aligned to the left, and which may be left out. fit() leaves "optional" columns out, one group
 * after the other in the order of layout.optional, until the table is at most `max_width`
 * characters wide. A line below the table names the columns that were left out. new_table() makes a
 * table, table_cell() fills its cells row by row, finish() fits and prints it.
 *
 * Relies on util/table.h to compute the widths of the columns and to keep control characters out of
 * cells.
 *
 * Thread: main.
 */
#include "admin/format.h"

#include <inttypes.h>
#include <stdio.h>
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

static void add_certs(const struct status *s, struct json *j)
{
	json_key(j, "certificates");
	json_array_begin(j);
	for (size_t i = 0; i < s->n_certs; i++) {
		const struct status_cert *c = &s->certs[i];
		json_object_begin(j);
		json_kv_string(j, "listener", c->listener);
		json_kv_string(j, "file", c->file);
		json_key(j, "names");
		json_array_begin(j);
		for (size_t k = 0; k < c->n_names; k++)
			json_string(j, slice_of(c->names[k]));
		json_array_end(j);
		json_key(j, "not_before_s");
		json_int(j, c->not_before_s);
		json_key(j, "not_after_s");
		json_int(j, c->not_after_s);
		json_key(j, "days_left");
		json_int(j, c->days_left);
		json_object_end(j);
	}
	json_array_end(j);
}

/*
 * Adds the ports of each source. All sources of a backend have the same figures, because the use of
 * ports is estimated for the backend as a whole.
 */
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
	json_kv_uint(j, "failures", b->check_failures);
	json_object_end(j);
	json_kv_uint(j, "max_connections", b->max_conns);
	add_ports(b, j);
	if (b->is_removed)
		json_kv_bool(j, "removed", true);
	json_object_end(j);
}

static void add_responses(const uint64_t *n, struct json *j)
{
	char key[4] = "1xx";

	json_key(j, "responses");
	json_object_begin(j);
	for (unsigned i = 0; i < POOL_N_CLASSES; i++) {
		key[0] = (char)('1' + i);
		json_kv_uint(j, key, n[i]);
	}
	json_object_end(j);
}

/* Adds a histogram as its sum in seconds and its count. The last bucket counts all observations. */
static void add_seconds(const char *key, const struct metric_hist_total *h, struct json *j)
{
	json_key(j, key);
	json_object_begin(j);
	json_kv_uint(j, "count", h->le[METRIC_HIST_N - 1]);
	json_key(j, "sum");
	json_double(j, (double)h->sum_ns / 1e9);
	json_object_end(j);
}

/*
 * Whether the pool `p` is to be listed: its name is `pool`, or `pool` is "", which stands for every
 * pool.
 */
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
		json_kv_uint(j, "total", p->sums.total);
		json_kv_uint(j, "failed", p->sums.failed);
		json_kv_uint(j, "bytes_in", p->sums.bytes_in);
		json_kv_uint(j, "bytes_out", p->sums.bytes_out);
		json_kv_uint(j, "check_failures", p->sums.check_failures);
		add_responses(p->responses, j);
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

	json_key(j, "requests");
	json_object_begin(j);
	for (size_t i = 0; i < s->n_outcomes; i++)
		json_kv_uint(j, s->outcomes[i].word, s->outcomes[i].n);
	json_object_end(j);

	json_key(j, "counters");
	json_object_begin(j);
	for (size_t i = 0; i < s->n_counters; i++)
		json_kv_uint(j, s->counters[i].name, s->counters[i].n);
	json_object_end(j);

	add_seconds("response_seconds", &s->response, j);
	add_responses(s->responses, j);
	json_key(j, "reload");
	json_object_begin(j);
	json_kv_bool(j, "ok", s->reload.is_ok);
	json_kv_uint(j, "time_s", (uint64_t)s->reload.at_s);
	json_object_end(j);
	add_seconds("handshake_seconds", &s->handshake, j);
}

void format_status_json(const struct status *s, struct json *j)
{
	json_object_begin(j);
	json_kv_string(j, "version", s->version);
	json_kv_uint(j, "pid", (uint64_t)s->pid);
	json_kv_uint(j, "uptime_s", s->uptime_s);
	json_kv_uint(j, "generation", s->generation);
	json_kv_string(j, "engine", s->engine);
	json_kv_string(j, "descriptor_tables", s->tables);
	if (s->http != NULL)
		json_kv_string(j, "admin_http", s->http);
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
	add_certs(s, j);
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

void format_conns_json(const struct admin_conn_list *list, struct json *j)
{
	char client[ADDR_TEXT_MAX];

	json_object_begin(j);
	json_key(j, "conns");
	json_array_begin(j);
	for (size_t i = 0; i < list->n; i++) {
		const struct admin_conn *c = &list->rows[i];
		json_object_begin(j);
		json_kv_uint(j, "id", c->id);
		json_kv_string(j, "client", addr_format(&c->client, client));
		json_kv_string(j, "listener", c->listener);
		json_kv_string(j, "pool", c->pool);
		json_kv_string(j, "backend", c->backend);
		json_kv_string(j, "state", c->state);
		json_kv_string(j, "conn_state", c->conn_state);
		json_kv_string(j, "request_state", c->request_state);
		json_kv_uint(j, "age_s", c->age_ms / 1000);
		json_kv_uint(j, "bytes_in", c->bytes_in);
		json_kv_uint(j, "bytes_out", c->bytes_out);
		json_object_end(j);
	}
	json_array_end(j);
	json_kv_uint(j, "total", list->total);
	json_object_end(j);
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* Which columns a table has, how they are aligned, and which may be left out. */
struct layout {
	size_t n_cols, n_left; /* number of columns; the first n_left are aligned to the left */
	const char *const *header;
	/*
	 * The groups of columns that may be left out, the first group first. Bit i of a group is
	 * column i.
	 */
	const uint32_t *optional;
	size_t n_optional;
};

static struct table *new_table(const struct layout *l)
{
	LB_ASSERT(l->n_left <= l->n_cols && l->n_cols <= 32); /* optional[i] has 32 bits */
	struct table *t = table_new(l->n_cols, l->header);

	for (size_t i = l->n_left; t != NULL && i < l->n_cols; i++)
		table_align_right(t, i);
	return t;
}

/*
 * Leaves groups of columns out until the table is at most `max_width` characters wide. Adds the
 * names of these columns to `left_out`.
 */
static void fit(struct table *t, const struct layout *l, size_t max_width, struct text *left_out)
{
	for (size_t i = 0; i < l->n_optional && table_width(t) > max_width; i++) {
		LB_ASSERT(l->n_cols == 32 || l->optional[i] >> l->n_cols == 0);
		for (size_t c = 0; c < l->n_cols; c++) {
			if (!(l->optional[i] & 1u << c) || table_is_hidden(t, c))
				continue;
			table_hide(t, c);
			text_addf(left_out, "%s%s", left_out->n > 0 ? ", " : "", l->header[c]);
		}
	}
}

/* Prints and frees a table. `t` is NULL when memory was short. */
static void finish(struct table *t, const struct layout *l, size_t max_width, struct text *out)
{
	_cleanup_(text_deinit) struct text left_out = TEXT_INIT;

	if (t == NULL) {
		out->failed = true;
		return;
	}
	fit(t, l, max_width, &left_out);
	table_print(t, out);
	if (left_out.n > 0)
		text_addf(out, "(without %s; --wide shows all columns)\n", left_out.p);
	out->failed |= left_out.failed;
	table_free(t);
}

/*
 * Adds "ends: WORD=N ..." in lines of at most FORMAT_NARROW characters. An end reason that no
 * connection had is left out.
 */
static void print_ends(const struct status *s, struct text *out)
{
	size_t line_from = out->n; /* where the current line begins */
	bool has_any = false;

	text_addf(out, "ends:");
	for (size_t i = 0; i < s->n_ends; i++) {
		char n[24];
		if (s->ends[i].n == 0)
			continue;
		int len = snprintf(n, sizeof(n), "%" PRIu64, s->ends[i].n);
		size_t width = strlen(s->ends[i].word) + 2 + (size_t)len;
		if (out->n - line_from + width > FORMAT_NARROW) {
			text_addf(out, "\n     ");
			line_from = out->n - 5;
		}
		text_addf(out, " %s=%s", s->ends[i].word, n);
		has_any = true;
	}
	text_addf(out, "%s\n", has_any ? "" : " none");
}

/* Nothing where no listener has TLS. */
static void print_certs(const struct status *s, size_t max_width, struct text *out)
{
	static const char *const header[] = { "LISTENER", "NAMES", "FILE", "DAYS LEFT" };
	static const uint32_t optional[] = { 1u << 2, 1u << 0 };
	static const struct layout layout = { ARRAY_SIZE(header), 3, header, optional,
					      ARRAY_SIZE(optional) };
	struct table *t = s->n_certs > 0 ? new_table(&layout) : NULL;

	if (s->n_certs == 0)
		return;
	for (size_t i = 0; i < s->n_certs && t != NULL; i++) {
		const struct status_cert *c = &s->certs[i];
		table_cell(t, "%s", c->listener);
		if (c->n_names > 1)
			table_cell(t, "%s (and %zu more)", c->names[0], c->n_names - 1);
		else
			table_cell(t, "%s", c->n_names > 0 ? c->names[0] : "-");
		table_cell(t, "%s", c->file);
		table_cell(t, "%" PRId64, c->days_left);
	}
	finish(t, &layout, max_width, out);
}

void format_status_text(const struct status *s, size_t max_width, struct text *out)
{
	static const char *const header[] = { "LISTENER", "BIND", "ACTIVE", "ACCEPTED",
					      "REJECTED" };
	static const struct layout layout = { ARRAY_SIZE(header), 2, header, NULL, 0 };
	char uptime[PARSE_TEXT_MAX];

	text_addf(out, "lb %s, pid %d, up %s, generation %" PRIu64 ", engine %s, %zu workers%s\n",
		  s->version, s->pid, parse_format_duration(s->uptime_s * 1000, uptime),
		  s->generation, s->engine, s->n_workers,
		  strcmp(s->tables, "shared") == 0 ? " in one descriptor table" : "");
	text_addf(out,
		  "connections: %" PRIu64 " active (%" PRIu64 " in the handshake), %" PRIu64
		  " accepted\n",
		  s->connections.active, s->connections.handshaking, s->connections.total);
	text_addf(out, "capacity: limit %" PRIu64 ", forecast %" PRIu64 " (%s)\n",
		  s->connections.limit, s->connections.forecast, s->connections.forecast_by);

	struct table *t = new_table(&layout);
	for (size_t i = 0; i < s->n_listeners && t != NULL; i++) {
		const struct status_listener *l = &s->listeners[i];
		table_cell(t, "%s", l->name);
		table_cell(t, "%s", l->bind);
		table_cell(t, "%" PRIu64, l->active);
		table_cell(t, "%" PRIu64, l->accepted);
		table_cell(t, "%" PRIu64, l->rejected);
	}
	finish(t, &layout, max_width, out);
	print_certs(s, max_width, out);
	format_backends_text(s, "", max_width, out);
	print_ends(s, out);
}

enum {
	COL_POOL,
	COL_BACKEND,
	COL_ADDRESS,
	COL_STATE,
	COL_CHECK,
	COL_WEIGHT,
	COL_ACTIVE,
	COL_TOTAL,
	COL_FAILED,
	COL_IN,
	COL_OUT,
	N_BACKEND_COLS
};

static void add_backend_row(struct table *t, const struct status_pool *p,
			    const struct status_backend *b)
{
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

void format_backends_text(const struct status *s, const char *pool, size_t max_width,
			  struct text *out)
{
	static const char *const header[N_BACKEND_COLS] = {
		"POOL",   "BACKEND", "ADDRESS", "STATE", "CHECK", "WEIGHT",
		"ACTIVE", "TOTAL",   "FAILED",  "IN",    "OUT",
	};
	static const uint32_t optional[] = {
		1u << COL_ADDRESS, 1u << COL_WEIGHT, 1u << COL_IN | 1u << COL_OUT,
		1u << COL_TOTAL,   1u << COL_CHECK,  1u << COL_FAILED
	};
	static const struct layout layout = { N_BACKEND_COLS, COL_WEIGHT, header, optional,
					      ARRAY_SIZE(optional) };
	struct table *t = new_table(&layout);
	bool has_own_names = false;

	for (size_t i = 0; i < s->n_pools && t != NULL; i++) {
		const struct status_pool *p = &s->pools[i];
		for (size_t k = 0; k < p->n_backends && is_wanted(p, pool); k++) {
			const struct status_backend *b = &p->backends[k];
			add_backend_row(t, p, b);
			has_own_names |= strcmp(b->name, b->address) != 0;
		}
	}
	/*
	 * When the name of each backend is its address, hides the column ADDRESS, which would
	 * repeat BACKEND.
	 */
	if (t != NULL && !has_own_names && max_width != FORMAT_WIDE)
		table_hide(t, COL_ADDRESS);
	finish(t, &layout, max_width, out);
}

enum {
	COL_ID,
	COL_CLIENT,
	COL_LISTENER,
	COL_CONN_POOL,
	COL_CONN_BACKEND,
	COL_CONN_STATE,
	COL_CONN_OWN_STATE,
	COL_REQUEST_STATE,
	COL_AGE,
	COL_CONN_IN,
	COL_CONN_OUT,
	N_CONN_COLS
};

static void add_conn_row(struct table *t, const struct admin_conn *c)
{
	char client[ADDR_TEXT_MAX], age[PARSE_TEXT_MAX], in[PARSE_TEXT_MAX],
		bytes_out[PARSE_TEXT_MAX];

	table_cell(t, "%" PRIu64, c->id);
	table_cell(t, "%s", addr_format(&c->client, client));
	table_cell(t, "%s", c->listener);
	table_cell(t, "%s", c->pool[0] != '\0' ? c->pool : "-");
	table_cell(t, "%s", c->backend[0] != '\0' ? c->backend : "-");
	table_cell(t, "%s", c->state);
	table_cell(t, "%s", c->conn_state);
	table_cell(t, "%s", c->request_state[0] != '\0' ? c->request_state : "-");
	table_cell(t, "%s", parse_format_duration(c->age_ms / 1000 * 1000, age));
	table_cell(t, "%s", parse_format_bytes(c->bytes_in, in));
	table_cell(t, "%s", parse_format_bytes(c->bytes_out, bytes_out));
}

void format_conns_text(const struct admin_conn_list *list, size_t max_width, struct text *out)
{
	static const char *const header[N_CONN_COLS] = {
		"ID",   "CLIENT",  "LISTENER", "POOL", "BACKEND", "STATE",
		"CONN", "REQUEST", "AGE",      "IN",   "OUT",
	};
	static const uint32_t optional[] = { 1u << COL_CONN_OWN_STATE | 1u << COL_REQUEST_STATE,
					     1u << COL_LISTENER,
					     1u << COL_CONN_POOL,
					     1u << COL_CONN_STATE,
					     1u << COL_ID,
					     1u << COL_CONN_IN | 1u << COL_CONN_OUT };
	static const struct layout layout = { N_CONN_COLS, COL_AGE, header, optional,
					      ARRAY_SIZE(optional) };
	char shown[PARSE_TEXT_MAX], total[PARSE_TEXT_MAX];
	struct table *t = new_table(&layout);

	for (size_t i = 0; i < list->n && t != NULL; i++)
		add_conn_row(t, &list->rows[i]);
	finish(t, &layout, max_width, out);
	if (list->n < list->total)
		text_addf(out, "%s of %s shown\n", parse_format_uint(list->n, shown),
			  parse_format_uint(list->total, total));
}
