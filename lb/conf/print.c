/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the values of an object are written as YAML by a table of options.
 *
 * print_map() writes each row of a table (print_row()). A row without a value or without an effect
 * is left out; a row of OPT_CALL is written by its write(), any other one by opt_format().
 * print_yaml() writes every line that has a key and a value; open_key() begins the line.
 *
 * A "group" is the part of a dotted key up to its last dot: "timeouts." of "timeouts.connect". It
 * stands for a map within the object's map. printer.group is the open group, which is the group of
 * the last key that was written. When the next key is of another group, open_group() writes a line
 * for each map that leads to that group and is not open yet, and changes the indent. Rows of one
 * map stand together in a table, so that each map is opened once.
 *
 * For a list of maps, print_list() writes the line of the list's key, and print_item() writes one
 * map. print_item() has a printer of its own, which indents the keys by 4 more spaces and begins
 * the first line with "- ".
 *
 * print_scalar() quotes each text that YAML 1.1 or 1.2 could read as something else than this text.
 * It also quotes some texts for which quotes are not necessary.
 *
 * When memory is short, text.failed is set, and conf_print() returns -ENOMEM at its end.
 */
#include "conf/print.h"

#include <string.h>

#include "conf/opt.h"
#include "conf/word.h"

/* ---- a scalar ---- */

/* Whether YAML 1.1 or 1.2 takes the word for a boolean or for null. */
static bool is_typed_word(struct slice s)
{
	static const char *const words[] = { "true", "false", "yes", "no",  "on",
					     "off",  "y",     "n",   "null" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (slice_eq_nocase(s, slice_of(words[i])))
			return true;
	}
	return false;
}

/*
 * Whether YAML might take a text for a number. An IPv4 address has three dots and is not a number.
 */
static bool is_typed_number(struct slice s)
{
	size_t n_dots = 0;

	LB_ASSERT(s.n > 0);
	for (size_t i = 0; i < s.n; i++)
		n_dots += s.p[i] == '.';
	return s.p[0] >= '0' && s.p[0] <= '9' && n_dots < 3;
}

/* Whether a text needs no quotes. */
static bool is_plain(struct slice s)
{
	if (s.n == 0 || !(word_is_alnum(s.p[0]) || s.p[0] == '/' || s.p[0] == '_'))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!word_is_alnum(s.p[i]) && strchr("._-/:*", s.p[i]) == NULL)
			return false;
	}
	return s.p[s.n - 1] != ':' && !is_typed_word(s) && !is_typed_number(s);
}

/*
 * When YAML takes the first character of `s` for the end of a line, or does not accept it, adds its
 * escaped form and returns how many bytes the character has. Else returns 0.
 */
static size_t add_escaped(struct text *t, struct slice s)
{
	static const struct {
		char utf8[4];
		const char *escape;
	} others[] = {
		{ "\xe2\x80\xa8", "\\u2028" }, { "\xe2\x80\xa9", "\\u2029" },
		{ "\xef\xbb\xbf", "\\uFEFF" }, { "\xef\xbf\xbe", "\\uFFFE" },
		{ "\xef\xbf\xbf", "\\uFFFF" },
	};
	unsigned char c = (unsigned char)s.p[0], next = s.n > 1 ? (unsigned char)s.p[1] : 0;

	if (c < 0x20 || c == 0x7f) {
		text_addf(t, "\\x%02x", (unsigned)c);
		return 1;
	}
	if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
		text_addf(t, "\\x%02x", (unsigned)next);
		return 2;
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (!slice_starts_with(s, slice_of(others[i].utf8)))
			continue;
		text_add(t, slice_of(others[i].escape));
		return 3;
	}
	return 0;
}

void print_scalar(struct text *t, struct slice s)
{
	if (is_plain(s)) {
		text_add(t, s);
		return;
	}
	text_pad(t, '"', 1);
	while (s.n > 0) {
		size_t n = add_escaped(t, s);
		if (n == 0) {
			if (s.p[0] == '"' || s.p[0] == '\\')
				text_pad(t, '\\', 1);
			text_pad(t, s.p[0], 1);
			n = 1;
		}
		LB_ASSERT(n <= s.n);
		s = (struct slice){ .p = s.p + n, .n = s.n - n };
	}
	text_pad(t, '"', 1);
}

