/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

const char ctl_usage[] =
	"usage: lbctl [-s SOCKET] [--json] COMMAND\n"
	"\n"
	"  stats                         all figures\n"
	"  backends [POOL]               backends, their states and connections\n"
	"  conns [--pool P] [--backend B] [--client CIDR] [--min-age 5m] [--limit N]\n"
	"                                open connections, 1000 at most without a limit\n"
	"  drain POOL/BACKEND            no new connections, checks go on\n"
	"  ready POOL/BACKEND            undoes drain and maint\n"
	"  maint POOL/BACKEND            no new connections, no checks\n"
	"  weight POOL/BACKEND N         changes a weight, 0 to 256\n"
	"  reload                        reads the configuration again\n"
	"  help                          what the socket understands\n"
	"\n"
	"Without -s the socket is $LBCTL_SOCKET, ./lb.sock or /run/lb/admin.sock.\n";

/* ---- the command line ------------------------------------------------------------------------ */

enum { OPT_JSON = 256, OPT_VERSION, OPT_POOL, OPT_BACKEND, OPT_CLIENT, OPT_MIN_AGE, OPT_LIMIT };

static const struct option options[] = {
	{ "json", no_argument, NULL, OPT_JSON },
	{ "pool", required_argument, NULL, OPT_POOL },
	{ "backend", required_argument, NULL, OPT_BACKEND },
	{ "client", required_argument, NULL, OPT_CLIENT },
	{ "min-age", required_argument, NULL, OPT_MIN_AGE },
	{ "limit", required_argument, NULL, OPT_LIMIT },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* The words that options become, from OPT_POOL on. */
static const char *const filter_key[] = { "pool", "backend", "client", "min-age", "limit" };

static int wrong(const char *what, const char *value)
{
	(void)fprintf(stderr, "lbctl: %s%s\n", what, value);
	(void)fputs("try lbctl --help\n", stderr);
	return CTL_USAGE;
}

/* What goes into a line of words must be one. */
static bool is_word(const char *s)
{
	return s[0] != '\0' && strpbrk(s, " \t\r\n") == NULL;
}

static int parse_options(int argc, char **argv, struct ctl *ret, struct text *filters,
			 bool *ret_is_json)
{
	int opt;

	optind = 0; /* begin anew, as glibc has it */
	while ((opt = getopt_long(argc, argv, "s:h", options, NULL)) != -1) {
		if (opt == 's')
			ret->path = optarg;
		else if (opt == OPT_JSON)
			*ret_is_json = true;
		else if (opt == OPT_VERSION)
			ret->action = CTL_VERSION;
		else if (opt == 'h')
			ret->action = CTL_HELP;
		else if (opt == '?')
			return wrong("wrong option", "");
		else if (!is_word(optarg))
			return wrong("an option's value is empty or has spaces: ", optarg);
		else
			text_addf(filters, " %s=%s", filter_key[opt - OPT_POOL], optarg);
	}
	return 0;
}

int ctl_parse(int argc, char **argv, struct ctl *ret)
{
	_cleanup_(text_deinit) struct text filters = TEXT_INIT;
	bool is_json = false;
	int r = parse_options(argc, argv, ret, &filters, &is_json);

	if (r != 0 || ret->action != CTL_ASK)
		return r;
	if (optind == argc)
		return wrong("a command is missing", "");
	for (int i = optind; i < argc; i++) {
		if (!is_word(argv[i]))
			return wrong("a word is empty or has spaces: ", argv[i]);
		text_addf(&ret->line, "%s%s", i > optind ? " " : "", argv[i]);
	}
	text_add(&ret->line, text_slice(&filters));
	text_addf(&ret->line, "%s\n", is_json ? " json" : "");
	if (filters.failed || ret->line.failed) {
		(void)fputs("lbctl: out of memory\n", stderr);
		return CTL_FAILED;
	}
	return 0;
}

const char *ctl_default_path(void)
{
	const char *env = getenv("LBCTL_SOCKET");

	if (env != NULL && env[0] != '\0')
		return env;
	return access("lb.sock", F_OK) == 0 ? "lb.sock" : "/run/lb/admin.sock";
}

void ctl_deinit(struct ctl *c)
{
	text_deinit(&c->line);
}

/* ---- the socket ------------------------------------------------------------------------------ */

/* Connects. Returns a descriptor, or -1 after saying why not. */
static int open_socket(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(sun.sun_path)) {
		(void)fprintf(stderr, "lbctl: the socket's path is too long: %s\n", path);
		return -1;
	}
	memcpy(sun.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	(void)fprintf(stderr, "lbctl: cannot connect to %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

static int send_all(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		s.p += n;
		s.n -= (size_t)n;
	}
	return shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
}

static int receive_all(int fd, struct text *out)
{
	char buf[65536];

	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return out->failed ? -ENOMEM : 0;
		text_add(out, (struct slice){ .p = buf, .n = (size_t)n });
	}
}

int ctl_print(struct slice answer, FILE *out, FILE *err)
{
	bool is_error = slice_starts_with(answer, SLICE("error: "));
	FILE *to = is_error ? err : out;

	if (answer.n < 2 || memcmp(answer.p + answer.n - 2, "\n\n", 2) != 0) {
		(void)fputs("lbctl: the answer was cut short\n", err);
		return CTL_FAILED;
	}
	if (is_error)
		(void)fputs("lbctl: ", to);
	if (fwrite(answer.p, 1, answer.n - 1, to) != answer.n - 1 || fflush(to) != 0) {
		(void)fprintf(err, "lbctl: cannot write the answer: %s\n", strerror(errno));
		return CTL_FAILED;
	}
	return is_error ? CTL_FAILED : 0;
}

int ctl_ask(const struct ctl *c)
{
	_cleanup_(text_deinit) struct text answer = TEXT_INIT;
	const char *path = c->path != NULL ? c->path : ctl_default_path();
	int fd = open_socket(path);

	if (fd < 0)
		return CTL_FAILED;
	int r = send_all(fd, text_slice(&c->line));
	if (r == 0)
		r = receive_all(fd, &answer);
	(void)close(fd);
	if (r == 0)
		return ctl_print(text_slice(&answer), stdout, stderr);
	(void)fprintf(stderr, "lbctl: %s: %s\n", path, strerror(-r));
	return CTL_FAILED;
}
