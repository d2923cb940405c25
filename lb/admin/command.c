/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of the admin socket: a line comes in, one answer is added to command_ctx.out.
 *
 * command_run() cuts the line into words (split()), takes the last words "json" and "wide" off
 * (take_style(): JSON instead of tables; tables of any width) and looks the first word up in
 * commands[], the table at the end of this file. Each row has a function, run_NAME(), which gets
 * the words and adds the answer:
 *
 *   run_stats, run_backends          a snapshot (take_status()), written by format.c
 *   run_conns, run_reload            call admin_ops and return COMMAND_WAITS
 *   run_drain, run_ready, run_maint,
 *   run_weight                       change a backend (set_backend()), or tell of its drain
 *   run_help                         writes commands[] itself
 *
 * command_conns() and command_reload() add the answers to `conns` and `reload`. The owner of the
 * command_ctx calls them when the result is there, which may be within command_run().
 *
 * A "condition" of `conns` is a word key=value that selects, sorts or limits connections; filters[]
 * has a row for each (add_filter()). A "target" is POOL/BACKEND: the pool's name ends at the first
 * '/', which no name contains (split_target()).
 *
 * Every answer ends with an empty line. An error is one line, "error: ...", and says what was
 * found, what is allowed and, where there is one, which known name is near (util/nearest.h). A
 * function that returns false or NULL "after an error" has already added such an answer.
 *
 * Answers repeat words of a client, so that a line with control characters is refused
 * (has_control()). Words point into command_run()'s copy of the line, and no word is kept after
 * command_run().
 *
 * Thread: main.
 */
#include "admin/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "admin/format.h"
#include "util/nearest.h"
#include "util/parse.h"

#define MAX_WORDS 16
#define DEFAULT_LIMIT 1000
#define WEIGHT_MAX 256

/* The words of a line; the first word is the command. run_NAME() gets at least one word. */
struct words {
	size_t n;
	char *word[MAX_WORDS]; /* borrowed from the copy of the line */
};

typedef enum command_result (*command_fn)(struct command_ctx *ctx, const struct words *w);

void command_error(struct text *out, const char *fmt, ...)
{
	va_list ap;

	text_addf(out, "error: ");
	va_start(ap, fmt);
	text_vaddf(out, fmt, ap);
	va_end(ap);
	text_addf(out, "\n\n");
}

static enum command_result unknown_word(struct command_ctx *ctx, const char *word)
{
	command_error(ctx->out, "unknown word \"%s\", try help", word);
	return COMMAND_DONE;
}

/* ---- stats and backends ---------------------------------------------------------------------- */

/* Adds the JSON as the whole answer, and frees the JSON. */
static void put_json(struct command_ctx *ctx, struct json *j)
{
	LB_ASSERT(ctx->is_json && ctx->out->n == 0);
	if (json_is_ok(j)) {
		text_add(ctx->out, text_slice(&j->out));
		text_addf(ctx->out, "\n\n");
	} else {
		command_error(ctx->out, "out of memory");
	}
	json_deinit(j);
}

static size_t max_width(const struct command_ctx *ctx)
{
	return ctx->is_wide ? FORMAT_WIDE : FORMAT_NARROW;
}

/* Takes a snapshot, which the caller gives to status_deinit(). False after an error. */
static bool take_status(struct command_ctx *ctx, struct status *st)
{
	*st = (struct status){ 0 };
	int r = ctx->ops->status(ctx->arg, st);

	if (r == 0)
		return true;
	status_deinit(st);
	command_error(ctx->out, r == -ESHUTDOWN ? "lb is stopping" : "out of memory");
	return false;
}

static enum command_result run_stats(struct command_ctx *ctx, const struct words *w)
{
	struct status st;

	if (w->n > 1)
		return unknown_word(ctx, w->word[1]);
	if (!take_status(ctx, &st))
		return COMMAND_DONE;
	if (ctx->is_json) {
		struct json j = JSON_INIT;
		format_status_json(&st, &j);
		put_json(ctx, &j);
	} else {
		format_status_text(&st, max_width(ctx), ctx->out);
		text_addf(ctx->out, "\n");
	}
	status_deinit(&st);
	return COMMAND_DONE;
}

/*
 * Whether the snapshot has a pool of this name. Always true when `pool` is "", which stands for any
 * pool. A pool that has left the file is in the snapshot as long as it has connections. False after
 * an error.
 */
