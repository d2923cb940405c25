/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Advice about values: when the text of a key cannot be read, what its writer probably meant.
 *
 * There is one function for each kind of value: advice_number(), advice_address() and
 * advice_file(). The caller has found that its row does not accept the text, and adds the advice to
 * the message. An advice begins with "; " and fits into ADVICE_TEXT_MAX bytes. When no advice fits
 * the text, `out` is the empty string: advice_number() and advice_address() empty `out` first, and
 * a function below them that finds no advice leaves `out` unchanged.
 *
 * Numbers. advice_number() first looks for mistakes that every type of number may have: a ";" at
 * the end, a leading 0, a word that stands for "no limit". Then the function for the row's type
 * reads the text by rules that are looser than the file's: spaces before the unit, units of other
 * programs (synonym.h), decimals, several numbers with units. write_it() gets the resulting value
 * in the form of the file, and gives it as advice only when opt_number() says that the row accepts
 * the value.
 *
 * Addresses. advice_address() tries the mistakes one by one, from those that are certain (a URL, a
 * path, a variable) to those that are guesses: a port alone, a missing or a bad port
 * (advice_port()), a host name or a bad host (advice_host()).
 *
 * Relies on util/sockaddr.h and util/parse.h to read the parts of the text that are right. All
 * slices point into the caller's text; take() cuts bytes off the front of a slice.
 */
#include "conf/advice.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "conf/opt.h"
#include "conf/opt_number.h"
#include "conf/synonym.h"
#include "conf/word.h"
#include "util/parse.h"
#include "util/sockaddr.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static struct slice trim(struct slice s)
{
	while (s.n > 0 && s.p[0] == ' ') {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && s.p[s.n - 1] == ' ')
		s.n--;
	return s;
}

/* Cuts the first `n` bytes off *s and returns them. */
static struct slice take(struct slice *s, size_t n)
{
	LB_ASSERT(n <= s->n);
	struct slice head = { .p = s->p, .n = n };

	*s = (struct slice){ .p = s->p + n, .n = s->n - n };
	return head;
}

/* How many digits `s` begins with. */
static size_t n_digits(struct slice s)
{
	size_t n = 0;

	while (n < s.n && is_digit(s.p[n]))
		n++;
	return n;
}

/* ---- numbers ---- */

/* Advises to write `value`, but only when the row accepts `value`. */
static const char *write_it(const struct opt *o, const char *value, char out[ADVICE_TEXT_MAX])
{
	uint64_t v;

	if (opt_number(o, slice_of(value), &v))
		(void)snprintf(out, ADVICE_TEXT_MAX, "; write \"%s\"", value);
	return out;
}

/* Advises to write `word`. */
static const char *write_word(const char *word, char out[ADVICE_TEXT_MAX])
{
	(void)snprintf(out, ADVICE_TEXT_MAX, "; write \"%s\"", word);
	return out;
}

/*
 * Looks up a unit of another program in synonym.c. For "gb", whose row has "1024 MiB", sets *factor
 * to 1024 and *unit to "MiB": N gb are N * 1024 MiB. False when the unit is unknown.
 */
static bool unit_find(const char *where, struct slice word, uint64_t *factor, const char **unit)
{
	const struct synonym *s = synonym_find(SYNONYM_UNIT, where, word);

	if (s == NULL)
		return false;
	struct slice number = { .p = s->ours, .n = strcspn(s->ours, " ") };
	LB_ASSERT(s->ours[number.n] == ' ');
	*unit = s->ours + number.n + 1;
	return parse_uint(number, factor) == 0;
}

/*
 * Takes a decimal point and one to three digits off *s, and sets *ret to the thousandths: 500 for
 * ".5". When *s does not begin with a point, sets *ret to 0. False when no digit or more than three
 * digits follow the point.
 */
static bool take_thousandths(struct slice *s, uint64_t *ret)
{
	uint64_t v = 0;

	*ret = 0;
	if (s->n == 0 || s->p[0] != '.')
		return true;
	(void)take(s, 1);
	struct slice digits = take(s, n_digits(*s));
	if (digits.n == 0 || digits.n > 3 || parse_uint(digits, &v) < 0)
		return false;
	for (size_t i = digits.n; i < 3; i++)
		v *= 10;
	*ret = v;
	return true;
}

/*
 * Returns the next smaller unit than `unit`, and sets *factor to how many of the smaller unit make
 * one `unit`. NULL when lb has no smaller unit.
 */
