/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of judges, each of which knows one kind of mistake: it looks at libyaml's words and at the
 * lines around, reports, or leaves the problem to the next judge. Those that look at the source
 * alone (tabs, IPv6 addresses, variables) come first, because libyaml has many words for them.
 */
#include "conf/yaml_syntax.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "util/sockaddr.h"

#define WORD_MAX 60 /* of a word that a message repeats */

#define LINES_MAX 256 /* lines above a problem that are looked at; a guess */

struct scene {
	struct err *err;
	const struct yaml_problem *p;
	struct slice window[LINES_MAX]; /* line n is at n % LINES_MAX, up to the problem's own */
	struct slice from;              /* the line where the context begins */
	struct slice line; /* where libyaml stopped; empty behind the end of the text */
	size_t at;         /* the byte in that line */
};

/* ---- the source ---- */

/* The bytes of the line break at `i`, as libyaml counts lines: LF, CR, both, NEL, LS, PS; or 0. */
static size_t break_len(struct slice s, size_t i)
{
	static const char *const breaks[] = { "\r\n",     "\n",           "\r",
					      "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9" };
	struct slice rest = { .p = s.p + i, .n = s.n - i };

	if (strchr("\r\n\xc2\xe2", s.p[i]) == NULL)
		return 0;
	for (size_t k = 0; k < ARRAY_SIZE(breaks); k++) {
		if (slice_starts_with(rest, slice_of(breaks[k])))
			return strlen(breaks[k]);
	}
	return 0;
}

/* Finds the lines in one pass over the text. */
static void find_lines(struct scene *s, struct slice text)
{
	size_t from = 0;

	for (uint32_t n = 1; n <= s->p->at.line && from <= text.n; n++) {
		size_t end = from, len = 0;
		while (end < text.n && (len = break_len(text, end)) == 0)
			end++;
		struct slice line = { .p = text.p + from, .n = end - from };
		s->window[n % LINES_MAX] = line;
		if (n == s->p->from.line)
			s->from = line;
		from = end + (len != 0 ? len : 1);
	}
}

/* Line `n`, from 1, without its end; empty where it is too far above. */
static struct slice line_of(const struct scene *s, uint32_t n)
{
	uint32_t last = s->p->at.line;

	if (n == s->p->from.line)
		return s->from;
	return n == 0 || n > last || last - n >= LINES_MAX ? SLICE("") : s->window[n % LINES_MAX];
}

static bool is_inner(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80; /* not the first byte of a character in UTF-8 */
}

/* The byte of a column, which counts characters from 1. */
static size_t byte_of(struct slice line, uint32_t col)
{
	size_t i = 0;

	for (uint32_t c = 1; c < col && i < line.n; c++) {
		i++;
		while (i < line.n && is_inner(line.p[i]))
			i++;
	}
	return i;
}

static uint32_t column_of(struct slice line, size_t byte)
{
	uint32_t col = 1;

	for (size_t i = 0; i < byte && i < line.n; i++)
		col += is_inner(line.p[i]) ? 0 : 1;
	return col;
}

/* The first byte that is not `a` or `b`, from `i` on. */
static size_t skip(struct slice s, size_t i, char a, char b)
{
	while (i < s.n && (s.p[i] == a || s.p[i] == b))
		i++;
	return i;
}

static size_t indent_of(struct slice line)
{
	return skip(line, 0, ' ', ' ');
}

/* Where the key begins, behind the "- " of list items. */
static size_t key_of(struct slice line)
{
	size_t i = indent_of(line);

	while (i + 1 < line.n && line.p[i] == '-' && line.p[i + 1] == ' ')
		i = skip(line, i + 1, ' ', ' ');
	return i;
}

static bool is_blank(struct slice line)
{
	size_t i = skip(line, 0, ' ', '\t');

	return i == line.n || line.p[i] == '#';
}

