/* SPDX-License-Identifier: Apache-2.0 */
/* Whose certificate is good: of clients, with a CA and revocation lists, and of backends. */
#include "net/tls_info.h"
#include "tls_fixture.h"

/* ---- clients --------------------------------------------------------------------------------- */

enum shown { NOTHING, GOOD, REVOKED, EXPIRED, STRANGER, BY_INTER, N_SHOWN };

/* The certificates that clients show. */
static const struct made *shown[N_SHOWN];
static const struct made *inter;

static void clients_begin(void)
{
	inter = make_cert((struct wish){ .cn = "inter", .by = lb.ca, .is_ca = true });
	shown[GOOD] = make_cert((struct wish){ .cn = "good", .by = lb.ca });
	shown[REVOKED] = make_cert((struct wish){ .cn = "revoked", .by = lb.ca });
	shown[EXPIRED] = make_cert(
		(struct wish){ .cn = "expired", .by = lb.ca, .from_days = -9, .to_days = -2 });
	const struct made *other = make_cert((struct wish){ .cn = "other CA", .is_ca = true });
	shown[STRANGER] = make_cert((struct wish){ .cn = "stranger", .by = other });
	shown[BY_INTER] = make_cert((struct wish){ .cn = "by inter", .by = inter });
}

enum crl { NO_CRL, CRL, CRL_OF_INTER, OLD_CRL };

static struct tls_pem crl_of(enum crl kind)
{
	switch (kind) {
	case NO_CRL: return (struct tls_pem){ 0 };
	case CRL: return make_crl(lb.ca, shown[REVOKED], 10);
	case CRL_OF_INTER: return make_crl(inter, NULL, 10);
	case OLD_CRL: return make_crl(lb.ca, NULL, -1);
	}
	return (struct tls_pem){ 0 };
}

static struct tls_ctx *verifying(enum tls_verify verify, struct tls_pem crl,
				 struct tls_tickets *tickets, enum layer layer)
{
	struct tls_cert_files cert = { lb.cert->cert_pem, lb.cert->key_pem };
	struct tls_server_settings s = {
		.common = { .now_s = time(NULL), .is_compact = layer == COMPACT },
		.certs = &cert,
		.n_certs = 1,
		.verify = verify,
		.ca = lb.ca->cert_pem,
		.crl = crl,
		.tickets = tickets,
		.id = "one",
	};
	struct tls_ctx *c = NULL;
	struct err e = ERR_INIT;

	ck_assert_msg(tls_ctx_new_server(lb.lib, &s, &e, &c) == 0, "%s", errors_of(&e));
	err_deinit(&e);
	return c;
}

static void show(enum shown what)
{
	if (what == NOTHING)
		return;
	ck_assert_int_eq(SSL_use_certificate(peer.ssl, shown[what]->x), 1);
	ck_assert_int_eq(SSL_use_PrivateKey(peer.ssl, shown[what]->key), 1);
	if (what == BY_INTER)
		SSL_add1_chain_cert(peer.ssl, inter->x);
}

static const struct {
	enum tls_verify verify;
	enum crl crl;
	enum shown shown;
	const char *why; /* NULL: it is let in */
} clients[] = {
	{ TLS_VERIFY_NONE, NO_CRL, NOTHING, NULL },
	{ TLS_VERIFY_NONE, NO_CRL, STRANGER, NULL }, /* it is not asked */
	{ TLS_VERIFY_OPTIONAL, NO_CRL, NOTHING, NULL },
	{ TLS_VERIFY_OPTIONAL, NO_CRL, GOOD, NULL },
	{ TLS_VERIFY_OPTIONAL, NO_CRL, STRANGER, "unable to get local issuer certificate" },
	{ TLS_VERIFY_OPTIONAL, NO_CRL, EXPIRED, "certificate has expired" },
	{ TLS_VERIFY_REQUIRED, NO_CRL, NOTHING, "peer did not return a certificate" },
	{ TLS_VERIFY_REQUIRED, NO_CRL, GOOD, NULL },
	{ TLS_VERIFY_REQUIRED, NO_CRL, BY_INTER, NULL },
	{ TLS_VERIFY_REQUIRED, NO_CRL, REVOKED, NULL }, /* nothing says that it is */
	{ TLS_VERIFY_REQUIRED, CRL, GOOD, NULL },
	{ TLS_VERIFY_REQUIRED, CRL, REVOKED, "certificate revoked" },
	{ TLS_VERIFY_OPTIONAL, CRL, REVOKED, "certificate revoked" },
	{ TLS_VERIFY_REQUIRED, CRL, BY_INTER, "unable to get certificate CRL" },
	{ TLS_VERIFY_REQUIRED, CRL_OF_INTER, BY_INTER, NULL }, /* none of the root's is needed */
	{ TLS_VERIFY_REQUIRED, CRL_OF_INTER, GOOD, "unable to get certificate CRL" },
	{ TLS_VERIFY_REQUIRED, OLD_CRL, GOOD, "CRL has expired" },
};
#define N_CLIENTS ((int)ARRAY_SIZE(clients))

