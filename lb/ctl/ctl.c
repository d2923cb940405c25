/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lbctl without its main(): the command line becomes a line of words, the line is sent to lb's
 * admin socket, and the answer is printed.
 *
 *   argv -> ctl_parse() -> ctl.line -> ctl_query() -> answer -> ctl_print()
 *
 * ctl_parse() reads the options (parse_options()) and joins the words that are left into ctl.line.
 * The options are of three kinds: -s, --help and --version say what lbctl itself does; "style"
 * options (--json, --wide) become a last word of the line; "filters" (--pool and the ones after it
 * in `options`) become a word of the form key=value. lbctl does not know which commands exist, and
 * which words and filters a command takes. Only lb does (admin/command.c): lbctl sends the line as
 * it is, and lb answers with an error when it does not understand a word. The one exception is
 * --wait, which lbctl carries out itself (wait.c).
 *
 * ctl_query() makes one connection for one line: open_socket() connects, send_all() sends the line
 * and half-closes, receive_all() reads until lb closes. When the connection fails, lbctl says which
 * path it tried and how another path is chosen (print_socket_hint()), or which user and group the
 * socket is for (print_owner_hint()).
 *
 * ctl_print() relies on the form of an answer: it ends with an empty line, which is not printed,
 * and an error begins with "error: ". An answer without the empty line was cut short.
 *
 * Messages of lbctl's own go to stderr and begin with "lbctl: ". A function that returns an exit
 * status other than 0 has printed one.
 *
 * Thread: main, the only one. All calls block.
 */
#include "ctl/ctl.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/nearest.h"

const char ctl_usage[] =
	"usage: lbctl [-s SOCKET] [--json] [--wide] COMMAND\n"
	"\n"
	"  stats                         show all statistics\n"
	"  backends [POOL]               show backends, their states and connections\n"
	"  conns [--pool P] [--backend B] [--client CIDR] [--min-age 5m]\n"
	"        [--sort age|bytes] [--limit N]\n"
	"                                show open connections, at most 1000 by default\n"
	"  drain POOL/BACKEND [--wait]   stop new connections; health checks continue;\n"
	"                                --wait: wait until all connections have ended\n"
	"  drain POOL/BACKEND status     show how many connections are left\n"
	"  ready POOL/BACKEND            undo drain and maint\n"
	"  maint POOL/BACKEND            stop new connections and health checks\n"
	"  weight POOL/BACKEND N         set the weight, 0 to 256\n"
	"  reload                        reload the configuration\n"
	"  help                          list the commands as sent over the socket\n"
	"\n"
	"Without -s, lbctl uses $LBCTL_SOCKET if it is set, else ./lb.sock if it exists,\n"
	"else /run/lb/admin.sock. Tables are at most 80 columns wide; --wide shows all\n"
	"columns. --json prints one line of JSON.\n";

/* ---- the command line ------------------------------------------------------------------------ */

/* The values begin above every character, because the value of a short option is its letter. */
enum {
	OPT_JSON = 256,
	OPT_WIDE,
	OPT_WAIT,
	OPT_VERSION,
	OPT_POOL,
	OPT_BACKEND,
	OPT_CLIENT,
	OPT_MIN_AGE,
	OPT_SORT,
	OPT_LIMIT
};

