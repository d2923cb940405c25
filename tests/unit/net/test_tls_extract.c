/* SPDX-License-Identifier: Apache-2.0 */
/* Taking keys out of an SSL object: when it is done, when it is not, and the check before it. */
#include "net/tls_check.h"
#include "net/tls_export.h"
#include "tls_fixture.h"

START_TEST(this_machine_is_fine)
{
	struct err e = ERR_INIT;

	lb_begin();
	ck_assert_msg(tls_check_compact(lb.lib, &e) == 0, "%s", errors_of(&e));
	ck_assert_uint_eq(err_n_lines(&e), 0);
	end_tls();
}
END_TEST

/* lb's end up to TLS_DONE, before tls_start(). */
static void shake_until_done(void)
{
	do {
		if (!SSL_is_init_finished(peer.ssl))
			peer_turn();
		char *p;
		long n = BIO_get_mem_data(peer.out, &p);
		feed((uint8_t *)p, (size_t)n);
		(void)BIO_reset(peer.out);
		if (tls_wants_step(lb.t))
			lb.v = tls_step(&lb.es, lb.t);
		if (lb.v == TLS_MORE)
			lb_to_peer();
	} while (lb.v == TLS_MORE);
	ck_assert_int_eq(lb.v, TLS_DONE);
}

enum spoil { SPOIL_COUNT, SPOIL_SECRET, SPOIL_RECORD, N_SPOILS };

/* When the keys do not open what OpenSSL has just sealed, the end stays with its SSL object, and
 * the connection goes on. */
START_TEST(wrong_keys_are_noticed)
{
	struct setup s = { .suite = &suites[_i % N_SUITES], .layer = COMPACT };
	bool is_1_3 = s.suite->version == TLS1_3_VERSION;
	struct tls_ticket_keys keys = { .n = 1 };
	struct queue q = { 0 };

	ck_assert_int_eq(tls_ticket_key_random(&keys.key[0]), 0);
	s.tickets = tls_tickets_new(&keys); /* so that TLS 1.3 seals a record, too */
	begin_tls(&s);
	shake_until_done();
	struct tls_watch *w = &lb.t->shake->watch;
	switch ((enum spoil)(_i / N_SUITES)) {
	case SPOIL_COUNT: w->n_tx++; break;
	case SPOIL_SECRET:
		if (is_1_3)
			w->tx.bytes[7] ^= 1;
		else
			w->n_tx += 5;
		break;
	case SPOIL_RECORD: /* as if something were read that is not counted */
		if (is_1_3)
			w->n_rx++;
		else
			w->saw_renegotiation = true;
		break;
	case N_SPOILS: break;
	}
	tls_start(&lb.es, lb.t);
	ck_assert(!tls_is_compact(lb.t));
	ck_assert_uint_eq(lb.es.counts.n_kept, 1);
	ck_assert_uint_eq(lb.es.counts.n_compact, 0);
	w->saw_renegotiation = false;
	lb_to_peer();
	push_plain(&q, 0, 100, 4096);
	lb_write(&q);
	ck_assert_int_eq(peer_read(0, 100, s.suite->name), SSL_ERROR_WANT_READ);
	tls_tickets_unref(s.tickets);
	end_tls();
}
END_TEST

static void with_cbc(SSL_CTX *x)
{
	SSL_CTX_set_cipher_list(x, "ECDHE-ECDSA-AES128-SHA256");
}

