/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "../suite.h"
#include "util/assert.h"
#include "util/sockaddr.h"

static const struct {
	const char *in;
	bool has_port;
	uint8_t family;
	uint16_t port;
	const char *want; /* as written back; NULL: as it was */
} good[] = {
	{ "1.2.3.4:80", true, AF_INET, 80, NULL },
	{ "0.0.0.0:0", true, AF_INET, 0, NULL },
	{ "255.255.255.255:65535", true, AF_INET, 65535, NULL },
	{ "[::1]:80", true, AF_INET6, 80, NULL },
	{ "[::]:8080", true, AF_INET6, 8080, NULL },
	{ "[2001:DB8::0:1]:443", true, AF_INET6, 443, "[2001:db8::1]:443" },
	{ "[1111:2222:3333:4444:5555:6666:7777:8888]:65535", true, AF_INET6, 65535, NULL },
	{ "1.2.3.4", false, AF_INET, 0, NULL },
	{ "::", false, AF_INET6, 0, NULL },
	{ "fe80::1", false, AF_INET6, 0, NULL },
	{ "64:ff9b::192.0.2.1", false, AF_INET6, 0, "64:ff9b::c000:201" },
};

static const struct {
	const char *in;
	bool has_port;
} bad[] = {
	{ "", true },
	{ ":80", true },
	{ "1.2.3.4", true },
	{ "1.2.3.4:", true },
	{ "1.2.3.4:65536", true },
	{ "1.2.3.4:100000", true },
	{ "1.2.3.4:080", true },
	{ "1.2.3.4:+80", true },
	{ "1.2.3.4:-1", true },
	{ "1.2.3.4: 80", true },
	{ " 1.2.3.4:80", true },
	{ "1.2.3.4:80 ", true },
	{ "1.2.3.4:8o", true },
	{ "1.2.3:80", true },
	{ "1.2.3.4.5:80", true },
	{ "1.2.3.256:80", true },
	{ "1.2.3.04:80", true },
	{ "0x7f.0.0.1:80", true },
	{ "localhost:80", true },
	{ "[1.2.3.4]:80", true },
	{ "::1:80", true },
	{ "[::1]", true },
	{ "[::1]80", true },
	{ "[::1:80", true },
	{ "::1]:80", true },
	{ "[[::1]]:80", true },
	{ "[]:80", true },
	{ "[:80", true },
	{ "[fe80::1%eth0]:80", true },
	{ "[fe80::1%1]:80", true },
	{ "[::ffff:1.2.3.4]:80", true },
	{ "[:::]:80", true },
	{ "[1::2::3]:80", true },
	{ "[12345::]:80", true },
	{ "", false },
	{ "1.2.3.4:80", false },
	{ "[::1]", false },
	{ "::ffff:102:304", false },
	{ "1.2.3.4/8", false },
	{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb", false },
};

static int read_row(const char *text, bool has_port, struct addr *ret)
{
	return has_port ? addr_parse(slice_of(text), ret) : addr_parse_host(slice_of(text), ret);
}

START_TEST(good_is_read)
{
	struct addr a = { 0 };
	char out[ADDR_TEXT_MAX];
	const char *want = good[_i].want != NULL ? good[_i].want : good[_i].in;

	ck_assert_msg(read_row(good[_i].in, good[_i].has_port, &a) == 0, "%s", good[_i].in);
	ck_assert_uint_eq(a.family, good[_i].family);
	ck_assert_uint_eq(a.port, good[_i].port);
	if (good[_i].has_port)
		ck_assert_str_eq(addr_format(&a, out), want);
	else
		ck_assert_str_eq(addr_format_host(&a, out), want);
}
END_TEST

START_TEST(bad_is_refused)
{
	struct addr a, before;

	memset(&a, 0xa5, sizeof(a));
	before = a;
	ck_assert_msg(read_row(bad[_i].in, bad[_i].has_port, &a) == -EINVAL, "%s", bad[_i].in);
	ck_assert_mem_eq(&a, &before, sizeof(a));
}
END_TEST

START_TEST(nul_is_no_end)
{
	struct addr a;

	ck_assert_int_eq(addr_parse_host(SLICE("1.2.3.4\0"), &a), -EINVAL);
	ck_assert_int_eq(addr_parse(SLICE("1.2.3.4\0:80"), &a), -EINVAL);
	ck_assert_int_eq(addr_parse((struct slice){ 0 }, &a), -EINVAL);
}
END_TEST

/* There and back through the kernel's form. */
START_TEST(kernel_form)
{
	struct sockaddr_storage ss;
	struct addr a = { 0 }, b;

	ck_assert_int_eq(read_row(good[_i].in, good[_i].has_port, &a), 0);
	socklen_t n = addr_to_sockaddr(&a, &ss);
	ck_assert_uint_eq(n, a.family == AF_INET ? sizeof(struct sockaddr_in)
						 : sizeof(struct sockaddr_in6));
	ck_assert_int_eq(ss.ss_family, a.family);
	addr_from_sockaddr((const struct sockaddr *)&ss, &b);
	ck_assert(addr_eq(&a, &b));
}
END_TEST

START_TEST(kernel_form_is_in_network_order)
{
	struct sockaddr_storage ss;
	struct sockaddr_in sin;
	struct addr a;

	ck_assert_int_eq(addr_parse(SLICE("1.2.3.4:80"), &a), 0);
	(void)addr_to_sockaddr(&a, &ss);
	memcpy(&sin, &ss, sizeof(sin));
	ck_assert_uint_eq(sin.sin_port, htons(80));
	ck_assert_uint_eq(sin.sin_addr.s_addr, htonl(0x01020304));
}
END_TEST

START_TEST(other_families_are_no_address)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct addr a;

	addr_from_sockaddr((const struct sockaddr *)&sun, &a);
	ck_assert_uint_eq(a.family, 0);
	ck_assert(addr_eq(&a, &(struct addr){ 0 }));
}
END_TEST

