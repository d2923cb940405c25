/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "fake.h"

#include "admin/command.h"

static struct text out;
static struct command_ctx ctx;

static void on_conns(void *waiter, int result, const struct admin_conn_list *list)
{
	ck_assert_ptr_eq(waiter, &ctx);
	command_conns(&ctx, result, list);
}

static void on_reload(void *waiter, int result, const char *why)
{
	ck_assert_ptr_eq(waiter, &ctx);
	command_reload(&ctx, result, why);
}

static void setup(void)
{
	fake = (struct fake){ 0 };
	ctx = (struct command_ctx){
		.ops = &fake_ops,
		.arg = &fake,
		.out = &out,
		.on_conns = on_conns,
		.on_reload = on_reload,
		.waiter = &ctx,
	};
}

static void teardown(void)
{
	text_deinit(&out);
}

static enum command_result run(const char *line)
{
	text_clear(&out);
	return command_run(&ctx, slice_of(line));
}

/* ---- every answer ---------------------------------------------------------------------------- */

static const struct {
	const char *line, *answer; /* the answer's beginning, or its whole where it ends in \n\n */
} answers[] = {
	{ "stats", "lb 1.2.3, pid 42, up 1m1s, generation 3, engine epoll, 2 workers\n" },
	{ "stats json", "{\"version\":\"1.2.3\",\"pid\":42," },
	{ "\tstats \t json\r", "{\"version\":\"1.2.3\",\"pid\":42," },
	{ "backends", "POOL  BACKEND         STATE" },
	{ "backends wide", "POOL  BACKEND         ADDRESS         STATE" },
	{ "backends pool=chat wide", "POOL  BACKEND         ADDRESS         STATE" },
	{ "stats wide json", "{\"version\":\"1.2.3\",\"pid\":42," },
	{ "backends chat json", "{\"pools\":[{\"name\":\"chat\"," },
	{ "backends web json", "{\"pools\":[{\"name\":\"web\"," },
	{ "backends pool=web json", "{\"pools\":[{\"name\":\"web\"," },
	{ "conns", "ID  CLIENT" },
	{ "conns json", "{\"conns\":[{\"id\":7," },
	{ "drain chat/b2", "ok: chat/b2 is draining\n\n" },
	{ "drain chat/b2 status", "ok: chat/b2 is down, 2 connections left\n\n" },
	{ "drain chat/b2 status json", "{\"ok\":true,\"state\":\"down\",\"active\":2}\n\n" },
	{ "conns sort=age", "ID  CLIENT" },
	{ "ready chat/b2", "ok: chat/b2 is ready\n\n" },
	{ "maint chat/b2", "ok: chat/b2 is in maintenance\n\n" },
	{ "maint chat/b2 json", "{\"ok\":true}\n\n" },
	{ "weight chat/b2 0", "ok: chat/b2 has weight 0\n\n" },
	{ "reload", "ok: generation 3\n\n" },
	{ "reload json", "{\"generation\":3,\"warnings\":[]}\n\n" },
	{ "help json", "{\"commands\":[{\"name\":\"stats\",\"args\":\"\",\"help\":\"show all "
		       "statistics\"},{\"name\":\"backends\"" },
	{ "help", "stats: show all statistics\nbackends [POOL]: " },
};

START_TEST(answers_begin_right)
{
	const char *want = answers[_i].answer;
	size_t n = strlen(want);

	ck_assert_int_ne(run(answers[_i].line), COMMAND_NONE);
	ck_assert_msg(out.n > n - 1 && memcmp(out.p, want, n) == 0, "%s: %s", answers[_i].line,
		      out.p);
	if (memcmp(want + n - 2, "\n\n", 2) == 0)
		ck_assert_str_eq(out.p, want);
}
END_TEST

/* One empty line, at the end: clients find an answer's end by it. */
START_TEST(answers_end_with_the_only_empty_line)
{
	run(answers[_i].line);
	ck_assert_ptr_eq(strstr(out.p, "\n\n"), out.p + out.n - 2);
}
END_TEST

/* ---- errors ---------------------------------------------------------------------------------- */

