/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <string.h>

#include "../suite.h"
#include "conf/word.h"
#include "util/assert.h"

#define FORTY "0123456789012345678901234567890123456789"

static const struct {
	const char *name;
	bool (*fn)(struct slice s);
	struct slice text;
	bool want;
} rows[] = {
	{ "name", word_is_name, { "b2", 2 }, true },
	{ "name: an address", word_is_name, { "[::1]:80", 8 }, true },
	{ "name: UTF-8", word_is_name, { "caf\xc3\xa9", 5 }, true },
	{ "name: 63 bytes", word_is_name, { FORTY FORTY, 63 }, true },
	{ "name: 64 bytes", word_is_name, { FORTY FORTY, 64 }, false },
	{ "name: empty", word_is_name, { "", 0 }, false },
	{ "name: space", word_is_name, { "a b", 3 }, false },
	{ "name: slash", word_is_name, { "a/b", 3 }, false },
	{ "name: bar", word_is_name, { "a|b", 3 }, false },
	{ "name: tab", word_is_name, { "a\tb", 3 }, false },
	{ "name: DEL", word_is_name, { "a\x7f", 2 }, false },
	{ "name: NUL", word_is_name, { "a\0b", 3 }, false },
	{ "token", word_is_token, { "X-Canary_1!", 11 }, true },
	{ "token: empty", word_is_token, { "", 0 }, false },
	{ "token: colon", word_is_token, { "a:", 2 }, false },
	{ "token: NUL", word_is_token, { "a\0", 2 }, false },
	{ "token: high byte", word_is_token, { "\xe9", 1 }, false },
	{ "parameter", word_is_parameter, { "room[id]", 8 }, true },
	{ "parameter: =", word_is_parameter, { "a=", 2 }, false },
	{ "parameter: &", word_is_parameter, { "a&b", 3 }, false },
	{ "parameter: space", word_is_parameter, { "a b", 3 }, false },
	{ "parameter: empty", word_is_parameter, { "", 0 }, false },
	{ "field value", word_is_field_value, { "a b\t\xe9", 5 }, true },
	{ "field value: empty", word_is_field_value, { "", 0 }, true },
	{ "field value: CR", word_is_field_value, { "a\r", 2 }, false },
	{ "field value: NUL", word_is_field_value, { "\0", 1 }, false },
	{ "host", word_is_host, { "chat_1.Example.com", 18 }, true },
	{ "host: v4", word_is_host, { "127.0.0.1", 9 }, true },
	{ "host: v6", word_is_host, { "[::1]", 5 }, true },
	{ "host: bare v6", word_is_host, { "::1", 3 }, false },
	{ "host: v4 in brackets", word_is_host, { "[1.2.3.4]", 9 }, false },
	{ "host: nothing in brackets", word_is_host, { "[]", 2 }, false },
	{ "host: port", word_is_host, { "a:80", 4 }, false },
	{ "host: star", word_is_host, { "*.a", 3 }, false },
	{ "host: leading dot", word_is_host, { ".a", 2 }, false },
	{ "host: empty label", word_is_host, { "a..b", 4 }, false },
	{ "host: NUL", word_is_host, { "a\0", 2 }, false },
	{ "host: empty", word_is_host, { "", 0 }, false },
	{ "path", word_is_path, { "/a/b;c=%20", 10 }, true },
	{ "path: relative", word_is_path, { "a", 1 }, false },
	{ "path: empty", word_is_path, { "", 0 }, false },
	{ "path: space", word_is_path, { "/a b", 4 }, false },
	{ "path: fragment", word_is_path, { "/a#b", 4 }, false },
	{ "path: high byte", word_is_path, { "/\xc3\xa9", 3 }, false },
	{ "path: query", word_is_path, { "/a?b", 4 }, false },
	{ "path with a query", word_is_path_and_query, { "/a?b=c", 6 }, true },
	{ "query alone", word_is_path_and_query, { "?b", 2 }, false },
};

START_TEST(word_is_judged_right)
{
	ck_assert_msg(rows[_i].fn(rows[_i].text) == rows[_i].want, "%s", rows[_i].name);
}
END_TEST

/* What is seen by nobody is no part of a name, and is shown by its number. */
static const struct {
	const char *text, *shown;
	bool is_name;
} invisible[] = {
	{ "a\xc2\xa0", "a<U+00A0>", false }, /* a no-break space */
	{ "\xe2\x80\x8b"
	  "a",
	  "<U+200B>a", false }, /* a zero-width space */
	{ "a\xef\xbb\xbf"
	  "b",
	  "a<U+FEFF>b", false },                 /* a byte order mark */
	{ "a\xe2\x80\xae", "a<U+202E>", false }, /* right to left from here */
	{ "a\xe2\x80\x8d"
	  "b",
	  "a\xe2\x80\x8d"
	  "b",
	  true }, /* a joiner, which scripts need */
	{ "\xc3\xa4\xe2\x82\xac", "\xc3\xa4\xe2\x82\xac", true },
	{ "\xc2", "\xc2", true }, /* cut short */
	{ "\xe2\x80", "\xe2\x80", true },
};

START_TEST(what_is_invisible_is_shown)
{
	char out[WORD_SHOWN_MAX];

	ck_assert_str_eq(word_show(invisible[_i].text, out), invisible[_i].shown);
	ck_assert_int_eq(word_is_name(slice_of(invisible[_i].text)), invisible[_i].is_name);
}
END_TEST

/* One that is cut is cut between characters that stand for one. */
START_TEST(what_is_invisible_is_not_cut)
{
	char out[WORD_SHOWN_MAX], text[3 * WORD_SHOWN_MAX + 1];

	for (size_t i = 0; i < WORD_SHOWN_MAX; i++)
		memcpy(text + 3 * i, "\xe2\x80\x8b", 3);
	text[3 * WORD_SHOWN_MAX] = '\0';
	ck_assert_uint_lt(strlen(word_show(text, out)), WORD_SHOWN_MAX);
	ck_assert_str_eq(out + strlen(out) - 3, "...");
}
END_TEST

START_TEST(shown_text_is_tame)
{
	char out[WORD_SHOWN_MAX], longer[2 * WORD_SHOWN_MAX];

	ck_assert_str_eq(word_show("a\x1b[1m\nb", out), "a?[1m?b");
	memset(longer, 'x', sizeof(longer));
	longer[WORD_SHOWN_MAX - 1] = '\0';
	ck_assert_str_eq(word_show(longer, out), longer);
	longer[WORD_SHOWN_MAX - 1] = 'x';
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_uint_eq(strlen(word_show(longer, out)), WORD_SHOWN_MAX - 1);
	ck_assert_str_eq(out + WORD_SHOWN_MAX - 5, "x...");
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, word_is_judged_right, 0, ARRAY_SIZE(rows));
	tcase_add_loop_test(t, what_is_invisible_is_shown, 0, ARRAY_SIZE(invisible));
	tcase_add_test(t, what_is_invisible_is_not_cut);
	tcase_add_test(t, shown_text_is_tame);
}

int main(void)
{
	return run_suite("conf/word", add_tests);
}