static bool check_pool(struct command_ctx *ctx, const struct status *st, const char *pool)
{
	char hint[NEAREST_TEXT_MAX];
	struct nearest near;

	nearest_init(&near, slice_of(pool));
	for (size_t i = 0; i < st->n_pools; i++) {
		if (strcmp(st->pools[i].name, pool) == 0)
			return true;
		nearest_try(&near, slice_of(st->pools[i].name));
	}
	if (pool[0] == '\0')
		return true;
	command_error(ctx->out, "unknown pool \"%s\"%s", pool, nearest_hint(&near, hint));
	return false;
}

/*
 * Whether the pool has a backend of this name. `pool` may be "", any pool, and `backend` may be "",
 * any backend. False after an error.
 */
static bool check_backend(struct command_ctx *ctx, const struct status *st, const char *pool,
			  const char *backend)
{
	char hint[NEAREST_TEXT_MAX];
	struct nearest near;

	nearest_init(&near, slice_of(backend));
	for (size_t i = 0; i < st->n_pools; i++) {
		const struct status_pool *p = &st->pools[i];
		if (pool[0] != '\0' && strcmp(p->name, pool) != 0)
			continue;
		for (size_t k = 0; k < p->n_backends; k++) {
			if (strcmp(p->backends[k].name, backend) == 0)
				return true;
			nearest_try(&near, slice_of(p->backends[k].name));
		}
	}
	if (backend[0] == '\0')
		return true;
	command_error(ctx->out, "unknown backend \"%s\"%s", backend, nearest_hint(&near, hint));
	return false;
}

/* The value in a word "KEY=VALUE" with this key, or NULL. */
static const char *value_of(const char *word, const char *key)
{
	size_t n = strlen(key);

	return strncmp(word, key, n) == 0 && word[n] == '=' ? word + n + 1 : NULL;
}

static enum command_result run_backends(struct command_ctx *ctx, const struct words *w)
{
	struct status st;
	const char *pool = "";

	if (w->n > 2)
		return unknown_word(ctx, w->word[2]);
	if (w->n == 2) {
		const char *value = value_of(w->word[1], "pool");
		pool = value != NULL ? value : w->word[1];
	}
	if (!take_status(ctx, &st))
		return COMMAND_DONE;
	bool is_known = check_pool(ctx, &st, pool);
	if (is_known && ctx->is_json) {
		struct json j = JSON_INIT;
		format_backends_json(&st, pool, &j);
		put_json(ctx, &j);
	} else if (is_known) {
		format_backends_text(&st, pool, max_width(ctx), ctx->out);
		text_addf(ctx->out, "\n");
	}
	status_deinit(&st);
	return COMMAND_DONE;
}

/* ---- conns ----------------------------------------------------------------------------------- */

static bool copy_name(char out[ADMIN_NAME_MAX], const char *value)
{
	int n = snprintf(out, ADMIN_NAME_MAX, "%s", value);

	return n > 0 && n < ADMIN_NAME_MAX;
}

static bool parse_pool(const char *v, struct admin_conn_query *q)
{
	return copy_name(q->pool, v);
}

static bool parse_backend(const char *v, struct admin_conn_query *q)
{
	return copy_name(q->backend, v);
}

static bool parse_client(const char *v, struct admin_conn_query *q)
{
	q->has_client = true;
	return cidr_parse(slice_of(v), &q->client) == 0;
}

static bool parse_min_age(const char *v, struct admin_conn_query *q)
{
	return parse_duration_ms(slice_of(v), &q->min_age_ms) == 0;
}

static bool parse_sort(const char *v, struct admin_conn_query *q)
{
	bool is_age = strcmp(v, "age") == 0;

	q->sort = is_age ? ADMIN_BY_AGE : ADMIN_BY_BYTES;
	return is_age || strcmp(v, "bytes") == 0;
}

static bool parse_limit(const char *v, struct admin_conn_query *q)
{
	uint64_t n;

	if (parse_uint(slice_of(v), &n) < 0 || n == 0 || n > UINT32_MAX)
		return false;
	q->limit = (uint32_t)n;
	return true;
}