/* ---- keys ---- */

/*
 * Begins a line with its indent. When the line is the first one of an item of a list, "- " follows.
 */
static void open_line(struct printer *p)
{
	LB_ASSERT(!p->is_item || p->indent >= 2);
	text_pad(p->out, ' ', p->indent - (p->is_item ? 2 : 0));
	if (p->is_item)
		text_add(p->out, SLICE("- "));
	p->is_item = false;
}

/* The group of a row's key, "" when the key has no dot. */
static struct slice group_of(const struct opt *o)
{
	const char *dot = strrchr(o->key, '.');

	return (struct slice){ .p = o->key, .n = dot == NULL ? 0 : (size_t)(dot - o->key) + 1 };
}

/* How many maps, each inside the one before, a group leads through: 2 for "a.b.". */
static size_t n_parts(struct slice group)
{
	size_t n = 0;

	for (size_t i = 0; i < group.n; i++)
		n += group.p[i] == '.';
	return n;
}

/* Writes the line "timeouts:" of each map of the group that is not open yet. */
static void open_group(struct printer *p, struct slice group)
{
	LB_ASSERT(p->indent >= 2 * (unsigned)n_parts(p->group));
	unsigned base = p->indent - 2 * (unsigned)n_parts(p->group);
	struct slice open = SLICE("");

	for (size_t i = 0; i < group.n; i++) {
		if (group.p[i] != '.')
			continue;
		struct slice outer = { .p = group.p, .n = i + 1 };
		p->indent = base + 2 * (unsigned)n_parts(open);
		if (!slice_starts_with(p->group, outer)) {
			open_line(p);
			text_addf(p->out, SLICE_FMT ":\n", (int)(i - open.n), group.p + open.n);
		}
		open = outer;
	}
	p->indent = base + 2 * (unsigned)n_parts(group);
	p->group = group;
}

static void open_key(struct printer *p, const struct opt *o)
{
	struct slice group = group_of(o);

	open_group(p, group);
	open_line(p);
	text_addf(p->out, "%s:", o->key + group.n);
}

void print_yaml(struct printer *p, const struct opt *o, const struct text *value)
{
	open_key(p, o);
	text_pad(p->out, ' ', 1);
	text_add(p->out, text_slice(value));
	text_pad(p->out, '\n', 1);
	p->out->failed = p->out->failed || value->failed;
}

void print_text(struct printer *p, const struct opt *o, struct slice s)
{
	_cleanup_(text_deinit) struct text value = TEXT_INIT;

	print_scalar(&value, s);
	print_yaml(p, o, &value);
}

/* ---- maps ---- */

static void print_row(struct printer *p, const struct opt *o, const void *object)
{
	_cleanup_(text_deinit) struct text value = TEXT_INIT;

	if ((o->flags & OPT_LATER) != 0 || (o->has_effect != NULL && !o->has_effect(object)))
		return;
	if (o->type == OPT_CALL) {
		o->write(p, o, object);
		return;
	}
	if (!opt_format(o, object, &value))
		return;
	/*
	 * Numbers and words need no quotes, because lb accepts them as YAML's numbers and booleans,
	 * too. A mode is quoted, because YAML 1.1 and 1.2 read its leading 0 differently.
	 */
	if (o->type == OPT_WORD || (opt_is_number(o) && o->type != OPT_MODE))
		print_yaml(p, o, &value);
	else
		print_text(p, o, text_slice(&value));
	p->out->failed = p->out->failed || value.failed;
}

void print_map(struct printer *p, const struct opt *table, const void *object)
{
	for (const struct opt *o = table; o->key != NULL; o++)
		print_row(p, o, object);
	open_group(p, SLICE(""));
}

void print_list(struct printer *p, const struct opt *o)
{
	open_key(p, o);
	text_pad(p->out, '\n', 1);
}

void print_item(struct printer *p, const struct opt *table, const void *object)
{
	struct printer inner = *p;

	LB_ASSERT(!p->is_item); /* print_list() has written the key of the list */
	inner.indent += 4;
	inner.is_item = true;
	inner.group = SLICE("");
	print_map(&inner, table, object);
}
