/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../suite.h"
#include "ctl/ctl.h"

#define ARGS_MAX 16

static struct ctl c;
static char dir[] = "/tmp/lbctl-test-XXXXXX";

/* What lbctl says on stderr is not the tests' output. */
static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_ptr_nonnull(freopen("stderr", "w+", stderr));
	ck_assert_ptr_nonnull(freopen("stdout", "w+", stdout));
	c = CTL_INIT;
}

static void teardown(void)
{
	ctl_deinit(&c);
	(void)unlink("stderr");
	(void)unlink("stdout");
	(void)unlink("lb.sock");
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}

/* What was written to `f` so far. */
static const char *written(FILE *f)
{
	static char buf[4096];

	ck_assert_int_eq(fflush(f), 0);
	ck_assert_int_eq(fseek(f, 0, SEEK_SET), 0);
	buf[fread(buf, 1, sizeof(buf) - 1, f)] = '\0';
	return buf;
}

static int parse(const char *const *args)
{
	static char copy[ARGS_MAX][128];
	char *argv[ARGS_MAX + 2] = { copy[0] };
	int argc = 1;

	strcpy(copy[0], "lbctl");
	for (; args[argc - 1] != NULL; argc++) {
		ck_assert_int_lt(argc, ARGS_MAX);
		snprintf(copy[argc], sizeof(copy[argc]), "%s", args[argc - 1]);
		argv[argc] = copy[argc];
	}
	return ctl_parse(argc, argv, &c);
}

static const struct {
	const char *args[ARGS_MAX];
	const char *line, *path;
} good[] = {
	{ { "stats" }, "stats\n", NULL },
	{ { "--json", "stats" }, "stats json\n", NULL },
	{ { "stats", "--json" }, "stats json\n", NULL },
	{ { "-s", "/x.sock", "backends", "chat" }, "backends chat\n", "/x.sock" },
	{ { "drain", "chat/[::1]:9001", "-s/x.sock" }, "drain chat/[::1]:9001\n", "/x.sock" },
	{ { "weight", "chat/b2", "3" }, "weight chat/b2 3\n", NULL },
	{ { "--wide", "backends" }, "backends wide\n", NULL },
	{ { "conns", "--sort", "age" }, "conns sort=age\n", NULL },
	{ { "conns", "--pool", "p", "--backend=b", "--client", "10.0.0.0/8", "--min-age", "5m",
	    "--limit", "10", "--json" },
	  "conns pool=p backend=b client=10.0.0.0/8 min-age=5m limit=10 json\n",
	  NULL },
};

START_TEST(a_line_comes_of_it)
{
	ck_assert_int_eq(parse(good[_i].args), 0);
	ck_assert_int_eq(c.action, CTL_ASK);
	ck_assert_str_eq(c.line.p, good[_i].line);
	if (good[_i].path == NULL)
		ck_assert_ptr_null(c.path);
	else
		ck_assert_str_eq(c.path, good[_i].path);
	ck_assert_str_eq(written(stderr), "");
}
END_TEST

static const char *const bad[][5] = {
	{ NULL },
	{ "--json" },
	{ "--nonsense", "stats" },
	{ "stats", "-s" },
	{ "stats", "--limit" },
	{ "" },
	{ "stats json" },
	{ "stats\nreload" },
	{ "conns", "--pool", "a b" },
	{ "conns", "--pool", "" },
	{ "weight", "chat/b2", "-1" },
	{ "stats", "--wait" },
	{ "drain", "--wait" },
	{ "drain", "p/b", "--wait", "--json" },
};

START_TEST(a_drain_may_be_waited_for)
{
	ck_assert_int_eq(parse((const char *const[]){ "drain", "p/b", "--wait", NULL }), 0);
	ck_assert_int_eq(c.action, CTL_WAIT);
	ck_assert_str_eq(c.line.p, "drain p/b\n");
	ck_assert_str_eq(c.poll.p, "drain p/b status json\n");
	ck_assert_str_eq(c.target, "p/b");
}
END_TEST

