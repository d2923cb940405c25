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
}

int main(void)
{
	return run_suite("net/tls", add_tests);
}
