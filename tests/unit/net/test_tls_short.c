/* SPDX-License-Identifier: Apache-2.0 */
/* TLS ends when buffers are short: a call that finds none says so, and goes on when it is repeated.
 */
#include "tls_fixture.h"

static struct buf *taken[2048];
static int n_taken;
static int n_left; /* small buffers that a first try has */
static int n_short;

static void take_all(enum buf_class size_class)
{
	while (buf_is_available(lb.pool, size_class)) {
		ck_assert_int_lt(n_taken, (int)ARRAY_SIZE(taken));
		taken[n_taken++] = buf_get(lb.pool, size_class);
	}
}

static void starve(void)
{
	take_all(BUF_HEAD);
	take_all(BUF_LARGE);
	take_all(BUF_SMALL);
	for (int i = 0; i < n_left; i++)
		buf_put(lb.pool, taken[--n_taken]);
}

static void give_back(void)
{
	while (n_taken > 0)
		buf_put(lb.pool, taken[--n_taken]);
}

/* The verdict of a call that is tried with few buffers first, and then with many. */
#define TRY(call) \
	({ \
		starve(); \
		enum tls_verdict v_ = (call); \
		give_back(); \
		if (v_ == TLS_NO_BUFS) { \
			n_short++; \
			v_ = (call); \
		} \
		v_; \
	})

static void short_turn(void)
{
	if (lb.t->state == TLS_IS_HELLO || lb.t->state == TLS_IS_SHAKE) {
		while (tls_wants_step(lb.t) || lb.v == TLS_NO_BUFS)
			lb.v = TRY(tls_step(&lb.es, lb.t));
		if (lb.v != TLS_DONE)
			return;
		tls_start(&lb.es, lb.t);
	}
	lb.v = TRY(tls_open(&lb.es, lb.t, &lb.plain));
}

/* What the peer has written, in pieces of `piece` bytes. */
static size_t short_hear(uint32_t piece)
{
	char *p;
	long n = BIO_get_mem_data(peer.out, &p);
	uint8_t *copy = malloc((size_t)n + 1);

	if (n > 0)
		memcpy(copy, p, (size_t)n);
	(void)BIO_reset(peer.out);
	lb.piece = piece;
	for (long done = 0; done < n; done += piece) {
		feed(copy + done, n - done < (long)piece ? (size_t)(n - done) : piece);
		short_turn();
	}
	free(copy);
	return (size_t)n;
}

/* As many as each call can want: 0 to 3 small ones, and no other. */
#define N_LEFT 4

START_TEST(calls_go_on)
{
	struct setup s = setup_of(_i % N_ALL);
	const char *name = name_of(_i % N_ALL);
	struct queue q = { 0 };
	size_t n, in = 0, out = 0;

	n_left = _i / N_ALL;
	begin_tls(&s);
	do {
		if (!SSL_is_init_finished(peer.ssl))
			peer_turn();
		if (lb.t->is_client)
			short_turn();
		n = short_hear(BUF_SMALL_BYTES);
		n += lb_to_peer();
	} while (n > 0);
	assert_shaken(name);
	ck_assert_int_eq(s.is_client || tls_is_compact(lb.t) == (s.layer == COMPACT), 1);
	for (uint32_t piece = 1000; piece <= 100000; piece *= 10) {
		peer_write(in, 40000);
		short_hear(piece);
		expect_plain(in, 40000, name);
		in += 40000;
	}
	for (size_t size = 10; size <= 100000; size *= 100) {
		push_plain(&q, out, size, 4096);
		do {
			ck_assert_int_eq(TRY(tls_seal(&lb.es, lb.t, &q)), TLS_MORE);
			lb_to_peer();
		} while (q.bytes > 0);
		ck_assert_int_eq(peer_read(out, size, name), SSL_ERROR_WANT_READ);
		out += size;
	}
	if (s.suite->version == TLS1_3_VERSION) {
		SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED);
		SSL_do_handshake(peer.ssl);
		short_hear(100);
		ck_assert(tls_wants_seal(lb.t));
		ck_assert_int_eq(TRY(tls_seal(&lb.es, lb.t, &q)), TLS_MORE);
		ck_assert_uint_gt(lb_to_peer(), 0);
	}
	ck_assert_int_eq(TRY(tls_close(&lb.es, lb.t)), TLS_MORE);
	lb_to_peer();
	ck_assert_int_eq(peer_read(0, 0, name), SSL_ERROR_ZERO_RETURN);
	SSL_shutdown(peer.ssl);
	short_hear(100);
	ck_assert_int_eq(lb.v, TLS_END);
	ck_assert_int_gt(n_short, n_left < 2 ? 3 : 0);
	end_tls();
}
END_TEST

/* Neither layer holds more than what is not a whole record, whatever the pieces. */
START_TEST(held_bytes_are_bounded)
{
	struct setup s = setup_of(_i);

	begin_tls(&s);
	shake();
	assert_shaken(name_of(_i));
	size_t before = buf_bytes_used(lb.pool);
	for (size_t at = 0; at < 1000000; at += 20000) {
		peer_write(at, 20000);
		lb.piece = at % 40000 == 0 ? 512 : BUF_LARGE_BYTES;
		peer_to_lb();
		ck_assert_uint_lt(lb.t->raw.bytes, TLS_RECORD_MAX);
		expect_plain(at, 20000, name_of(_i));
	}
	ck_assert_uint_eq(buf_bytes_used(lb.pool), before);
	end_tls();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, calls_go_on, 0, N_ALL * N_LEFT);
	tcase_add_loop_test(t, held_bytes_are_bounded, 0, N_ALL);
}

int main(void)
{
	return run_suite("net/tls_short", add_tests);
}
