/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "admin/format.h"
#include "util/parse.h"

#define MAX_WORDS 16
#define DEFAULT_LIMIT 1000

struct words {
	size_t n;
	char *word[MAX_WORDS];
};

typedef enum command_result (*command_fn)(struct command_ctx *ctx, const struct words *w,
					  admin_conns_fn on_conns, admin_reload_fn on_reload,
					  void *waiter);

void command_error(struct text *out, const char *fmt, ...)
{
	va_list ap;

	text_addf(out, "error: ");
	va_start(ap, fmt);
	text_vaddf(out, fmt, ap);
	va_end(ap);
	text_addf(out, "\n\n");
}

static void end_answer(struct text *out)
{
	text_addf(out, "\n");
}

static enum command_result wrong(struct command_ctx *ctx, const char *what, const char *word)
{
	command_error(ctx->out, "%s \"%s\", try help", what, word);
	return COMMAND_DONE;
}

/* ---- stats and backends ---------------------------------------------------------------------- */

static void put_json(struct command_ctx *ctx, struct json *j)
{
	if (json_is_ok(j))
		text_addf(ctx->out, "%s\n\n", j->out.p);
	else
		command_error(ctx->out, "out of memory");
	json_deinit(j);
}

static bool take_status(struct command_ctx *ctx, struct status *st)
{
	*st = (struct status){ 0 };
	if (ctx->ops->status(ctx->arg, st) == 0)
		return true;
	status_deinit(st);
	command_error(ctx->out, "out of memory");
	return false;
}

static enum command_result run_stats(struct command_ctx *ctx, const struct words *w,
				     admin_conns_fn on_conns, admin_reload_fn on_reload,
				     void *waiter)
{
	struct status st;

	(void)on_conns;
	(void)on_reload;
	(void)waiter;
	if (w->n > 1)
		return wrong(ctx, "unknown word", w->word[1]);
	if (!take_status(ctx, &st))
		return COMMAND_DONE;
	if (ctx->is_json) {
		struct json j = JSON_INIT;
		format_status_json(&st, &j);
		put_json(ctx, &j);
	} else {
		format_status_text(&st, ctx->out);
		end_answer(ctx->out);
	}
	status_deinit(&st);
	return COMMAND_DONE;
}

static bool has_pool(const struct status *st, const char *pool)
{
	for (size_t i = 0; i < st->n_pools; i++)
		if (strcmp(st->pools[i].name, pool) == 0)
			return true;
	return pool[0] == '\0';
}

/* The value of "key=value", or NULL. */
static const char *value_of(const char *word, const char *key)
{
	size_t n = strlen(key);

	return strncmp(word, key, n) == 0 && word[n] == '=' ? word + n + 1 : NULL;
}

static enum command_result run_backends(struct command_ctx *ctx, const struct words *w,
					admin_conns_fn on_conns, admin_reload_fn on_reload,
					void *waiter)
{
	struct status st;
	const char *pool = "";

	(void)on_conns;
	(void)on_reload;
	(void)waiter;
	if (w->n > 2)
		return wrong(ctx, "unknown word", w->word[2]);
	if (w->n == 2)
		pool = value_of(w->word[1], "pool") != NULL ? value_of(w->word[1], "pool")
							    : w->word[1];
	if (!take_status(ctx, &st))
		return COMMAND_DONE;
	if (!has_pool(&st, pool)) {
		command_error(ctx->out, "unknown pool \"%s\"", pool);
	} else if (ctx->is_json) {
		struct json j = JSON_INIT;
		format_backends_json(&st, pool, &j);
		put_json(ctx, &j);
	} else {
		format_backends_text(&st, pool, ctx->out);
		end_answer(ctx->out);
	}
	status_deinit(&st);
	return COMMAND_DONE;
}

/* ---- conns ----------------------------------------------------------------------------------- */

static bool copy_name(char out[64], const char *value)
{
	int n = snprintf(out, 64, "%s", value);

	return n >= 0 && n < 64;
}

/* One filter; false where it is none, or its value is wrong. */
static bool add_filter(struct admin_conn_query *q, const char *word)
{
	const char *v;
	uint64_t n;

	if ((v = value_of(word, "pool")) != NULL)
		return copy_name(q->pool, v);
	if ((v = value_of(word, "backend")) != NULL)
		return copy_name(q->backend, v);
	if ((v = value_of(word, "client")) != NULL) {
		q->has_client = true;
		return cidr_parse(slice_of(v), &q->client) == 0;
	}
	if ((v = value_of(word, "min-age")) != NULL)
		return parse_duration_ms(slice_of(v), &q->min_age_ms) == 0;
	if ((v = value_of(word, "limit")) == NULL || parse_uint(slice_of(v), &n) < 0 || n == 0 ||
	    n > UINT32_MAX)
		return false;
	q->limit = (uint32_t)n;
	return true;
}

