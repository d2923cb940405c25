/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>

#include "../suite.h"
#include "daemon/log_fields.h"
#include "util/assert.h"
#include "util/json.h"

static const struct {
	const char *name, *line, *json; /* what stands between the braces */
} rows[] = {
	{ "a text", "stopped", "'msg':'stopped'" },
	{ "nothing", "", "'msg':''" },
	{ "numbers", "stopping active=0 limit=19832", "'msg':'stopping','active':0,'limit':19832" },
	{ "truths", "backend is up first=true last=false",
	  "'msg':'backend is up','first':true,'last':false" },
	{ "words", "started engine=io_uring by=-", "'msg':'started','engine':'io_uring','by':'-'" },
	{ "no numbers", "x a=007 b=1.5 c=-1 d=1ms e=99999999999999999999 f=",
	  "'msg':'x','a':'007','b':'1.5','c':'-1','d':'1ms','e':'99999999999999999999','f':''" },
	{ "names that look like something else", "x pool=7 backend=true route=1 weight=7",
	  "'msg':'x','pool':'7','backend':'true','route':'1','weight':7" },
	{ "in quotes", "bad result=\"101 in 1.2ms\" n=2",
	  "'msg':'bad','result':'101 in 1.2ms','n':2" },
	{ "a number in quotes", "bad error=\"7\"", "'msg':'bad','error':'7'" },
	{ "quotes within quotes", "bad error=\"unknown \"x\", did you mean \"y\"?\" n=1",
	  "'msg':'bad','error':'unknown \\\"x\\\", did you mean \\\"y\\\"?','n':1" },
	{ "a quote without an end", "bad error=\"x y n=1", "'msg':'bad','error':'\\\"x y','n':1" },
	{ "a value with spaces", "bad file=/a b/c d n=1", "'msg':'bad','file':'/a b/c d','n':1" },
	{ "only pairs", "a=1 b=2", "'msg':'','a':1,'b':2" },
	{ "no pair", "1 = 2, a= b, A=3, x-y=4 (a=5)", "'msg':'1 = 2,','a':' b, A=3, x-y=4 (a=5)'" },
	{ "keys of the line itself", "x time=1 level=2 msg=3", "'msg':'x time=1 level=2 msg=3'" },
	{ "bytes of others", "x result=\"a\nb\"", "'msg':'x','result':'a\\nb'" },
};

START_TEST(a_line_becomes_fields)
{
	struct json j = JSON_INIT;
	char want[256] = "{";
	size_t n = 1;

	for (const char *p = rows[_i].json; *p != '\0'; p++)
		want[n++] = *p == '\'' ? '"' : *p;
	want[n++] = '}';
	want[n] = '\0';
	json_object_begin(&j);
	log_fields_add(&j, rows[_i].line);
	json_object_end(&j);
	ck_assert(json_is_ok(&j));
	ck_assert_msg(strcmp(j.out.p, want) == 0, "%s: %s", rows[_i].name, j.out.p);
	json_deinit(&j);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, a_line_becomes_fields, 0, ARRAY_SIZE(rows));
}

int main(void)
{
	return run_suite("daemon/log_fields", add_tests);
}
