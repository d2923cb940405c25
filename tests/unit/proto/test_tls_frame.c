/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <string.h>

#include "../suite.h"
#include "proto/tls_frame.h"

START_TEST(head_goes_both_ways)
{
	static const size_t lens[] = { 0, 1, 255, 256, 16384, TLS_CIPHERTEXT_MAX };
	uint8_t p[TLS_HEAD_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		tls_head_write(p, TLS_TYPE_DATA, lens[i]);
		struct tls_head h = tls_head_read(p);
		ck_assert_uint_eq(h.type, TLS_TYPE_DATA);
		ck_assert_uint_eq(h.version, 0x0303);
		ck_assert_uint_eq(h.len, lens[i]);
	}
}
END_TEST

static const struct {
	const char *name;
	uint8_t in[8];
	size_t n;
	int want; /* bytes of content; -1: none */
	uint8_t type;
} inners[] = {
	{ "nothing", { 0 }, 0, -1, 0 },
	{ "zeros", { 0, 0, 0 }, 3, -1, 0 },
	{ "a type alone", { 23 }, 1, 0, 23 },
	{ "content", { 1, 2, 23 }, 3, 2, 23 },
	{ "zeros are content, too", { 0, 0, 22 }, 3, 2, 22 },
	{ "padding", { 7, 21, 0, 0, 0 }, 5, 1, 21 },
	{ "padding alone", { 23, 0, 0 }, 3, 0, 23 },
};

START_TEST(inner_type_is_found)
{
	uint8_t type = 99;

	ck_assert_msg(tls_inner_len(inners[_i].in, inners[_i].n, &type) == inners[_i].want, "%s",
		      inners[_i].name);
	ck_assert_uint_eq(type, inners[_i].want < 0 ? 99 : inners[_i].type);
}
END_TEST

#define UPDATE 24, 0, 0, 1
#define TICKET3 4, 0, 0, 3, 1, 2, 3

static const struct {
	const char *name;
	uint8_t in[32];
	size_t n;
	bool is_client;
	enum tls_message want; /* of the whole in one record */
} messages[] = {
	{ "update", { UPDATE, 0 }, 5, false, TLS_MSG_UPDATE },
	{ "update with a request", { UPDATE, 1 }, 5, true, TLS_MSG_UPDATE_REQUESTED },
	{ "update with another request", { UPDATE, 2 }, 5, true, TLS_MSG_ILLEGAL },
	{ "longer update", { 24, 0, 0, 2, 0, 0 }, 6, false, TLS_MSG_MALFORMED },
	{ "much longer update", { 24, 1, 0, 1, 0 }, 5, false, TLS_MSG_MALFORMED },
	{ "empty update", { 24, 0, 0, 0 }, 4, false, TLS_MSG_MALFORMED },
	{ "something behind an update", { UPDATE, 0, 4 }, 6, true, TLS_MSG_UNEXPECTED },
	{ "ticket to a client", { TICKET3 }, 7, true, TLS_MSG_NONE },
	{ "two tickets", { TICKET3, TICKET3 }, 14, true, TLS_MSG_NONE },
	{ "ticket, then an update", { TICKET3, UPDATE, 1 }, 12, true, TLS_MSG_UPDATE_REQUESTED },
	{ "empty ticket", { 4, 0, 0, 0 }, 4, true, TLS_MSG_MALFORMED },
	{ "ticket of 16 MiB", { 4, 255, 255, 255, 0 }, 5, true, TLS_MSG_MALFORMED },
	{ "ticket to a server", { TICKET3 }, 7, false, TLS_MSG_UNEXPECTED },
	{ "a ClientHello", { 1, 0, 0, 1, 0 }, 5, false, TLS_MSG_UNEXPECTED },
	{ "a CertificateRequest", { 13, 0, 0, 1, 0 }, 5, true, TLS_MSG_UNEXPECTED },
	{ "nothing", { 0 }, 0, true, TLS_MSG_UNEXPECTED },
	{ "a part of a header", { 24, 0, 0 }, 3, false, TLS_MSG_NONE },
};

START_TEST(messages_are_judged)
{
	struct tls_messages m = { 0 };

	ck_assert_msg(tls_messages_feed(&m, messages[_i].is_client, messages[_i].in,
					messages[_i].n) == messages[_i].want,
		      "%s", messages[_i].name);
}
END_TEST

/* A byte in each record: the same verdict comes with the byte that decides. */
START_TEST(messages_may_come_in_pieces)
{
	struct tls_messages m = { 0 };
	enum tls_message got = TLS_MSG_NONE;
	size_t i = 0;

	while (i < messages[_i].n && got == TLS_MSG_NONE)
		got = tls_messages_feed(&m, messages[_i].is_client, messages[_i].in + i++, 1);
	if (strstr(messages[_i].name, "behind an update") != NULL)
		ck_assert_int_eq(got, TLS_MSG_UPDATE); /* its own record has nothing behind it */
	else if (messages[_i].n > 0)
		ck_assert_msg(got == messages[_i].want, "%s", messages[_i].name);
	if (got != TLS_MSG_NONE)
		return;
	bool is_part = strstr(messages[_i].name, "part") != NULL;
	ck_assert_int_eq(tls_messages_is_within(&m), is_part);
}
END_TEST

START_TEST(key_update_is_what_is_read)
{
	for (int is_requested = 0; is_requested < 2; is_requested++) {
		uint8_t p[TLS_KEY_UPDATE_BYTES];
		struct tls_messages m = { 0 };

		tls_key_update_write(p, is_requested);
		ck_assert_int_eq(tls_messages_feed(&m, false, p, sizeof(p)),
				 is_requested ? TLS_MSG_UPDATE_REQUESTED : TLS_MSG_UPDATE);
	}
}
END_TEST

START_TEST(alerts_have_names)
{
	ck_assert_str_eq(tls_alert_name(0), "close_notify");
	ck_assert_str_eq(tls_alert_name(48), "unknown_ca");
	ck_assert_str_eq(tls_alert_name(120), "no_application_protocol");
	ck_assert_str_eq(tls_alert_name(255), "unknown alert");
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, head_goes_both_ways);
	tcase_add_loop_test(t, inner_type_is_found, 0, (int)ARRAY_SIZE(inners));
	tcase_add_loop_test(t, messages_are_judged, 0, (int)ARRAY_SIZE(messages));
	tcase_add_loop_test(t, messages_may_come_in_pieces, 0, (int)ARRAY_SIZE(messages));
	tcase_add_test(t, key_update_is_what_is_read);
	tcase_add_test(t, alerts_have_names);
}

int main(void)
{
	return run_suite("proto/tls_frame", add_tests);
}