/* In both versions and under both record layers. */
START_TEST(clients_certificates)
{
	struct setup s = { .suite = &suites[_i / N_CLIENTS % 2 == 0 ? SUITE_1_3 : SUITE_1_2],
			   .layer = _i / N_CLIENTS / 2 };

	_i %= N_CLIENTS;
	lb_begin();
	clients_begin();
	s.ctx = verifying(clients[_i].verify, crl_of(clients[_i].crl), NULL, s.layer);
	conn_begin(&s);
	show(clients[_i].shown);
	shake();
	if (clients[_i].why == NULL) {
		assert_shaken("row");
		peer_write(0, 10);
		peer_to_lb();
		expect_plain(0, 10, "row");
		ck_assert_int_eq(tls_is_compact(lb.t), s.layer == COMPACT);
	} else {
		ck_assert_msg(lb.v == TLS_FAILED, "row %d", _i);
		ck_assert_str_eq(tls_error(lb.t), clients[_i].why);
		/* The client hears why. */
		uint8_t byte;
		size_t n;
		ck_assert_int_ne(SSL_read_ex(peer.ssl, &byte, 1, &n), 1);
		ck_assert_int_ge(ERR_GET_REASON(ERR_peek_error()), SSL_AD_REASON_OFFSET);
		ERR_clear_error();
	}
	tls_ctx_unref(s.ctx);
	end_tls();
}
END_TEST

/* A client is revoked, and the files are read again: its old ticket gets it a full handshake, which
 * fails. The same client under the same files resumes, and is known. */
START_TEST(a_revoked_client_does_not_resume)
{
	struct setup s = { .suite = &suites[_i % 2 == 0 ? SUITE_1_3 : SUITE_1_2], .layer = _i / 2 };
	struct tls_ticket_keys keys = { .n = 1 };
	struct tls_info info;

	ck_assert_int_eq(tls_ticket_key_random(&keys.key[0]), 0);
	s.tickets = tls_tickets_new(&keys);
	lb_begin();
	clients_begin();
	struct tls_pem before = make_crl(lb.ca, NULL, 10);
	for (int round = 0; round < 3; round++) {
		s.ctx = verifying(TLS_VERIFY_REQUIRED, round < 2 ? before : crl_of(CRL), s.tickets,
				  s.layer);
		s.peer_session = peer.session != NULL ? SSL_SESSION_dup(peer.session) : NULL;
		conn_begin(&s);
		show(REVOKED);
		/* Steps by hand, to look at what is known. */
		do {
			if (!SSL_is_init_finished(peer.ssl) && peer.error != SSL_ERROR_SSL)
				peer_turn();
			char *p;
			long n = BIO_get_mem_data(peer.out, &p);
			feed((uint8_t *)p, (size_t)n);
			(void)BIO_reset(peer.out);
			lb.v = tls_step(&lb.es, lb.t);
			lb_to_peer();
		} while (lb.v == TLS_MORE);
		if (round < 2) {
			ck_assert_int_eq(lb.v, TLS_DONE);
			tls_info_get(lb.t, &info);
			ck_assert_int_eq(info.is_resumed, round == 1);
			ck_assert(info.has_peer_cert);
			tls_start(&lb.es, lb.t);
			ck_assert_int_eq(peer_read(0, 0, "ticket"), SSL_ERROR_WANT_READ);
			ck_assert_ptr_nonnull(peer.session);
		} else {
			ck_assert_int_eq(lb.v, TLS_FAILED);
			ck_assert_str_eq(tls_error(lb.t), "certificate revoked");
		}
		ERR_clear_error();
		SSL_SESSION_free(s.peer_session);
		tls_ctx_unref(s.ctx);
		conn_end();
	}
	tls_tickets_unref(s.tickets);
	end_tls();
}
END_TEST

