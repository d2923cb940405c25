/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every file of tests/config: those in good/ load, and those in bad/ get exactly the errors, those
 * in warn/ exactly the warnings, that their lines `# expect: LINE:COL: text` name, in that order
 * (each the beginning of one).
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "conf/conf.h"

#define PREFIX "# expect: "

/* "DIR/config/KIND/NAME"; the caller frees it. */
static char *path_of(const char *kind, const char *name)
{
	const char *dir = getenv("LB_TESTS");
	char *path = NULL;

	ck_assert_msg(dir != NULL, "LB_TESTS is the folder tests/");
	ck_assert_int_ge(asprintf(&path, "%s/config/%s/%s", dir, kind, name), 0);
	return path;
}

static bool is_yaml(const char *name)
{
	size_t n = strlen(name);

	return n > 5 && strcmp(name + n - 5, ".yaml") == 0;
}

/* Calls `fn` on each file of the folder; returns how many there were. */
static size_t each_file(const char *kind, void (*fn)(const char *path))
{
	char *folder = path_of(kind, "");
	size_t n = 0;

	DIR *dir = opendir(folder);
	ck_assert_msg(dir != NULL, "%s: %s", folder, strerror(errno));
	for (struct dirent *d; (d = readdir(dir)) != NULL;) {
		if (!is_yaml(d->d_name))
			continue;
		char *path = path_of(kind, d->d_name);
		fn(path);
		free(path);
		n++;
	}
	(void)closedir(dir);
	free(folder);
	return n;
}

static void is_good(const char *path)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct conf *c = NULL;
	char scratch[64];

	int r = conf_load(path, &e, &c);
	ck_assert_msg(r == 0 && err_n_lines(&e) == 0, "%s",
		      e.n_kept != 0 ? err_line(&e, 0, scratch, 64) : path);
	conf_unref(c);
}

/* What an error says behind the file's name. */
static const char *said(const struct err *e, size_t i, const char *path)
{
	static char scratch[64];
	const char *line = err_line(e, i, scratch, sizeof(scratch));

	ck_assert_msg(strncmp(line, path, strlen(path)) == 0, "%s: %s", path, line);
	line += strlen(path);
	ck_assert_msg(*line == ':', "%s", line);
	return line[1] == ' ' ? line + 2 : line + 1;
}

/* What is said of a file is what it expects. */
static void is_expected(const char *path, const struct err *e)
{
	char *line = NULL;
	size_t cap = 0, n = 0;

	FILE *f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (getline(&line, &cap, f) > 0) {
		if (strncmp(line, PREFIX, strlen(PREFIX)) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		const char *want = line + strlen(PREFIX);
		ck_assert_msg(n < err_n_lines(e), "%s: not reported: %s", path, want);
		ck_assert_msg(strncmp(said(e, n, path), want, strlen(want)) == 0,
			      "%s: expected: %s, got: %s", path, want, said(e, n, path));
		n++;
	}
	(void)fclose(f);
	free(line);
	ck_assert_msg(n > 0, "%s expects nothing", path);
	ck_assert_msg(n == err_n_lines(e), "%s: not expected: %s", path,
		      n < err_n_lines(e) ? said(e, n, path) : "");
}

static void is_bad(const char *path)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct conf *c = NULL;

	ck_assert_msg(conf_load(path, &e, &c) == -EINVAL, "%s is taken as good", path);
	ck_assert_ptr_null(c);
	is_expected(path, &e);
}

static void is_odd(const char *path)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct conf *c = NULL;

	ck_assert_msg(conf_load(path, &e, &c) == 0, "%s: %s", path,
		      e.n_kept > 0 ? e.item[0].text : "");
	for (size_t i = 0; i < e.n_kept; i++)
		ck_assert_msg(e.item[i].is_warning, "%s", e.item[i].text);
	is_expected(path, &e);
	conf_unref(c);
}

START_TEST(good_files_load)
{
	ck_assert_uint_ge(each_file("good", is_good), 10);
}
END_TEST

START_TEST(bad_files_are_judged_whole)
{
	ck_assert_uint_ge(each_file("bad", is_bad), 30);
}
END_TEST

START_TEST(odd_files_are_warned_of)
{
	ck_assert_uint_ge(each_file("warn", is_odd), 8);
}
END_TEST

/* The example that people start from. */
START_TEST(example_loads)
{
	char *path = path_of("..", "../lb.yaml");

	is_good(path);
	free(path);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, good_files_load);
	tcase_add_test(t, bad_files_are_judged_whole);
	tcase_add_test(t, odd_files_are_warned_of);
	tcase_add_test(t, example_loads);
}

int main(void)
{
	return run_suite("conf/files", add_tests);
}
