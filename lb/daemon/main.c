/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lb: the command line, and what each command does.
 *
 * args_parse() decides the command. run() is lb itself: it loads the file, then calls
 * server_open(), server_start(), server_run() and server_close() (server.h), and prints the errors
 * of a start. check() is `lb check`, doctor() is `lb doctor`, schema() is `lb --schema`. Each
 * returns the exit status; lb(8) lists them.
 *
 * The errors of the file and of a start are printed here, sorted by their places.
 *
 * Thread: main.
 */
#include <stdio.h>
#include <stdlib.h>

#include "conf/conf.h"
#include "conf/schema.h"
#include "daemon/args.h"
#include "daemon/doctor.h"
#include "daemon/err_log.h"
#include "daemon/preflight.h"
#include "daemon/server.h"
#include "util/err.h"
#include "util/text.h"

static void print_errors(const struct err *e)
{
	char scratch[64];

	for (size_t i = 0; i < err_n_lines(e); i++) {
		const char *line = err_line(e, i, scratch, sizeof(scratch));
		size_t place = i < e->n_kept ? e->item[i].place_len : 0;
		bool is_warning = i < e->n_kept && e->item[i].is_warning;
		(void)fprintf(stderr, "%.*s%s%s\n", (int)place, line, is_warning ? "warning: " : "",
			      line + place);
	}
}

/* Prints `out` when `r` is 0, and otherwise an error that memory was short. Returns the exit
 * status. */
static int print_out(int r, struct text *out)
{
	if (r == 0)
		(void)fputs(out->p, stdout);
	else
		(void)fprintf(stderr, "lb: out of memory\n");
	text_deinit(out);
	return r == 0 ? 0 : EXIT_INTERNAL;
}

static int schema(void)
{
	struct text out = TEXT_INIT;
	int r = conf_schema(&out);

	text_pad(&out, '\n', 1);
	return print_out(r, &out);
}

/* Prints the configuration with all defaults. Called when the file has no mistake, even when
 * preflight() has found that lb could not start by it on this machine. */
static int print_conf(const struct conf *conf)
{
	struct text out = TEXT_INIT;

	return print_out(conf_print(conf, &out), &out);
}

static int check(const char *path, const struct args *a)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct conf *conf = NULL;

	int r = conf_load(path, &e, &conf);
	if (r == 0 && !a->is_syntax)
		r = preflight(conf, &e);
	print_errors(&e);
	int status = r == 0 ? 0 : EXIT_CONF;
	if (conf != NULL && a->is_printed)
		status = print_conf(conf) != 0 ? EXIT_INTERNAL : status;
	else if (r == 0)
		(void)printf("%s: ok\n", path);
	conf_unref(conf);
	return status;
}

static int doctor(const char *path, bool is_json)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct text out = TEXT_INIT;
	struct conf *conf = NULL;

	int r = conf_load(path, &e, &conf);
	if (r < 0) {
		print_errors(&e);
		return EXIT_CONF;
	}
	r = doctor_report(conf, "", is_json, &out);
	if (r == 0)
		(void)fputs(out.p, stdout);
	text_deinit(&out);
	conf_unref(conf);
	return r == 0 ? 0 : EXIT_INTERNAL;
}

static int run(const char *path)
{
	_cleanup_(err_deinit) struct err of_file = ERR_INIT, e = ERR_INIT;
	struct conf *conf = NULL;
	struct server s;

	if (conf_load(path, &of_file, &conf) < 0) {
		print_errors(&of_file);
		return EXIT_CONF;
	}
	int status = server_open(&s, path, conf, &e);
	conf_unref(conf);
	if (status == 0)
		status = server_start(&s, &e);
	if (status == 0) {
		err_log_warnings(&s.control.log, &of_file);
		err_log_warnings(&s.control.log, &e);
		err_deinit(&e);
		status = server_run(&s);
	}
	err_sort(&e);
	print_errors(&e);
	server_close(&s);
	return status;
}

int main(int argc, char **argv)
{
	struct args a;
	int status = args_parse(argc, argv, &a);

	if (status != 0)
		return status;
	switch (a.command) {
	case ARGS_RUN: return run(a.conf);
	case ARGS_CHECK: return check(a.conf, &a);
	case ARGS_DOCTOR: return doctor(a.conf, a.is_json);
	case ARGS_SCHEMA: return schema();
	case ARGS_DONE: return 0;
	}
	return EXIT_INTERNAL;
}