static const char *const wrong[][2] = {
	{ "statz", "unknown command \"statz\", did you mean \"stats\"? try help" },
	{ "xyzzy", "unknown command \"xyzzy\", try help" },
	{ "json", "unknown command \"json\", try help" },
	{ "STATS", "unknown command \"STATS\", did you mean \"stats\"? try help" },
	{ "stats x", "unknown word \"x\", try help" },
	{ "reload now", "unknown word \"now\", try help" },
	{ "help me", "unknown word \"me\", try help" },
	{ "backends none", "unknown pool \"none\"" },
	{ "backends chst", "unknown pool \"chst\", did you mean \"chat\"?" },
	{ "conns pool=none", "unknown pool \"none\"" },
	{ "conns pool=wed json", "unknown pool \"wed\", did you mean \"web\"?" },
	{ "conns backend=none", "unknown backend \"none\"" },
	{ "conns backend=127.0.0.1:901", "unknown backend \"127.0.0.1:901\", did you mean "
					 "\"127.0.0.1:9001\"?" },
	{ "conns pool=web backend=b2", "unknown backend \"b2\"" },
	{ "conns pool=none backend=b2", "unknown pool \"none\"" },
	{ "backends chat web", "unknown word \"web\", try help" },
	{ "drain", "expected drain POOL/BACKEND" },
	{ "drain chat/b2 x", "expected drain POOL/BACKEND" },
	{ "drain chat", "expected POOL/BACKEND, found \"chat\"" },
	{ "drain /b2", "expected POOL/BACKEND, found \"/b2\"" },
	{ "drain chat/", "expected POOL/BACKEND, found \"chat/\"" },
	{ "drain chat/none", "unknown backend \"none\"" },
	{ "drain chat/none status", "unknown backend \"none\"" },
	{ "drain none/b2 status", "unknown pool \"none\"" },
	{ "drain chat status", "expected POOL/BACKEND, found \"chat\"" },
	{ "wide", "unknown command \"wide\", try help" },
	{ "weight chat/b2", "expected weight POOL/BACKEND N, N from 0 to 256" },
	{ "weight chat/b2 257", "the weight is \"257\": must be a whole number from 0 to 256" },
	{ "weight chat/b2 -1", "the weight is \"-1\": must be a whole number from 0 to 256" },
	{ "weight chat/b2 1x", "the weight is \"1x\": must be a whole number from 0 to 256" },
	{ "undrain chat/b2", "unknown command \"undrain\", did you mean \"ready\"? try help" },
	{ "enable chat/b2", "unknown command \"enable\", did you mean \"ready\"? try help" },
	{ "Disable chat/b2",
	  "unknown command \"Disable\", did you mean \"drain\" or \"maint\"? try help" },
	{ "show stat", "unknown command \"show\", did you mean \"stats\"? try help" },
	{ "sessions", "unknown command \"sessions\", did you mean \"conns\"? try help" },
	{ "conns min-age=5", "min-age is \"5\": must be a whole number and a unit, as in 30s, 5m, "
			     "2h or 1d" },
	{ "conns limit=0", "limit is \"0\": must be a whole number from 1 on" },
	{ "conns sort=size", "sort is \"size\": must be age or bytes" },
	{ "conns client=10.0.0", "client is \"10.0.0\": must be an address or a network, as in "
				 "192.0.2.7 or 10.0.0.0/8" },
	{ "conns pool=", "pool is \"\": must be a name of 1 to 63 bytes" },
	{ "conns minage=5m", "unknown condition \"minage=5m\", did you mean \"min-age\"?" },
	{ "conns chat", "unknown word \"chat\": conns takes pool=P, backend=B, client=CIDR, "
			"min-age=5m, sort=age, sort=bytes and limit=N" },
	{ "weight b2 1", "expected POOL/BACKEND, found \"b2\"" },
	{ "stats\x1b[2J", "the line has control characters" },
	{ "a b c d e f g h i j k l m n o p q", "too many words" },
};

START_TEST(errors_are_one_line)
{
	char want[200];

	snprintf(want, sizeof(want), "error: %s\n\n", wrong[_i][1]);
	ck_assert_int_eq(run(wrong[_i][0]), COMMAND_DONE);
	ck_assert_str_eq(out.p, want);
}
END_TEST

START_TEST(a_line_may_be_empty)
{
	static const char *const lines[] = { "", " ", "\r", " \t \r" };

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		ck_assert_int_eq(run(lines[i]), COMMAND_NONE);
		ck_assert_uint_eq(out.n, 0);
	}
}
END_TEST

