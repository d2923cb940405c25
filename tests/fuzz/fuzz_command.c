/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin socket's commands: every line has one answer, an answer has one end, and no byte of a
 * line can break it. The input is lines; the lb that is asked is not there.
 */
#include "fuzz.h"

#include <errno.h>
#include <stdio.h>

#include "admin/command.h"

/* ---- an lb that is not there ----------------------------------------------------------------- */

static int fake_status(void *arg, struct status *ret)
{
	(void)arg;
	*ret = (struct status){
		.version = "1.2.3",
		.engine = "epoll",
		.tables = "own",
		.pid = 42,
		.generation = 3,
		.connections = { .forecast = 100, .forecast_by = "memory" },
		.n_pools = 1,
		.pools = calloc(1, sizeof(struct status_pool)),
	};
	LB_ASSERT(ret->pools != NULL);
	ret->pools[0] = (struct status_pool){
		.name = "chat",
		.balance = "hash",
		.n_backends = 1,
		.backends = calloc(1, sizeof(struct status_backend)),
	};
	LB_ASSERT(ret->pools[0].backends != NULL);
	ret->pools[0].backends[0] = (struct status_backend){
		.name = "b \"\\ 1",
		.address = "127.0.0.1:9001",
		.state = "up",
		.weight = 1,
		.check_result = "",
	};
	return 0;
}

static void fake_conns(void *arg, const struct admin_conn_query *q, admin_conns_fn done, void *ctx)
{
	static const struct admin_conn rows[] = {
		{ .id = 7,
		  .client = { .family = AF_INET, .port = 5555, .v4 = { 10, 0, 0, 1 } },
		  .listener = "public",
		  .pool = "chat",
		  .backend = "b \"\\ 1",
		  .state = "relay",
		  .conn_state = "tunnel",
		  .request_state = "" },
	};

	(void)arg;
	LB_ASSERT(q->limit > 0);
	LB_ASSERT(memchr(q->pool, '\0', sizeof(q->pool)) != NULL);
	LB_ASSERT(memchr(q->backend, '\0', sizeof(q->backend)) != NULL);
	LB_ASSERT(!q->has_client || q->client.bits <= 128);
	done(ctx, 0, &(struct admin_conn_list){ rows, 1, 2 });
}

static void fake_reload(void *arg, admin_reload_fn done, void *ctx)
{
	(void)arg;
	done(ctx, -EINVAL, "lb.yaml:1:1: one\nlb.yaml:2:1: two");
}

/* Knows every backend but those whose names begin with 'x'. */
static int fake_backend(void *arg, enum admin_backend_op op, const char *pool, const char *backend,
			uint32_t weight, char *why, size_t why_len)
{
	(void)arg;
	LB_ASSERT(pool[0] != '\0' && backend[0] != '\0' && strchr(pool, '/') == NULL);
	LB_ASSERT(weight <= 256 && (op == ADMIN_WEIGHT || weight == 0));
	if (backend[0] != 'x')
		return 0;
	(void)snprintf(why, why_len, "unknown backend \"%s\"", backend);
	return -ENOENT;
}

static bool fake_is_accepting(void *arg)
{
	(void)arg;
	return true;
}

static const struct admin_ops fake_ops = {
	.status = fake_status,
	.conns = fake_conns,
	.reload = fake_reload,
	.backend = fake_backend,
	.is_accepting = fake_is_accepting,
};

/* ---- the target ------------------------------------------------------------------------------ */

static void on_conns(void *waiter, int result, const struct admin_conn_list *list)
{
	command_conns(waiter, result, list);
}

static void on_reload(void *waiter, int result, const char *why)
{
	command_reload(waiter, result, why);
}

/* A client finds the end of an answer by its only empty line, and an error by its first word. */
static void check_answer(const struct text *out, bool is_json)
{
	static const struct slice error = { .p = "error: ", .n = 7 };
	struct slice s = text_slice(out);

	LB_ASSERT(!out->failed && s.n > 2 && s.p[0] != '\n');
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = (uint8_t)s.p[i];

		LB_ASSERT(c == '\n' || (c >= ' ' && c != 0x7f));
		LB_ASSERT(c != '\n' || i == 0 || s.p[i - 1] != '\n' || i == s.n - 1);
	}
	LB_ASSERT(s.p[s.n - 1] == '\n' && s.p[s.n - 2] == '\n');
	if (slice_starts_with(s, error) || is_json)
		LB_ASSERT(memchr(s.p, '\n', s.n) == s.p + s.n - 2);
}

static void check_line(struct slice line)
{
	struct text out = TEXT_INIT;
	struct command_ctx ctx = {
		.ops = &fake_ops,
		.out = &out,
		.on_conns = on_conns,
		.on_reload = on_reload,
	};

	ctx.waiter = &ctx;
	/* The command sees the line alone. */
	uint8_t *copy = fuzz_copy((const uint8_t *)line.p, line.n);
	enum command_result r =
		command_run(&ctx, (struct slice){ .p = (const char *)copy, .n = line.n });
	free(copy);
	if (r == COMMAND_NONE)
		LB_ASSERT(out.n == 0);
	else
		check_answer(&out, ctx.is_json && out.p[0] == '{');
	text_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (size_t at = 0; at < size;) {
		const uint8_t *lf = memchr(data + at, '\n', size - at);
		size_t n = lf != NULL ? (size_t)(lf - data) - at : size - at;

		check_line((struct slice){ .p = (const char *)data + at, .n = n });
		at += n + 1;
	}
	return 0;
}