static const struct {
	const char *args[5];
	const char *said;
} slips[] = {
	{ { "weight", "chat/b2", "-1" }, "lbctl: a number cannot be negative: -1\n" },
	{ { "conns", "--pol", "x" }, "lbctl: unknown option --pol, did you mean \"--pool\"?\n" },
	{ { "conns", "--pol=x" }, "lbctl: unknown option --pol, did you mean \"--pool\"?\n" },
	{ { "conns", "--minage", "5m" },
	  "lbctl: unknown option --minage, did you mean \"--min-age\"?\n" },
	{ { "--jsno", "stats" }, "lbctl: unknown option --jsno, did you mean \"--json\"?\n" },
	{ { "--socket", "/x.sock" }, "lbctl: unknown option --socket, did you mean \"-s\"?\n" },
	{ { "stats", "--frobnicate" }, "lbctl: unknown option --frobnicate\n" },
	{ { "stats", "-x" }, "lbctl: unknown option -x\n" },
	{ { "stats", "--json", "-xy" }, "lbctl: unknown option -x\n" },
	{ { "stats", "--json=1" }, "lbctl: this option takes no value: --json=1\n" },
	{ { "stats", "--help=1" }, "lbctl: this option takes no value: --help=1\n" },
	{ { "conns", "--limit" }, "lbctl: a value is missing behind --limit\n" },
	{ { "stats", "-s" }, "lbctl: a value is missing behind -s\n" },
};

START_TEST(a_slip_is_named)
{
	_cleanup_(text_deinit) struct text want = TEXT_INIT;

	text_addf(&want, "%stry lbctl --help\n", slips[_i].said);
	ck_assert_int_eq(parse(slips[_i].args), CTL_USAGE);
	ck_assert_str_eq(written(stderr), want.p);
}
END_TEST

START_TEST(usage_is_2)
{
	ck_assert_int_eq(parse(bad[_i]), CTL_USAGE);
	ck_assert_ptr_nonnull(strstr(written(stderr), "try lbctl --help\n"));
}
END_TEST

START_TEST(help_and_version_need_no_command)
{
	ck_assert_int_eq(parse((const char *const[]){ "--help", NULL }), 0);
	ck_assert_int_eq(c.action, CTL_HELP);
	c = CTL_INIT;
	ck_assert_int_eq(parse((const char *const[]){ "--version", NULL }), 0);
	ck_assert_int_eq(c.action, CTL_VERSION);
}
END_TEST

START_TEST(sockets_are_tried_in_order)
{
	ck_assert_int_eq(unsetenv("LBCTL_SOCKET"), 0);
	ck_assert_str_eq(ctl_default_path(), "/run/lb/admin.sock");
	ck_assert_int_eq(mkdir("lb.sock", 0700), 0); /* that it exists is enough */
	ck_assert_str_eq(ctl_default_path(), "lb.sock");
	ck_assert_int_eq(setenv("LBCTL_SOCKET", "/x.sock", 1), 0);
	ck_assert_str_eq(ctl_default_path(), "/x.sock");
	ck_assert_int_eq(setenv("LBCTL_SOCKET", "", 1), 0);
	ck_assert_str_eq(ctl_default_path(), "lb.sock");
	ck_assert_int_eq(rmdir("lb.sock"), 0);
}
END_TEST

static const struct {
	const char *answer;
	int status;
	const char *out, *err;
} prints[] = {
	{ "a\nb\n\n", 0, "a\nb\n", "" },
	{ "{}\n\n", 0, "{}\n", "" },
	{ "error: no\n\n", CTL_FAILED, "", "lbctl: error: no\n" },
	{ "no error: here\n\n", 0, "no error: here\n", "" },
	{ "", CTL_FAILED, "", "lbctl: the answer was cut short\n" },
	{ "\n", CTL_FAILED, "", "lbctl: the answer was cut short\n" },
	{ "a\nb\n", CTL_FAILED, "", "lbctl: the answer was cut short\n" },
	{ "error: n", CTL_FAILED, "", "lbctl: the answer was cut short\n" },
};

START_TEST(answers_are_printed)
{
	ck_assert_int_eq(ctl_print(slice_of(prints[_i].answer), stdout, stderr), prints[_i].status);
	ck_assert_str_eq(written(stdout), prints[_i].out);
	ck_assert_str_eq(written(stderr), prints[_i].err);
}
END_TEST

