/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that are no YAML: one report each, in words about the file, at the line of the mistake. */
#include <check.h>
#include <string.h>

#include "../suite.h"
#include "conf/yaml.h"

static const struct {
	const char *name, *text, *want;
} bad[] = {
	{ "glued in a list", "listeners:\n  - name:public\n    bind: 1.2.3.4:80\n",
	  "f:2:5: a space is missing behind the colon: write \"name: public\"" },
	{ "glued at the top", "workers:2\nengine: auto\n",
	  "f:1:1: a space is missing behind the colon: write \"workers: 2\"" },
	{ "glued between others", "l:\n  - name: a\n    bind:1.2.3.4:80\n    pool: p\n",
	  "f:3:5: a space is missing behind the colon: write \"bind: 1.2.3.4:80\"" },
	{ "glued at the end", "l:\n  - name: a\n    bind:1.2.3.4:80\n",
	  "f:3:5: a space is missing behind the colon: write \"bind: 1.2.3.4:80\"" },
	{ "no colon", "workers: 2\nengine auto\nuser: x\n",
	  "f:2:1: a colon and a space are missing behind the key \"engine\"" },
	{ "deeper in an item", "l:\n  - name: a\n      bind: b\n",
	  "f:3:7: this line is indented deeper than line 2 above, which has a value already: keys "
	  "of one map begin in the same column, here 5" },
	{ "deeper at the top", "workers: 2\n  engine: auto\n",
	  "f:2:3: this line is indented deeper than line 1 above, which has a value already: keys "
	  "of one map begin in the same column, here 1" },
	{ "deeper behind a comment", "workers: 2\n# x\n\n  engine: auto\n",
	  "f:4:3: this line begins in column 3 and the keys of line 1 in column 1: keys of one map "
	  "begin in the same column" },
	{ "shallower", "l:\n    - name: a\n      bind: b\n     pool: c\n",
	  "f:4:6: this line begins in column 6 and the keys of line 2 in column 7: keys of one map "
	  "begin in the same column" },
	{ "shallower behind an item", "l:\n  - name: a\n   bind: b\n",
	  "f:3:4: this line begins in column 4 and the keys of line 2 in column 5: keys of one map "
	  "begin in the same column" },
	{ "a key between", "a:\n    b: c\n  d: e\n",
	  "f:3:3: this line begins in column 3 and the keys of line 1 in column 1: keys of one map "
	  "begin in the same column" },
	{ "a dash further left", "p:\n  - name: a\n - name: b\n",
	  "f:3:2: this \"-\" is in column 2 and the one of line 2 in column 3: the items of one "
	  "list begin in the same column" },
	{ "a dash further right", "p:\n  - name: a\n    x: y\n    - name: b\n",
	  "f:4:5: this \"-\" is in column 5 and the one of line 2 in column 3: the items of one "
	  "list begin in the same column" },
	{ "a dash behind a key", "p: - name: a\n",
	  "f:1:4: an item of a list begins a line of its own, below the key of the list" },
	{ "a dash below no key", "workers: 2\n- a\n",
	  "f:2:1: an item of a list stands where a key is wanted: a list stands below the key that "
	  "it belongs to" },
	{ "a dash without a space", "p:\n  -name: b\n   x: c\n",
	  "f:2:3: a space is missing behind the \"-\" of a list's item" },
	{ "two keys in a line", "l: name: a\n",
	  "f:1:8: a second \": \" stands in this line; write the key on a line of its own, or "
	  "quote the text" },
	{ "two colons in an item", "l:\n  - name: a: b\n",
	  "f:2:12: a second \": \" stands in this line; write the key on a line of its own, or "
	  "quote the text" },
	{ "a tab", "workers: 2\n\tengine: epoll\n",
	  "f:2:1: a tab indents this line; indent with spaces, not with tabs" },
	{ "a tab at the first line", "\tworkers: 2\n",
	  "f:1:1: a tab indents this line; indent with spaces, not with tabs" },
	{ "a tab before a dash", "l:\n\t- name: a\n",
	  "f:2:1: a tab indents this line; indent with spaces, not with tabs" },
	{ "a tab in an item", "l:\n  - name: a\n\t  bind: b\n",
	  "f:3:1: a tab indents this line; indent with spaces, not with tabs" },
	{ "a tab behind a dash", "l:\n  -\tname: a\n  \tbind: b\n",
	  "f:2:4: a tab stands here; write spaces, not tabs" },
	{ "a no-break space", "a:\302\240b\nc: d\n",
	  "f:1:3: a no-break space stands here; write a plain space" },
	{ "no end of a list", "l: [\nuser: x\n",
	  "f:1:4: this \"[\" is not closed: a \"]\" is missing" },
	{ "no end of a map", "l: [{name: a, bind: b]\n",
	  "f:1:5: this \"{\" is not closed: a \"}\" is missing" },
	{ "no end of a list of maps", "l: [{name: a, bind: b}\npools: x\n",
	  "f:1:4: this \"[\" is not closed: a \"]\" is missing" },
	{ "no comma", "l: [{name: a bind: b}]\n",
	  "f:1:18: a \",\" is missing before this, or a \"}\" for the \"{\" in line 1" },
	{ "no comma in JSON", "{\"a\": 1\n \"b\": 2}\n",
	  "f:2:5: a \",\" is missing before this, or a \"}\" for the \"{\" in line 1" },
	{ "a comment in JSON", "{\n // x\n \"a\": 1}\n", "f:2:2: a comment begins with \"#\"" },
	{ "IPv6", "bind: [::1]:80\npool: x\n",
	  "f:1:7: an IPv6 address in brackets must be quoted: \"[::1]:80\"" },
	{ "IPv6 all", "bind: [::]:80\n",
	  "f:1:7: an IPv6 address in brackets must be quoted: \"[::]:80\"" },
	{ "IPv6 with digits", "bind: [2001:db8::1]:80\n",
	  "f:1:7: an IPv6 address in brackets must be quoted: \"[2001:db8::1]:80\"" },
	{ "IPv6 in a list", "b:\n  - [::1]:80\n  - x\n",
	  "f:2:5: an IPv6 address in brackets must be quoted: \"[::1]:80\"" },
	{ "IPv6 in a flow list", "b: [[::1]:80, x]\n",
	  "f:1:5: a key must be a text; a text that begins with \"[\" or \"{\" must be quoted, as "
	  "\"[::1]:8080\"" },
	{ "IPv6 in a map", "b: {address: [::1]:80}\n",
	  "f:1:14: an IPv6 address in brackets must be quoted: \"[::1]:80\"" },
	{ "a variable in a map", "b: {port: ${PORT}}\n",
	  "f:1:11: variables are not replaced in this file: write the value" },
	{ "a variable in a list", "b: [${A}, b]\n",
	  "f:1:5: variables are not replaced in this file: write the value" },
	{ "a template", "b: {{x}}:80\n",
	  "f:1:5: a key must be a text; a text that begins with \"[\" or \"{\" must be quoted, as "
	  "\"[::1]:8080\"" },
	{ "a quote", "a: \"x\nb: y\n", "f:1:4: the quote that begins here is not closed" },
	{ "a single quote", "a: 'x\nb: y\n", "f:1:4: the quote that begins here is not closed" },
	{ "an escape", "a: \"\\d\"\n",
	  "f:1:5: a backslash in double quotes begins an escape, and this is none; write two of "
	  "them, or single quotes around the text" },
	{ "behind a quote", "a: \"x\" y\n",
	  "f:1:8: a text stands behind the closing quote; quote all of it" },
	{ "behind a bracket", "a: [x] y\n",
	  "f:1:8: a text stands behind the closing \"]\"; quote all of it" },
	{ "at", "a: @x\n", "f:1:4: a text cannot begin with \"@\"; quote it" },
	{ "percent", "a: %x\n", "f:1:4: a text cannot begin with \"%\"; quote it" },
	{ "a directive", "%x\na: b\n", "f:1:1: a text cannot begin with \"%\"; quote it" },
	{ "a bar", "a: |x\n", "f:1:4: a text cannot begin with \"|\"; quote it" },
	{ "a brace", "a: }\n", "f:1:4: a text cannot begin with \"}\"; quote it" },
	{ "a comma", "a: ,x\n", "f:1:4: a text cannot begin with \",\"; quote it" },
	{ "an empty item", "a: [x, , y]\n", "f:1:8: a text cannot begin with \",\"; quote it" },
	{ "no key", ": x\n", "f:1:1: a key is missing before the colon" },
	{ "behind JSON", "{\"a\": 1} x\n",
	  "f:1:10: the document ends before this; lb.yaml is one map, with \"key: value\" lines" },
	{ "TOML", "[a]\nb = 1\n",
	  "f:2:1: the document ends before this; lb.yaml is one map, with \"key: value\" lines" },
	{ "behind the end", "a: b\n...\nx: y\n",
	  "f:3:1: the document ends before this; lb.yaml is one map, with \"key: value\" lines" },
	{ "a control character", "a: \001\n",
	  "f:1:4: a control character (byte 0x01) stands here; in double quotes it is written "
	  "\"\\x01\"" },
	{ "CRLF", "a: b\r\n\tc: d\r\n",
	  "f:2:1: a tab indents this line; indent with spaces, not with tabs" },
	{ "CR alone", "a: b\r\tc: d\r",
	  "f:2:1: a tab indents this line; indent with spaces, not with tabs" },
	{ "behind a line separator", "a: b\342\200\250c: \001",
	  "f:2:4: a control character (byte 0x01) stands here; in double quotes it is written "
	  "\"\\x01\"" },
	{ "no UTF-8 behind UTF-8", "a: \303\251\377",
	  "f:1:5: the file is not a text in UTF-8: byte 0xff stands here" },
	{ "tabs in JSON", "{\n\t\"a\": 1\n\t\"b\": 2}\n",
	  "f:3:5: a \",\" is missing before this, or a \"}\" for the \"{\" in line 1" },
};