static const char *smaller(const char *unit, uint64_t *factor)
{
	static const struct {
		const char *unit, *smaller;
		uint64_t factor;
	} units[] = {
		{ "s", "ms", 1000 }, { "m", "s", 60 },    { "h", "m", 60 },
		{ "d", "h", 24 },    { "KiB", "", 1024 }, { "MiB", "KiB", 1024 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(units[i].unit, unit) == 0) {
			*factor = units[i].factor;
			return units[i].smaller;
		}
	}
	return NULL;
}

/* Advice about several numbers with units, as "1m30s" or "1h 30m": writes their sum. */
static const char *advice_compound(const struct opt *o, struct slice s, char out[ADVICE_TEXT_MAX])
{
	uint64_t v, factor, one, total = 0;
	const char *unit;
	char value[48];

	while (s.n > 0) {
		struct slice digits = take(&s, n_digits(s));
		size_t n = 0;
		while (n < s.n && !is_digit(s.p[n]))
			n++;
		struct slice word = trim(take(&s, n));
		if (digits.n == 0 || digits.n > 9 || parse_uint(digits, &v) < 0 ||
		    !unit_find("duration", word, &factor, &unit))
			return out;
		(void)snprintf(value, sizeof(value), "1%s", unit);
		if (parse_duration_ms(slice_of(value), &one) < 0)
			return out;
		total += v * factor * one;
	}
	(void)snprintf(value, sizeof(value), "%" PRIu64 "%s",
		       total % 1000 == 0 ? total / 1000 : total, total % 1000 == 0 ? "s" : "ms");
	return write_it(o, value, out);
}

/*
 * Advice about one number with a unit, as "10 sec", "1.5s", "1d" or "64KB". When the number has no
 * unit, as "30", its unit is `bare`.
 */
static const char *advice_with_unit(const struct opt *o, const char *where, const char *bare,
				    struct slice s, char out[ADVICE_TEXT_MAX])
{
	uint64_t v, part, factor = 1, step;
	const char *unit = bare;
	char value[48];

	struct slice digits = take(&s, n_digits(s));
	if (digits.n == 0 || digits.n > 9 || parse_uint(digits, &v) < 0 ||
	    !take_thousandths(&s, &part))
		return out;
	s = trim(s);
	if (s.n != 0 && !unit_find(where, s, &factor, &unit))
		return out;
	v *= factor;
	if (part != 0) {
		LB_ASSERT(part < 1000);
		unit = smaller(unit, &step);
		if (unit == NULL || part * factor * step % 1000 != 0)
			return out;
		v = v * step + part * factor * step / 1000;
	}
	(void)snprintf(value, sizeof(value), "%" PRIu64 "%s", v, unit);
	if (*write_it(o, value, out) == '\0' && s.n == 0 && strcmp(unit, "s") == 0) {
		/*
		 * The row does not accept the number as seconds. HAProxy takes a number without a
		 * unit for milliseconds, so milliseconds are tried.
		 */
		(void)snprintf(value, sizeof(value), "%" PRIu64 "ms", v);
		(void)write_it(o, value, out);
	}
	return out;
}

/* Whether a text is a word, or a number, for "no limit". */
static bool is_endless(struct slice s)
{
	static const char *const words[] = { "never", "none",  "infinite", "infinity", "unlimited",
					     "no",    "false", "disabled", "0",        "0s",
					     "-1",    "inf",   "forever" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (slice_eq_nocase(s, slice_of(words[i])))
			return true;
	}
	return false;
}

/*
 * Advice about a text where a whole number is wanted: "1.5" must have no decimals, and "10k" is
 * written out as 10000.
 */
static const char *advice_whole(const struct opt *o, struct slice s, char out[ADVICE_TEXT_MAX])
{
	char value[48];

	struct slice digits = take(&s, n_digits(s));
	if (digits.n == 0 || digits.n > 9)
		return out;
	if (s.n > 1 && s.p[0] == '.' && n_digits((struct slice){ s.p + 1, s.n - 1 }) == s.n - 1) {
		(void)snprintf(out, ADVICE_TEXT_MAX, "; it has no decimals");
		return out;
	}
	bool is_k = slice_eq_nocase(s, SLICE("k")), is_m = slice_eq_nocase(s, SLICE("m"));
	if (!is_k && !is_m)
		return out;
	(void)snprintf(value, sizeof(value), SLICE_FMT "%s", SLICE_ARG(digits),
		       is_k ? "000" : "000000");
	return write_it(o, value, out);
}

