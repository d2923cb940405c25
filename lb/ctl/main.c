/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lbctl: one command to the admin socket, its answer to stdout.
 *
 * A plain client of its own: blocking, and knowing nothing of lb but the socket's lines.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/slice.h"
#include "util/text.h"

#define EXIT_FAILED 1
#define EXIT_USAGE 2

static const char usage[] =
	"usage: lbctl [-s SOCKET] [--json] COMMAND\n"
	"\n"
	"  stats                         all figures\n"
	"  backends [POOL]               backends, their states and connections\n"
	"  conns [--pool P] [--backend B] [--client CIDR] [--min-age 5m] [--limit N]\n"
	"                                open connections\n"
	"  drain POOL/BACKEND            no new connections, checks go on\n"
	"  ready POOL/BACKEND            takes connections again\n"
	"  maint POOL/BACKEND            no new connections, no checks\n"
	"  weight POOL/BACKEND N         changes a weight, 0 to 256\n"
	"  reload                        reads the configuration again\n"
	"  help                          what the socket understands\n"
	"\n"
	"Without -s the socket is $LBCTL_SOCKET, ./lb.sock or /run/lb/admin.sock.\n";

static const char *default_socket(void)
{
	const char *env = getenv("LBCTL_SOCKET");

	if (env != NULL && env[0] != '\0')
		return env;
	return access("lb.sock", F_OK) == 0 ? "lb.sock" : "/run/lb/admin.sock";
}

/* Connects. Returns a descriptor, or -1 after saying why not. */
static int open_socket(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(sun.sun_path)) {
		(void)fprintf(stderr, "lbctl: the socket's path is too long: %s\n", path);
		return -1;
	}
	strcpy(sun.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	(void)fprintf(stderr, "lbctl: cannot connect to %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

static bool send_all(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		s.p += n;
		s.n -= (size_t)n;
	}
	return shutdown(fd, SHUT_WR) == 0;
}

static bool receive_all(int fd, struct text *out)
{
	char buf[65536];

	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 && !out->failed;
		text_add(out, (struct slice){ .p = buf, .n = (size_t)n });
	}
}

/* Prints an answer without the empty line that ends it. Returns the exit status. */
static int print_answer(const struct text *t)
{
	size_t n = t->n;

	if (n < 2 || memcmp(t->p + n - 2, "\n\n", 2) != 0) {
		(void)fprintf(stderr, "lbctl: the answer was cut short\n");
		return EXIT_FAILED;
	}
	bool is_error = n >= 7 && memcmp(t->p, "error: ", 7) == 0;
	FILE *to = is_error ? stderr : stdout;
	if (is_error)
		(void)fprintf(to, "lbctl: ");
	if (fwrite(t->p, 1, n - 1, to) != n - 1 || fflush(to) != 0)
		return EXIT_FAILED;
	return is_error ? EXIT_FAILED : 0;
}

static int ask(const char *path, const struct text *line)
{
	struct text answer = TEXT_INIT;
	int fd = open_socket(path);
	int status = EXIT_FAILED;

	if (fd < 0)
		return EXIT_FAILED;
	if (!send_all(fd, text_slice(line)) || !receive_all(fd, &answer))
		(void)fprintf(stderr, "lbctl: %s: %s\n", path, strerror(errno));
	else
		status = print_answer(&answer);
	text_deinit(&answer);
	(void)close(fd);
	return status;
}

static int wrong(const char *what)
{
	(void)fprintf(stderr, "lbctl: %s\n%s", what, usage);
	return EXIT_USAGE;
}

/* A word goes into a line of words: it must be one. */
static bool is_word(const char *text)
{
	return text[0] != '\0' && strpbrk(text, " \t\r\n") == NULL;
}

int main(int argc, char **argv)
{
	enum { JSON = 256, POOL, BACKEND, CLIENT, MIN_AGE, LIMIT, VERSION };
	static const struct option options[] = {
		{ "json", no_argument, NULL, JSON },
		{ "pool", required_argument, NULL, POOL },
		{ "backend", required_argument, NULL, BACKEND },
		{ "client", required_argument, NULL, CLIENT },
		{ "min-age", required_argument, NULL, MIN_AGE },
		{ "limit", required_argument, NULL, LIMIT },
		{ "version", no_argument, NULL, VERSION },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	static const char *const filter[] = { "pool", "backend", "client", "min-age", "limit" };
	struct text filters = TEXT_INIT, line = TEXT_INIT;
	const char *path = NULL;
	bool is_json = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "s:h", options, NULL)) != -1) {
		if (opt == 's')
			path = optarg;
		else if (opt == JSON)
			is_json = true;
		else if (opt >= POOL && opt <= LIMIT && is_word(optarg))
			text_addf(&filters, " %s=%s", filter[opt - POOL], optarg);
		else if (opt == 'h')
			return fputs(usage, stdout) < 0 ? EXIT_FAILED : 0;
		else if (opt == VERSION)
			return puts("lbctl " LB_VERSION) < 0 ? EXIT_FAILED : 0;
		else
			return wrong("wrong option");
	}
	if (optind == argc)
		return wrong("a command is missing");
	for (int i = optind; i < argc; i++) {
		if (!is_word(argv[i]))
			return wrong("a word must not be empty or contain spaces");
		text_addf(&line, "%s%s", i > optind ? " " : "", argv[i]);
	}
	text_addf(&line, "%s%s\n", filters.n > 0 ? filters.p : "", is_json ? " json" : "");
	int status = line.failed ? EXIT_FAILED : ask(path != NULL ? path : default_socket(), &line);
	text_deinit(&filters);
	text_deinit(&line);
	return status;
}