/* A suite that lb does not know, by the operator's own list. */
START_TEST(other_suites_stay)
{
	struct setup s = { .suite = &suites[SUITE_1_2], .layer = COMPACT, .on_peer = with_cbc };
	struct err e = ERR_INIT;
	struct queue q = { 0 };

	lb_begin();
	struct tls_cert_files files = { lb.cert->cert_pem, lb.cert->key_pem };
	struct tls_server_settings settings = {
		.common = { .is_compact = true,
			    .ciphers = "ECDHE-ECDSA-AES128-SHA256",
			    .now_s = time(NULL) },
		.certs = &files,
		.n_certs = 1,
	};
	ck_assert_int_eq(tls_ctx_new_server(lb.lib, &settings, &e, &s.ctx), 0);
	conn_begin(&s);
	shake();
	assert_shaken("CBC");
	ck_assert(!tls_is_compact(lb.t));
	ck_assert_uint_eq(lb.es.counts.n_kept, 1);
	push_plain(&q, 0, 100, 4096);
	lb_write(&q);
	ck_assert_int_eq(peer_read(0, 100, "CBC"), SSL_ERROR_WANT_READ);
	tls_ctx_unref(s.ctx);
	end_tls();
}
END_TEST

static void no_tickets(SSL_CTX *x)
{
	SSL_CTX_set_num_tickets(x, 0);
}

/* A backend that has changed its key before lb's end could leave its SSL object; one whose record
 * has come in part. */