/* Advice about a percentage: "1.25" for "125%". */
static const char *advice_factor(const struct opt *o, struct slice s, char out[ADVICE_TEXT_MAX])
{
	uint64_t percent;
	char value[48];

	if (s.n < 2 || s.n > 6 || s.p[s.n - 1] != '%' ||
	    parse_uint((struct slice){ s.p, s.n - 1 }, &percent) < 0)
		return out;
	(void)snprintf(value, sizeof(value), "%" PRIu64 ".%02" PRIu64, percent / 100,
		       percent % 100);
	return write_it(o, value, out);
}

/* Advice about an octal mode without a leading 0: "0600" for "600" or "0o600". */
static const char *advice_mode(const struct opt *o, struct slice s, char out[ADVICE_TEXT_MAX])
{
	char value[16];

	if (slice_starts_with(s, SLICE("0o")))
		(void)take(&s, 2);
	if (s.n == 0 || s.n > 4)
		return out;
	(void)snprintf(value, sizeof(value), "0" SLICE_FMT, SLICE_ARG(s));
	return write_it(o, value, out);
}

const char *advice_number(const struct opt *o, struct slice text, char out[ADVICE_TEXT_MAX])
{
	struct slice s = trim(text);

	LB_ASSERT(opt_is_number(o));
	out[0] = '\0';
	if (s.n > 1 && (s.p[s.n - 1] == ';' || s.p[s.n - 1] == ',')) {
		(void)snprintf(out, ADVICE_TEXT_MAX, "; nothing stands behind a value, no \"%c\"",
			       s.p[s.n - 1]);
		return out;
	}
	if ((o->type == OPT_UINT || o->type == OPT_COUNT || o->type == OPT_SIZE) && s.n > 1 &&
	    s.p[0] == '0' && n_digits(s) > 1) {
		(void)snprintf(out, ADVICE_TEXT_MAX,
			       "; write it without the leading 0, which makes an octal number of "
			       "it for some readers of YAML");
		return out;
	}
	if (is_endless(s) && (o->flags & OPT_OFF) != 0)
		return write_word("off", out);
	if (is_endless(s) && (o->flags & OPT_AUTO) != 0)
		return write_word("auto", out);
	if (is_endless(s) && o->def == NULL) {
		(void)snprintf(out, ADVICE_TEXT_MAX, "; leave the key out for no limit");
		return out;
	}
	switch (o->type) {
	case OPT_UINT:
	case OPT_COUNT: return advice_whole(o, s, out);
	case OPT_DURATION:
		if (*advice_with_unit(o, "duration", "s", s, out) != '\0')
			return out;
		return advice_compound(o, s, out);
	case OPT_SIZE: return advice_with_unit(o, "size", "", s, out);
	case OPT_FACTOR: return advice_factor(o, s, out);
	case OPT_MODE: return advice_mode(o, s, out);
	case OPT_WORD:
	case OPT_NAME:
	case OPT_FILE:
	case OPT_ADDRESS:
	case OPT_CALL: break;
	}
	return out;
}

/* ---- addresses ---- */

/* Writes `text` into `out` as the advice, and returns `out`. */
static const char *say(char out[ADVICE_TEXT_MAX], const char *text)
{
	(void)snprintf(out, ADVICE_TEXT_MAX, "; %s", text);
	return out;
}

static bool has(struct slice s, char c)
{
	return s.n != 0 && memchr(s.p, c, s.n) != NULL;
}

/* Cuts a text at its last colon into a host and a port. False when the text has no colon. */
static bool cut_port(struct slice s, struct slice *host, struct slice *port)
{
	const char *colon = s.n == 0 ? NULL : memrchr(s.p, ':', s.n);

	if (colon == NULL)
		return false;
	*host = (struct slice){ .p = s.p, .n = (size_t)(colon - s.p) };
	*port = (struct slice){ .p = colon + 1, .n = s.n - host->n - 1 };
	LB_ASSERT(port->p + port->n == s.p + s.n);
	return true;
}

static bool is_port(struct slice s)
{
	uint64_t v;

	return s.n != 0 && s.n <= 5 && s.p[0] != '0' && parse_uint(s, &v) == 0 && v <= UINT16_MAX;
}

