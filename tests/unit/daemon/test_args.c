/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../suite.h"
#include "daemon/args.h"

#define ETC "/etc/lb/lb.yaml"

static const struct {
	const char *name;
	const char *words[5];
	enum args_command command;
	const char *conf; /* NULL: not looked at */
	const char *out;  /* what stdout begins with; "" is nothing */
} good[] = {
	{ "nothing", { "lb" }, ARGS_RUN, ETC, "" },
	{ "a file", { "lb", "-c", "a.yaml" }, ARGS_RUN, "a.yaml", "" },
	{ "a file, glued", { "lb", "-ca.yaml" }, ARGS_RUN, "a.yaml", "" },
	{ "the last file counts", { "lb", "-c", "a", "-cb" }, ARGS_RUN, "b", "" },
	{ "check", { "lb", "check" }, ARGS_CHECK, ETC, "" },
	{ "check a file", { "lb", "check", "-c", "x/y" }, ARGS_CHECK, "x/y", "" },
	{ "the file first", { "lb", "-c", "x/y", "check" }, ARGS_CHECK, "x/y", "" },
	{ "a file named like a command", { "lb", "-c", "check" }, ARGS_RUN, "check", "" },
	{ "check the syntax", { "lb", "check", "--syntax" }, ARGS_CHECK, ETC, "" },
	{ "the syntax first", { "lb", "--syntax", "check", "-c", "a" }, ARGS_CHECK, "a", "" },
	{ "check and print", { "lb", "check", "--print", "-c", "a" }, ARGS_CHECK, "a", "" },
	{ "schema", { "lb", "--schema" }, ARGS_SCHEMA, NULL, "" },
	{ "doctor", { "lb", "doctor" }, ARGS_DOCTOR, ETC, "" },
	{ "doctor of a file", { "lb", "-c", "x/y", "doctor" }, ARGS_DOCTOR, "x/y", "" },
	{ "doctor as JSON", { "lb", "doctor", "--json" }, ARGS_DOCTOR, ETC, "" },
	{ "JSON first", { "lb", "--json", "doctor", "-c", "a" }, ARGS_DOCTOR, "a", "" },
	{ "version", { "lb", "--version" }, ARGS_DONE, NULL, "lb " LB_VERSION "\n" },
	{ "help", { "lb", "--help" }, ARGS_DONE, NULL, "usage: lb [-c FILE]" },
	{ "help, short", { "lb", "-h" }, ARGS_DONE, NULL, "usage: lb [-c FILE]" },
	{ "help of check", { "lb", "check", "--help" }, ARGS_DONE, NULL, "usage: lb " },
};

static const struct {
	const char *name;
	const char *words[5];
	const char *err; /* the first line on stderr */
} bad[] = {
	{ "unknown command",
	  { "lb", "run" },
	  "lb: unknown command \"run\"; without a command lb runs: \"lb -c FILE\"\n" },
	{ "nginx's test",
	  { "lb", "-t" },
	  "lb: unknown option \"-t\"; \"lb check\" checks the file\n" },
	{ "HAProxy's file",
	  { "lb", "-f", "x.yaml" },
	  "lb: unknown option \"-f\"; the file is named with -c FILE\n" },
	{ "a long option for the file",
	  { "lb", "--config=x.yaml" },
	  "lb: unknown option \"--config=x.yaml\"; the file is named with -c FILE\n" },
	{ "a command of lbctl",
	  { "lb", "reload" },
	  "lb: unknown command \"reload\"; lbctl talks to a running lb, and signals TERM and HUP "
	  "stop and reload it\n" },
	{ "a word behind --schema",
	  { "lb", "--schema", "x" },
	  "lb: --schema stands alone: it takes no \"x\"\n" },
	{ "one word too many", { "lb", "check", "all" }, "lb: unknown command \"all\"\n" },
	{ "a file without -c",
	  { "lb", "lb.yaml" },
	  "lb: a file is named with -c: write -c \"lb.yaml\"\n" },
	{ "a file without -c, of check",
	  { "lb", "check", "/etc/x" },
	  "lb: a file is named with -c: write -c \"/etc/x\"\n" },
	{ "two commands", { "lb", "doctor", "check" }, "lb: unknown command \"check\"\n" },
	{ "JSON of a run", { "lb", "--json" }, "lb: --json is for lb doctor\n" },
	{ "JSON of a check", { "lb", "check", "--json" }, "lb: --json is for lb doctor\n" },
	{ "the syntax of a run", { "lb", "--syntax" }, "lb: --syntax is for lb check\n" },
	{ "the syntax of a doctor",
	  { "lb", "doctor", "--syntax" },
	  "lb: --syntax is for lb check\n" },
	{ "print without check", { "lb", "--print" }, "lb: --print is for lb check\n" },
	{ "unknown option", { "lb", "-x" }, "lb: unknown option \"-x\"\n" },
	{ "unknown option in a row", { "lb", "-xy" }, "lb: unknown option \"-x\"\n" },
	{ "unknown option behind a command",
	  { "lb", "check", "-x" },
	  "lb: unknown option \"-x\"\n" },
	{ "unknown long option", { "lb", "--port" }, "lb: unknown option \"--port\"\n" },
	{ "a value that nothing takes",
	  { "lb", "--help=me" },
	  "lb: unknown option \"--help=me\"\n" },
	{ "no file", { "lb", "-c" }, "lb: -c needs a file\n" },
};