static const struct {
	const char *text;
	bool want;
} loopbacks[] = {
	{ "127.0.0.1", true },
	{ "127.255.255.255", true },
	{ "126.255.255.255", false },
	{ "128.0.0.0", false },
	{ "0.0.0.0", false },
	{ "10.127.0.1", false },
	{ "::1", true },
	{ "::", false },
	{ "::2", false },
	{ "7f00::1", false },
};

START_TEST(loopbacks_are_known)
{
	struct addr a = { 0 };

	ck_assert(!addr_is_loopback(&a));
	ck_assert_int_eq(addr_parse_host(slice_of(loopbacks[_i].text), &a), 0);
	ck_assert_msg(addr_is_loopback(&a) == loopbacks[_i].want, "%s", loopbacks[_i].text);
}
END_TEST

START_TEST(equality)
{
	struct addr a, b;

	ck_assert_int_eq(addr_parse(SLICE("1.2.3.4:80"), &a), 0);
	ck_assert_int_eq(addr_parse(SLICE("1.2.3.4:81"), &b), 0);
	ck_assert(!addr_eq(&a, &b));
	ck_assert(addr_compare(&a, &b) * addr_compare(&b, &a) < 0);
	ck_assert_int_eq(addr_parse(SLICE("1.2.3.5:80"), &b), 0);
	ck_assert(!addr_eq(&a, &b));
	ck_assert(addr_compare(&a, &b) * addr_compare(&b, &a) < 0);
	/* the same first four bytes in the other family */
	ck_assert_int_eq(addr_parse(SLICE("[102:304::]:80"), &b), 0);
	ck_assert(!addr_eq(&a, &b));
	ck_assert(addr_compare(&a, &b) * addr_compare(&b, &a) < 0);
	b = a;
	memset(b.v6 + 4, 0xff, 12); /* bytes that IPv4 does not have */
	ck_assert(addr_eq(&a, &b));
	ck_assert_int_eq(addr_compare(&a, &b), 0);
}
END_TEST

static const struct {
	const char *a, *b;
	bool overlap;
} pairs[] = {
	{ "1.2.3.4:80", "1.2.3.4:80", true },  { "1.2.3.4:80", "1.2.3.4:81", false },
	{ "1.2.3.4:80", "1.2.3.5:80", false }, { "0.0.0.0:80", "1.2.3.4:80", true },
	{ "0.0.0.0:80", "0.0.0.0:80", true },  { "0.0.0.0:80", "1.2.3.4:81", false },
	{ "0.0.0.0:0", "1.2.3.4:0", false }, /* each gets a port of its own */
	{ "[::]:80", "[::1]:80", true },       { "[::2]:80", "[::1]:80", false },
	{ "[::]:80", "1.2.3.4:80", false }, /* IPv6 alone */
	{ "[::]:80", "0.0.0.0:80", false },
};