/* A ticket of a listener without clients' certificates is no way around one that wants them. */
START_TEST(a_ticket_is_good_for_its_listener)
{
	struct setup s = { .suite = &suites[_i % 2 == 0 ? SUITE_1_3 : SUITE_1_2], .layer = _i / 2 };
	struct tls_ticket_keys keys = { .n = 1 };

	ck_assert_int_eq(tls_ticket_key_random(&keys.key[0]), 0);
	s.tickets = tls_tickets_new(&keys);
	lb_begin();
	clients_begin();
	conn_begin(&s);
	shake();
	ck_assert_int_eq(peer_read(0, 0, "ticket"), SSL_ERROR_WANT_READ);
	conn_end();
	ck_assert_ptr_nonnull(peer.session);
	s.peer_session = SSL_SESSION_dup(peer.session);
	s.ctx = verifying(TLS_VERIFY_REQUIRED, (struct tls_pem){ 0 }, s.tickets, s.layer);
	conn_begin(&s);
	shake();
	ck_assert_int_eq(lb.v, TLS_FAILED);
	ck_assert_str_eq(tls_error(lb.t), "peer did not return a certificate");
	ERR_clear_error();
	SSL_SESSION_free(s.peer_session);
	tls_ctx_unref(s.ctx);
	tls_tickets_unref(s.tickets);
	end_tls();
}
END_TEST

/* ---- backends -------------------------------------------------------------------------------- */

static const struct {
	const char *name; /* that lb asks for */
	const char *san;  /* of the backend's certificate */
	int by;           /* 0: the CA; 1: another one; 2: itself */
	int to_days;
	const char *why;      /* NULL: good */
	const char *want_sni; /* NULL: none */
} backends[] = {
	{ "a.test", "DNS:a.test", 0, 30, NULL, "a.test" },
	{ "A.TEST", "DNS:a.test", 0, 30, NULL, "A.TEST" },
	{ "b.a.test", "DNS:*.a.test", 0, 30, NULL, "b.a.test" },
	{ "b.a.test", "DNS:*b.a.test", 0, 30, "hostname mismatch", "b.a.test" },
	{ "c.b.a.test", "DNS:*.a.test", 0, 30, "hostname mismatch", "c.b.a.test" },
	{ "b.test", "DNS:a.test", 0, 30, "hostname mismatch", "b.test" },
	{ "127.0.0.1", "IP:127.0.0.1", 0, 30, NULL, NULL },
	{ "::1", "IP:0:0:0:0:0:0:0:1", 0, 30, NULL, NULL },
	{ "127.0.0.1", "IP:127.0.0.2", 0, 30, "IP address mismatch", NULL },
	{ "127.0.0.1", "DNS:127.0.0.1", 0, 30, "IP address mismatch", NULL },
	{ "a.test", "DNS:a.test", 1, 30, "unable to get local issuer certificate", "a.test" },
	{ "a.test", "DNS:a.test", 2, 30, "self-signed certificate", "a.test" },
	{ "a.test", "DNS:a.test", 0, -1, "certificate has expired", "a.test" },
};
#define N_BACKENDS ((int)ARRAY_SIZE(backends))