static const struct filter {
	const char *key;
	/* Sets the member of `q`. False when the value is not allowed. */
	bool (*parse)(const char *value, struct admin_conn_query *q);
	const char *allowed; /* the end of the message "KEY is "VALUE": must be ..." */
} filters[] = {
	{ "pool", parse_pool, "a name of 1 to 63 bytes" },
	{ "backend", parse_backend, "a name of 1 to 63 bytes" },
	{ "client", parse_client, "an address or a network, as in 192.0.2.7 or 10.0.0.0/8" },
	{ "min-age", parse_min_age, "a whole number and a unit, as in 30s, 5m, 2h or 1d" },
	{ "sort", parse_sort, "age or bytes" },
	{ "limit", parse_limit, "a whole number from 1 on" },
};

/* Adds the condition of one word to the query. False after an error. */
static bool add_filter(struct command_ctx *ctx, struct admin_conn_query *q, const char *word)
{
	char hint[NEAREST_TEXT_MAX];
	struct nearest near;

	nearest_init(&near, (struct slice){ .p = word, .n = strcspn(word, "=") });
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		const struct filter *f = &filters[i];
		const char *value = value_of(word, f->key);
		nearest_try(&near, slice_of(f->key));
		if (value == NULL)
			continue;
		if (f->parse(value, q))
			return true;
		command_error(ctx->out, "%s is \"%s\": must be %s", f->key, value, f->allowed);
		return false;
	}
	if (strchr(word, '=') != NULL && *nearest_hint(&near, hint) != '\0')
		command_error(ctx->out, "unknown condition \"%s\"%s", word, hint);
	else
		command_error(ctx->out,
			      "unknown word \"%s\": conns takes pool=P, backend=B, client=CIDR, "
			      "min-age=5m, sort=age, sort=bytes and limit=N",
			      word);
	return false;
}

/*
 * Checks that the pool and the backend of the query exist, because an empty list would be a
 * misleading answer for a name that does not exist. False after an error.
 */
static bool check_names(struct command_ctx *ctx, const struct admin_conn_query *q)
{
	struct status st;

	if (q->pool[0] == '\0' && q->backend[0] == '\0')
		return true;
	if (!take_status(ctx, &st))
		return false;
	bool are_known =
		check_pool(ctx, &st, q->pool) && check_backend(ctx, &st, q->pool, q->backend);
	status_deinit(&st);
	return are_known;
}

static enum command_result run_conns(struct command_ctx *ctx, const struct words *w)
{
	struct admin_conn_query q = { .limit = DEFAULT_LIMIT };

	for (size_t i = 1; i < w->n; i++)
		if (!add_filter(ctx, &q, w->word[i]))
			return COMMAND_DONE;
	if (!check_names(ctx, &q))
		return COMMAND_DONE;
	LB_ASSERT(q.limit > 0 && ctx->out->n == 0); /* ops->conns() may add its answer at once */
	ctx->ops->conns(ctx->arg, &q, ctx->on_conns, ctx->waiter);
	return COMMAND_WAITS;
}

void command_conns(struct command_ctx *ctx, int result, const struct admin_conn_list *list)
{
	LB_ASSERT(ctx->out->n == 0);
	LB_ASSERT(result < 0 || list->n <= list->total);
	if (result < 0) {
		command_error(ctx->out, "%s", strerror(-result));
	} else if (ctx->is_json) {
		struct json j = JSON_INIT;
		format_conns_json(list, &j);
		put_json(ctx, &j);
	} else {
		format_conns_text(list, max_width(ctx), ctx->out);
		text_addf(ctx->out, "\n");
	}
}

/* ---- reload ---------------------------------------------------------------------------------- */

static enum command_result run_reload(struct command_ctx *ctx, const struct words *w)
{
	if (w->n > 1)
		return unknown_word(ctx, w->word[1]);
	LB_ASSERT(ctx->out->n == 0);
	ctx->ops->reload(ctx->arg, ctx->on_reload, ctx->waiter);
	return COMMAND_WAITS;
}

/* Adds an error of one line from the lines of `why`, with "; " between them. */
static void put_reasons(struct text *out, const char *why)
{
	text_addf(out, "error: ");
	for (const char *p = why; *p != '\0'; p++)
		text_add(out, *p == '\n' ? SLICE("; ") : (struct slice){ .p = p, .n = 1 });
	text_addf(out, "\n\n");
}

