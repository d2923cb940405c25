/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which mistake is behind a syntax error of libyaml's.
 *
 * yaml_syntax_report() asks the functions of judges[] one after the other. A judge knows one kind
 * of mistake. It looks at libyaml's message and at the lines around the place, and either reports
 * the mistake and returns true, or returns false, and the next judge is asked. When no judge knows
 * the mistake, libyaml's own words are reported. Judges that go by the text alone (tabs, IPv6
 * addresses, variables) come first, because libyaml has many messages for these mistakes.
 *
 * struct scene is what a judge sees: the problem as libyaml has it, the line at which libyaml
 * stopped and the byte in it, and the LINES_MAX lines before. Lines are numbered from 1 and end
 * where libyaml ends them (break_len()). A column counts characters from 1, the index of a byte
 * counts bytes from 0; byte_of() and column_of() convert one into the other.
 *
 * Judges recognise libyaml's messages by parts of their text (says(), is_about()), as they are in
 * libyaml 0.2. If another version words a message otherwise, no judge knows the mistake, and
 * libyaml's own words are reported: they are harder to understand, but not wrong.
 *
 * The last functions report bytes that no text in UTF-8 has, and control characters.
 */
#include "conf/yaml_syntax.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "util/sockaddr.h"

#define WORD_MAX 60   /* bytes of a word in a message */
#define LINES_MAX 256 /* most lines that are looked at, the last is the problem's line; a guess */

struct scene {
	struct err *err;
	const struct yaml_problem *p;
	struct slice window[LINES_MAX]; /* the last lines: line n has the index n % LINES_MAX */
	struct slice from;              /* the line in which the context begins */
	struct slice line; /* the line in which libyaml stopped; empty at the end of the text */
	size_t at;         /* the byte in `line` at which libyaml stopped */
};

/* ---- the source ---- */

/*
 * The length in bytes of the line break at `i`, or 0 when no line break is there. libyaml takes
 * CRLF, LF, CR, NEL, LS and PS for line breaks.
 */
static size_t break_len(struct slice s, size_t i)
{
	static const char *const breaks[] = { "\r\n",     "\n",           "\r",
					      "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9" };
	struct slice rest = { .p = s.p + i, .n = s.n - i };

	LB_ASSERT(i < s.n);
	if (strchr("\r\n\xc2\xe2", s.p[i]) == NULL)
		return 0;
	for (size_t k = 0; k < ARRAY_SIZE(breaks); k++) {
		if (slice_starts_with(rest, slice_of(breaks[k])))
			return strlen(breaks[k]);
	}
	return 0;
}

/* Sets the scene's window and its line `from`, in one pass over the text. */
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

/* Line `n` without its end. Empty when the line is not in the window. */
static struct slice line_of(const struct scene *s, uint32_t n)
{
	uint32_t last = s->p->at.line;

	if (n == s->p->from.line)
		return s->from;
	return n == 0 || n > last || last - n >= LINES_MAX ? SLICE("") : s->window[n % LINES_MAX];
}

