/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of lb: getopt_long() finds the options, the first word that is left is the
 * command (`check`, `doctor`). A wrong option or word is reported with the usage. When the word is
 * one that another program uses for something that lb can do, too, the report also names lb's own
 * option or command for it (`other_words`).
 *
 * Thread: main.
 */
#include "daemon/args.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/assert.h"

#define USAGE_STATUS 2

static const char usage[] =
	"usage: lb [-c FILE]          run in the foreground\n"
	"       lb check [-c FILE] [--syntax] [--print]\n"
	"                             check the file, and whether lb could start with it;\n"
	"                             --syntax: check only the file, not this machine;\n"
	"                             --print: print the file with all defaults filled in\n"
	"       lb doctor [-c FILE] [--json]\n"
	"                             show how many connections fit and what limits them\n"
	"       lb --schema           print a JSON schema of the configuration, for editors\n"
	"       lb --version | --help\n"
	"\n"
	"Without -c, lb reads ./lb.yaml or, if there is none, /etc/lb/lb.yaml.\n";

static const char *default_conf(void)
{
	return access("lb.yaml", F_OK) == 0 ? "lb.yaml" : "/etc/lb/lb.yaml";
}

/* The words of other programs for something that lb can do, too, each with a space on either side;
 * and lb's own way to do it. */
static const struct {
	const char *words, *ours;
} other_words[] = {
	{ " -t -T -n --test --check --validate --dry-run --configtest configtest test validate "
	  "verify ",
	  "\"lb check\" checks the file" },
	{ " -f --config --conf --file --config-file ", "the file is named with -c FILE" },
	{ " -v -V version ", "\"lb --version\" prints the version" },
	{ " -d -D --daemon ", "lb stays in the foreground: run it under systemd or the like" },
	{ " -s reload stop restart status stats quit ",
	  "lbctl talks to a running lb, and signals TERM and HUP stop and reload it" },
	{ " run start serve ", "without a command lb runs: \"lb -c FILE\"" },
	{ " schema ", "\"lb --schema\" prints it" },
	{ " help -? ", "\"lb --help\" prints what there is" },
};

/* lb's own way to do what another program calls `word`; NULL when `word` is not in `other_words`.
 * What follows a `=` in `word` is ignored. */
static const char *our_word(const char *word)
{
	char spaced[32];
	int n = snprintf(spaced, sizeof(spaced), " %.*s ", (int)strcspn(word, "="), word);

	for (size_t i = 0; n > 2 && (size_t)n < sizeof(spaced) && i < ARRAY_SIZE(other_words); i++)
		if (strstr(other_words[i].words, spaced) != NULL)
			return other_words[i].ours;
	return NULL;
}

static int wrong(const char *what, const char *word)
{
	const char *ours = word != NULL ? our_word(word) : NULL;

	(void)fprintf(stderr, "lb: %s%s%s%s%s%s\n%s", what, word != NULL ? " \"" : "",
		      word != NULL ? word : "", word != NULL ? "\"" : "", ours != NULL ? "; " : "",
		      ours != NULL ? ours : "", usage);
	return USAGE_STATUS;
}

/* Reports an option that getopt_long() has refused. `last` is the last word that getopt_long() has
 * read to its end. */
static int wrong_option(const char *last)
{
	const char letter[] = { '-', (char)optopt, '\0' };

	if (optopt == 'c')
		return wrong("-c needs a file", NULL);
	return wrong("unknown option", strncmp(last, "--", 2) == 0 || optopt == 0 ? last : letter);
}

static int done(const char *text, struct args *ret)
{
	(void)fputs(text, stdout);
	ret->command = ARGS_DONE;
	return 0;
}

int args_parse(int argc, char **argv, struct args *ret)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "syntax", no_argument, NULL, 's' },
		{ "print", no_argument, NULL, 'p' },
		{ "schema", no_argument, NULL, 'S' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	*ret = (struct args){ .command = ARGS_RUN };
	optind = 0; /* glibc: forget the position of an earlier call */
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c': ret->conf = optarg; break;
		case 'j': ret->is_json = true; break;
		case 's': ret->is_syntax = true; break;
		case 'p': ret->is_printed = true; break;
		case 'S': ret->command = ARGS_SCHEMA; break;
		case 'h': return done(usage, ret);
		case 'v': return done("lb " LB_VERSION "\n", ret);
		default: return wrong_option(argv[optind - 1]);
		}
	}
	if (ret->command == ARGS_SCHEMA && optind < argc)
		return wrong("--schema stands alone: it takes no", argv[optind]);
	if (optind < argc && strcmp(argv[optind], "check") == 0) {
		ret->command = ARGS_CHECK;
		optind++;
	} else if (optind < argc && strcmp(argv[optind], "doctor") == 0) {
		ret->command = ARGS_DOCTOR;
		optind++;
	}
	if (optind < argc && strpbrk(argv[optind], "./") != NULL)
		return wrong("a file is named with -c: write -c", argv[optind]);
	if (optind < argc)
		return wrong("unknown command", argv[optind]);
	if (ret->is_json && ret->command != ARGS_DOCTOR)
		return wrong("--json is for lb doctor", NULL);
	if (ret->is_syntax && ret->command != ARGS_CHECK)
		return wrong("--syntax is for lb check", NULL);
	if (ret->is_printed && ret->command != ARGS_CHECK)
		return wrong("--print is for lb check", NULL);
	if (ret->conf == NULL)
		ret->conf = default_conf();
	return 0;
}
