/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../suite.h"
#include "conf/yaml.h"
#include "util/text.h"

/* Writes a tree on one line: {k: v, l: [a, ~]}; ~ is null and ! is bad. */
static void dump(const struct yaml_node *n, struct text *out)
{
	switch (n->kind) {
	case YAML_BAD: text_addf(out, "!"); return;
	case YAML_SCALAR: text_addf(out, "%s", n->is_null ? "~" : n->text); return;
	case YAML_LIST:
	case YAML_MAP: break;
	}
	size_t n_children = 0;
	text_addf(out, n->kind == YAML_MAP ? "{" : "[");
	for (const struct yaml_node *c = n->first; c != NULL; c = c->next) {
		if (n_children++ > 0)
			text_addf(out, ", ");
		if (n->kind == YAML_MAP)
			text_addf(out, "%s: ", c->key);
		dump(c, out);
	}
	text_addf(out, n->kind == YAML_MAP ? "}" : "]");
	ck_assert_uint_eq(n_children, n->n);
}

static const struct {
	const char *name, *text, *want;
} good[] = {
	{ "a map", "a: 1\nb: x y\n", "{a: 1, b: x y}" },
	{ "a list", "- 1\n-\n- '-'\n", "[1, ~, -]" },
	{ "nested", "a: {b: [c, {d: e}]}", "{a: {b: [c, {d: e}]}}" },
	{ "an empty text is no null", "a: ''\nb:\n", "{a: , b: ~}" },
	{ "no types", "a: null\nb: ~\nc: 0x1\nd: yes\n", "{a: null, b: ~, c: 0x1, d: yes}" },
	{ "a quoted star", "a: \"*.x\"", "{a: *.x}" },
	{ "a star inside", "a: /ws/*", "{a: /ws/*}" },
	{ "addresses", "a: [127.0.0.1:80, unix:/x]\n", "{a: [127.0.0.1:80, unix:/x]}" },
	{ "a byte order mark",
	  "\xef\xbb\xbf"
	  "a: 1",
	  "{a: 1}" },
	{ "an anchor is reported, not lost", "a: &x b", "{a: b}" },
	{ "an alias", "a: *x", "{a: !}" },
	{ "a bad alias", "a: {b: *.x.y, c: d}", "{a: {b: !, c: d}}" },
	{ "two bad aliases", "- *.a\n- *.b\n", "[!, !]" },
	{ "a bad alias behind UTF-8", "a: [\xc3\xa9\xe2\x82\xac, *.x]",
	  "{a: [\xc3\xa9\xe2\x82\xac, !]}" },
};

START_TEST(tree)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	_cleanup_(text_deinit) struct text out = TEXT_INIT;
	struct yaml_node *root = NULL;

	ck_assert_msg(lb_yaml_parse(slice_of(good[_i].text), "f", &e, &root) == 0, "%s",
		      good[_i].name);
	dump(root, &out);
	ck_assert_msg(strcmp(out.p, good[_i].want) == 0, "%s: %s", good[_i].name, out.p);
	ck_assert_ptr_null(lb_yaml_free(root));
}
END_TEST

static const struct {
	const char *name, *text, *want;
	int r;
} bad[] = {
	{ "alias", "a: *x",
	  "f:1:4: aliases are not supported: write the value out; if it is a text, quote it: "
	  "\"*x\"",
	  0 },
	{ "star", "a: {b: *.x.y}",
	  "f:1:8: aliases are not supported; if it is a text, quote it: \"*.x.y\"", 0 },
	{ "star in a list", "- *.x # y",
	  "f:1:3: aliases are not supported; if it is a text, quote it: \"*.x\"", 0 },
	{ "and", "\na: &/x", "f:2:4: anchors are not supported; if it is a text, quote it: \"&/x\"",
	  0 },
	{ "anchor", "a: &x",
	  "f:1:4: anchors are not supported: write the value where it is used; if it is a text, "
	  "quote it: \"&x\"",
	  0 },
	{ "anchor of a map", "a: &x {}",
	  "f:1:4: anchors are not supported: write the keys where they are used", 0 },
	{ "tag of a list", "a: !x []",
	  "f:1:4: tags are not supported: leave \"!x\" out, or quote a text that begins with !",
	  0 },
	{ "tag", "a: !x b",
	  "f:1:4: tags are not supported: leave \"!x\" out, or quote a text that begins with !",
	  0 },
	{ "include", "a: !include b",
	  "f:1:4: there is one file, without includes: write the value here", 0 },
	{ "include of a list", "a: !include [b]",
	  "f:1:4: there is one file, without includes: write the value here", 0 },
	{ "twice", "a: 1\nb: 2\na: 3", "f:3:1: key \"a\" is given twice (first in line 1)", 0 },
	{ "NUL", "a: \"\\0\"", "f:1:4: a text must not contain a NUL", 0 },
	{ "empty", "", "f: the file is empty", -EINVAL },
	{ "a comment", "# x\n", "f: the file is empty", -EINVAL },
	{ "two documents", "a: 1\n---\nb: 2\n",
	  "f:2:1: a second document begins here; only one is read", -EINVAL },
	{ "an alias as a key", "*x : 1",
	  "f:1:1: aliases are not supported: write the value out; if it is a text, quote it: "
	  "\"*x\"",
	  -EINVAL },
	{ "a list as a key", "? []\n: 1",
	  "f:1:3: a key must be a text; a text that begins with \"[\" or \"{\" must be quoted, as "
	  "\"[::1]:8080\"",
	  -EINVAL },
	{ "a port of all addresses", "a: *:80",
	  "f:1:4: \"*:80\" is no address; for all addresses of this machine write \"0.0.0.0:80\"",
	  0 },
	{ "a no-break space in a key",
	  "\xc2\xa0"
	  "a: b",
	  "f:1:1: a no-break space stands in this key; write plain spaces", 0 },
	{ "no end", "a: [1", NULL, -EINVAL },
	{ "UTF-16",
	  "\xff\xfe"
	  "a",
	  "f:1:1: the file is a text in UTF-16; save it in UTF-8", -EINVAL },
	{ "UTF-16, the other order",
	  "\xfe\xff"
	  "a",
	  "f:1:1: the file is a text in UTF-16; save it in UTF-8", -EINVAL },
	{ "no UTF-8", "a: 1\nb: \xff",
	  "f:2:4: the file is not a text in UTF-8: byte 0xff stands here", -EINVAL },
};