static const struct option options[] = {
	{ "json", no_argument, NULL, OPT_JSON },
	{ "wide", no_argument, NULL, OPT_WIDE },
	{ "wait", no_argument, NULL, OPT_WAIT },
	{ "pool", required_argument, NULL, OPT_POOL },
	{ "backend", required_argument, NULL, OPT_BACKEND },
	{ "client", required_argument, NULL, OPT_CLIENT },
	{ "min-age", required_argument, NULL, OPT_MIN_AGE },
	{ "sort", required_argument, NULL, OPT_SORT },
	{ "limit", required_argument, NULL, OPT_LIMIT },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* The keys of the filters: the option OPT_POOL + i becomes the word `filter_key[i]=VALUE`. */
static const char *const filter_key[] = { "pool", "backend", "client", "min-age", "sort", "limit" };

static_assert(ARRAY_SIZE(filter_key) == OPT_LIMIT - OPT_POOL + 1, "each filter has a key");

/* The style options, and whether --wait was given. */
struct style {
	bool is_json, is_wide, waits;
};

static int wrong(const char *what, const char *value)
{
	(void)fprintf(stderr, "lbctl: %s%s\n", what, value);
	(void)fputs("try lbctl --help\n", stderr);
	return CTL_USAGE;
}

/* Whether `s` stays one word when lb cuts the line at its spaces. */
static bool is_word(const char *s)
{
	return s[0] != '\0' && strpbrk(s, " \t\r\n") == NULL;
}

/* Reports an unknown option. `word` is "--NAME" or "--NAME=VALUE", and no option has that name. */
static int unknown_long_option(const char *word)
{
	_cleanup_(text_deinit) struct text what = TEXT_INIT;
	struct slice name = { .p = word + 2, .n = strcspn(word + 2, "=") };
	struct nearest near;

	LB_ASSERT(strncmp(word, "--", 2) == 0);
	nearest_init(&near, name);
	for (const struct option *o = options; o->name != NULL; o++)
		nearest_try(&near, slice_of(o->name));
	struct slice meant = nearest_word(&near);
	text_addf(&what, "--" SLICE_FMT, SLICE_ARG(name));
	if (meant.n > 0)
		text_addf(&what, ", did you mean \"--" SLICE_FMT "\"?", SLICE_ARG(meant));
	else if (slice_eq(name, SLICE("socket")))
		text_addf(&what, ", did you mean \"-s\"?");
	return wrong("unknown option ", what.failed ? word : what.p);
}

/*
 * Says why getopt_long() has refused an option.
 *
 * getopt_long() has set optopt: to 0 for an unknown long option, to the option's value for a known
 * long option, and to the letter of a short option. `last` is the last word that getopt_long() has
 * read to its end. A long option is this word. The letter of a short option may stand in the next
 * word, because getopt_long() is at the end of a word only after its last letter.
 */
static int refuse_option(const char *last, bool lacks_value)
{
	const char letter[] = { '-', (char)optopt, '\0' };
	bool is_known_long = optopt >= OPT_JSON || optopt == 'h'; /* 'h' is the value of --help */

	if (lacks_value)
		return wrong("a value is missing behind ", is_known_long ? last : letter);
	if (is_known_long)
		return wrong("this option takes no value: ", last);
	if (optopt == 0)
		return unknown_long_option(last);
	if (optopt >= '0' && optopt <= '9')
		return wrong("a number cannot be negative: ", letter);
	return wrong("unknown option ", letter);
}

static void add_filter(struct text *filters, int opt, const char *value)
{
	LB_ASSERT(opt >= OPT_POOL && opt <= OPT_LIMIT);
	text_addf(filters, " %s=%s", filter_key[opt - OPT_POOL], value);
}

static int parse_options(int argc, char **argv, struct ctl *ret, struct text *filters,
			 struct style *style)
{
	int opt;

	optind = 0; /* 0 makes glibc's getopt_long() forget an earlier command line */
	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":s:h", options, NULL)) != -1) {
		if (opt == 's')
			ret->path = optarg;
		else if (opt == OPT_JSON)
			style->is_json = true;
		else if (opt == OPT_WIDE)
			style->is_wide = true;
		else if (opt == OPT_WAIT)
			style->waits = true;
		else if (opt == OPT_VERSION)
			ret->action = CTL_VERSION;
		else if (opt == 'h')
			ret->action = CTL_HELP;
		else if (opt == '?' || opt == ':')
			return refuse_option(argv[optind - 1], opt == ':');
		else if (!is_word(optarg))
			return wrong("an option's value is empty or has spaces: ", optarg);
		else
			add_filter(filters, opt, optarg);
	}
	LB_ASSERT(optind >= 1 && optind <= argc);
	return 0;
}

/*
 * Prepares `drain POOL/BACKEND --wait` (CTL_WAIT). It is an error when --wait comes with another
 * command, or with --json.
 */
static int prepare_wait(int argc, char **argv, const struct style *style, struct ctl *ret)
{
	LB_ASSERT(ret->action == CTL_ASK && ret->poll.n == 0);
	if (argc - optind != 2 || strcmp(argv[optind], "drain") != 0)
		return wrong("--wait is for drain POOL/BACKEND", "");
	if (style->is_json)
		return wrong("--wait has no JSON: ask for \"drain POOL/BACKEND status\"", "");
	ret->action = CTL_WAIT;
	ret->target = argv[optind + 1];
	text_addf(&ret->poll, "drain %s status json\n", ret->target);
	return 0;
}

