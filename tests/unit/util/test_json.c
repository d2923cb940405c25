/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "../suite.h"
#include "util/assert.h"
#include "util/json.h"

#define FFFD "\xef\xbf\xbd"

static const struct {
	const char *name;
	struct slice in;
	const char *want;
} strings[] = {
	{ "empty", { "", 0 }, "\"\"" },
	{ "plain", { "a b/c", 5 }, "\"a b/c\"" },
	{ "quote and backslash", { "\"\\", 2 }, "\"\\\"\\\\\"" },
	{ "short escapes", { "\n\r\t", 3 }, "\"\\n\\r\\t\"" },
	{ "control characters", { "\0\x01\x1f", 3 }, "\"\\u0000\\u0001\\u001f\"" },
	{ "DEL is plain", { "\x7f", 1 }, "\"\x7f\"" },
	{ "2, 3, 4 bytes",
	  { "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", 9 },
	  "\"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\"" },
	{ "U+0080 and U+10FFFF",
	  { "\xc2\x80\xf4\x8f\xbf\xbf", 6 },
	  "\"\xc2\x80\xf4\x8f\xbf\xbf\"" },
	{ "U+D7FF and U+E000", { "\xed\x9f\xbf\xee\x80\x80", 6 }, "\"\xed\x9f\xbf\xee\x80\x80\"" },
	{ "stray continuation", { "a\x80z", 3 }, "\"a" FFFD "z\"" },
	{ "cut 2-byte", { "a\xc3", 2 }, "\"a" FFFD "\"" },
	{ "cut 3-byte", { "\xe2\x82", 2 }, "\"" FFFD FFFD "\"" },
	{ "cut 4-byte", { "\xf0\x9f\x98", 3 }, "\"" FFFD FFFD FFFD "\"" },
	{ "broken 2-byte", { "\xc3(", 2 }, "\"" FFFD "(\"" },
	{ "overlong 2-byte", { "\xc0\xaf", 2 }, "\"" FFFD FFFD "\"" },
	{ "overlong 3-byte", { "\xe0\x9f\xbf", 3 }, "\"" FFFD FFFD FFFD "\"" },
	{ "overlong 4-byte", { "\xf0\x8f\xbf\xbf", 4 }, "\"" FFFD FFFD FFFD FFFD "\"" },
	{ "surrogate", { "\xed\xa0\x80", 3 }, "\"" FFFD FFFD FFFD "\"" },
	{ "above U+10FFFF", { "\xf4\x90\x80\x80", 4 }, "\"" FFFD FFFD FFFD FFFD "\"" },
	{ "0xff", { "\xff", 1 }, "\"" FFFD "\"" },
};

START_TEST(string_is_escaped)
{
	_cleanup_(json_deinit) struct json j = JSON_INIT;

	json_string(&j, strings[_i].in);
	ck_assert(json_is_ok(&j));
	ck_assert_msg(strcmp(j.out.p, strings[_i].want) == 0, "%s: %s", strings[_i].name, j.out.p);
}
END_TEST

START_TEST(structure_and_commas)
{
	_cleanup_(json_deinit) struct json j = JSON_INIT;

	json_object_begin(&j);
	json_kv_uint(&j, "pid", UINT64_MAX);
	json_kv_string(&j, "a\"b", "x");
	json_key(&j, "workers");
	json_array_begin(&j);
	for (int i = 0; i < 2; i++) {
		json_object_begin(&j);
		json_kv_bool(&j, "up", i == 0);
		json_object_end(&j);
	}
	json_array_begin(&j);
	json_array_end(&j);
	json_int(&j, INT64_MIN);
	json_null(&j);
	json_array_end(&j);
	json_key(&j, "empty");
	json_object_begin(&j);
	json_object_end(&j);
	json_kv_slice(&j, "last", (struct slice){ "yes and no", 3 });
	ck_assert(!json_is_ok(&j));
	json_object_end(&j);

	ck_assert(json_is_ok(&j));
	ck_assert_str_eq(j.out.p, "{\"pid\":18446744073709551615,\"a\\\"b\":\"x\","
				  "\"workers\":[{\"up\":true},{\"up\":false},[],"
				  "-9223372036854775808,null],\"empty\":{},\"last\":\"yes\"}");
}
END_TEST

START_TEST(doubles)
{
	_cleanup_(json_deinit) struct json j = JSON_INIT;

	json_array_begin(&j);
	json_double(&j, 0.0015);
	json_double(&j, -2);
	json_double(&j, (double)NAN);
	json_double(&j, (double)INFINITY);
	json_array_end(&j);
	ck_assert_str_eq(j.out.p, "[0.001500,-2.000000,null,null]");
}
END_TEST

START_TEST(memory_failure_is_remembered)
{
	_cleanup_(json_deinit) struct json j = JSON_INIT;

	json_array_begin(&j);
	text_pad(&j.out, ' ', SIZE_MAX / 2); /* cannot succeed */
	json_uint(&j, 1);
	json_array_end(&j);
	ck_assert(!json_is_ok(&j));
}
END_TEST

START_TEST(value_without_key_aborts)
{
	struct json j = JSON_INIT;

	json_object_begin(&j);
	json_uint(&j, 1);
}
END_TEST

START_TEST(key_in_array_aborts)
{
	struct json j = JSON_INIT;

	json_array_begin(&j);
	json_key(&j, "k");
}
END_TEST

START_TEST(wrong_end_aborts)
{
	struct json j = JSON_INIT;

	json_array_begin(&j);
	json_object_end(&j);
}
END_TEST

START_TEST(key_without_value_aborts)
{
	struct json j = JSON_INIT;

	json_object_begin(&j);
	json_key(&j, "k");
	json_object_end(&j);
}
END_TEST

START_TEST(second_value_at_the_top_aborts)
{
	struct json j = JSON_INIT;

	json_uint(&j, 1);
	json_uint(&j, 2);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, string_is_escaped, 0, ARRAY_SIZE(strings));
	tcase_add_test(t, structure_and_commas);
	tcase_add_test(t, doubles);
	tcase_add_test(t, memory_failure_is_remembered);
	tcase_add_test_raise_signal(t, value_without_key_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, key_in_array_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, wrong_end_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, key_without_value_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, second_value_at_the_top_aborts, SIGABRT);
}

int main(void)
{
	return run_suite("util/json", add_tests);
}
