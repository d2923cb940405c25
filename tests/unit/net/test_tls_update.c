/* SPDX-License-Identifier: Apache-2.0 */
/* KeyUpdates of TLS 1.3, limits of keys, and renegotiation in TLS 1.2. */
#include "tls_fixture.h"

#define N_1_3 (3 * N_LAYERS * 2)

static struct setup setup_1_3(int i)
{
	return (struct setup){ .suite = &suites[i % 3],
			       .layer = i / 3 % N_LAYERS,
			       .is_client = i / 3 / N_LAYERS };
}

static void peer_update(int type)
{
	ck_assert_int_eq(SSL_key_update(peer.ssl, type), 1);
	ck_assert_int_eq(SSL_do_handshake(peer.ssl), 1);
}

/* The peer's KeyUpdate, and ours when it asks; at a cut that lies anywhere. */
START_TEST(key_updates)
{
	struct setup s = setup_1_3(_i);
	struct queue q = { 0 };
	size_t in = 0, out = 0;

	begin_tls(&s);
	shake();
	assert_shaken(s.suite->name);
	for (int round = 0; round < 6; round++) {
		lb.piece = round % 2 == 0 ? BUF_LARGE_BYTES : 7;
		peer_write(in, 100);
		peer_update(round % 3 == 0 ? SSL_KEY_UPDATE_NOT_REQUESTED
					   : SSL_KEY_UPDATE_REQUESTED);
		peer_write(in + 100, 100);
		peer_to_lb();
		expect_plain(in, 200, s.suite->name);
		in += 200;
		/* The answer goes though there is nothing to send. */
		bool is_asked = round % 3 != 0;
		if (is_asked && tls_wants_seal(lb.t))
			ck_assert_int_eq(tls_seal(&lb.es, lb.t, &q), TLS_MORE);
		ck_assert_int_eq(lb.t->sealed.bytes > 0, is_asked);
		lb_to_peer();
		ck_assert(!tls_wants_seal(lb.t));
		push_plain(&q, out, 5000, 4096);
		lb_write(&q);
		ck_assert_int_eq(peer_read(out, 5000, s.suite->name), SSL_ERROR_WANT_READ);
		out += 5000;
	}
	end_tls();
}
END_TEST

/* 30 requests in one turn: under compact one answer, when the turn is over. */
START_TEST(many_requests_have_few_answers)
{
	struct setup s = setup_1_3(_i);
	struct queue q = { 0 };

	begin_tls(&s);
	shake();
	assert_shaken(s.suite->name);
	for (int i = 0; i < 30; i++)
		peer_update(SSL_KEY_UPDATE_REQUESTED);
	peer_to_lb();
	if (s.layer == COMPACT) {
		ck_assert(queue_is_empty(&lb.t->sealed) && tls_wants_seal(lb.t));
		ck_assert_int_eq(tls_seal(&lb.es, lb.t, &q), TLS_MORE);
		ck_assert_uint_le(lb.t->sealed.bytes, 40);
	}
	lb_to_peer();
	push_plain(&q, 0, 10, 4096);
	lb_write(&q);
	ck_assert_int_eq(peer_read(0, 10, s.suite->name), SSL_ERROR_WANT_READ);
	end_tls();
}
END_TEST

/* KeyUpdates without end, and no content between: unexpected_message. */
START_TEST(too_many_key_updates)
{
	struct setup s = setup_1_3(_i);
	int n = 0;

	begin_tls(&s);
	shake();
	assert_shaken(s.suite->name);
	while (lb.v == TLS_MORE && n < 100) {
		peer_update(SSL_KEY_UPDATE_NOT_REQUESTED);
		n++;
		peer_to_lb();
	}
	ck_assert_int_eq(lb.v, TLS_FAILED);
	ck_assert_int_eq(n, TLS_IDLE_RECORDS_MAX + 1);
	if (s.layer == COMPACT)
		expect_alert("unexpected_message", s.suite->name);
	end_tls();
}
END_TEST

