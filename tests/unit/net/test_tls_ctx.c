/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: which files are refused and which are warned of, and what a handshake chooses. */
#include "net/tls_info.h"
#include "tls_fixture.h"

/* ---- files ----------------------------------------------------------------------------------- */

/* The files of a row, made from a CA, an intermediate and a leaf. */
struct files {
	struct tls_pem cert, key, ca, crl;
	struct tls_settings common;
};

static const struct made *root, *inter, *leaf;

static struct tls_pem text(const char *file, const char *t)
{
	return kept_text(file, strdup(t));
}

static struct tls_pem two(struct tls_pem a, struct tls_pem b)
{
	return joined("cert.pem", 2, (struct tls_pem[]){ a, b });
}

static struct tls_pem three(struct tls_pem a, struct tls_pem b, struct tls_pem c)
{
	return joined("cert.pem", 3, (struct tls_pem[]){ a, b, c });
}

static void good(struct files *f)
{
	f->cert = two(leaf->cert_pem, inter->cert_pem);
}

static void with_root(struct files *f)
{
	f->cert = three(leaf->cert_pem, inter->cert_pem, root->cert_pem);
}

static void key_in_one_file(struct files *f)
{
	f->cert = f->key = three(leaf->key_pem, leaf->cert_pem, inter->cert_pem);
}

static void empty_cert(struct files *f)
{
	f->cert = text("cert.pem", "");
}

static void text_cert(struct files *f)
{
	f->cert = text("cert.pem", "hello\nworld\n");
}

static void broken_cert(struct files *f)
{
	f->cert = two(leaf->cert_pem, text("x", "a comment\n-----BEGIN CERTIFICATE-----\nMIIB!!\n"
						"-----END CERTIFICATE-----\n"));
}

static void cut_cert(struct files *f)
{
	f->cert = leaf->cert_pem;
	f->cert.text.n -= 40;
}

static void empty_key(struct files *f)
{
	f->key = text("key.pem", "\n");
}

