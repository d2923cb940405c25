/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The command line of lb. Thread: main. Layer: daemon. */

#include <stdbool.h>

enum args_command {
	ARGS_RUN,
	ARGS_CHECK,
	ARGS_DOCTOR,
	ARGS_SCHEMA,
	ARGS_DONE, /* --help or --version: the text was printed */
};

struct args {
	enum args_command command;
	const char *conf; /* borrows: the file to read */
	bool is_json;     /* ARGS_DOCTOR: print JSON */
	bool is_syntax;   /* ARGS_CHECK: check the file only, not this machine */
	bool is_printed;  /* ARGS_CHECK: print the configuration with every default */
};

/*
 * args_parse() - read the command line
 *
 * Without -c the file is ./lb.yaml, or, when the current folder has no lb.yaml, /etc/lb/lb.yaml.
 * Returns 0 and fills *ret, or 2 after saying on stderr what is wrong.
 */
int args_parse(int argc, char **argv, struct args *ret);