/* Takes the port of `8080`, `:8080` or `*:8080`. False when the text is not a port alone. */
static bool take_port_alone(struct slice s, struct slice *ret)
{
	if (slice_starts_with(s, SLICE("*")))
		(void)take(&s, 1);
	if (slice_starts_with(s, SLICE(":")))
		(void)take(&s, 1);
	*ret = s;
	return is_port(s);
}

static const char *advice_url(struct slice s, char out[ADVICE_TEXT_MAX])
{
	const char *p = slice_find(s, "://");
	struct addr a;

	LB_ASSERT(p != NULL);
	struct slice rest = { .p = p + 3, .n = s.n - (size_t)(p + 3 - s.p) };
	if (has(rest, '/'))
		rest.n = (size_t)((const char *)memchr(rest.p, '/', rest.n) - rest.p);
	if (addr_parse(rest, &a) == 0)
		(void)snprintf(out, ADVICE_TEXT_MAX, "; it is a URL: write \"" SLICE_FMT "\"",
			       SLICE_ARG(rest));
	else
		(void)say(out, "it is a URL, and lb takes an address and a port alone");
	return out;
}

/* Whether a host is an IPv4 address inside an IPv6 address, perhaps in brackets. */
static bool is_mapped(struct slice host)
{
	struct slice s = host;
	struct addr a;

	if (s.n > 0 && s.p[0] == '[')
		(void)take(&s, 1);
	if (s.n < 7 || strncasecmp(s.p, "::ffff:", 7) != 0)
		return false;
	(void)take(&s, 7);
	if (s.n > 0 && s.p[s.n - 1] == ']')
		s.n--;
	return addr_parse_host(s, &a) == 0;
}

/*
 * Advice about an address whose host can be read: its port is missing, cannot be read, or is not
 * wanted.
 */
static const char *advice_port(struct slice s, enum advice_want want, char out[ADVICE_TEXT_MAX])
{
	bool has_port = want != ADVICE_HOST;
	struct slice host = s, port = SLICE("");
	struct addr a;

	bool is_v6 = addr_parse_host(s, &a) == 0 && a.family == AF_INET6;
	if (is_v6 && has_port) {
		/*
		 * addr_parse_host() reads `::1:80` as one address. When the text in front of the
		 * last colon is an address, too, and a port follows, both were probably meant.
		 */
		bool has_both = cut_port(s, &host, &port) && is_port(port) &&
				addr_parse_host(host, &a) == 0;
		(void)snprintf(out, ADVICE_TEXT_MAX,
			       "; an IPv6 address needs brackets, quotes and a port: \"[" SLICE_FMT
			       "]:" SLICE_FMT "\"",
			       SLICE_ARG(has_both ? host : s),
			       SLICE_ARG(has_both ? port : SLICE("8080")));
		return out;
	}
	if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']') {
		struct slice inner = { .p = s.p + 1, .n = s.n - 2 };
		if (addr_parse_host(inner, &a) == 0) {
			(void)snprintf(out, ADVICE_TEXT_MAX,
				       has_port ? "; the port is missing: \"[" SLICE_FMT "]:8080\""
						: "; write \"" SLICE_FMT "\"",
				       SLICE_ARG(inner));
			return out;
		}
	}
	if (addr_parse_host(s, &a) == 0 && has_port) {
		(void)snprintf(out, ADVICE_TEXT_MAX,
			       "; the port is missing: \"" SLICE_FMT ":8080\"", SLICE_ARG(s));
		return out;
	}
	if (!cut_port(s, &host, &port) || addr_parse_host(host, &a) < 0)
		return out;
	if (!has_port && port.n != 0 && n_digits(port) == port.n)
		(void)snprintf(out, ADVICE_TEXT_MAX, "; write \"" SLICE_FMT "\"", SLICE_ARG(host));
	else if (has_port)
		(void)say(out, "the port must be a number from 1 to 65535, without a leading 0");
	return out;
}

/*
 * Whether a host has only digits and dots, with at least one dot: an IPv4 address was probably
 * meant.
 */
static bool is_like_v4(struct slice host)
{
	for (size_t i = 0; i < host.n; i++) {
		if (!is_digit(host.p[i]) && host.p[i] != '.')
			return false;
	}
	return has(host, '.');
}

