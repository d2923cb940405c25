/* SPDX-License-Identifier: Apache-2.0 */
/* What is not TLS, at any stage. */
#include "tls_fixture.h"

static const struct {
	const char *name;
	uint8_t bytes[32];
	size_t n;
	const char *why; /* of a server; NULL: it waits for more */
} garbage[] = {
	{ "a plain request", "GET / HTTP/1.1\r\n", 16, "not TLS" },
	{ "one byte", { 'G' }, 1, "not TLS" },
	{ "SSL 2", { 0x80, 0x2e, 1, 0, 2 }, 5, "not TLS" },
	{ "an alert", { 21, 3, 3, 0, 2, 2, 40 }, 7, "not TLS" },
	{ "half a header", { 22, 3, 1, 0 }, 4, NULL },
	{ "an empty record", { 22, 3, 1, 0, 0 }, 5, "an empty record instead of a ClientHello" },
	{ "too long a record", { 22, 3, 1, 0xff, 0xff }, 5, "" },
	{ "no ClientHello", { 22, 3, 1, 0, 4, 2, 0, 0, 0 }, 9, "" },
	{ "another version", { 22, 9, 9, 0, 4, 1, 0, 0, 0 }, 9, "" },
	{ "an empty ClientHello", { 22, 3, 1, 0, 4, 1, 0, 0, 0 }, 9, "" },
	{ "a ClientHello of 16 MiB", { 22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff }, 9, "" },
};

START_TEST(garbage_instead_of_a_hello)
{
	struct setup s = { 0 };

	begin_tls(&s);
	lb_hear(garbage[_i].bytes, garbage[_i].n);
	if (garbage[_i].why == NULL) {
		ck_assert_msg(lb.v == TLS_MORE, "%s", garbage[_i].name);
		ck_assert_int_eq(lb.t->state, TLS_IS_HELLO); /* no SSL object yet */
	} else {
		ck_assert_msg(lb.v == TLS_FAILED, "%s", garbage[_i].name);
		if (garbage[_i].why[0] != '\0')
			ck_assert_str_eq(tls_error(lb.t), garbage[_i].why);
		ck_assert_int_eq(tls_is_not_tls(lb.t), strcmp(garbage[_i].why, "not TLS") == 0);
	}
	end_tls();
}
END_TEST

/* Garbage behind n flights, and behind the handshake. */
START_TEST(garbage_later)
{
	static const uint8_t bytes[] = "HTTP/1.1 200 OK\r\n\r\n and a lot of nonsense, too";
	struct setup s = setup_of(_i);

	begin_tls(&s);
	for (int n_flights = 0; n_flights < 3; n_flights++) {
		for (int i = 0; i < n_flights; i++) {
			peer_turn();
			if (lb.t->is_client)
				lb_turn();
			peer_to_lb();
			lb_to_peer();
		}
		if (lb.t->is_client && n_flights == 0)
			lb_turn();
		lb_hear(bytes, sizeof(bytes));
		ck_assert_msg(lb.v == TLS_FAILED, "%s: %d flights", name_of(_i), n_flights);
		conn_end();
		conn_begin(&s);
	}
	end_tls();
}
END_TEST

/* The header of a record behind the handshake, and what answers it. */
static const struct {
	const char *name;
	uint8_t head[TLS_HEAD_BYTES];
	const char *alert_1_3, *alert_1_2;
} heads[] = {
	{ "a ChangeCipherSpec", { 20, 3, 3, 0, 1 }, "unexpected_message", "unexpected_message" },
	{ "an unknown type", { 99, 3, 3, 0, 32 }, "unexpected_message", "unexpected_message" },
	{ "type handshake", { 22, 3, 3, 0, 32 }, "unexpected_message", "bad_record_mac" },
	{ "another version", { 23, 3, 4, 0, 32 }, "protocol_version", "protocol_version" },
	{ "too long", { 23, 3, 3, 0x41, 1 }, "record_overflow", "record_overflow" },
	{ "too short", { 23, 3, 3, 0, 16 }, "bad_record_mac", "bad_record_mac" },
	{ "empty", { 23, 3, 3, 0, 0 }, "bad_record_mac", "bad_record_mac" },
};

START_TEST(headers_are_judged)
{
	struct setup s = { .suite = &suites[_i % N_SUITES], .layer = COMPACT };
	uint8_t bytes[TLS_RECORD_MAX] = { 0 };
	bool is_1_3 = s.suite->version == TLS1_3_VERSION;

	_i /= N_SUITES;
	begin_tls(&s);
	shake();
	assert_shaken(s.suite->name);
	memcpy(bytes, heads[_i].head, TLS_HEAD_BYTES);
	size_t n = TLS_HEAD_BYTES + (size_t)bytes[3] * 256 + bytes[4];
	lb_hear(bytes, n < sizeof(bytes) ? n : sizeof(bytes));
	ck_assert_msg(lb.v == TLS_FAILED, "%s", heads[_i].name);
	expect_alert(is_1_3 ? heads[_i].alert_1_3 : heads[_i].alert_1_2, heads[_i].name);
	end_tls();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, garbage_instead_of_a_hello, 0, (int)ARRAY_SIZE(garbage));
	tcase_add_loop_test(t, garbage_later, 0, N_ALL);
	tcase_add_loop_test(t, headers_are_judged, 0, (int)ARRAY_SIZE(heads) * N_SUITES);
}

int main(void)
{
	return run_suite("net/tls_garbage", add_tests);
}
