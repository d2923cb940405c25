/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "proto/octet.h"

#include <check.h>
#include <string.h>

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* Classes written out, as the RFCs list them. */
static const struct {
	const char *name;
	unsigned mask;
	const char *members;
} classes[] = {
	{ "token", OCTET_TOKEN, ALNUM "!#$%&'*+-.^_`|~" },
	{ "host", OCTET_HOST, ALNUM "-._~%!$&'()*+,;=:[]" },
	{ "digit", OCTET_DIGIT, "0123456789" },
	{ "white space", OCTET_OWS, " \t" },
	{ "hexadecimal", OCTET_HEX, "0123456789abcdefABCDEF" },
	{ "segment", OCTET_SEGMENT, ALNUM "!\"$%&'()*+,-.:;<=>@[\\]^_`{|}~" },
	{ "target", OCTET_TARGET, ALNUM "!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~" },
};

START_TEST(class_has_its_members_only)
{
	for (int c = 0; c < 256; c++) {
		bool is_member = c != 0 && strchr(classes[_i].members, c) != NULL;

		ck_assert_msg(octet_is((uint8_t)c, classes[_i].mask) == is_member, "%s: 0x%02x",
			      classes[_i].name, (unsigned)c);
	}
}
END_TEST

START_TEST(text_is_all_but_controls)
{
	for (int c = 0; c < 256; c++) {
		bool is_control = (c < 0x20 && c != '\t') || c == 0x7f;

		ck_assert_msg(octet_is((uint8_t)c, OCTET_TEXT) == !is_control, "0x%02x",
			      (unsigned)c);
	}
}
END_TEST

START_TEST(lax_is_all_but_ends_of_lines)
{
	for (int c = 0; c < 256; c++) {
		ck_assert_msg(octet_is((uint8_t)c, OCTET_LAX) ==
				      (c != '\0' && c != '\r' && c != '\n'),
			      "0x%02x", (unsigned)c);
		ck_assert_msg(octet_is((uint8_t)c, OCTET_HIGH) == (c >= 0x80), "0x%02x",
			      (unsigned)c);
	}
}
END_TEST

START_TEST(run_stops_at_the_first_other)
{
	const uint8_t text[] = "abc def";

	ck_assert_uint_eq(octet_run(text, 0, 7, OCTET_TOKEN), 3);
	ck_assert_uint_eq(octet_run(text, 3, 7, OCTET_TOKEN), 3);
	ck_assert_uint_eq(octet_run(text, 4, 6, OCTET_TOKEN), 6);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, class_has_its_members_only, 0, sizeof(classes) / sizeof(classes[0]));
	tcase_add_test(t, text_is_all_but_controls);
	tcase_add_test(t, lax_is_all_but_ends_of_lines);
	tcase_add_test(t, run_stops_at_the_first_other);
}

int main(void)
{
	return run_suite("proto/octet", add_tests);
}