START_TEST(mistake)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct yaml_node *root = NULL;
	char scratch[64];

	ck_assert_msg(lb_yaml_parse(slice_of(bad[_i].text), "f", &e, &root) == bad[_i].r, "%s",
		      bad[_i].name);
	ck_assert_msg((root != NULL) == (bad[_i].r == 0), "%s", bad[_i].name);
	ck_assert_msg(err_n_lines(&e) == 1, "%s: %zu", bad[_i].name, err_n_lines(&e));
	const char *line = err_line(&e, 0, scratch, sizeof(scratch));
	if (bad[_i].want != NULL)
		ck_assert_msg(strcmp(line, bad[_i].want) == 0, "%s: %s", bad[_i].name, line);
	lb_yaml_free(root);
}
END_TEST

/* Any text cut anywhere is judged without a crash or a leak. */
START_TEST(cut_anywhere)
{
	static const char text[] = "a: {b: [*.c, &d e], \"f\\0\": !g h}\n? k\n: - |\n   l\n";

	for (size_t n = 0; n <= sizeof(text) - 1; n++) {
		_cleanup_(err_deinit) struct err e = ERR_INIT;
		struct yaml_node *root = NULL;
		int r = lb_yaml_parse((struct slice){ text, n }, "f", &e, &root);
		ck_assert_int_eq(r == 0, root != NULL);
		if (r != 0)
			ck_assert_uint_gt(e.n, 0);
		lb_yaml_free(root);
	}
}
END_TEST

START_TEST(marks)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct yaml_node *root = NULL;
	static const char file[] = "lb.yaml";

	ck_assert_int_eq(lb_yaml_parse(SLICE("a: 1\nb:\n  - x\n  - {c: d}\n"), file, &e, &root), 0);
	const struct yaml_node *b = lb_yaml_find(root, SLICE("b"));
	ck_assert_ptr_eq(b->key_at.file, file);
	ck_assert_uint_eq(b->key_at.line, 2);
	ck_assert_uint_eq(b->key_at.col, 1);
	ck_assert_uint_eq(b->first->at.line, 3);
	ck_assert_uint_eq(b->first->at.col, 5);
	const struct yaml_node *c = lb_yaml_find(b->last, SLICE("c"));
	ck_assert_uint_eq(c->at.line, 4);
	ck_assert_uint_eq(c->at.col, 9);
	lb_yaml_free(root);
}
END_TEST

START_TEST(find_takes_what_is_no_map)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct yaml_node *root = NULL;

	ck_assert_int_eq(lb_yaml_parse(SLICE("[a]"), "f", &e, &root), 0);
	ck_assert_ptr_null(lb_yaml_find(root, SLICE("a")));
	ck_assert_ptr_null(lb_yaml_find(NULL, SLICE("a")));
	lb_yaml_free(root);
}
END_TEST

/* What is counted has an end: depth, keys of a map, repaired aliases. */
START_TEST(limits)
{
	_cleanup_(text_deinit) struct text deep = TEXT_INIT, wide = TEXT_INIT, stars = TEXT_INIT;
	const struct text *all[] = { &deep, &wide, &stars };

	text_pad(&deep, '[', 100000);
	for (int i = 0; i <= YAML_KEYS_MAX; i++)
		text_addf(&wide, "k%d: 1\n", i);
	for (int i = 0; i < 100; i++)
		text_addf(&stars, "- *.x\n");
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		_cleanup_(err_deinit) struct err e = ERR_INIT;
		struct yaml_node *root = NULL;
		ck_assert_int_eq(lb_yaml_parse(text_slice(all[i]), "f", &e, &root), -EINVAL);
		ck_assert_ptr_null(root);
		ck_assert_uint_gt(e.n, 0);
	}
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, tree, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(t, mistake, 0, ARRAY_SIZE(bad));
	tcase_add_test(t, cut_anywhere);
	tcase_add_test(t, marks);
	tcase_add_test(t, find_takes_what_is_no_map);
	tcase_add_test(t, limits);
}

int main(void)
{
	return run_suite("conf/yaml", add_tests);
}
