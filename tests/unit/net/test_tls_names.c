/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>

#include "../suite.h"
#include "net/tls_names.h"

#define L63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"

static const struct {
	const char *name;
	bool is_valid;
} names[] = {
	{ "example.com", true },
	{ "EXAMPLE.com", true },
	{ "localhost", true },
	{ "a_b.internal", true },
	{ "xn--bcher-kva.example", true },
	{ "1.2.3.4", true }, /* a DNS name may look so */
	{ "*.example.com", true },
	{ "*.com", true },
	{ L63 ".com", true },
	{ L63 "." L63 "." L63 "." L63, false }, /* 255 bytes */
	{ L63 "h.com", false },
	{ "", false },
	{ ".", false },
	{ "*", false },
	{ "*.", false },
	{ "a..b", false },
	{ ".a", false },
	{ "a.", false },
	{ "f*o.example.com", false },
	{ "*a.example.com", false },
	{ "a.*.com", false },
	{ "*.*.com", false },
	{ "a b.com", false },
	{ "b\xc3\xbc.com", false },
	{ "http://a.com", false },
	{ "[::1]", false },
};

START_TEST(names_are_judged)
{
	ck_assert_msg(tls_name_is_valid(slice_of(names[_i].name)) == names[_i].is_valid, "\"%s\"",
		      names[_i].name);
}
END_TEST

START_TEST(a_nul_is_no_name)
{
	ck_assert(!tls_name_is_valid(SLICE("a.test\0.evil.test")));
}
END_TEST

static const char *const rows[] = {
	"a.test", "*.a.test", "deep.a.test", "B.test", "*.x.y.test", "c.test", "a.test",
};

static const struct {
	const char *sni;
	uint32_t want;
} lookups[] = {
	{ "a.test", 0 }, /* the first of two */
	{ "A.TEST", 0 },
	{ "a.test.", 0 },
	{ "www.a.test", 1 },
	{ "WWW.A.test", 1 },
	{ "deep.a.test", 2 }, /* exact before wildcard */
	{ "very.deep.a.test", TLS_NAMES_NONE },
	{ "b.test", 3 },
	{ "z.x.y.test", 4 },
	{ "x.y.test", TLS_NAMES_NONE },
	{ "test", TLS_NAMES_NONE },
	{ "*.a.test", TLS_NAMES_NONE }, /* no client's name */
	{ "d.test", TLS_NAMES_NONE },
	{ "", TLS_NAMES_NONE },
	{ ".", TLS_NAMES_NONE },
	{ "a.test..", TLS_NAMES_NONE },
	{ ".a.test", TLS_NAMES_NONE },
	{ L63 "." L63 "." L63 "." L63, TLS_NAMES_NONE },
};

START_TEST(names_are_found)
{
	struct tls_names t = { 0 };

	for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++)
		ck_assert_int_eq(tls_names_add(&t, slice_of(rows[i]), i), 0);
	tls_names_sort(&t);
	ck_assert_msg(tls_names_find(&t, slice_of(lookups[_i].sni)) == lookups[_i].want, "\"%s\"",
		      lookups[_i].sni);
	tls_names_deinit(&t);
}
END_TEST

START_TEST(an_empty_table_has_none)
{
	struct tls_names t = { 0 };

	tls_names_sort(&t);
	ck_assert_uint_eq(tls_names_find(&t, SLICE("a.test")), TLS_NAMES_NONE);
	tls_names_deinit(&t);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, names_are_judged, 0, (int)ARRAY_SIZE(names));
	tcase_add_test(t, a_nul_is_no_name);
	tcase_add_loop_test(t, names_are_found, 0, (int)ARRAY_SIZE(lookups));
	tcase_add_test(t, an_empty_table_has_none);
}

int main(void)
{
	return run_suite("net/tls_names", add_tests);
}
