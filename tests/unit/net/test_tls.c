/* SPDX-License-Identifier: Apache-2.0 */
/* TLS ends against OpenSSL's: what goes and comes, and how it ends. */
#include "tls_fixture.h"

/* ---- bytes ----------------------------------------------------------------------------------- */

START_TEST(bytes_go_both_ways)
{
	static const size_t sizes[] = { 1, 64, 4096, 16384, 16385, 300000 };
	struct setup s = setup_of(_i);
	struct queue q = { 0 };
	size_t in = 0, out = 0;

	begin_tls(&s);
	shake();
	assert_shaken(name_of(_i));
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			peer_write(in, sizes[i]);
			peer_to_lb();
			expect_plain(in, sizes[i], name_of(_i));
			in += sizes[i];
			push_plain(&q, out, sizes[i], round == 0 ? 4096 : 100000);
			lb_write(&q);
			ck_assert_int_eq(peer_read(out, sizes[i], name_of(_i)),
					 SSL_ERROR_WANT_READ);
			out += sizes[i];
		}
		lb.piece = BUF_LARGE_BYTES;
	}
	ck_assert_int_eq(tls_is_compact(lb.t), s.layer == COMPACT);
	ck_assert_uint_eq(lb.es.counts.n_kept, 0);
	ck_assert_uint_eq(lb.es.counts.n_compact, s.layer == COMPACT);
	end_tls();
}
END_TEST

/* The handshake and all behind it come a byte at a time. */
START_TEST(ciphertext_may_come_byte_by_byte)
{
	struct setup s = setup_of(_i);

	begin_tls(&s);
	lb.piece = 1;
	shake();
	assert_shaken(name_of(_i));
	peer_write(0, 100);
	peer_write(100, 5000);
	peer_write(5100, 1);
	peer_to_lb();
	expect_plain(0, 5101, name_of(_i));
	SSL_shutdown(peer.ssl);
	peer_to_lb();
	ck_assert_int_eq(lb.v, TLS_END);
	end_tls();
}
END_TEST

/* Two records, in two pieces: cut at every byte. */
START_TEST(ciphertext_may_be_cut_anywhere)
{
	struct setup s = setup_of(_i);
	size_t at = 0;

	begin_tls(&s);
	shake();
	assert_shaken(name_of(_i));
	for (size_t cut = 1;; cut++) {
		char *p;
		uint8_t copy[256];

		peer_write(at, 30);
		peer_write(at + 30, 50);
		size_t n = (size_t)BIO_get_mem_data(peer.out, &p);
		ck_assert_uint_lt(n, sizeof(copy));
		memcpy(copy, p, n);
		(void)BIO_reset(peer.out);
		if (cut == n)
			break;
		lb_hear(copy, cut);
		lb_hear(copy + cut, n - cut);
		expect_plain(at, 80, name_of(_i));
		at += 80;
	}
	end_tls();
}
END_TEST

/* A client that sends 6 KB behind its Finished, in the same segment. */
START_TEST(bytes_glued_to_the_handshake_are_not_lost)
{
	struct setup s = setup_of(_i);

	begin_tls(&s);
	lb.piece = BUF_LARGE_BYTES;
	/* The peer's side is over before lb has its last flight. */
	while (!SSL_is_init_finished(peer.ssl)) {
		peer_turn();
		if (SSL_is_init_finished(peer.ssl))
			break;
		if (lb.t->is_client)
			lb_turn();
		peer_to_lb();
		lb_to_peer();
	}
	if (lb.t->state == TLS_IS_SHAKE || lb.t->state == TLS_IS_HELLO) {
		peer_write(0, 6000);
		peer_to_lb();
	} else { /* the peer was the last one to hear */
		lb_turn();
		peer_write(0, 6000);
		peer_to_lb();
	}
	assert_shaken(name_of(_i));
	expect_plain(0, 6000, name_of(_i));
	ck_assert_uint_eq(lb.es.counts.n_kept, 0);
	end_tls();
}
END_TEST