int ctl_parse(int argc, char **argv, struct ctl *ret)
{
	_cleanup_(text_deinit) struct text filters = TEXT_INIT;
	struct style style = { 0 };

	LB_ASSERT(argc >= 1 && ret->action == CTL_ASK && ret->line.n == 0);
	int r = parse_options(argc, argv, ret, &filters, &style);

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
	text_addf(&ret->line, "%s%s\n", style.is_wide ? " wide" : "", style.is_json ? " json" : "");
	if (style.waits)
		r = prepare_wait(argc, argv, &style, ret);
	if (r == 0 && (filters.failed || ret->line.failed || ret->poll.failed)) {
		(void)fputs("lbctl: out of memory\n", stderr);
		return CTL_FAILED;
	}
	return r;
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
	text_deinit(&c->poll);
}

/* ---- the socket ------------------------------------------------------------------------------ */

/* After a failed connect, says where the path came from, and how to choose another path. */
static void print_socket_hint(const struct ctl *c)
{
	const char *env = getenv("LBCTL_SOCKET");

	if (c->path != NULL)
		(void)fputs("lbctl: -s named this socket; ", stderr);
	else if (env != NULL && env[0] != '\0')
		(void)fputs("lbctl: LBCTL_SOCKET named this socket; ", stderr);
	else
		(void)fputs("lbctl: name another one with -s SOCKET or LBCTL_SOCKET; ", stderr);
	(void)fputs("the path is admin.socket in lb's file; with off, there is no socket\n",
		    stderr);
}

/* After an EACCES, says which user and which group may use the socket. */
static void print_owner_hint(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		(void)fputs("lbctl: this user may not enter the socket's folder: use sudo\n",
			    stderr);
		return;
	}
	const struct passwd *pw = getpwuid(st.st_uid);
	const struct group *gr = getgrgid(st.st_gid);
	(void)fprintf(stderr, "lbctl: the socket is for user %s", pw != NULL ? pw->pw_name : "?");
	if ((st.st_mode & S_IWGRP) != 0)
		(void)fprintf(stderr, " and group %s: use sudo, or join that group\n",
			      gr != NULL ? gr->gr_name : "?");
	else
		(void)fputs(" alone: use sudo, or let its group in with admin.mode: 0660\n",
			    stderr);
}

/* Connects. Returns a descriptor, or -1 after a message that says why the connect failed. */
static int open_socket(const struct ctl *c, const char *path)
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
	int error = errno;
	(void)fprintf(stderr, "lbctl: cannot connect to %s: %s%s\n", path, strerror(error),
		      error == ECONNREFUSED ? " (no lb runs on it)" : "");
	if (error == EACCES)
		print_owner_hint(path);
	else
		print_socket_hint(c);
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

/* Sends `s`, then half-closes, which tells lb that no further line comes. */
static int send_all(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		LB_ASSERT((size_t)n <= s.n);
		s.p += n;
		s.n -= (size_t)n;
	}
	return shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
}

/* Receives until lb closes the connection. */
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

int ctl_query(const struct ctl *c, struct slice line, struct text *ret)
{
	const char *path = c->path != NULL ? c->path : ctl_default_path();

	LB_ASSERT(line.n > 0 && memchr(line.p, '\n', line.n) == line.p + line.n - 1);
	LB_ASSERT(ret->n == 0); /* ctl_print() prints one answer */
	int fd = open_socket(c, path);
	if (fd < 0)
		return CTL_FAILED;
	int r = send_all(fd, line);
	if (r == 0)
		r = receive_all(fd, ret);
	(void)close(fd);
	if (r == 0)
		return 0;
	(void)fprintf(stderr, "lbctl: %s: %s\n", path, strerror(-r));
	return CTL_FAILED;
}

int ctl_ask(const struct ctl *c)
{
	_cleanup_(text_deinit) struct text answer = TEXT_INIT;

	LB_ASSERT(c->action == CTL_ASK || c->action == CTL_WAIT);
	int r = ctl_query(c, text_slice(&c->line), &answer);

	return r == 0 ? ctl_print(text_slice(&answer), stdout, stderr) : r;
}