START_TEST(backends_certificates)
{
	struct setup s = { .suite = &suites[_i / N_BACKENDS % 2 == 0 ? SUITE_1_3 : SUITE_1_2],
			   .layer = _i / N_BACKENDS / 2,
			   .is_client = true };

	_i %= N_BACKENDS;
	lb_begin();
	const struct made *other = make_cert((struct wish){ .cn = "other CA", .is_ca = true });
	lb.cert = make_cert((struct wish){ .cn = "x",
					   .san = backends[_i].san,
					   .by = backends[_i].by == 0   ? lb.ca
						 : backends[_i].by == 1 ? other
									: NULL,
					   .from_days = -5,
					   .to_days = backends[_i].to_days });
	s.name = backends[_i].name;
	conn_begin(&s);
	shake();
	if (backends[_i].why == NULL) {
		assert_shaken(s.name);
	} else {
		ck_assert_msg(lb.v == TLS_FAILED, "row %d", _i);
		ck_assert_str_eq(tls_error(lb.t), backends[_i].why);
		ERR_clear_error();
	}
	const char *sni = SSL_get_servername(peer.ssl, TLSEXT_NAMETYPE_host_name);
	if (backends[_i].want_sni == NULL)
		ck_assert_ptr_null(sni);
	else if (backends[_i].why == NULL)
		ck_assert_str_eq(sni, backends[_i].want_sni);
	end_tls();
}
END_TEST

/* Without verification whatever the backend shows is good, with a name and without. */
START_TEST(unverified_backends)
{
	struct setup s = { .suite = &suites[SUITE_1_3], .is_client = true };
	struct tls_client_settings settings = { .is_unverified = true, .common.now_s = time(NULL) };
	struct err e = ERR_INIT;

	lb_begin();
	lb.cert = make_cert((struct wish){ .cn = "itself", .from_days = -5, .to_days = -2 });
	ck_assert_int_eq(tls_ctx_new_client(lb.lib, &settings, &e, &s.ctx), 0);
	conn_begin(&s);
	shake();
	assert_shaken("named");
	conn_end();
	conn_begin(&s);
	tls_free(&lb.es, lb.t);
	lb.t = tls_new_client(&lb.es, lb.ctx, NULL, NULL);
	shake();
	assert_shaken("without a name");
	ck_assert_ptr_null(SSL_get_servername(peer.ssl, TLSEXT_NAMETYPE_host_name));
	tls_ctx_unref(s.ctx);
	end_tls();
}
END_TEST

static void ask_for_certificate(SSL_CTX *x)
{
	X509_STORE_add_cert(SSL_CTX_get_cert_store(x), lb.ca->x);
	SSL_CTX_set_verify(x, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

/* lb shows its own certificate to a backend that asks. */
START_TEST(own_certificate)
{
	struct setup s = { .suite = &suites[_i % N_SUITES],
			   .layer = _i / N_SUITES % N_LAYERS,
			   .is_client = true,
			   .on_peer = ask_for_certificate };
	struct tls_client_settings settings = { .common = { .now_s = time(NULL),
							    .is_compact = s.layer == COMPACT } };
	bool has_own = _i / N_SUITES / N_LAYERS;
	struct err e = ERR_INIT;

	lb_begin();
	const struct made *own = make_cert((struct wish){ .cn = "lb", .by = lb.ca });
	settings.ca = lb.ca->cert_pem;
	if (has_own)
		settings.own = (struct tls_cert_files){ own->cert_pem, own->key_pem };
	ck_assert_int_eq(tls_ctx_new_client(lb.lib, &settings, &e, &s.ctx), 0);
	conn_begin(&s);
	shake();
	if (has_own) {
		assert_shaken(s.suite->name);
		ck_assert_int_eq(X509_cmp(SSL_get0_peer_certificate(peer.ssl), own->x), 0);
	} else {
		/* In TLS 1.3 the client's part is over before it hears of it. */
		ck_assert_int_eq(lb.v, TLS_RESET);
		ck_assert_str_eq(tls_error(lb.t), s.suite->version == TLS1_3_VERSION
							  ? "certificate_required"
							  : "handshake_failure");
		ERR_clear_error();
	}
	tls_ctx_unref(s.ctx);
	end_tls();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, clients_certificates, 0, 4 * N_CLIENTS);
	tcase_add_loop_test(t, a_revoked_client_does_not_resume, 0, 4);
	tcase_add_loop_test(t, a_ticket_is_good_for_its_listener, 0, 4);
	tcase_add_loop_test(t, backends_certificates, 0, 4 * N_BACKENDS);
	tcase_add_test(t, unverified_backends);
	tcase_add_loop_test(t, own_certificate, 0, 2 * N_SUITES * N_LAYERS);
}

int main(void)
{
	return run_suite("net/tls_verify", add_tests);
}