/* Whether a byte is a further byte of a character in UTF-8, not its first one. */
static bool is_inner(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* The index of the byte at which column `col` begins, or line.n when the line is shorter. */
static size_t byte_of(struct slice line, uint32_t col)
{
	size_t i = 0;

	for (uint32_t c = 1; c < col && i < line.n; c++) {
		i++;
		while (i < line.n && is_inner(line.p[i]))
			i++;
	}
	LB_ASSERT(i <= line.n);
	return i;
}

static uint32_t column_of(struct slice line, size_t byte)
{
	uint32_t col = 1;

	for (size_t i = 0; i < byte && i < line.n; i++)
		col += is_inner(line.p[i]) ? 0 : 1;
	return col;
}

/* The index of the first byte from `i` on that is neither `a` nor `b`. */
static size_t skip(struct slice s, size_t i, char a, char b)
{
	while (i < s.n && (s.p[i] == a || s.p[i] == b))
		i++;
	return i;
}

/* How many spaces a line begins with. */
static size_t indent_of(struct slice line)
{
	return skip(line, 0, ' ', ' ');
}

/* The index of the byte at which the line's key begins, behind the "- " of list items. */
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

/* The number of the last line before `n` that is neither empty nor a comment, or 0. */
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

/* The letters, digits, "_" and "-" from the byte `i` on, which may be a key. */
static struct slice name_at(struct slice line, size_t i)
{
	size_t from = i;

	LB_ASSERT(from <= line.n);
	while (i < line.n && is_name_char(line.p[i]))
		i++;
	return (struct slice){ .p = line.p + from, .n = i - from };
}

/* The text from the byte `i` on, up to a space, a comma or a closing bracket. */
static struct slice word_at(struct slice line, size_t i)
{
	size_t from = i;

	LB_ASSERT(from <= line.n);
	while (i < line.n && i - from < WORD_MAX && strchr(" \t,]}", line.p[i]) == NULL)
		i++;
	return (struct slice){ .p = line.p + from, .n = i - from };
}

/* Whether libyaml's message has these words. */
static bool says(const struct scene *s, const char *words)
{
	return strstr(s->p->problem, words) != NULL;
}

/* Whether libyaml's context has these words. */
static bool is_about(const struct scene *s, const char *words)
{
	return s->p->context != NULL && strstr(s->p->context, words) != NULL;
}

/* The mark of a byte in a line. */
static struct mark place(const struct scene *s, uint32_t line, size_t byte)
{
	return (struct mark){ s->p->at.file, line, column_of(line_of(s, line), byte) };
}

/* The byte at which libyaml stopped, or NUL at the end of the line. */
static char here(const struct scene *s)
{
	return s->at < s->line.n ? s->line.p[s->at] : '\0';
}

/*
 * The first line that the problem is about; the last line is s->p->at.line. When these are more
 * than 101 lines, the first of the last 101.
 */
static uint32_t first_line(const struct scene *s)
{
	uint32_t last = s->p->at.line;
	uint32_t first = s->p->context != NULL && s->p->from.line < last ? s->p->from.line : last;

	LB_ASSERT(first <= last);
	return last - first > 100 ? last - 100 : first;
}

/* ---- judges: each returns true when it has reported the mistake ---- */

/* Reports a tab that indents a line, or a no-break space, which a copied text may have. */
static bool judge_indent(const struct scene *s)
{
	uint32_t first = first_line(s), before = line_before(s, first);

	if (says(s, "expected ',' or")) /* tabs are allowed between brackets */
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

/* Reports an address like `[::1]:80` without quotes, which YAML reads as a list. */
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

/* Reports `${PORT}` between brackets, and `{{ port }}`, which other programs replace. */
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

/*
 * Reports `name:public` or `-name` in line `n`. libyaml reads such a line as a text that goes on in
 * the next line, and stops in the next line.
 */
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

/* Reports a ": " where no key can be. */
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

/* Reports a line that has a key, but no colon. */
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

/* Reports an item of a list in the line of the list's key, as in `key: - item`. */
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

/* Reports an item whose "-" is not in the column of the other items. */
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

/* The last byte before the place that is not a space, or NUL. */
static char byte_before(const struct scene *s)
{
	size_t i = s->at;

	while (i > 0 && s->line.p[i - 1] == ' ')
		i--;
	return i == 0 ? '\0' : s->line.p[i - 1];
}

/* Reports a text or a wrong indent where libyaml wants a key. */
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

/* Reports a key of an item that does not begin below the item's first key. */
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

/* The number of the line with a comment that begins with "//", as in JavaScript; or 0. */
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

/* Reports brackets that are not closed, or that lack a comma. */
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

/* Reports quotes that are not closed, or a bad escape in them. */
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

/* Reports a text that begins with a character that means something in YAML. */
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

/* Reports an alias or an anchor that yaml.c could not repair. */
static bool judge_alias(const struct scene *s)
{
	if (!is_about(s, "an alias") && !is_about(s, "an anchor"))
		return false;
	(void)err_at(s->err, s->p->from, "%s are not supported; quote the text",
		     is_about(s, "an alias") ? "aliases" : "anchors");
	return true;
}

/* Reports text after the end of the document: a file in TOML, or text after a `}`. */
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
	LB_ASSERT(s.at <= s.line.n);
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