/* Takes the next line off *text. False when there is none. */
static bool next_line(const char **text, struct slice *ret)
{
	if (**text == '\0')
		return false;
	*ret = (struct slice){ .p = *text, .n = strcspn(*text, "\n") };
	*text += ret->n + ((*text)[ret->n] == '\n' ? 1 : 0);
	return true;
}

static void put_reloaded_json(struct command_ctx *ctx, uint64_t generation, const char *warnings)
{
	struct json j = JSON_INIT;
	struct slice line;

	json_object_begin(&j);
	json_kv_uint(&j, "generation", generation);
	json_key(&j, "warnings");
	json_array_begin(&j);
	while (next_line(&warnings, &line))
		json_string(&j, line);
	json_array_end(&j);
	json_object_end(&j);
	put_json(ctx, &j);
}

void command_reload(struct command_ctx *ctx, int result, const char *why)
{
	struct status st;
	struct slice line;

	LB_ASSERT(ctx->out->n == 0);
	if (result < 0) {
		put_reasons(ctx->out, why[0] != '\0' ? why : strerror(-result));
		return;
	}
	if (!take_status(ctx, &st))
		return;
	uint64_t generation = st.generation;
	status_deinit(&st);
	if (ctx->is_json) {
		put_reloaded_json(ctx, generation, why);
		return;
	}
	text_addf(ctx->out, "ok: generation %" PRIu64 "\n", generation);
	while (next_line(&why, &line))
		text_addf(ctx->out, "warning: " SLICE_FMT "\n", SLICE_ARG(line));
	text_addf(ctx->out, "\n");
}

/* ---- backends' states ------------------------------------------------------------------------ */

/* The '/' between POOL and BACKEND in `target`. Names contain no '/'. NULL after an error. */
static char *split_target(struct command_ctx *ctx, char *target)
{
	char *slash = strchr(target, '/');

	if (slash != NULL && slash != target && slash[1] != '\0')
		return slash;
	command_error(ctx->out, "expected POOL/BACKEND, found \"%s\"", target);
	return NULL;
}

/* Carries out `op` for the backend of a target. False after an error. */
static bool set_backend(struct command_ctx *ctx, enum admin_backend_op op, char *target,
			uint32_t weight)
{
	char why[320] = "";

	LB_ASSERT(weight <= WEIGHT_MAX && (op == ADMIN_WEIGHT || weight == 0));
	char *slash = split_target(ctx, target);
	if (slash == NULL)
		return false;
	*slash = '\0';
	int r = ctx->ops->backend(ctx->arg, op, target, slash + 1, weight, why, sizeof(why));
	*slash = '/';
	LB_ASSERT(r <= 0);
	if (r < 0)
		command_error(ctx->out, "%s", why[0] != '\0' ? why : strerror(-r));
	return r >= 0;
}

static void put_ok(struct command_ctx *ctx, const char *target, const char *now)
{
	if (ctx->is_json)
		text_addf(ctx->out, "{\"ok\":true}\n\n");
	else
		text_addf(ctx->out, "ok: %s %s\n\n", target, now);
}

static enum command_result run_state(struct command_ctx *ctx, const struct words *w,
				     enum admin_backend_op op, const char *now)
{
	if (w->n != 2)
		command_error(ctx->out, "expected %s POOL/BACKEND", w->word[0]);
	else if (set_backend(ctx, op, w->word[1], 0))
		put_ok(ctx, w->word[1], now);
	return COMMAND_DONE;
}

/*
 * The backend of this name, or NULL. A name may have two backends in a snapshot: when the file has
 * given the name another address, the removed backend stays until its connections end. In this
 * case, returns the backend that is in the file.
 */
static const struct status_backend *find_backend(const struct status *st, const char *pool,
						 const char *backend)
{
	const struct status_backend *found = NULL;

	for (size_t i = 0; i < st->n_pools; i++) {
		const struct status_pool *p = &st->pools[i];
		for (size_t k = 0; strcmp(p->name, pool) == 0 && k < p->n_backends; k++) {
			const struct status_backend *b = &p->backends[k];
			if (strcmp(b->name, backend) == 0 && (found == NULL || !b->is_removed))
				found = b;
		}
	}
	return found;
}