static void broken_key(struct files *f)
{
	f->key = text("key.pem",
		      "\n\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
}

static void encrypted_key(struct files *f)
{
	BIO *b = BIO_new(BIO_s_mem());
	PEM_write_bio_PKCS8PrivateKey(b, leaf->key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL);
	f->key = kept_text("key.pem", bio_text(b));
}

static void other_key(struct files *f)
{
	f->key = root->key_pem;
}

static void wrong_order(struct files *f)
{
	f->cert = three(root->cert_pem, inter->cert_pem, leaf->cert_pem);
}

static void stranger(struct files *f)
{
	f->cert = three(leaf->cert_pem, inter->cert_pem,
			make_cert((struct wish){ .cn = "stranger", .is_ca = true })->cert_pem);
}

static void use(struct files *f, struct wish w)
{
	w.cn = "a.test";
	w.by = w.by != NULL ? w.by : root;
	const struct made *m = make_cert(w);
	f->cert = m->cert_pem;
	f->key = m->key_pem;
}

static void alone(struct files *f)
{
	use(f, (struct wish){ .san = "DNS:a.test", .by = inter, .has_aia = true });
}

static void expired(struct files *f)
{
	use(f, (struct wish){ .san = "DNS:a.test", .from_days = -10, .to_days = -3 });
}

static void early(struct files *f)
{
	use(f, (struct wish){ .san = "DNS:a.test", .from_days = 3, .to_days = 10 });
}

static void bad_wildcard(struct files *f)
{
	use(f, (struct wish){ .san = "DNS:a.test,DNS:w*.a.test" });
}

static void no_names(struct files *f)
{
	use(f, (struct wish){ .san = "IP:127.0.0.1" });
}

static void ciphers(struct files *f)
{
	f->common.ciphers = "NO-SUCH-CIPHER";
}

static void suites_13(struct files *f)
{
	f->common.ciphersuites = "TLS_AES";
}

static void groups(struct files *f)
{
	f->common.groups = "X25519:P-257";
}

static void alpn_empty(struct files *f)
{
	static const char *const names[] = { "http/1.1", "" };

	f->common.alpn = names;
	f->common.n_alpn = 2;
}

static void ca_without(struct files *f)
{
	f->ca = text("ca.pem", "nothing");
}

static void crl_without(struct files *f)
{
	f->ca = root->cert_pem;
	f->crl = text("crl.pem", "nothing");
}

static void crl_broken(struct files *f)
{
	f->ca = root->cert_pem;
	f->crl = text("crl.pem", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
}

static void crl_old(struct files *f)
{
	f->ca = root->cert_pem;
	f->crl = make_crl(root, NULL, -1);
	f->crl.file = "crl.pem";
}

static void two_mistakes(struct files *f)
{
	empty_key(f);
	ca_without(f);
}

static const struct {
	void (*make)(struct files *f);
	bool is_refused;
	const char *want[2]; /* how the lines begin */
} files[] = {
	{ good, false, { NULL } },
	{ with_root, false, { NULL } },
	{ key_in_one_file, false, { NULL } },
	{ empty_cert, true, { "cert.pem: no certificate is in this file" } },
	{ text_cert, true, { "cert.pem: no certificate is in this file" } },
	{ broken_cert, true, { "cert.pem:" } },
	{ cut_cert, true, { "cert.pem:1:1: \"-----BEGIN CERTIFICATE-----\" has no" } },
	{ empty_key, true, { "key.pem: no private key is in this file" } },
	{ broken_key, true, { "key.pem:3:1: this private key cannot be read" } },
	{ encrypted_key, true, { "key.pem:1:1: this key is encrypted" } },
	{ other_key, true, { "cert.pem: the key of key.pem fits none" } },
	{ wrong_order, false, { "cert.pem: the certificates are not in their order" } },
	{ stranger,
	  false,
	  { "cert.pem: a certificate has issued none of the others and is not sent: "
	    "/CN=stranger" } },
	{ alone, false, { "cert.pem: the intermediate certificate is missing" } },
	{ expired, false, { "cert.pem: the certificate has expired 3 days ago" } },
	{ early, false, { "cert.pem: the certificate is not valid before 3 days from now" } },
	{ bad_wildcard, true, { "cert.pem: the certificate bears the name \"w*.a.test\"" } },
	{ no_names, false, { NULL } }, /* the first one: it is for clients without a name */
	{ ciphers,
	  true,
	  { "lb.yaml:7:3: ciphers: OpenSSL does not accept \"NO-SUCH-CIPHER\" (no cipher "
	    "match)" } },
	{ suites_13, true, { "lb.yaml:7:3: ciphersuites: OpenSSL does not accept \"TLS_AES\"" } },
	{ groups, true, { "lb.yaml:7:3: groups: OpenSSL does not accept \"X25519:P-257\"" } },
	{ alpn_empty, true, { "lb.yaml:7:3: alpn: \"\" has 0 bytes" } },
	{ ca_without, true, { "ca.pem: no certificate is in this file" } },
	{ crl_without, true, { "crl.pem: no revocation list is in this file" } },
	{ crl_broken, true, { "crl.pem:1:1: this revocation list cannot be read" } },
	{ crl_old, false, { "crl.pem:1:1: this revocation list is out of date" } },
	{ two_mistakes, true, { "key.pem: no private key", "ca.pem: no certificate" } },
};

static void chain_begin(void)
{
	root = lb.ca;
	inter = make_cert((struct wish){ .cn = "inter", .by = root, .is_ca = true });
	leaf = make_cert(
		(struct wish){ .cn = "a.test", .san = "DNS:a.test,DNS:*.a.test", .by = inter });
}

START_TEST(files_are_judged)
{
	struct files f = { .common = { .at = { .file = "lb.yaml", .line = 7, .col = 3 },
				       .now_s = time(NULL) } };
	struct err e = ERR_INIT;
	struct tls_ctx *c = NULL;
	char scratch[64];
	size_t n = 0;

	lb_begin();
	chain_begin();
	good(&f);
	f.key = leaf->key_pem;
	files[_i].make(&f);
	struct tls_cert_files cert = { .cert = f.cert, .key = f.key };
	struct tls_server_settings s = {
		.common = f.common,
		.certs = &cert,
		.n_certs = 1,
		.ca = f.ca,
		.crl = f.crl,
		.verify = f.ca.text.p != NULL ? TLS_VERIFY_REQUIRED : TLS_VERIFY_NONE,
	};
	int r = tls_ctx_new_server(lb.lib, &s, &e, &c);
	ck_assert_msg((r < 0) == files[_i].is_refused, "row %d: %s", _i, errors_of(&e));
	ck_assert_int_eq(e.n > 0, files[_i].is_refused);
	while (n < 2 && files[_i].want[n] != NULL)
		n++;
	ck_assert_msg(err_n_lines(&e) == n, "row %d: %s", _i, errors_of(&e));
	for (size_t i = 0; i < n; i++) {
		const char *line = err_line(&e, i, scratch, sizeof(scratch));
		ck_assert_msg(strncmp(line, files[_i].want[i], strlen(files[_i].want[i])) == 0,
			      "row %d: %s", _i, line);
	}
	tls_ctx_unref(c);
	err_deinit(&e);
	end_tls();
}
END_TEST

/* A backend's own mistakes are found by the same functions; here that they are asked. */
START_TEST(client_files_are_judged)
{
	struct tls_client_settings s = { .common.now_s = time(NULL) };
	struct err e = ERR_INIT;
	struct tls_ctx *c = NULL;
	char scratch[64];

	lb_begin();
	s.ca = text("ca.pem", "");
	s.own = (struct tls_cert_files){ .cert = lb.cert->cert_pem, .key = lb.ca->key_pem };
	ck_assert_int_lt(tls_ctx_new_client(lb.lib, &s, &e, &c), 0);
	ck_assert_uint_eq(e.n, 2);
	ck_assert_ptr_nonnull(strstr(err_line(&e, 0, scratch, sizeof(scratch)), "ca.pem: no cert"));
	ck_assert_ptr_nonnull(strstr(err_line(&e, 1, scratch, sizeof(scratch)), "fits none"));
	ck_assert_ptr_null(c);
	err_deinit(&e);
	end_tls();
}
END_TEST

/* The chain that a client gets, from files in whatever order. */
START_TEST(chains_are_sent_in_order)
{
	struct setup s = { .suite = &suites[SUITE_1_3] };
	struct err e = ERR_INIT;

	lb_begin();
	chain_begin();
	struct tls_cert_files cert = {
		.cert = _i == 0 ? two(leaf->cert_pem, inter->cert_pem)
				: two(inter->cert_pem, leaf->cert_pem),
		.key = leaf->key_pem,
	};
	struct tls_server_settings settings = { .common.now_s = time(NULL),
						.certs = &cert,
						.n_certs = 1 };
	ck_assert_int_eq(tls_ctx_new_server(lb.lib, &settings, &e, &s.ctx), 0);
	ck_assert_uint_eq(e.n_warnings, (size_t)_i);
	ck_assert_uint_eq(tls_ctx_n_certs(s.ctx), 1);
	int64_t left = tls_ctx_cert(s.ctx, 0)->not_after_s - time(NULL);
	ck_assert_int_le(left, 30 * DAY);
	ck_assert_int_ge(left, 30 * DAY - 60);
	ck_assert_str_eq(tls_ctx_cert(s.ctx, 0)->file, "cert.pem");
	conn_begin(&s);
	shake();
	assert_shaken("chain"); /* the peer knows the root only */
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(peer.ssl);
	ck_assert_int_eq(sk_X509_num(chain), 2);
	ck_assert_int_eq(X509_cmp(sk_X509_value(chain, 0), leaf->x), 0);
	ck_assert_int_eq(X509_cmp(sk_X509_value(chain, 1), inter->x), 0);
	tls_ctx_unref(s.ctx);
	err_deinit(&e);
	end_tls();
}
END_TEST

/* ---- names ----------------------------------------------------------------------------------- */

enum { DEFAULT, DEFAULT_RSA, WILD, WILD_RSA, EXACT, N_SERVED };

static const struct {
	const char *sni; /* NULL: none */
	bool is_strict, wants_rsa;
	int want; /* of the above; -1: unrecognized_name */
} choices[] = {
	{ "default.test", false, false, DEFAULT }, { "default.test", false, true, DEFAULT_RSA },
	{ "other.test", false, false, DEFAULT },   { "other.test", false, true, DEFAULT_RSA },
	{ "other.test", true, false, -1 },         { NULL, false, false, DEFAULT },
	{ NULL, false, true, DEFAULT_RSA },        { NULL, true, false, DEFAULT },
	{ "x.wild.test", false, false, WILD },     { "x.wild.test", true, true, WILD_RSA },
	{ "X.WILD.TEST", false, false, WILD },     { "x.y.wild.test", false, false, DEFAULT },
	{ "wild.test", true, false, -1 },          { "exact.wild.test", false, false, EXACT },
};

START_TEST(names_choose_certificates)
{
	struct setup s = { .suite = &suites[_i % 2 == 0 ? SUITE_1_3 : SUITE_1_2],
			   .name = choices[_i / 2].sni,
			   .no_name = choices[_i / 2].sni == NULL };
	const struct made *made[N_SERVED];
	struct tls_cert_files served[N_SERVED];
	struct err e = ERR_INIT;

	_i /= 2;
	lb_begin();
	static const char *const sans[N_SERVED] = { "DNS:default.test", "DNS:default.test",
						    "DNS:*.wild.test", "DNS:*.wild.test",
						    "DNS:exact.wild.test" };
	for (int i = 0; i < N_SERVED; i++) {
		made[i] = make_cert((struct wish){ .cn = "x",
						   .san = sans[i],
						   .by = lb.ca,
						   .is_rsa = i == DEFAULT_RSA || i == WILD_RSA });
		served[i] = (struct tls_cert_files){ made[i]->cert_pem, made[i]->key_pem };
	}
	struct tls_server_settings settings = { .common = { .now_s = time(NULL),
							    .is_compact = true },
						.certs = served,
						.n_certs = N_SERVED,
						.is_strict_sni = choices[_i].is_strict };
	ck_assert_msg(tls_ctx_new_server(lb.lib, &settings, &e, &s.ctx) == 0, "%s", errors_of(&e));
	ck_assert_msg(err_n_lines(&e) == 0, "%s", errors_of(&e));
	conn_begin(&s);
	if (choices[_i].wants_rsa) {
		SSL_set1_sigalgs_list(peer.ssl, "RSA-PSS+SHA256:RSA+SHA256");
		SSL_set_cipher_list(peer.ssl, "ECDHE-RSA-AES128-GCM-SHA256");
	}
	shake();
	if (choices[_i].want < 0) {
		ck_assert_int_eq(lb.v, TLS_FAILED);
		ck_assert_int_eq(peer.error, SSL_ERROR_SSL);
		ck_assert_int_eq(ERR_GET_REASON(ERR_peek_error()),
				 SSL_AD_REASON_OFFSET + SSL_AD_UNRECOGNIZED_NAME);
		ERR_clear_error();
	} else {
		assert_shaken(choices[_i].sni);
		ck_assert(tls_is_compact(lb.t)); /* each group's SSL_CTX is watched */
		ck_assert_msg(X509_cmp(SSL_get0_peer_certificate(peer.ssl),
				       made[choices[_i].want]->x) == 0,
			      "row %d", _i);
	}
	tls_ctx_unref(s.ctx);
	err_deinit(&e);
	end_tls();
}
END_TEST

/* Two certificates of one kind for one name: the first one answers, and a warning says so. */
START_TEST(the_first_of_a_name_answers)
{
	struct tls_cert_files served[2];
	struct err e = ERR_INIT;
	struct tls_ctx *c = NULL;
	char scratch[64];

	lb_begin();
	for (int i = 0; i < 2; i++) {
		const struct made *m =
			make_cert((struct wish){ .cn = "x", .san = "DNS:a.test", .by = lb.ca });
		served[i] = (struct tls_cert_files){ m->cert_pem, m->key_pem };
		served[i].cert.file = i == 0 ? "one.pem" : "two.pem";
	}
	struct tls_server_settings settings = { .common.now_s = time(NULL),
						.certs = served,
						.n_certs = 2 };
	ck_assert_int_eq(tls_ctx_new_server(lb.lib, &settings, &e, &c), 0);
	ck_assert_uint_eq(e.n_warnings, 1);
	ck_assert_str_eq(
		err_line(&e, 0, scratch, sizeof(scratch)),
		"two.pem: another certificate comes first for the name \"a.test\": one.pem");
	ck_assert(tls_ctx_has_name(c, SLICE("A.test")) && !tls_ctx_has_name(c, SLICE("b.test")));
	tls_ctx_unref(c);
	err_deinit(&e);
	end_tls();
}
END_TEST

/* ---- what else a handshake chooses ----------------------------------------------------------- */

static const struct {
	const char *name;
	const char *offer; /* as on the wire; NULL: no ALPN */
	bool has_alpn;     /* lb's context has http/1.1 and mqtt */
	const char *want;  /* NULL: no_application_protocol */
} alpns[] = {
	{ "no ALPN", NULL, true, "" },
	{ "the one", "\x08http/1.1", true, "http/1.1" },
	{ "lb's order decides", "\x04mqtt\x08http/1.1", true, "http/1.1" },
	{ "the other", "\x02h2\x04mqtt", true, "mqtt" },
	{ "none of them", "\x02h2", true, NULL },
	{ "lb has none", "\x02h2", false, "" },
};

START_TEST(alpn_is_chosen)
{
	static const char *const names[] = { "http/1.1", "mqtt" };
	struct setup s = { .suite = &suites[SUITE_1_3] };
	struct err e = ERR_INIT;

	lb_begin();
	struct tls_cert_files cert = { lb.cert->cert_pem, lb.cert->key_pem };
	struct tls_server_settings settings = { .common = { .now_s = time(NULL),
							    .alpn = names,
							    .n_alpn = alpns[_i].has_alpn ? 2 : 0 },
						.certs = &cert,
						.n_certs = 1 };
	ck_assert_int_eq(tls_ctx_new_server(lb.lib, &settings, &e, &s.ctx), 0);
	conn_begin(&s);
	const char *offer = alpns[_i].offer;
	if (offer != NULL)
		SSL_set_alpn_protos(peer.ssl, (const unsigned char *)offer,
				    (unsigned)strlen(offer));
	shake();
	if (alpns[_i].want == NULL) {
		ck_assert_int_eq(lb.v, TLS_FAILED);
		ck_assert_int_eq(ERR_GET_REASON(ERR_peek_error()),
				 SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL);
		ERR_clear_error();
	} else {
		const unsigned char *p;
		unsigned n;
		assert_shaken(alpns[_i].name);
		SSL_get0_alpn_selected(peer.ssl, &p, &n);
		ck_assert_msg(n == strlen(alpns[_i].want) &&
				      (n == 0 || memcmp(p, alpns[_i].want, n) == 0),
			      "%s", alpns[_i].name);
	}
	tls_ctx_unref(s.ctx);
	end_tls();
}
END_TEST

static const struct {
	uint16_t min, max, peer;
	bool is_good;
} versions[] = {
	{ 0, 0, TLS1_2_VERSION, true },
	{ 0, 0, TLS1_3_VERSION, true },
	{ TLS_VERSION_1_3, 0, TLS1_2_VERSION, false },
	{ TLS_VERSION_1_3, 0, TLS1_3_VERSION, true },
	{ 0, TLS_VERSION_1_2, TLS1_3_VERSION, false },
};

START_TEST(versions_are_kept)
{
	struct setup s = {
		.suite = &suites[versions[_i].peer == TLS1_3_VERSION ? SUITE_1_3 : SUITE_1_2]
	};
	struct err e = ERR_INIT;

	lb_begin();
	struct tls_cert_files cert = { lb.cert->cert_pem, lb.cert->key_pem };
	struct tls_server_settings settings = { .common = { .now_s = time(NULL),
							    .min_version = versions[_i].min,
							    .max_version = versions[_i].max },
						.certs = &cert,
						.n_certs = 1 };
	ck_assert_int_eq(tls_ctx_new_server(lb.lib, &settings, &e, &s.ctx), 0);
	conn_begin(&s);
	shake();
	ck_assert_int_eq(lb.v == TLS_FAILED, !versions[_i].is_good);
	if (!versions[_i].is_good)
		ck_assert_str_eq(tls_error(lb.t), "unsupported protocol");
	ERR_clear_error();
	tls_ctx_unref(s.ctx);
	end_tls();
}
END_TEST

/* What is known between the handshake and the records. */
START_TEST(a_handshake_tells)
{
	struct setup s = setup_of(_i);
	struct tls_info info;
	struct tls_peer who = { 0 };

	begin_tls(&s);
	do {
		if (!SSL_is_init_finished(peer.ssl))
			peer_turn();
		char *p;
		long n = BIO_get_mem_data(peer.out, &p);
		feed((uint8_t *)p, (size_t)n);
		(void)BIO_reset(peer.out);
		if (tls_wants_step(lb.t))
			lb.v = tls_step(&lb.es, lb.t);
		lb_to_peer();
	} while (lb.v == TLS_MORE);
	ck_assert_int_eq(lb.v, TLS_DONE);
	tls_info_get(lb.t, &info);
	ck_assert_str_eq(info.version, s.suite->version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2");
	ck_assert_int_eq(strncmp(info.cipher, "TLS_", 4), 0);
	ck_assert(slice_eq(info.server_name, SLICE("a.test")));
	ck_assert_uint_eq(info.alpn.n, 0);
	ck_assert(!info.is_resumed);
	ck_assert_int_eq(info.has_peer_cert, s.is_client);
	ck_assert_int_eq(tls_peer_get(lb.t, &who), s.is_client ? 0 : -ENOENT);
	if (s.is_client) {
		ck_assert_str_eq(who.subject, "CN=a.test");
		ck_assert_str_eq(who.issuer, "CN=test CA");
		ck_assert_str_eq(who.serial, "02");
		ck_assert_uint_eq(strlen(who.sha256), 64);
	}
	tls_peer_deinit(&who);
	tls_start(&lb.es, lb.t);
	end_tls();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, files_are_judged, 0, (int)ARRAY_SIZE(files));
	tcase_add_test(t, client_files_are_judged);
	tcase_add_loop_test(t, chains_are_sent_in_order, 0, 2);
	tcase_add_loop_test(t, names_choose_certificates, 0, 2 * (int)ARRAY_SIZE(choices));
	tcase_add_test(t, the_first_of_a_name_answers);
	tcase_add_loop_test(t, alpn_is_chosen, 0, (int)ARRAY_SIZE(alpns));
	tcase_add_loop_test(t, versions_are_kept, 0, (int)ARRAY_SIZE(versions));
	tcase_add_loop_test(t, a_handshake_tells, 0, N_ALL);
}

int main(void)
{
	return run_suite("net/tls_ctx", add_tests);
}
