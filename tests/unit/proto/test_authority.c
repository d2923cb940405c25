/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "proto/authority.h"

#include <check.h>

static const struct {
	const char *text, *host;
} good[] = {
	{ "example.com", "example.com" },
	{ "Example.COM:8080", "Example.COM" },
	{ "example.com.", "example.com" },
	{ "example.com.:443", "example.com" },
	{ "example.com..", "example.com." },
	{ "h:", "h" },
	{ "h:0", "h" },
	{ "h:65535", "h" },
	{ "h:0000080", "h" },
	{ "127.0.0.1:80", "127.0.0.1" },
	{ "[::1]", "[::1]" },
	{ "[2001:db8::1]:9000", "[2001:db8::1]" },
	{ "[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]" },
	{ "[::ffff:7f00:1]:80", "[::ffff:7f00:1]" },
	{ "[fe80::1%25eth0]", "[fe80::1%25eth0]" },
	{ "[fe80::1%25e-0._~%41]:80", "[fe80::1%25e-0._~%41]" },
	{ "a_b~c-d", "a_b~c-d" },
	{ "%41b", "%41b" },
	{ "a,b;c=d", "a,b;c=d" },
};

static const struct {
	const char *name, *text;
} bad[] = {
	{ "empty", "" },
	{ "a dot", "." },
	{ "a port alone", ":80" },
	{ "port too large", "h:65536" },
	{ "port overflows", "h:99999999999999999999999" },
	{ "port with a sign", "h:+80" },
	{ "two ports", "h:80:80" },
	{ "bare IPv6", "::1" },
	{ "user information", "user@h" },
	{ "a path", "h/x" },
	{ "a space", "a b" },
	{ "not ASCII", "h\xc3\xa9" },
	{ "a cut escape", "a%4" },
	{ "an escape that is none", "a%4g" },
	{ "bracket not closed", "[::1" },
	{ "nothing in brackets", "[]" },
	{ "IPv4 in brackets", "[127.0.0.1]" },
	{ "a name in brackets", "[host]" },
	{ "zone without its percent sign", "[fe80::1%eth0]" },
	{ "empty zone", "[fe80::1%25]" },
	{ "zone with a bracket", "[fe80::1%25[a]" },
	{ "zone with a colon", "[fe80::1%25a:b]" },
	{ "zone with a cut escape", "[fe80::1%25a%4]" },
	{ "zone without an address", "[%25eth0]" },
	{ "IPv4 with a zone", "[127.0.0.1%25eth0]" },
	{ "too long for an address", "[0000:0000:0000:0000:0000:ffff:255.255.255.255:0000:0000]" },
	{ "too many groups", "[1:2:3:4:5:6:7:8:9]" },
	{ "IPvFuture", "[v1.x]" },
	{ "something behind the bracket", "[::1]x" },
	{ "brackets inside", "a[::1]" },
	{ "a closing bracket", "a]" },
};

START_TEST(host_is_found)
{
	struct slice host = { 0 };

	ck_assert_msg(authority_parse(slice_of(good[_i].text), &host), "%s", good[_i].text);
	ck_assert_msg(slice_eq(host, slice_of(good[_i].host)), "%s", good[_i].text);
}
END_TEST

START_TEST(nonsense_is_refused)
{
	struct slice host = SLICE("untouched");

	ck_assert_msg(!authority_parse(slice_of(bad[_i].text), &host), "%s", bad[_i].name);
	ck_assert(slice_eq(host, SLICE("untouched")));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, host_is_found, 0, sizeof(good) / sizeof(good[0]));
	tcase_add_loop_test(t, nonsense_is_refused, 0, sizeof(bad) / sizeof(bad[0]));
}

int main(void)
{
	return run_suite("proto/authority", add_tests);
}