START_TEST(a_line_may_be_too_long)
{
	char line[COMMAND_LINE_MAX + 1];

	memset(line, 'x', sizeof(line));
	line[COMMAND_LINE_MAX] = '\0';
	run(line);
	ck_assert_str_eq(out.p, "error: the line is too long\n\n");
	line[COMMAND_LINE_MAX - 1] = '\0';
	run(line);
	ck_assert_ptr_nonnull(strstr(out.p, "error: unknown command \"xxx"));
}
END_TEST

START_TEST(a_nul_does_not_end_a_line)
{
	ck_assert_int_eq(command_run(&ctx, SLICE("reload\0x")), COMMAND_DONE);
	ck_assert_str_eq(out.p, "error: the line has control characters\n\n");
	ck_assert_int_eq(fake.n_reload, 0);
}
END_TEST

START_TEST(memory_may_be_short)
{
	static const char *const lines[] = { "stats", "stats json", "backends", "backends json",
					     "reload" };

	fake.status_error = -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		run(lines[i]);
		ck_assert_str_eq(out.p, "error: out of memory\n\n");
	}
}
END_TEST

/* A command that needs figures is refused once the workers, whose figures they are, end. */
START_TEST(figures_end_with_the_workers)
{
	static const char *const lines[] = { "stats", "stats json", "backends" };

	fake.status_error = -ESHUTDOWN;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		run(lines[i]);
		ck_assert_str_eq(out.p, "error: lb is stopping\n\n");
	}
}
END_TEST

/* ---- what is asked of lb --------------------------------------------------------------------- */

static const struct {
	const char *line;
	enum admin_backend_op op;
	const char *pool, *backend;
	uint32_t weight;
} changes[] = {
	{ "drain chat/b2", ADMIN_DRAIN, "chat", "b2", 0 },
	{ "ready chat/127.0.0.1:9001", ADMIN_READY, "chat", "127.0.0.1:9001", 0 },
	{ "maint chat/[::1]:9001", ADMIN_MAINT, "chat", "[::1]:9001", 0 },
	{ "drain chat/a/b", ADMIN_DRAIN, "chat", "a/b", 0 },
	{ "weight chat/b2 256", ADMIN_WEIGHT, "chat", "b2", 256 },
};

START_TEST(a_backend_is_changed)
{
	run(changes[_i].line);
	ck_assert_int_eq(fake.n_backend, 1);
	ck_assert_int_eq(fake.op, changes[_i].op);
	ck_assert_str_eq(fake.pool, changes[_i].pool);
	ck_assert_str_eq(fake.backend, changes[_i].backend);
	ck_assert_uint_eq(fake.weight, changes[_i].weight);
}
END_TEST

START_TEST(conns_has_no_filter)
{
	ck_assert_int_eq(run("conns"), COMMAND_WAITS);
	ck_assert_str_eq(fake.query.pool, "");
	ck_assert_str_eq(fake.query.backend, "");
	ck_assert(!fake.query.has_client);
	ck_assert_uint_eq(fake.query.min_age_ms, 0);
	ck_assert_uint_eq(fake.query.limit, 1000);
}
END_TEST

/* What the file has lost is known as long as it is listed. */
START_TEST(conns_of_what_was_removed)
{
	static const char *const lines[] = { "conns pool=old", "conns backend=gone",
					     "conns backend=gone pool=old" };

	fake.has_removed = true;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		ck_assert_int_eq(run(lines[i]), COMMAND_WAITS);
		ck_assert_int_eq(fake.n_conns, (int)i + 1);
	}
	ck_assert_str_eq(fake.query.pool, "old");
	ck_assert_str_eq(fake.query.backend, "gone");
}
END_TEST

START_TEST(conns_has_all_filters)
{
	struct addr inside = { .family = AF_INET, .v4 = { 10, 9, 8, 7 } };
	struct addr outside = { .family = AF_INET, .v4 = { 11, 9, 8, 7 } };

	run("conns limit=5 min-age=5m client=10.0.0.0/8 backend=127.0.0.1:9001 pool=chat");
	ck_assert_str_eq(fake.query.pool, "chat");
	ck_assert_str_eq(fake.query.backend, "127.0.0.1:9001");
	ck_assert(fake.query.has_client);
	ck_assert(cidr_contains(&fake.query.client, &inside));
	ck_assert(!cidr_contains(&fake.query.client, &outside));
	ck_assert_uint_eq(fake.query.min_age_ms, 300000);
	ck_assert_uint_eq(fake.query.limit, 5);
}
END_TEST