START_TEST(the_mistake_is_named)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct yaml_node *root = NULL;
	char scratch[64];

	int r = lb_yaml_parse(slice_of(bad[_i].text), "f", &e, &root);
	ck_assert_msg((r == 0) == (root != NULL), "%s", bad[_i].name);
	ck_assert_msg(err_n_lines(&e) == 1, "%s: %zu", bad[_i].name, err_n_lines(&e));
	const char *line = err_line(&e, 0, scratch, sizeof(scratch));
	ck_assert_msg(strcmp(line, bad[_i].want) == 0, "%s: %s", bad[_i].name, line);
	lb_yaml_free(root);
}
END_TEST

/* Cut anywhere, each of them is reported in our words, or is none of them any more. */
START_TEST(no_raw_words)
{
	for (size_t n = 0; n <= strlen(bad[_i].text); n++) {
		_cleanup_(err_deinit) struct err e = ERR_INIT;
		struct yaml_node *root = NULL;
		char scratch[64];

		int r = lb_yaml_parse((struct slice){ bad[_i].text, n }, "f", &e, &root);
		ck_assert(r == 0 || e.n > 0);
		for (size_t i = 0; i < err_n_lines(&e); i++) {
			const char *line = err_line(&e, i, scratch, sizeof(scratch));
			ck_assert_msg(strstr(line, "no YAML") == NULL &&
					      strstr(line, "while ") == NULL,
				      "%s, %zu bytes: %s", bad[_i].name, n, line);
		}
		lb_yaml_free(root);
	}
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, the_mistake_is_named, 0, ARRAY_SIZE(bad));
	tcase_add_loop_test(t, no_raw_words, 0, ARRAY_SIZE(bad));
}

int main(void)
{
	return run_suite("conf/yaml_syntax", add_tests);
}
