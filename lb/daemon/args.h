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
	bool is_json;     /* of ARGS_DOCTOR */
	bool is_syntax;   /* of ARGS_CHECK: the file alone, not this machine */
	bool is_printed;  /* of ARGS_CHECK: the configuration, with every default */
};

/*
 * args_parse() - what was asked for
 *
 * Without -c the file is ./lb.yaml, or /etc/lb/lb.yaml where there is none. Returns 0 and fills
 * *ret, or 2 after saying on stderr what is wrong.
 */
int args_parse(int argc, char **argv, struct args *ret);