static int saved[2], captured[2];

/* stdout and stderr go to files of their own, in an empty folder. */
static void setup(void)
{
	char dir[] = "/tmp/test_args.XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(rmdir(dir), 0); /* it stays, nameless and empty, while we are in it */
	fflush(NULL);
	for (int i = 0; i < 2; i++) {
		saved[i] = dup(i + 1);
		captured[i] = open("/tmp", O_TMPFILE | O_RDWR, 0600);
		ck_assert_int_ge(captured[i], 0);
		dup2(captured[i], i + 1);
	}
}

/* Gives the streams back; what was written to the first or second of them. */
static void restore(char out[2][1024])
{
	fflush(NULL);
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], i + 1);
		ssize_t n = pread(captured[i], out[i], 1023, 0);
		ck_assert_int_ge(n, 0);
		out[i][n] = '\0';
		close(captured[i]);
		close(saved[i]);
	}
}

static int parse(const char *const words[5], struct args *ret)
{
	static char copies[5][32]; /* they live as long as what borrows them */
	char *argv[6] = { NULL };
	int argc = 0;

	while (argc < 5 && words[argc] != NULL) {
		argv[argc] = strcpy(copies[argc], words[argc]);
		argc++;
	}
	return args_parse(argc, argv, ret);
}

START_TEST(good_ones_are_understood)
{
	char out[2][1024];
	struct args a;

	int status = parse(good[_i].words, &a);
	restore(out);
	ck_assert_msg(status == 0, "%s: %d", good[_i].name, status);
	ck_assert_msg(a.command == good[_i].command, "%s", good[_i].name);
	if (good[_i].command == ARGS_DOCTOR)
		ck_assert(a.is_json == (strstr(good[_i].name, "JSON") != NULL));
	else
		ck_assert(!a.is_json);
	ck_assert(a.is_syntax == (strstr(good[_i].name, "syntax") != NULL));
	if (good[_i].conf != NULL)
		ck_assert_str_eq(a.conf, good[_i].conf);
	if (good[_i].out[0] == '\0')
		ck_assert_str_eq(out[0], "");
	ck_assert_int_eq(strncmp(out[0], good[_i].out, strlen(good[_i].out)), 0);
	ck_assert_str_eq(out[1], "");
}
END_TEST

/* What is wrong, and how it would be right, on stderr. */
START_TEST(bad_ones_are_refused)
{
	char out[2][1024];
	struct args a;
	size_t n = strlen(bad[_i].err);

	int status = parse(bad[_i].words, &a);
	restore(out);
	ck_assert_msg(status == 2, "%s: %d", bad[_i].name, status);
	ck_assert_str_eq(out[0], "");
	ck_assert_msg(strncmp(out[1], bad[_i].err, n) == 0, "%s: %s", bad[_i].name, out[1]);
	ck_assert_int_eq(strncmp(out[1] + n, "usage: lb ", 10), 0);
}
END_TEST

/* An lb.yaml in the working directory comes before the system's. */
START_TEST(the_file_at_hand_is_taken)
{
	static const char *const words[5] = { "lb", "check" };
	char out[2][1024], dir[] = "/tmp/test_args.XXXXXX";
	struct args a;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	close(open("lb.yaml", O_CREAT | O_WRONLY, 0600));
	int status = parse(words, &a);
	restore(out);
	unlink("lb.yaml");
	rmdir(dir);
	ck_assert_int_eq(status, 0);
	ck_assert_str_eq(a.conf, "lb.yaml");
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_loop_test(t, good_ones_are_understood, 0, sizeof(good) / sizeof(good[0]));
	tcase_add_loop_test(t, bad_ones_are_refused, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(t, the_file_at_hand_is_taken);
}

int main(void)
{
	return run_suite("daemon/args", add_tests);
}