static enum command_result run_conns(struct command_ctx *ctx, const struct words *w,
				     admin_conns_fn on_conns, admin_reload_fn on_reload,
				     void *waiter)
{
	struct admin_conn_query q = { .limit = DEFAULT_LIMIT };

	(void)on_reload;
	for (size_t i = 1; i < w->n; i++)
		if (!add_filter(&q, w->word[i])) {
			command_error(ctx->out,
				      "expected pool=P, backend=B, client=CIDR, min-age=5m or "
				      "limit=N, found \"%s\"",
				      w->word[i]);
			return COMMAND_DONE;
		}
	ctx->ops->conns(ctx->arg, &q, on_conns, waiter);
	return COMMAND_WAITS;
}

void command_conns(struct command_ctx *ctx, int result, const struct admin_conn *rows, size_t n)
{
	if (result < 0) {
		command_error(ctx->out, "%s", strerror(-result));
	} else if (ctx->is_json) {
		struct json j = JSON_INIT;
		format_conns_json(rows, n, &j);
		put_json(ctx, &j);
	} else {
		format_conns_text(rows, n, ctx->out);
		end_answer(ctx->out);
	}
}

/* ---- reload ---------------------------------------------------------------------------------- */

static enum command_result run_reload(struct command_ctx *ctx, const struct words *w,
				      admin_conns_fn on_conns, admin_reload_fn on_reload,
				      void *waiter)
{
	(void)on_conns;
	if (w->n > 1)
		return wrong(ctx, "unknown word", w->word[1]);
	ctx->ops->reload(ctx->arg, on_reload, waiter);
	return COMMAND_WAITS;
}

void command_reload(struct command_ctx *ctx, int result, const char *why)
{
	struct status st;

	if (result < 0) { /* one line, however many reasons */
		text_addf(ctx->out, "error: ");
		for (const char *p = why; *p != '\0'; p++)
			text_add(ctx->out, *p == '\n' ? SLICE("; ") : (struct slice){ p, 1 });
		text_addf(ctx->out, "\n\n");
		return;
	}
	if (!take_status(ctx, &st))
		return;
	if (ctx->is_json)
		text_addf(ctx->out, "{\"generation\":%llu}\n\n", (unsigned long long)st.generation);
	else
		text_addf(ctx->out, "ok: generation %llu\n\n", (unsigned long long)st.generation);
	status_deinit(&st);
}

/* ---- backends' states ------------------------------------------------------------------------ */

static enum command_result set_backend(struct command_ctx *ctx, enum admin_backend_op op,
				       const char *target, uint32_t weight, const char *now)
{
	char pool[128], why[320] = "";
	const char *slash = strchr(target, '/');

	if (slash == NULL || slash == target || slash[1] == '\0' ||
	    (size_t)(slash - target) >= sizeof(pool)) {
		command_error(ctx->out, "expected POOL/BACKEND, found \"%s\"", target);
		return COMMAND_DONE;
	}
	(void)snprintf(pool, sizeof(pool), "%.*s", (int)(slash - target), target);
	if (ctx->ops->backend(ctx->arg, op, pool, slash + 1, weight, why, sizeof(why)) < 0)
		command_error(ctx->out, "%s", why);
	else if (ctx->is_json)
		text_addf(ctx->out, "{\"ok\":true}\n\n");
	else
		text_addf(ctx->out, "ok: %s %s\n\n", target, now);
	return COMMAND_DONE;
}

static enum command_result run_state(struct command_ctx *ctx, const struct words *w,
				     admin_conns_fn on_conns, admin_reload_fn on_reload,
				     void *waiter)
{
	enum admin_backend_op op = ADMIN_READY;
	const char *now = "takes connections again";

	(void)on_conns;
	(void)on_reload;
	(void)waiter;
	if (w->n != 2) {
		command_error(ctx->out, "expected %s POOL/BACKEND", w->word[0]);
		return COMMAND_DONE;
	}
	if (strcmp(w->word[0], "drain") == 0) {
		op = ADMIN_DRAIN;
		now = "gets no new connections";
	} else if (strcmp(w->word[0], "maint") == 0) {
		op = ADMIN_MAINT;
		now = "gets no new connections and no checks";
	}
	return set_backend(ctx, op, w->word[1], 0, now);
}