static void put_left(struct command_ctx *ctx, const char *target, const struct status_backend *b)
{
	if (ctx->is_json)
		text_addf(ctx->out, "{\"ok\":true,\"state\":\"%s\",\"active\":%" PRIu64 "}\n\n",
			  b->state, b->active);
	else
		text_addf(ctx->out, "ok: %s is %s, %" PRIu64 " connection%s left\n\n", target,
			  b->state, b->active, b->active == 1 ? "" : "s");
}

/* Adds the answer that says how many connections a target has left. */
static void run_drain_status(struct command_ctx *ctx, char *target)
{
	struct status st;
	char *slash = split_target(ctx, target);

	if (slash == NULL || !take_status(ctx, &st))
		return;
	*slash = '\0';
	const struct status_backend *b = find_backend(&st, target, slash + 1);
	if (b == NULL && check_pool(ctx, &st, target)) {
		bool is_known = check_backend(ctx, &st, target, slash + 1);
		LB_ASSERT(!is_known); /* find_backend() found none */
	}
	*slash = '/';
	if (b != NULL)
		put_left(ctx, target, b);
	status_deinit(&st);
}

static enum command_result run_drain(struct command_ctx *ctx, const struct words *w)
{
	if (w->n == 3 && strcmp(w->word[2], "status") == 0) {
		run_drain_status(ctx, w->word[1]);
		return COMMAND_DONE;
	}
	return run_state(ctx, w, ADMIN_DRAIN, "is draining");
}

static enum command_result run_ready(struct command_ctx *ctx, const struct words *w)
{
	return run_state(ctx, w, ADMIN_READY, "is ready");
}

static enum command_result run_maint(struct command_ctx *ctx, const struct words *w)
{
	return run_state(ctx, w, ADMIN_MAINT, "is in maintenance");
}

static enum command_result run_weight(struct command_ctx *ctx, const struct words *w)
{
	char now[32];
	uint64_t weight;

	if (w->n != 3) {
		command_error(ctx->out, "expected weight POOL/BACKEND N, N from 0 to %d",
			      WEIGHT_MAX);
		return COMMAND_DONE;
	}
	if (parse_uint(slice_of(w->word[2]), &weight) < 0 || weight > WEIGHT_MAX) {
		command_error(ctx->out, "the weight is \"%s\": must be a whole number from 0 to %d",
			      w->word[2], WEIGHT_MAX);
		return COMMAND_DONE;
	}
	(void)snprintf(now, sizeof(now), "has weight %u", (unsigned)weight);
	if (set_backend(ctx, ADMIN_WEIGHT, w->word[1], (uint32_t)weight))
		put_ok(ctx, w->word[1], now);
	return COMMAND_DONE;
}

/* ---- the table ------------------------------------------------------------------------------- */

static enum command_result run_help(struct command_ctx *ctx, const struct words *w);

/* clang-format off */
static const struct {
	const char *name, *args, *help;
	command_fn fn;
} commands[] = {
	{ "stats",    "",               "show all statistics",                      run_stats },
	{ "backends", "[POOL]",         "show backends, states and connections",    run_backends },
	{ "conns",    "[pool=P] [backend=B] [client=CIDR] [min-age=5m] [sort=age|bytes] [limit=N]",
					"show open connections, at most 1000 by default",
										    run_conns },
	{ "drain",    "POOL/BACKEND [status]",
					"stop new connections; health checks continue; "
					"status: show how many connections are left",
										    run_drain },
	{ "ready",    "POOL/BACKEND",   "undo drain and maint",                     run_ready },
	{ "maint",    "POOL/BACKEND",   "stop new connections and health checks",   run_maint },
	{ "weight",   "POOL/BACKEND N", "set the weight, 0 to 256",                 run_weight },
	{ "reload",   "",               "reload the configuration",                 run_reload },
	{ "help",     "",               "list the commands",                        run_help },
};
/* clang-format on */

static void put_help_json(struct command_ctx *ctx)
{
	struct json j = JSON_INIT;

	json_object_begin(&j);
	json_key(&j, "commands");
	json_array_begin(&j);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		json_object_begin(&j);
		json_kv_string(&j, "name", commands[i].name);
		json_kv_string(&j, "args", commands[i].args);
		json_kv_string(&j, "help", commands[i].help);
		json_object_end(&j);
	}
	json_array_end(&j);
	json_object_end(&j);
	put_json(ctx, &j);
}