/* Takes one client, reads to its end, answers `answer`. Returns what it read. */
struct server {
	int fd;
	size_t n_answer; /* bytes of the pattern before "\n\n" */
	char got[256];
	pthread_t thread;
};

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->fd, NULL, NULL);
	size_t n = 0;
	ssize_t r;

	while ((r = recv(fd, s->got + n, sizeof(s->got) - 1 - n, 0)) > 0)
		n += (size_t)r;
	s->got[n] = '\0';
	for (size_t i = 0; i < s->n_answer; i++)
		if (send(fd, &"0123456789"[i % 10], 1, 0) != 1)
			break;
	(void)!send(fd, "\n\n", 2, 0);
	close(fd);
	return NULL;
}

START_TEST(a_command_goes_there_and_back)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX, .sun_path = "lb.sock" };
	struct server s = { .fd = socket(AF_UNIX, SOCK_STREAM, 0), .n_answer = 3000 };

	ck_assert_int_eq(bind(s.fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(listen(s.fd, 1), 0);
	ck_assert_int_eq(pthread_create(&s.thread, NULL, serve, &s), 0);
	ck_assert_int_eq(parse((const char *const[]){ "-s", "lb.sock", "help", NULL }), 0);
	ck_assert_int_eq(ctl_ask(&c), 0);
	ck_assert_int_eq(pthread_join(s.thread, NULL), 0);
	close(s.fd);
	ck_assert_str_eq(s.got, "help\n");
	ck_assert_uint_eq(strlen(written(stdout)), 3001);
	ck_assert_str_eq(written(stderr), "");
}
END_TEST

static const char *const nowhere[] = {
	"none.sock",
	"/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
	"8901234567890123456789",
};

START_TEST(nobody_may_be_there)
{
	ck_assert_int_eq(parse((const char *const[]){ "-s", nowhere[_i], "stats", NULL }), 0);
	ck_assert_int_eq(ctl_ask(&c), CTL_FAILED);
	ck_assert_ptr_nonnull(strstr(written(stderr), nowhere[_i]));
	ck_assert_str_eq(written(stdout), "");
}
END_TEST

/* ... and how to name another. */
START_TEST(it_says_which_socket_it_tried)
{
	ck_assert_int_eq(unsetenv("LBCTL_SOCKET"), 0);
	ck_assert_int_eq(setenv("LBCTL_SOCKET", "nobody.sock", 1), 0);
	ck_assert_int_eq(parse((const char *const[]){ "stats", NULL }), 0);
	ck_assert_int_eq(ctl_ask(&c), CTL_FAILED);
	ck_assert_str_eq(written(stderr),
			 "lbctl: cannot connect to nobody.sock: No such file or directory\n"
			 "lbctl: LBCTL_SOCKET named this socket; the path is admin.socket in lb's "
			 "file; with off, there is no socket\n");
	ck_assert_int_eq(unsetenv("LBCTL_SOCKET"), 0);
	if (access(ctl_default_path(), F_OK) == 0)
		return; /* an lb runs here */
	ck_assert_int_eq(ctl_ask(&c), CTL_FAILED);
	ck_assert_ptr_nonnull(strstr(written(stderr), "/run/lb/admin.sock: No such file"));
	ck_assert_ptr_nonnull(
		strstr(written(stderr), "name another one with -s SOCKET or LBCTL_SOCKET"));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, a_line_comes_of_it, 0, ARRAY_SIZE(good));
	tcase_add_test(t, a_drain_may_be_waited_for);
	tcase_add_test(t, it_says_which_socket_it_tried);
	tcase_add_loop_test(t, a_slip_is_named, 0, ARRAY_SIZE(slips));
	tcase_add_loop_test(t, usage_is_2, 0, ARRAY_SIZE(bad));
	tcase_add_test(t, help_and_version_need_no_command);
	tcase_add_test(t, sockets_are_tried_in_order);
	tcase_add_loop_test(t, answers_are_printed, 0, ARRAY_SIZE(prints));
	tcase_add_test(t, a_command_goes_there_and_back);
	tcase_add_loop_test(t, nobody_may_be_there, 0, ARRAY_SIZE(nowhere));
}

int main(void)
{
	return run_suite("ctl/ctl", add_tests);
}