START_TEST(clients_wait_for_their_moment)
{
	struct setup s = {
		.suite = &suites[_i % 3], .layer = COMPACT, .is_client = true, .on_peer = no_tickets
	};
	bool has_update = _i / 3;
	struct queue q = { 0 };
	uint8_t wire[4096];
	char *p;

	begin_tls(&s);
	shake();
	assert_shaken(s.suite->name);
	ck_assert(!tls_is_compact(lb.t));
	if (has_update) {
		SSL_key_update(peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		SSL_do_handshake(peer.ssl);
	}
	peer_write(0, 200);
	size_t n = (size_t)BIO_get_mem_data(peer.out, &p);
	memcpy(wire, p, n);
	(void)BIO_reset(peer.out);
	for (size_t cut = 1; cut <= n; cut += 50) { /* in the header, in the record */
		feed(wire + cut - 1, cut + 49 < n ? 50 : n - cut + 1);
		lb_turn();
		push_plain(&q, cut, 1, 4096);
		lb_write(&q);
		ck_assert_int_eq(peer_read(cut, 1, s.suite->name), SSL_ERROR_WANT_READ);
	}
	lb_turn();
	expect_plain(0, 200, s.suite->name);
	ck_assert_int_eq(tls_is_compact(lb.t), !has_update);
	ck_assert_uint_eq(lb.es.counts.n_kept, has_update);
	ck_assert_uint_eq(lb.es.counts.n_compact, !has_update);
	peer_write(200, 200);
	peer_to_lb();
	expect_plain(200, 200, s.suite->name);
	end_tls();
}
END_TEST

/* TLS 1.2 with AES-GCM: no explicit nonce is used twice, OpenSSL's own included. */
START_TEST(explicit_nonces_go_on)
{
	struct setup s = { .suite = &suites[SUITE_1_2 + _i], .layer = COMPACT };
	struct queue q = { 0 };
	uint64_t last = 0;

	begin_tls(&s);
	shake_until_done();
	for (int i = 0; i < 8; i++)
		last = last << 8 | lb.t->shake->bio.last[5 + i];
	tls_start(&lb.es, lb.t);
	ck_assert(tls_is_compact(lb.t));
	lb_to_peer();
	for (int k = 0; k < 300; k++) {
		uint64_t nonce = 0;
		push_plain(&q, (size_t)k, 1, 4096);
		ck_assert_int_eq(tls_seal(&lb.es, lb.t, &q), TLS_MORE);
		const struct buf *b = queue_head(&lb.t->sealed);
		for (int i = 0; i < 8; i++)
			nonce = nonce << 8 | b->data[b->off + 5 + (uint32_t)i];
		ck_assert_uint_eq(nonce, last + 1);
		last = nonce;
		lb_to_peer();
		ck_assert_int_eq(peer_read((size_t)k, 1, s.suite->name), SSL_ERROR_WANT_READ);
	}
	end_tls();
}
END_TEST

/* Nothing of a freed end is left: neither keys nor content. */
START_TEST(keys_are_wiped)
{
	struct setup s = { .suite = &suites[_i], .layer = COMPACT };
	struct tls copy;
	static const struct tls zero;

	begin_tls(&s);
	shake();
	assert_shaken(s.suite->name);
	ck_assert(tls_is_compact(lb.t));
	copy = *lb.t;
	ck_assert_mem_ne(copy.tx.key, zero.tx.key, 16);
	/* A broken end has no keys any more. */
	static const uint8_t record[TLS_HEAD_BYTES + 32] = { 23, 3, 3, 0, 32 };
	lb_hear(record, sizeof(record));
	ck_assert_int_eq(lb.v, TLS_FAILED);
	const uint8_t *p = (const uint8_t *)lb.t;
	for (size_t i = 0; i + 16 <= sizeof(copy); i++) {
		ck_assert_mem_ne(p + i, copy.tx.key, 16);
		ck_assert_mem_ne(p + i, copy.rx.key, 16);
	}
	end_tls();
}
END_TEST

/* An end is handed over in the middle of records, of both directions, and of a KeyUpdate; again and
 * again. The other process is another set of ends here. */
START_TEST(ends_are_handed_over)
{
	struct setup s = { .suite = &suites[_i], .layer = COMPACT };
	bool is_1_3 = s.suite->version == TLS1_3_VERSION;
	struct tls_ends other;
	struct tls_export flat;
	struct queue q = { 0 };
	struct buf *b;

	begin_tls(&s);
	ck_assert_int_eq(tls_ends_init(&other, lb.lib, lb.pool, 4), 0);
	ck_assert_int_eq(slab_reserve(other.slab, 4), 0);
	shake();
	assert_shaken(s.suite->name);
	for (size_t k = 0; k < 100; k++) {
		char *p;
		uint8_t wire[8192];

		if (is_1_3 && k % 5 == 0) {
			SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED);
			SSL_do_handshake(peer.ssl);
		}
		peer_write(k * 1000, 1000);
		size_t n = (size_t)BIO_get_mem_data(peer.out, &p), cut = 1 + k * 13 % (n - 1);
		memcpy(wire, p, n);
		(void)BIO_reset(peer.out);
		feed(wire, cut);
		lb.v = tls_open(&lb.es, lb.t, &lb.plain);
		ck_assert_int_eq(lb.v, TLS_MORE);
		push_plain(&q, k * 1000, 1000, 4096);
		ck_assert_int_eq(tls_seal(&lb.es, lb.t, &q), TLS_MORE);

		tls_export(lb.t, &flat);
		struct tls *there = tls_import(&other, &flat);
		ck_assert_ptr_nonnull(there);
		while ((b = queue_pop(&lb.t->raw)) != NULL)
			tls_feed(&other, there, b);
		while ((b = queue_pop(&lb.t->sealed)) != NULL)
			queue_push(&there->sealed, lb.pool, b);
		lb.t = tls_free(&lb.es, lb.t);
		lb.t = there;
		struct tls_ends swap = lb.es;
		lb.es = other;
		other = swap;

		feed(wire + cut, n - cut);
		ck_assert_int_eq(tls_open(&lb.es, lb.t, &lb.plain), TLS_MORE);
		expect_plain(k * 1000, 1000, s.suite->name);
		lb_to_peer();
		ck_assert_int_eq(peer_read(k * 1000, 1000, s.suite->name), SSL_ERROR_WANT_READ);
	}
	/* 100 times is an even number: the ends are where they were. */
	tls_ends_deinit(&other);
	end_tls();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, ends_are_handed_over, 0, N_SUITES);
	tcase_add_test(t, this_machine_is_fine);
	tcase_add_loop_test(t, wrong_keys_are_noticed, 0, N_SPOILS * N_SUITES);
	tcase_add_test(t, other_suites_stay);
	tcase_add_loop_test(t, clients_wait_for_their_moment, 0, 6);
	tcase_add_loop_test(t, explicit_nonces_go_on, 0, 2);
	tcase_add_loop_test(t, keys_are_wiped, 0, N_SUITES);
}

int main(void)
{
	return run_suite("net/tls_extract", add_tests);
}