static const char *const bad_filters[] = {
	"x",
	"pool",
	"pool=",
	"backend=",
	"client=",
	"client=10",
	"client=1.2.3.4/33",
	"min-age=",
	"min-age=5",
	"min-age=5y",
	"limit=",
	"limit=0",
	"limit=-1",
	"limit=4294967296",
	"limits=1",
	"pool=0123456789012345678901234567890123456789012345678901234567890123",
};

START_TEST(filters_may_be_wrong)
{
	const char *word = bad_filters[_i];
	char line[128], want[200];

	ck_assert_ptr_nonnull(word); /* gcc with sanitizers does not see that */
	const char *equals = strchr(word, '=');
	snprintf(line, sizeof(line), "conns %s json", word);
	/* the value, as in `limit is "0"`, or the whole word where its key is unknown */
	snprintf(want, sizeof(want), "\"%s\"",
		 equals == NULL || strncmp(word, "limits", 6) == 0 ? word : equals + 1);
	ck_assert_int_eq(run(line), COMMAND_DONE);
	ck_assert_msg(strncmp(out.p, "error: ", 7) == 0 && strstr(out.p, want) != NULL, "%s: %s",
		      line, out.p);
	ck_assert_int_eq(fake.n_conns, 0);
}
END_TEST

START_TEST(conns_may_fail)
{
	fake.answers_late = true;
	ck_assert_int_eq(run("conns json"), COMMAND_WAITS);
	ck_assert_uint_eq(out.n, 0);
	fake.conns_done(fake.ctx, -ENOMEM, &(struct admin_conn_list){ 0 });
	ck_assert_str_eq(out.p, "error: Cannot allocate memory\n\n");
}
END_TEST

START_TEST(reload_tells_all_reasons_on_one_line)
{
	fake.reload_error = "lb.yaml:1:1: a\nlb.yaml:2:1: b";
	run("reload json");
	ck_assert_str_eq(out.p, "error: lb.yaml:1:1: a; lb.yaml:2:1: b\n\n");
	fake.reload_error = "";
	run("reload");
	ck_assert_str_eq(out.p, "error: Invalid argument\n\n");
}
END_TEST

START_TEST(reload_tells_warnings_a_line_each)
{
	fake.reload_warnings = "workers takes effect at restart\nadmin takes effect at restart";
	run("reload");
	ck_assert_str_eq(out.p, "ok: generation 3\n"
				"warning: workers takes effect at restart\n"
				"warning: admin takes effect at restart\n\n");
	run("reload json");
	ck_assert_str_eq(out.p, "{\"generation\":3,\"warnings\":[\"workers takes effect at "
				"restart\",\"admin takes effect at restart\"]}\n\n");
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, answers_begin_right, 0, ARRAY_SIZE(answers));
	tcase_add_loop_test(t, answers_end_with_the_only_empty_line, 0, ARRAY_SIZE(answers));
	tcase_add_loop_test(t, errors_are_one_line, 0, ARRAY_SIZE(wrong));
	tcase_add_test(t, a_line_may_be_empty);
	tcase_add_test(t, a_line_may_be_too_long);
	tcase_add_test(t, a_nul_does_not_end_a_line);
	tcase_add_test(t, memory_may_be_short);
	tcase_add_test(t, figures_end_with_the_workers);
	tcase_add_loop_test(t, a_backend_is_changed, 0, ARRAY_SIZE(changes));
	tcase_add_test(t, conns_has_no_filter);
	tcase_add_test(t, conns_of_what_was_removed);
	tcase_add_test(t, conns_has_all_filters);
	tcase_add_loop_test(t, filters_may_be_wrong, 0, ARRAY_SIZE(bad_filters));
	tcase_add_test(t, conns_may_fail);
	tcase_add_test(t, reload_tells_all_reasons_on_one_line);
	tcase_add_test(t, reload_tells_warnings_a_line_each);
}

int main(void)
{
	return run_suite("admin/command", add_tests);
}