/* The number of the last line before `n` that says something, or 0. */
static uint32_t line_before(const struct scene *s, uint32_t n)
{
	while (n > 1 && s->p->at.line - n < LINES_MAX) {
		n--;
		if (!is_blank(line_of(s, n)))
			return n;
	}
	return 0;
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

/* The word at a byte. */
static struct slice name_at(struct slice line, size_t i)
{
	size_t from = i;

	while (i < line.n && is_name_char(line.p[i]))
		i++;
	return (struct slice){ .p = line.p + from, .n = i - from };
}

/* What stands at a byte, up to a space or a bracket's end. */
static struct slice word_at(struct slice line, size_t i)
{
	size_t from = i;

	while (i < line.n && i - from < WORD_MAX && strchr(" \t,]}", line.p[i]) == NULL)
		i++;
	return (struct slice){ .p = line.p + from, .n = i - from };
}

static bool says(const struct scene *s, const char *words)
{
	return strstr(s->p->problem, words) != NULL;
}

static bool is_about(const struct scene *s, const char *words)
{
	return s->p->context != NULL && strstr(s->p->context, words) != NULL;
}

static struct mark place(const struct scene *s, uint32_t line, size_t byte)
{
	return (struct mark){ s->p->at.file, line, column_of(line_of(s, line), byte) };
}

/* The byte where libyaml stopped, or NUL at a line's end. */
static char here(const struct scene *s)
{
	return s->at < s->line.n ? s->line.p[s->at] : '\0';
}

/* The first and the last line that the problem is about: at most some lines. */
static uint32_t first_line(const struct scene *s)
{
	uint32_t last = s->p->at.line;
	uint32_t first = s->p->context != NULL && s->p->from.line < last ? s->p->from.line : last;

	return last - first > 100 ? last - 100 : first;
}

/* ---- judges: each returns whether it has reported ---- */

/* A tab, or a no-break space that came along with a copied text, where a line is indented. */
static bool judge_indent(const struct scene *s)
{
	uint32_t first = first_line(s), before = line_before(s, first);

	if (says(s, "expected ',' or")) /* between brackets tabs are spaces */
		return false;
	for (uint32_t n = before != 0 ? before : first; n <= s->p->at.line; n++) {
		struct slice line = line_of(s, n);
		size_t i = indent_of(line);
		if (i < line.n && line.p[i] == '\t' && !is_blank(line)) {
			(void)err_at(s->err, place(s, n, i),
				     "a tab indents this line; indent with spaces, not with tabs");
			return true;
		}
		const char *nbsp = slice_find(line, "\xc2\xa0");
		if (nbsp != NULL) {
			(void)err_at(s->err, place(s, n, (size_t)(nbsp - line.p)),
				     "a no-break space stands here; write a plain space");
			return true;
		}
	}
	if (here(s) != '\t')
		return false;
	(void)err_at(s->err, s->p->at, "a tab stands here; write spaces, not tabs");
	return true;
}

/* `[::1]:80` without quotes is the beginning of a list. */
static bool judge_ipv6(const struct scene *s)
{
	struct slice line = s->line;
	struct addr a;

	for (size_t i = 0; i < line.n; i++) {
		const char *end = line.p[i] != '[' ? NULL : memchr(line.p + i, ']', line.n - i);
		if (end == NULL || (i > 0 && strchr("\"'", line.p[i - 1]) != NULL))
			continue;
		struct slice host = { .p = line.p + i + 1, .n = (size_t)(end - line.p) - i - 1 };
		if (addr_parse_host(host, &a) < 0 || a.family != AF_INET6 ||
		    end + 1 == line.p + line.n || end[1] != ':')
			continue;
		size_t behind = (size_t)(end - line.p) + 1;
		struct slice all = { .p = line.p + i, .n = behind + word_at(line, behind).n - i };
		(void)err_at(s->err, place(s, s->p->at.line, i),
			     "an IPv6 address in brackets must be quoted: \"" SLICE_FMT "\"",
			     SLICE_ARG(all));
		return true;
	}
	return false;
}

/* `${PORT}` inside a flow map, `{{ port }}`. */
static bool judge_variable(const struct scene *s)
{
	const char *p = slice_find(s->line, "${");

	if (p == NULL)
		p = slice_find(s->line, "{{");
	if (p == NULL)
		return false;
	(void)err_at(s->err, place(s, s->p->at.line, (size_t)(p - s->line.p)),
		     "variables are not replaced in this file: write the value");
	return true;
}

/* `name:public`, or `-name`: the line before is part of this one to libyaml. */
static bool judge_missing_space(const struct scene *s, uint32_t n)
{
	struct slice line = line_of(s, n);
	size_t i = key_of(line);

	if (i < line.n && line.p[i] == '-' && i + 1 < line.n && is_name_char(line.p[i + 1])) {
		(void)err_at(s->err, place(s, n, i),
			     "a space is missing behind the \"-\" of a list's item");
		return true;
	}
	struct slice name = name_at(line, i);
	size_t colon = i + name.n;
	if (name.n == 0 || colon + 1 >= line.n || line.p[colon] != ':' || line.p[colon + 1] == ' ')
		return false;
	struct slice value = word_at(line, colon + 1);
	(void)err_at(s->err, place(s, n, i),
		     "a space is missing behind the colon: write \"" SLICE_FMT ": " SLICE_FMT "\"",
		     SLICE_ARG(name), SLICE_ARG(value));
	return true;
}

/* A ": " where no key can be. */
static bool judge_second_colon(const struct scene *s)
{
	uint32_t before = line_before(s, s->p->at.line);
	size_t key = key_of(s->line);

	if (!says(s, "mapping values are not allowed"))
		return false;
	struct slice before_it = { .p = s->line.p + key, .n = s->at > key ? s->at - key : 0 };
	const char *colon = slice_find(before_it, ": ");
	if (colon != NULL) {
		(void)err_at(s->err, s->p->at,
			     "a second \": \" stands in this line; write the key on a line of its "
			     "own, or quote the text");
		return true;
	}
	if (before != 0 && judge_missing_space(s, before))
		return true;
	struct slice above = line_of(s, before);
	if (before != 0 && key > key_of(above)) {
		(void)err_at(s->err, place(s, s->p->at.line, key),
			     "this line is indented deeper than line %u above, which has a value "
			     "already: keys of one map begin in the same column, here %u",
			     before, column_of(above, key_of(above)));
		return true;
	}
	(void)err_at(s->err, s->p->at, "a \":\" stands where no key can be; quote the text");
	return true;
}

/* A line with a key alone. */
static bool judge_no_colon(const struct scene *s)
{
	if (!says(s, "could not find expected ':'"))
		return false;
	if (judge_missing_space(s, s->p->from.line))
		return true;
	struct slice line = line_of(s, s->p->from.line);
	struct slice word = word_at(line, byte_of(line, s->p->from.col));
	(void)err_at(s->err, s->p->from,
		     "a colon and a space are missing behind the key \"" SLICE_FMT "\"",
		     SLICE_ARG(word));
	return true;
}

static bool judge_list_in_line(const struct scene *s)
{
	if (!says(s, "block sequence entries are not allowed"))
		return false;
	(void)err_at(s->err, s->p->at,
		     "an item of a list begins a line of its own, below the key of the list");
	return true;
}

/* The last line before `n` that is an item of a list, or 0. */
static uint32_t item_before(const struct scene *s, uint32_t n)
{
	for (n = line_before(s, n); n != 0; n = line_before(s, n)) {
		struct slice line = line_of(s, n);
		if (key_of(line) > indent_of(line))
			return n;
	}
	return 0;
}

/* An item whose "-" is not below the others. */
static void report_dash(const struct scene *s)
{
	uint32_t above = item_before(s, s->p->at.line);
	struct slice line = line_of(s, above);

	if (above == 0)
		(void)err_at(s->err, s->p->at,
			     "an item of a list stands where a key is wanted: a list stands below "
			     "the key that it belongs to");
	else
		(void)err_at(s->err, s->p->at,
			     "this \"-\" is in column %u and the one of line %u in column %u: the "
			     "items of one list begin in the same column",
			     s->p->at.col, above, column_of(line, indent_of(line)));
}

/* The byte before the place, without spaces between. */
static char byte_before(const struct scene *s)
{
	size_t i = s->at;

	while (i > 0 && s->line.p[i - 1] == ' ')
		i--;
	return i == 0 ? '\0' : s->line.p[i - 1];
}

static bool judge_key(const struct scene *s)
{
	char before = byte_before(s);

	if (!says(s, "did not find expected key"))
		return false;
	if (here(s) == '-' && s->at == indent_of(s->line))
		report_dash(s);
	else if (before == '"' || before == '\'')
		(void)err_at(s->err, s->p->at,
			     "a text stands behind the closing quote; quote all of it");
	else if (before == ']' || before == '}')
		(void)err_at(s->err, s->p->at,
			     "a text stands behind the closing \"%c\"; quote all of it", before);
	else if (here(s) == ':')
		(void)err_at(s->err, s->p->at, "a key is missing before the colon");
	else
		(void)err_at(s->err, s->p->at,
			     "this line begins in column %u and the keys of line %u in column %u: "
			     "keys of one map begin in the same column",
			     s->p->at.col, s->p->from.line, s->p->from.col);
	return true;
}

/* A key of an item that does not begin below the item's first key. */
static bool judge_item(const struct scene *s)
{
	uint32_t above = item_before(s, s->p->at.line);
	struct slice line = line_of(s, above);

	if (!says(s, "did not find expected '-' indicator"))
		return false;
	(void)err_at(s->err, s->p->at,
		     "this line begins in column %u and the keys of line %u in column %u: keys of "
		     "one map begin in the same column",
		     s->p->at.col, above, column_of(line, key_of(line)));
	return true;
}

/* A comment of JSON's relatives between brackets: the number of its line, or 0. */
static uint32_t slashes_line(const struct scene *s)
{
	for (uint32_t n = first_line(s); n <= s->p->at.line; n++) {
		struct slice line = line_of(s, n);
		size_t i = indent_of(line);
		if (i + 1 < line.n && line.p[i] == '/' && line.p[i + 1] == '/')
			return n;
	}
	return 0;
}

/* Between brackets: not closed, or no comma. */
static bool judge_brackets(const struct scene *s)
{
	bool is_map = says(s, "expected ',' or '}'");
	char open = is_map ? '{' : '[', close = is_map ? '}' : ']', c = here(s);

	if (!is_map && !says(s, "expected ',' or ']'"))
		return false;
	bool is_other_end = c == '}' || c == ']';
	bool is_later = s->p->at.line > s->p->from.line;
	uint32_t slashes = slashes_line(s);
	if (slashes != 0)
		(void)err_at(s->err, place(s, slashes, indent_of(line_of(s, slashes))),
			     "a comment begins with \"#\"");
	else if (is_other_end || c == '\0' || (is_later && s->at == 0))
		(void)err_at(s->err, s->p->from, "this \"%c\" is not closed: a \"%c\" is missing",
			     open, close);
	else
		(void)err_at(
			s->err, s->p->at,
			"a \",\" is missing before this, or a \"%c\" for the \"%c\" in line %u",
			close, open, s->p->from.line);
	return true;
}

static bool judge_quotes(const struct scene *s)
{
	if (!is_about(s, "quoted scalar"))
		return false;
	if (says(s, "end of stream") || says(s, "document indicator"))
		(void)err_at(s->err, s->p->from, "the quote that begins here is not closed");
	else
		(void)err_at(s->err, s->p->at,
			     "a backslash in double quotes begins an escape, and this is none; "
			     "write two of them, or single quotes around the text");
	return true;
}

/* A text that begins with a sign of YAML's. */
static bool judge_first_char(const struct scene *s)
{
	const struct yaml_problem *p = s->p;

	if (is_about(s, "a directive") || is_about(s, "a block scalar")) {
		struct slice line = line_of(s, p->from.line);
		size_t i = byte_of(line, p->from.col);
		(void)err_at(s->err, p->from, "a text cannot begin with \"%c\"; quote it",
			     i < line.n ? line.p[i] : '%');
		return true;
	}
	if (!says(s, "cannot start any token") && !says(s, "did not find expected node content"))
		return false;
	if (here(s) == '\0')
		(void)err_at(s->err, p->at, "a value is missing here");
	else
		(void)err_at(s->err, p->at, "a text cannot begin with \"%c\"; quote it", here(s));
	return true;
}

static bool judge_alias(const struct scene *s)
{
	if (!is_about(s, "an alias") && !is_about(s, "an anchor"))
		return false;
	(void)err_at(s->err, s->p->from, "%s are not supported; quote the text",
		     is_about(s, "an alias") ? "aliases" : "anchors");
	return true;
}

/* Something behind the end: a file of TOML, or text behind a `}`. */
static bool judge_end(const struct scene *s)
{
	if (!says(s, "did not find expected <document start>"))
		return false;
	(void)err_at(
		s->err, s->p->at,
		"the document ends before this; lb.yaml is one map, with \"key: value\" lines");
	return true;
}

static bool (*const judges[])(const struct scene *s) = {
	judge_indent,       judge_ipv6,  judge_variable, judge_second_colon, judge_no_colon,
	judge_list_in_line, judge_key,   judge_item,     judge_brackets,     judge_quotes,
	judge_first_char,   judge_alias, judge_end,
};

int yaml_syntax_report(struct err *e, struct slice text, const struct yaml_problem *p)
{
	struct scene s = { .err = e, .p = p };

	find_lines(&s, text);
	s.line = line_of(&s, p->at.line);
	s.at = byte_of(s.line, p->at.col);
	for (size_t i = 0; i < ARRAY_SIZE(judges); i++) {
		if (judges[i](&s))
			return -EINVAL;
	}
	return err_at(e, p->at, "this is no YAML (%s)", p->problem);
}

/* The mark of a byte of the text. */
static struct mark mark_at(const char *file, struct slice text, size_t offset)
{
	struct mark at = { file, 1, 1 };

	for (size_t i = 0; i < offset && i < text.n;) {
		size_t len = break_len(text, i);
		at.line += len != 0;
		at.col = len != 0 ? 1 : at.col + (is_inner(text.p[i]) ? 0 : 1);
		i += len != 0 ? len : 1;
	}
	return at;
}

int yaml_control_report(struct err *e, const char *file, struct slice text, size_t offset, int c)
{
	return err_at(e, mark_at(file, text, offset),
		      "a control character (byte 0x%02x) stands here; in double quotes it is "
		      "written \"\\x%02x\"",
		      (unsigned)c & 0xff, (unsigned)c & 0xff);
}

int yaml_utf8_report(struct err *e, const char *file, struct slice text, size_t offset, int byte)
{
	return err_at(e, mark_at(file, text, offset),
		      "the file is not a text in UTF-8: byte 0x%02x stands here",
		      (unsigned)byte & 0xff);
}