/* Random sizes, pieces and directions: what comes out is what went in. */
START_TEST(random_traffic)
{
	struct setup s = setup_of(_i);
	struct queue q = { 0 };
	size_t in = 0, out = 0;

	srand((unsigned)_i + 1);
	begin_tls(&s);
	shake();
	assert_shaken(name_of(_i));
	for (int i = 0; i < 400; i++) {
		size_t n = 1 + (size_t)rand() % (rand() % 8 == 0 ? 60000 : 300);
		lb.piece = 1 + (uint32_t)rand() % (rand() % 2 == 0 ? 40 : 20000);
		if (lb.piece < 40 && n > 3000)
			lb.piece = 4000;
		if (rand() % 2 == 0) {
			peer_write(in, n);
			peer_to_lb();
			expect_plain(in, n, name_of(_i));
			in += n;
		} else {
			push_plain(&q, out, n, 1 + (uint32_t)rand() % 5000);
			lb_write(&q);
			ck_assert_int_eq(peer_read(out, n, name_of(_i)), SSL_ERROR_WANT_READ);
			out += n;
		}
		if (s.suite->version == TLS1_3_VERSION && rand() % 10 == 0) {
			ck_assert_int_eq(SSL_key_update(peer.ssl, rand() % 2), 1);
			ck_assert_int_eq(SSL_do_handshake(peer.ssl), 1);
		}
	}
	end_tls();
}
END_TEST

/* ---- ends ------------------------------------------------------------------------------------ */

/* A close_notify ends one direction; what came before it in the same read is there. */
START_TEST(close_notify_ends_one_direction)
{
	struct setup s = setup_of(_i);
	struct queue q = { 0 };

	begin_tls(&s);
	shake();
	assert_shaken(name_of(_i));
	peer_write(0, 20);
	ck_assert_int_eq(SSL_shutdown(peer.ssl), 0);
	lb.piece = BUF_LARGE_BYTES;
	ck_assert(!tls_got_close(lb.t));
	peer_to_lb();
	ck_assert_int_eq(lb.v, TLS_END);
	ck_assert(tls_got_close(lb.t));
	expect_plain(0, 20, name_of(_i));
	/* What comes behind is ignored, and held by no buffer. */
	lb_hear((const uint8_t *)"behind", 6);
	ck_assert_int_eq(lb.v, TLS_END);
	ck_assert(queue_is_empty(&lb.t->raw) && queue_is_empty(&lb.plain));
	/* The other direction goes on. */
	push_plain(&q, 0, 5000, 4096);
	lb_write(&q);
	ck_assert_int_eq(peer_read(0, 5000, name_of(_i)), SSL_ERROR_WANT_READ);
	ck_assert_int_eq(tls_close(&lb.es, lb.t), TLS_MORE);
	ck_assert_int_eq(tls_close(&lb.es, lb.t), TLS_MORE);
	lb_to_peer();
	ck_assert_int_eq(peer_read(0, 0, name_of(_i)), SSL_ERROR_ZERO_RETURN);
	end_tls();
}
END_TEST

/* lb closes first, and reads on. */
START_TEST(our_close_notify_leaves_the_other_direction)
{
	struct setup s = setup_of(_i);

	begin_tls(&s);
	shake();
	assert_shaken(name_of(_i));
	ck_assert_int_eq(tls_close(&lb.es, lb.t), TLS_MORE);
	ck_assert(!tls_wants_seal(lb.t));
	lb_to_peer();
	ck_assert_int_eq(peer_read(0, 0, name_of(_i)), SSL_ERROR_ZERO_RETURN);
	peer_write(0, 30000);
	peer_to_lb();
	ck_assert_int_eq(lb.v, TLS_MORE);
	expect_plain(0, 30000, name_of(_i));
	ck_assert(!tls_got_close(lb.t)); /* a FIN now would be a truncation */
	end_tls();
}
END_TEST

/* What the peer gets when it has sent something that is wrong. */
static void expect_alert(const char *alert, const char *name)
{
	uint8_t byte;
	size_t n;

	ck_assert_int_eq(lb.t->state, TLS_IS_BROKEN);
	ck_assert(queue_is_empty(&lb.t->raw));
	lb_to_peer();
	ERR_clear_error();
	ck_assert_int_eq(SSL_get_error(peer.ssl, SSL_read_ex(peer.ssl, &byte, 1, &n)),
			 SSL_ERROR_SSL);
	ck_assert_msg(ERR_GET_REASON(ERR_peek_error()) >= SSL_AD_REASON_OFFSET, "%s", name);
	ck_assert_str_eq(
		tls_alert_name((uint8_t)(ERR_GET_REASON(ERR_peek_error()) - SSL_AD_REASON_OFFSET)),
		alert);
	ERR_clear_error();
}