START_TEST(overlaps)
{
	struct addr a, b;

	ck_assert_int_eq(addr_parse(slice_of(pairs[_i].a), &a), 0);
	ck_assert_int_eq(addr_parse(slice_of(pairs[_i].b), &b), 0);
	memset(&a.v6[a.family == AF_INET ? 4 : 16], 0xff, a.family == AF_INET ? 12 : 0);
	ck_assert_msg(addr_overlaps(&a, &b) == pairs[_i].overlap, "%s and %s", pairs[_i].a,
		      pairs[_i].b);
	ck_assert_msg(addr_overlaps(&b, &a) == pairs[_i].overlap, "%s and %s", pairs[_i].b,
		      pairs[_i].a);
}
END_TEST

static const struct {
	const char *cidr, *in, *out; /* an address inside and one outside */
} nets[] = {
	{ "10.0.0.0/8", "10.255.1.2", "11.0.0.0" },
	{ "10.1.2.3/8", "10.9.9.9", "11.1.2.3" },
	{ "192.0.2.128/25", "192.0.2.129", "192.0.2.127" },
	{ "192.0.2.1", "192.0.2.1", "192.0.2.2" },
	{ "192.0.2.1/32", "192.0.2.1", "192.0.2.0" },
	{ "0.0.0.0/0", "255.1.2.3", "::" },
	{ "::/0", "ffff::1", "0.0.0.0" },
	{ "2001:db8::/32", "2001:db8:ffff::1", "2001:db9::" },
	{ "2001:db8::/63", "2001:db8:0:1::", "2001:db8:0:2::" },
	{ "::1", "::1", "::2" },
};

START_TEST(networks)
{
	struct cidr c;
	struct addr in, out;

	ck_assert_int_eq(cidr_parse(slice_of(nets[_i].cidr), &c), 0);
	ck_assert_int_eq(addr_parse_host(slice_of(nets[_i].in), &in), 0);
	ck_assert_int_eq(addr_parse_host(slice_of(nets[_i].out), &out), 0);
	ck_assert_msg(cidr_contains(&c, &in), "%s: %s", nets[_i].cidr, nets[_i].in);
	ck_assert_msg(!cidr_contains(&c, &out), "%s: %s", nets[_i].cidr, nets[_i].out);
}
END_TEST

static const char *const bad_nets[] = {
	"",
	"/",
	"/8",
	"10.0.0.0/",
	"10.0.0.0/33",
	"10.0.0.0/-1",
	"10.0.0.0/08",
	"10.0.0.0/8/8",
	"10.0.0/8",
	"::/129",
	"::/ 1",
	"[::]/0",
	"10.0.0.0:80/8",
	"::ffff:10.0.0.0/104",
};

START_TEST(bad_networks)
{
	struct cidr c = { .bits = 77 };

	ck_assert_msg(cidr_parse(slice_of(bad_nets[_i]), &c) == -EINVAL, "%s", bad_nets[_i]);
	ck_assert_uint_eq(c.bits, 77);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, good_is_read, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(t, bad_is_refused, 0, ARRAY_SIZE(bad));
	tcase_add_test(t, nul_is_no_end);
	tcase_add_loop_test(t, kernel_form, 0, ARRAY_SIZE(good));
	tcase_add_test(t, kernel_form_is_in_network_order);
	tcase_add_test(t, other_families_are_no_address);
	tcase_add_loop_test(t, loopbacks_are_known, 0, ARRAY_SIZE(loopbacks));
	tcase_add_test(t, equality);
	tcase_add_loop_test(t, overlaps, 0, ARRAY_SIZE(pairs));
	tcase_add_loop_test(t, networks, 0, ARRAY_SIZE(nets));
	tcase_add_loop_test(t, bad_networks, 0, ARRAY_SIZE(bad_nets));
}

int main(void)
{
	return run_suite("util/sockaddr", add_tests);
}