static enum command_result run_weight(struct command_ctx *ctx, const struct words *w,
				      admin_conns_fn on_conns, admin_reload_fn on_reload,
				      void *waiter)
{
	uint64_t weight;

	(void)on_conns;
	(void)on_reload;
	(void)waiter;
	if (w->n != 3 || parse_uint(slice_of(w->word[2]), &weight) < 0 || weight > 256) {
		command_error(ctx->out, "expected weight POOL/BACKEND N, N from 0 to 256");
		return COMMAND_DONE;
	}
	return set_backend(ctx, ADMIN_WEIGHT, w->word[1], (uint32_t)weight, "has its new weight");
}

/* ---- the table ------------------------------------------------------------------------------- */

static enum command_result run_help(struct command_ctx *ctx, const struct words *w,
				    admin_conns_fn on_conns, admin_reload_fn on_reload,
				    void *waiter);

static const struct {
	const char *name, *args, *help;
	command_fn fn;
} commands[] = {
	{ "stats", "", "all figures", run_stats },
	{ "backends", "[POOL]", "backends, their states and connections", run_backends },
	{ "conns", "[pool=P] [backend=B] [client=CIDR] [min-age=5m] [limit=N]", "open connections",
	  run_conns },
	{ "drain", "POOL/BACKEND", "no new connections, checks go on", run_state },
	{ "ready", "POOL/BACKEND", "takes connections again", run_state },
	{ "maint", "POOL/BACKEND", "no new connections, no checks", run_state },
	{ "weight", "POOL/BACKEND N", "changes a weight, 0 to 256", run_weight },
	{ "reload", "", "reads the configuration again", run_reload },
	{ "help", "", "this list", run_help },
};

static enum command_result run_help(struct command_ctx *ctx, const struct words *w,
				    admin_conns_fn on_conns, admin_reload_fn on_reload,
				    void *waiter)
{
	(void)w;
	(void)on_conns;
	(void)on_reload;
	(void)waiter;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		text_addf(ctx->out, "%s%s%s: %s\n", commands[i].name,
			  commands[i].args[0] != '\0' ? " " : "", commands[i].args,
			  commands[i].help);
	text_addf(ctx->out, "A last word \"json\" asks for JSON.\n\n");
	return COMMAND_DONE;
}

static enum command_result unknown(struct command_ctx *ctx, const char *name)
{
	const char *nearest = NULL;
	size_t best = 3;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		size_t d = parse_distance(slice_of(name), slice_of(commands[i].name));
		if (d < best) {
			best = d;
			nearest = commands[i].name;
		}
	}
	if (nearest != NULL)
		command_error(ctx->out, "unknown command \"%s\", did you mean \"%s\"?", name,
			      nearest);
	else
		command_error(ctx->out, "unknown command \"%s\", try help", name);
	return COMMAND_DONE;
}

/* Cuts `line` into words, in place. False: too many. */
static bool split(char *line, struct words *w)
{
	char *save = NULL;

	for (char *p = strtok_r(line, " \t\r", &save); p != NULL;
	     p = strtok_r(NULL, " \t\r", &save)) {
		if (w->n == MAX_WORDS)
			return false;
		w->word[w->n++] = p;
	}
	return true;
}

enum command_result command_run(struct command_ctx *ctx, struct slice line, admin_conns_fn on_conns,
				admin_reload_fn on_reload, void *waiter)
{
	char copy[1024];
	struct words w = { 0 };

	ctx->is_json = false;
	if (line.n >= sizeof(copy)) {
		command_error(ctx->out, "the line is too long");
		return COMMAND_DONE;
	}
	if (line.n > 0)
		memcpy(copy, line.p, line.n);
	copy[line.n] = '\0';
	if (!split(copy, &w)) {
		command_error(ctx->out, "too many words");
		return COMMAND_DONE;
	}
	if (w.n > 1 && strcmp(w.word[w.n - 1], "json") == 0) {
		ctx->is_json = true;
		w.n--;
	}
	if (w.n == 0)
		return COMMAND_NONE;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i].name, w.word[0]) == 0)
			return commands[i].fn(ctx, &w, on_conns, on_reload, waiter);
	return unknown(ctx, w.word[0]);
}