/* Every bit of a record is guarded; what came before the record is there, and nothing of it is. */
START_TEST(tampering_is_found)
{
	struct setup s = setup_of(_i);
	uint8_t first[128], second[128];

	begin_tls(&s);
	lb.piece = BUF_LARGE_BYTES;
	for (size_t at = TLS_HEAD_BYTES;; at++) {
		char *p;

		shake();
		assert_shaken(name_of(_i));
		peer_write(0, 10);
		size_t n_first = (size_t)BIO_get_mem_data(peer.out, &p);
		memcpy(first, p, n_first);
		(void)BIO_reset(peer.out);
		peer_write(10, 10);
		size_t n = (size_t)BIO_get_mem_data(peer.out, &p);
		memcpy(second, p, n);
		(void)BIO_reset(peer.out);
		if (at == n)
			break;
		second[at] ^= (uint8_t)(1u << (at % 8));
		feed(first, n_first);
		feed(second, n);
		lb_turn();
		ck_assert_msg(lb.v == TLS_FAILED, "%s: byte %zu", name_of(_i), at);
		expect_plain(0, 10, name_of(_i));
		expect_alert("bad_record_mac", name_of(_i));
		if (s.layer == OPENSSL && at > TLS_HEAD_BYTES + 8)
			break; /* OpenSSL's own affair */
		conn_end();
		conn_begin(&s);
	}
	end_tls();
}
END_TEST

/* The peer's fatal alert is told apart from its mistakes. */
START_TEST(an_alert_is_a_reset)
{
	struct setup s = setup_of(_i);
	struct queue q = { 0 };

	begin_tls(&s);
	shake();
	assert_shaken(name_of(_i));
	/* A record that is wrong makes the peer send one. */
	push_plain(&q, 0, 10, 4096);
	ck_assert_int_eq(tls_seal(&lb.es, lb.t, &q), TLS_MORE);
	struct buf *b = lb.t->sealed.tail;
	b->data[b->off + b->len - 1] ^= 1;
	lb_to_peer();
	peer_read(0, 0, name_of(_i));
	ERR_clear_error();
	peer_to_lb();
	ck_assert_int_eq(lb.v, TLS_RESET);
	ck_assert_str_eq(tls_error(lb.t), "bad_record_mac");
	ck_assert(queue_is_empty(&lb.t->sealed)); /* no answer */
	end_tls();
}
END_TEST

/* ---- what TLS 1.2 and 1.3 say behind a handshake --------------------------------------------- */

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

/* A KeyUpdate in two records. */
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

/* ---- garbage --------------------------------------------------------------------------------- */

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
	tcase_add_loop_test(t, bytes_go_both_ways, 0, N_ALL);
	tcase_add_loop_test(t, ciphertext_may_come_byte_by_byte, 0, N_ALL);
	tcase_add_loop_test(t, ciphertext_may_be_cut_anywhere, 0, N_ALL);
	tcase_add_loop_test(t, bytes_glued_to_the_handshake_are_not_lost, 0, N_ALL);
	tcase_add_loop_test(t, random_traffic, 0, N_ALL);
	tcase_add_loop_test(t, close_notify_ends_one_direction, 0, N_ALL);
	tcase_add_loop_test(t, our_close_notify_leaves_the_other_direction, 0, N_ALL);
	tcase_add_loop_test(t, tampering_is_found, 0, N_ALL);
	tcase_add_loop_test(t, an_alert_is_a_reset, 0, N_ALL);
	tcase_add_loop_test(t, key_updates, 0, N_1_3);
	tcase_add_loop_test(t, many_requests_have_few_answers, 0, N_1_3);
	tcase_add_loop_test(t, too_many_key_updates, 0, N_1_3);
	tcase_add_loop_test(t, keys_are_renewed_in_time, 0, N_1_3);
	tcase_add_loop_test(t, tls_1_2_ends_at_its_limit, 0, 3);
	tcase_add_loop_test(t, renegotiation_is_refused, 0, 3 * N_LAYERS * 2);
	tcase_add_loop_test(t, garbage_instead_of_a_hello, 0, (int)ARRAY_SIZE(garbage));
	tcase_add_loop_test(t, garbage_later, 0, N_ALL);
	tcase_add_loop_test(t, headers_are_judged, 0, (int)ARRAY_SIZE(heads) * N_SUITES);
}

int main(void)
{
	return run_suite("net/tls", add_tests);
}