/* lb's own keys, and the peer's, when they have sealed many records (RFC 8446, 5.5). */
START_TEST(keys_are_renewed_in_time)
{
	struct setup s = setup_1_3(_i);
	struct queue q = { 0 };
	uint64_t limit =
		tls_suite_record_limit((struct tls_suite){ .aead = _i % 3, .is_tls_1_3 = true });

	s.layer = COMPACT;
	begin_tls(&s);
	shake();
	assert_shaken(s.suite->name);
	push_plain(&q, 0, 10, 4096);
	lb_write(&q);
	ck_assert_int_eq(peer_read(0, 10, s.suite->name), SSL_ERROR_WANT_READ);
	peer_write(0, 10);
	peer_to_lb();
	expect_plain(0, 10, s.suite->name);
	ck_assert(tls_is_compact(lb.t));
	if (limit == UINT64_MAX) { /* ChaCha20 has no limit that counts */
		end_tls();
		return;
	}
	uint8_t secret[TLS_SECRET_MAX];
	memcpy(secret, lb.t->tx.secret, sizeof(secret));
	lb.t->tx.seq = limit; /* the peer cannot follow; so what comes is only looked at */
	push_plain(&q, 10, 10, 4096);
	ck_assert_int_eq(tls_seal(&lb.es, lb.t, &q), TLS_MORE);
	ck_assert(memcmp(secret, lb.t->tx.secret, sizeof(secret)) != 0);
	ck_assert_uint_eq(lb.t->tx.seq, 1);
	queue_clear(&lb.t->sealed, lb.pool);

	lb.t->rx.seq = limit;
	lb_turn();
	ck_assert(tls_wants_seal(lb.t));
	ck_assert_int_eq(tls_seal(&lb.es, lb.t, &q), TLS_MORE);
	ck_assert(lb.t->has_requested && !tls_wants_seal(lb.t));
	lb_turn();
	ck_assert(!lb.t->must_request); /* it asks once */
	end_tls();
}
END_TEST

/* TLS 1.2 cannot change a key: the connection is closed, in order. */
START_TEST(tls_1_2_ends_at_its_limit)
{
	struct setup s = { .suite = &suites[SUITE_1_2 + _i], .layer = COMPACT };
	struct queue q = { 0 };

	begin_tls(&s);
	shake();
	assert_shaken(s.suite->name);
	lb.t->tx.seq = UINT64_C(1) << 32;
	push_plain(&q, 0, 10, 4096);
	ck_assert_int_eq(tls_seal(&lb.es, lb.t, &q), TLS_FAILED);
	ck_assert_uint_gt(lb.t->sealed.bytes, 0); /* a close_notify */
	queue_clear(&q, lb.pool);
	end_tls();
}
END_TEST

START_TEST(renegotiation_is_refused)
{
	struct setup s = { .suite = &suites[SUITE_1_2 + _i % 3],
			   .layer = _i / 3 % N_LAYERS,
			   .is_client = _i / 3 / N_LAYERS };

	begin_tls(&s);
	shake();
	assert_shaken(s.suite->name);
	ck_assert_int_eq(SSL_renegotiate(peer.ssl), 1);
	(void)SSL_do_handshake(peer.ssl);
	ERR_clear_error();
	ck_assert_uint_gt(peer_to_lb(), 0);
	ck_assert_int_eq(lb.v, TLS_FAILED);
	ck_assert_str_eq(tls_error(lb.t), "renegotiation");
	end_tls();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, key_updates, 0, N_1_3);
	tcase_add_loop_test(t, many_requests_have_few_answers, 0, N_1_3);
	tcase_add_loop_test(t, too_many_key_updates, 0, N_1_3);
	tcase_add_loop_test(t, keys_are_renewed_in_time, 0, N_1_3);
	tcase_add_loop_test(t, tls_1_2_ends_at_its_limit, 0, 3);
	tcase_add_loop_test(t, renegotiation_is_refused, 0, 3 * N_LAYERS * 2);
}

int main(void)
{
	return run_suite("net/tls_update", add_tests);
}
