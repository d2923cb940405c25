/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS where memory is refused: to lb, and to OpenSSL within lb's calls.
 *
 * Only lb's own blocks are counted, because OpenSSL keeps some for later; what is lost of OpenSSL's
 * is found under AddressSanitizer and valgrind.
 */
#include "../fault_nth.h"
#include "tls_fixture.h"

/* OpenSSL 3.0 loses blocks of its own where OSSL_LIB_CTX_new() or a fetch is refused memory (seen
 * without lb). Under LeakSanitizer these are spared. */
static bool spares_openssl;

#ifdef __SANITIZE_ADDRESS__
#define FINDS_LEAKS true
#else
#define FINDS_LEAKS false
#endif

static void *ssl_malloc(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return !spares_openssl && fault_refuses("OpenSSL's malloc", ENOMEM) ? NULL
									    : __real_malloc(n);
}

static void *ssl_realloc(void *old, size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return !spares_openssl && fault_refuses("OpenSSL's realloc", ENOMEM)
		       ? NULL
		       : __real_realloc(old, n);
}

static void ssl_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	__real_free(p);
}

START_TEST(libraries)
{
	struct tls_lib *l;

	spares_openssl = FINDS_LEAKS;
	FOR_EVERY_N((enum fault_manner)_i)
	{
		WITH_FAULT(l = tls_lib_new());
		ck_assert_uint_eq(ERR_peek_error(), 0);
		tls_lib_free(l);
	}
}
END_TEST

START_TEST(ends)
{
	struct tls_ends es;
	int r;

	lb_begin();
	FOR_EVERY_N((enum fault_manner)_i)
	{
		WITH_FAULT(r = tls_ends_init(&es, lb.lib, lb.pool, 10));
		ck_assert(r == 0 || r == -ENOMEM);
		tls_ends_deinit(&es);
	}
	end_tls();
}
END_TEST

/* What comes out is a context, or an error that is reported. */
START_TEST(contexts)
{
	static const char *const alpn[] = { "http/1.1" };
	struct tls_ctx *c;
	struct err e;
	int r;

	lb_begin();
	struct tls_pem crl = make_crl(lb.ca, lb.cert, 10);
	struct tls_cert_files files = { lb.cert->cert_pem, lb.cert->key_pem };
	struct tls_settings common = { .now_s = time(NULL), .alpn = alpn, .n_alpn = 1 };
	struct tls_server_settings server = { .common = common,
					      .certs = &files,
					      .n_certs = 1,
					      .ca = lb.ca->cert_pem,
					      .crl = crl,
					      .verify = TLS_VERIFY_REQUIRED };
	struct tls_client_settings client = { .common = common,
					      .ca = lb.ca->cert_pem,
					      .own = files };

	for (int is_client = 0; is_client < 2; is_client++) {
		FOR_EVERY_N((enum fault_manner)_i)
		{
			c = NULL;
			e = ERR_INIT;
			WITH_FAULT(r = is_client ? tls_ctx_new_client(lb.lib, &client, &e, &c)
						 : tls_ctx_new_server(lb.lib, &server, &e, &c));
			ck_assert_msg((r == 0) == (c != NULL), "refused at %u", fault.n);
			ck_assert_msg(r == 0 || e.n > 0, "refused at %u: no error", fault.n);
			ck_assert_uint_eq(ERR_peek_error(), 0);
			tls_ctx_unref(c);
			err_deinit(&e);
		}
	}
	end_tls();
}
END_TEST

START_TEST(tickets)
{
	struct tls_ticket_keys keys = { .n = 1 };
	struct tls_tickets *t;

	FOR_EVERY_N((enum fault_manner)_i)
	{
		WITH_FAULT(t = tls_tickets_new(&keys));
		tls_tickets_unref(t);
	}
}
END_TEST

/* A connection, each step of lb's with the n-th request refused: it ends in an error, or all bytes
 * are right. */
static void run(const struct setup *s)
{
	struct queue q = { 0 };
	size_t n;

	lb.v = TLS_MORE;
	WITH_FAULT(lb.t = s->is_client ? tls_new_client(&lb.es, lb.ctx, "a.test", NULL)
				       : tls_new_server(&lb.es, lb.ctx));
	if (lb.t == NULL)
		return;
	peer_open(s);
	do {
		if (!SSL_is_init_finished(peer.ssl) && peer.error != SSL_ERROR_SSL)
			peer_turn();
		if (lb.t->is_client)
			WITH_FAULT(lb_turn());
		char *p;
		n = (size_t)BIO_get_mem_data(peer.out, &p);
		feed((uint8_t *)p, n);
		(void)BIO_reset(peer.out);
		WITH_FAULT(lb_turn());
		n += lb_to_peer();
	} while (n > 0);
	if (lb.t->state == TLS_IS_OPENSSL || lb.t->state == TLS_IS_COMPACT) {
		ck_assert(SSL_is_init_finished(peer.ssl));
		if (SSL_write(peer.ssl, "hello", 5) == 5) {
			char *p;
			n = (size_t)BIO_get_mem_data(peer.out, &p);
			feed((uint8_t *)p, n);
			WITH_FAULT(lb_turn());
			if (lb.v == TLS_MORE)
				ck_assert_uint_eq(lb.plain.bytes, 5);
		}
		push_plain(&q, 0, 100, 4096);
		WITH_FAULT(lb.v = tls_seal(&lb.es, lb.t, &q));
		if (lb.v == TLS_MORE) {
			lb_to_peer();
			ck_assert_int_eq(peer_read(0, 100, "fault"), SSL_ERROR_WANT_READ);
			WITH_FAULT(lb.v = tls_close(&lb.es, lb.t));
		}
		queue_clear(&q, lb.pool);
	}
	queue_clear(&lb.plain, lb.pool);
	ERR_clear_error();
	SSL_free(peer.ssl);
	peer.ssl = NULL;
	lb.session = tls_session_free(lb.session);
	lb.t = tls_free(&lb.es, lb.t);
}

static const struct setup connections_of[] = {
	{ .suite = &suites[SUITE_1_3], .layer = COMPACT },
	{ .suite = &suites[SUITE_1_2], .layer = COMPACT },
	{ .suite = &suites[SUITE_1_3], .layer = OPENSSL },
	{ .suite = &suites[SUITE_1_3], .layer = COMPACT, .is_client = true },
};

START_TEST(connections)
{
	struct setup s = connections_of[_i];
	struct tls_ticket_keys keys = { .n = 1 };

	ck_assert_int_eq(tls_ticket_key_random(&keys.key[0]), 0);
	s.tickets = tls_tickets_new(&keys);
	begin_tls(&s);
	tls_free(&lb.es, lb.t);
	SSL_free(peer.ssl);
	peer.ssl = NULL;
	lb.t = NULL;
	FOR_EVERY_N(FAULT_ONE)
	run(&s);
	tls_tickets_unref(s.tickets);
	end_tls();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, libraries, 0, FAULT_N_MANNERS);
	tcase_add_loop_test(t, ends, 0, FAULT_N_MANNERS);
	tcase_add_loop_test(t, contexts, 0, 2);
	tcase_add_loop_test(t, tickets, 0, FAULT_N_MANNERS);
	tcase_add_loop_test(t, connections, 0, (int)ARRAY_SIZE(connections_of));
}

int main(void)
{
	if (CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free) != 1)
		return 1;
	return run_suite("net/fault_nth", add_tests);
}