static enum command_result run_help(struct command_ctx *ctx, const struct words *w)
{
	if (w->n > 1)
		return unknown_word(ctx, w->word[1]);
	if (ctx->is_json) {
		put_help_json(ctx);
		return COMMAND_DONE;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		text_addf(ctx->out, "%s%s%s: %s\n", commands[i].name,
			  commands[i].args[0] != '\0' ? " " : "", commands[i].args,
			  commands[i].help);
	text_addf(ctx->out, "A last word \"json\" asks for JSON, \"wide\" for tables of any "
			    "width.\n\n");
	return COMMAND_DONE;
}

/*
 * Words of other programs, each between spaces, and the command of lb that such a word stands for.
 */
static const struct {
	const char *words, *ours;
} other_words[] = {
	{ " undrain enable resume up activate undo unmaint start online ", "ready" },
	{ " disable down stop offline pause maintenance ", "drain\" or \"maint" },
	{ " status show info summary stat metrics ", "stats" },
	{ " list servers pools server pool upstreams health ", "backends" },
	{ " sessions connections sess clients conn ", "conns" },
	{ " restart hup reconfigure refresh ", "reload" },
	{ " commands usage ", "help" },
};

/* The command that a word of another program stands for, or NULL. */
static const char *our_word(const char *name)
{
	char spaced[32];
	int n = snprintf(spaced, sizeof(spaced), " %s ", name);

	for (size_t i = 0; n > 2 && (size_t)n < sizeof(spaced) && i < ARRAY_SIZE(other_words); i++)
		if (strcasestr(other_words[i].words, spaced) != NULL)
			return other_words[i].ours;
	return NULL;
}

static enum command_result unknown_command(struct command_ctx *ctx, const char *name)
{
	const char *ours = our_word(name);
	char hint[NEAREST_TEXT_MAX];
	struct nearest near;

	if (ours != NULL) {
		command_error(ctx->out, "unknown command \"%s\", did you mean \"%s\"? try help",
			      name, ours);
		return COMMAND_DONE;
	}
	nearest_init(&near, slice_of(name));
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		nearest_try(&near, slice_of(commands[i].name));
	nearest_hint(&near, hint);
	command_error(ctx->out, "unknown command \"%s\"%s try help", name,
		      hint[0] != '\0' ? hint : ",");
	return COMMAND_DONE;
}

/*
 * Whether a line has control characters. Answers repeat words of the line, and a control character
 * in them could break a line or control the terminal.
 */
static bool has_control(struct slice line)
{
	for (size_t i = 0; i < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];
		if ((c < ' ' && c != '\t' && c != '\r') || c == 0x7f)
			return true;
	}
	return false;
}

/* Cuts `line` into words, in place. False when the line has more than MAX_WORDS words. */
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

/* When `word` is "json" or "wide", sets ctx->is_json or ctx->is_wide and returns true. */
static bool take_style(struct command_ctx *ctx, const char *word)
{
	bool is_json = strcmp(word, "json") == 0, is_wide = strcmp(word, "wide") == 0;

	ctx->is_json |= is_json;
	ctx->is_wide |= is_wide;
	return is_json || is_wide;
}

enum command_result command_run(struct command_ctx *ctx, struct slice line)
{
	char copy[COMMAND_LINE_MAX];
	struct words w = { 0 };

	LB_ASSERT(ctx->out->n == 0); /* the answer to the line before was sent */
	ctx->is_json = ctx->is_wide = false;
	if (line.n >= sizeof(copy) || has_control(line)) {
		command_error(ctx->out, line.n >= sizeof(copy) ? "the line is too long"
							       : "the line has control characters");
		return COMMAND_DONE;
	}
	if (line.n > 0)
		memcpy(copy, line.p, line.n);
	copy[line.n] = '\0';
	if (!split(copy, &w)) {
		command_error(ctx->out, "too many words");
		return COMMAND_DONE;
	}
	for (; w.n > 1 && take_style(ctx, w.word[w.n - 1]); w.n--)
		;
	if (w.n == 0)
		return COMMAND_NONE;
	LB_ASSERT(w.n <= MAX_WORDS);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i].name, w.word[0]) == 0)
			return commands[i].fn(ctx, &w);
	return unknown_command(ctx, w.word[0]);
}