/* Advice about an address whose host cannot be read. */
static const char *advice_host(struct slice s, enum advice_want want, char out[ADVICE_TEXT_MAX])
{
	bool has_port = want != ADVICE_HOST;
	struct slice host = s, port = SLICE("");

	if (!cut_port(s, &host, &port))
		host = s;
	if (is_mapped(has_port ? host : s))
		return say(out, "write the IPv4 address that is in it");
	if (is_like_v4(host))
		return say(out, "an IPv4 address has four numbers from 0 to 255, without leading "
				"zeros");
	if (slice_eq_nocase(host, SLICE("localhost"))) {
		(void)snprintf(out, ADVICE_TEXT_MAX,
			       "; names are not resolved yet: write \"127.0.0.1%s" SLICE_FMT "\"",
			       has_port && is_port(port) ? ":"
			       : has_port                ? ":8080"
							 : "",
			       SLICE_ARG(has_port && is_port(port) ? port : SLICE("")));
		return out;
	}
	if (word_is_host(host) && !has(host, '['))
		(void)snprintf(out, ADVICE_TEXT_MAX,
			       "; names are not resolved yet: write the address that \"getent "
			       "hosts %.*s\" prints",
			       (int)(host.n < 60 ? host.n : 60), host.p);
	return out;
}

const char *advice_address(struct slice text, enum advice_want want, char out[ADVICE_TEXT_MAX])
{
	struct slice s = trim(text), port;
	bool has_port = want != ADVICE_HOST, is_bind = want == ADVICE_BIND;
	struct cidr network;
	struct addr a;

	out[0] = '\0';
	if (s.n == 0)
		return out;
	if (s.n < text.n && (has_port ? addr_parse(s, &a) : addr_parse_host(s, &a)) == 0)
		return say(out, "remove the spaces around it");
	if (slice_find(s, "://") != NULL)
		return advice_url(s, out);
	if (s.p[0] == '/' || slice_starts_with(s, SLICE("./")))
		return say(out, "unix sockets are not supported yet");
	if (has(s, '$'))
		return say(out, "variables are not replaced: write the value");
	if (has(s, ' '))
		return say(out,
			   is_bind ? "options of an address are keys of the listener"
				   : "options are keys of a map, as in {address: 10.0.0.1:9000, "
				     "weight: 2}");
	if (has(s, '%'))
		return say(out, "an address with a zone is not supported");
	if (has(s, '/') && cidr_parse(s, &network) == 0)
		return say(out, "it is a network, and one address is wanted");
	if (has(s, '/') || has(s, ';') || has(s, ','))
		return say(out, "one address is wanted, with nothing behind it");
	if (has_port && take_port_alone(s, &port)) {
		(void)snprintf(out, ADVICE_TEXT_MAX, "; write \"%s:" SLICE_FMT "\"%s",
			       is_bind ? "0.0.0.0" : "127.0.0.1", SLICE_ARG(port),
			       is_bind ? " for all addresses of this machine" : "");
		return out;
	}
	if (*advice_port(s, want, out) == '\0')
		(void)advice_host(s, want, out);
	return out;
}

/* ---- files ---- */

/* Whether a text is a word for on or off, which is hardly meant as a path. */
static bool is_switch(const char *text)
{
	static const char *const words[] = { "off", "on", "no", "yes", "false", "true", "none" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcasecmp(text, words[i]) == 0)
			return true;
	}
	return false;
}

static bool is_system_log(const char *text)
{
	return strcasecmp(text, "syslog") == 0 || strncasecmp(text, "syslog:", 7) == 0 ||
	       strcasecmp(text, "journal") == 0 || strcasecmp(text, "journald") == 0;
}

const char *advice_file(const struct opt *o, const char *text)
{
	bool is_log = (o->flags & OPT_STREAM) != 0;

	if (strstr(text, "://") != NULL || strncmp(text, "unix:", 5) == 0)
		return "must be a path alone, as in /run/lb/name";
	if (is_switch(text) && !is_log && (o->flags & OPT_OFF) == 0)
		return "must be a path; a file of this name is written with its folder, as in "
		       "./off";
	if (is_switch(text) && !is_log)
		return "must be a path or off; a file of this name is written with its folder, "
		       "as in ./off";
	if (is_switch(text))
		return (o->flags & OPT_REQUIRED) != 0
			       ? "must be stderr, stdout or a path; leave \"access_log\" out for "
				 "none"
			       : "must be stderr, stdout or a path; write /dev/null for none";
	if (is_log && is_system_log(text))
		return "must be stderr, stdout or a path; under systemd the journal has what goes "
		       "to stderr";
	return "";
}
