/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that OpenSSL would not send, forged with the peer's keys: what both record layers make of
 * them.
 *
 * The forger is written anew, on EVP alone, so that it is a second opinion of how a record is made.
 */
#include <openssl/core_names.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>

#include "tls_fixture.h"

/* ---- the forger ------------------------------------------------------------------------------ */

static struct {
	bool is_1_3;
	const EVP_CIPHER *aead;
	const EVP_MD *hash;
	int n_key;
	uint8_t secret[48], key[32], iv[12];
	bool has_explicit; /* TLS 1.2 with AES-GCM */
	uint64_t seq;
	bool wants_servers; /* the peer is the server */
} forger;

/* HKDF-Expand-Label, by HMAC: every output here has one block. */
static void expand_label(const char *label, uint8_t *out, size_t n)
{
	uint8_t info[64], block[EVP_MAX_MD_SIZE];
	size_t len = 0;
	unsigned n_block;
	int n_hash = EVP_MD_get_size(forger.hash);

	info[len++] = 0;
	info[len++] = (uint8_t)n;
	info[len++] = (uint8_t)(6 + strlen(label));
	memcpy(info + len, "tls13 ", 6);
	memcpy(info + len + 6, label, strlen(label));
	len += 6 + strlen(label);
	info[len++] = 0;
	info[len++] = 1;
	ck_assert_ptr_nonnull(HMAC(forger.hash, forger.secret, n_hash, info, len, block, &n_block));
	memcpy(out, block, n);
}

static void forger_next_keys(void)
{
	uint8_t next[48];

	expand_label("traffic upd", next, (size_t)EVP_MD_get_size(forger.hash));
	memcpy(forger.secret, next, sizeof(next));
	expand_label("key", forger.key, (size_t)forger.n_key);
	expand_label("iv", forger.iv, 12);
	forger.seq = 0;
}

static void on_peer_keylog(const SSL *ssl, const char *line)
{
	const char *label =
		forger.wants_servers ? "SERVER_TRAFFIC_SECRET_0" : "CLIENT_TRAFFIC_SECRET_0";

	(void)ssl;
	if (strncmp(line, label, strlen(label)) != 0)
		return;
	const char *p = strrchr(line, ' ') + 1;
	for (int i = 0; i < 48 && p[2 * i] != '\0' && p[2 * i + 1] != '\0'; i++) {
		unsigned byte;
		ck_assert_int_eq(sscanf(p + (ptrdiff_t)2 * i, "%2x", &byte), 1);
		forger.secret[i] = (uint8_t)byte;
	}
}

static void watch_peer(SSL_CTX *x)
{
	SSL_CTX_set_keylog_callback(x, on_peer_keylog);
	SSL_CTX_set_num_tickets(x, 0);
}

/* TLS 1.2: the key block, by OpenSSL's KDF. */
static void forger_block(void)
{
	uint8_t master[48], random[64], block[96];
	char hash[32];
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
	EVP_KDF_CTX *x = EVP_KDF_CTX_new(kdf);
	char seed[] = "key expansion";

	SSL_SESSION_get_master_key(SSL_get_session(peer.ssl), master, 48);
	SSL_get_server_random(peer.ssl, random, 32);
	SSL_get_client_random(peer.ssl, random + 32, 32);
	(void)snprintf(hash, sizeof(hash), "%s", EVP_MD_get0_name(forger.hash));
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string("digest", hash, 0),
		OSSL_PARAM_construct_octet_string("secret", master, 48),
		OSSL_PARAM_construct_octet_string("seed", seed, 13),
		OSSL_PARAM_construct_octet_string("seed", random, 64),
		OSSL_PARAM_construct_end(),
	};
	int n_iv = forger.has_explicit ? 4 : 12, side = forger.wants_servers;
	ck_assert_int_eq(EVP_KDF_derive(x, block, (size_t)(2 * (forger.n_key + n_iv)), params), 1);
	memcpy(forger.key, block + side * forger.n_key, (size_t)forger.n_key);
	memcpy(forger.iv, block + 2 * forger.n_key + side * n_iv, (size_t)n_iv);
	EVP_KDF_CTX_free(x);
	EVP_KDF_free(kdf);
	forger.seq = 1; /* behind the Finished */
}

/* To be called behind the handshake: the peer has sent nothing since. */
static void forger_begin(void)
{
	const char *cipher = SSL_get_cipher_name(peer.ssl);

	forger.is_1_3 = SSL_version(peer.ssl) == TLS1_3_VERSION;
	bool is_256 = strstr(cipher, "256_GCM") != NULL || strstr(cipher, "AES256") != NULL;
	bool is_chacha = strstr(cipher, "CHACHA") != NULL;
	forger.aead = is_chacha ? EVP_chacha20_poly1305()
		      : is_256  ? EVP_aes_256_gcm()
				: EVP_aes_128_gcm();
	forger.hash = is_256 ? EVP_sha384() : EVP_sha256();
	forger.n_key = EVP_CIPHER_get_key_length(forger.aead);
	forger.has_explicit = !forger.is_1_3 && !is_chacha;
	if (!forger.is_1_3) {
		forger_block();
		return;
	}
	expand_label("key", forger.key, (size_t)forger.n_key);
	expand_label("iv", forger.iv, 12);
	forger.seq = 0;
}

/* One record: `n` bytes, in TLS 1.3 with the type and `padding` zeros behind them. Feeds lb. */
static void forge(uint8_t type, const uint8_t *p, size_t n, size_t padding)
{
	static uint8_t out[20000], inner[20000];
	uint8_t nonce[12], aad[13];
	size_t n_inner = n, at = 5, n_aad = 5;
	int done;

	if (n > 0)
		memcpy(inner, p, n);
	if (forger.is_1_3) {
		inner[n_inner++] = type;
		memset(inner + n_inner, 0, padding);
		n_inner += padding;
		type = 23;
	}
	memcpy(nonce, forger.iv, 12);
	for (int i = 0; i < 8; i++) {
		uint8_t byte = (uint8_t)(forger.seq >> (56 - 8 * i));
		aad[i] = byte;
		nonce[4 + i] = forger.has_explicit ? byte ^ 0x55 : nonce[4 + i] ^ byte;
	}
	if (forger.has_explicit) {
		memcpy(out + at, nonce + 4, 8);
		at += 8;
	}
	size_t len = at - 5 + n_inner + 16;
	out[0] = type;
	out[1] = out[2] = 3;
	out[3] = (uint8_t)(len >> 8);
	out[4] = (uint8_t)len;
	if (forger.is_1_3) {
		memcpy(aad, out, 5);
	} else {
		n_aad = 13;
		aad[8] = type;
		aad[9] = aad[10] = 3;
		aad[11] = (uint8_t)(n_inner >> 8);
		aad[12] = (uint8_t)n_inner;
	}
	EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
	ck_assert_int_eq(EVP_EncryptInit_ex(x, forger.aead, NULL, forger.key, nonce), 1);
	ck_assert_int_eq(EVP_EncryptUpdate(x, NULL, &done, aad, (int)n_aad), 1);
	ck_assert_int_eq(EVP_EncryptUpdate(x, out + at, &done, inner, (int)n_inner), 1);
	ck_assert_int_eq(EVP_EncryptFinal_ex(x, out + at + n_inner, &done), 1);
	ck_assert_int_eq(EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_GET_TAG, 16, out + at + n_inner), 1);
	EVP_CIPHER_CTX_free(x);
	forger.seq++;
	feed(out, 5 + len);
}

/* ---- what is forged -------------------------------------------------------------------------- */

#define DATA 23
#define HS 22
#define ALERT 21

struct row {
	const char *name;
	struct {
		uint8_t type, n, bytes[8];
		uint8_t padding;
		uint8_t times; /* 0: once */
	} record[4];           /* up to one of type 0, or all */
	enum tls_verdict want;
	const char *error;   /* of TLS_FAILED and TLS_RESET, from the compact layer */
	const char *openssl; /* where OpenSSL answers by another alert than RFC or tls_compact.c */
	uint32_t n_content;
	bool is_for_client; /* lb is the client; else the server */
};

/* clang-format off */
static const struct row rows_1_3[] = {
	{ .name = "content", { { DATA, 3, .bytes = "abc" } }, TLS_MORE, .n_content = 3 },
	{ .name = "padding", { { DATA, 3, .bytes = "abc", .padding = 200 } }, TLS_MORE, .n_content = 3 },
	{ .name = "empty", { { DATA, .n = 0 } }, TLS_MORE },
	{ .name = "padding alone", { { DATA, 0, .bytes = "", .padding = 100 } }, TLS_MORE },
	{ .name = "32 empty ones", { { DATA, .times = 32 }, { DATA, 1, .bytes = "a" }, { DATA, .times = 32 } }, TLS_MORE, .n_content = 1 },
	{ .name = "33 empty ones", { { DATA, .times = 33 } }, TLS_FAILED, "too many records without content", "record too small" },
	{ .name = "zeros", { { 0, 0, .bytes = "", .padding = 5 }, { DATA, 1, .bytes = "a" } }, TLS_FAILED, "unexpected_message", "bad record type" },
	{ .name = "inner CCS", { { 20, 1, .bytes = { 1 } } }, TLS_FAILED, "unexpected_message", "bad record type" },
	{ .name = "inner 99", { { 99, 1, .bytes = { 1 } } }, TLS_FAILED, "unexpected_message", "bad record type" },
	{ .name = "close_notify", { { DATA, 2, .bytes = "ab" }, { ALERT, 2, .bytes = { 1, 0 } } }, TLS_END, .n_content = 2 },
	{ .name = "close_notify, level fatal", { { ALERT, 2, .bytes = { 2, 0 } } }, TLS_END },
	{ .name = "what is behind a close_notify", { { ALERT, 2, .bytes = { 1, 0 } }, { DATA, 1, .bytes = "a" } }, TLS_END },
	{ .name = "user_canceled", { { ALERT, 2, .bytes = { 1, 90 } }, { DATA, 1, .bytes = "a" } }, TLS_MORE, .n_content = 1 },
	{ .name = "user_canceled, close_notify", { { ALERT, 2, .bytes = { 1, 90 } }, { ALERT, 2, .bytes = { 1, 0 } } }, TLS_END },
	{ .name = "fatal alert", { { DATA, 1, .bytes = "a" }, { ALERT, 2, .bytes = { 2, 80 } } }, TLS_RESET, "internal_error", .n_content = 1 },
	{ .name = "its level does not matter", { { ALERT, 2, .bytes = { 1, 80 } } }, TLS_RESET, "internal_error" },
	{ .name = "alert of 1 byte", { { ALERT, 1, .bytes = { 1 } } }, TLS_FAILED, "decode_error", "invalid alert" },
	{ .name = "alert of 3 bytes", { { ALERT, 3, .bytes = { 1, 0, 0 } } }, TLS_FAILED, "decode_error", "invalid alert" },
	{ .name = "empty alert", { { ALERT, .n = 0 } }, TLS_FAILED, "decode_error", "bad length" },
	{ .name = "empty handshake", { { HS, .n = 0 } }, TLS_FAILED, "unexpected_message", "bad length" },
	{ .name = "KeyUpdate in pieces", { { HS, 2, .bytes = { 24, 0 } }, { HS, 1, .bytes = { 0 } }, { HS, 2, .bytes = { 1, 0 } } }, TLS_MORE },
	{ .name = "KeyUpdate of 2", { { HS, 5, .bytes = { 24, 0, 0, 1, 2 } } }, TLS_FAILED, "illegal_parameter", "bad key update" },
	{ .name = "longer KeyUpdate", { { HS, 6, .bytes = { 24, 0, 0, 2, 0, 0 } } }, TLS_FAILED, "decode_error" },
	{ .name = "two KeyUpdates in one", { { HS, 8, .bytes = { 24, 0, 0, 1, 0, 24, 0, 0 } } }, TLS_FAILED, "unexpected_message", "not on record boundary" },
	{ .name = "content within a message", { { HS, 2, .bytes = { 24, 0 } }, { DATA, 1, .bytes = "a" } }, TLS_FAILED, "unexpected_message" },
	{ .name = "ClientHello", { { HS, 5, .bytes = { 1, 0, 0, 1, 0 } } }, TLS_FAILED, "unexpected_message" },
	{ .name = "ticket to a server", { { HS, 5, .bytes = { 4, 0, 0, 1, 0 } } }, TLS_FAILED, "unexpected_message" },
	{ .name = "CertificateRequest", { { HS, 5, .bytes = { 13, 0, 0, 1, 0 } } }, TLS_FAILED, "unexpected_message", .is_for_client = true },
	{ .name = "content to a client", { { DATA, 3, .bytes = "abc" } }, TLS_MORE, .n_content = 3, .is_for_client = true },
	{ .name = "KeyUpdate to a client", { { HS, 5, .bytes = { 24, 0, 0, 1, 1 } } }, TLS_MORE, .is_for_client = true },
};

static const struct row rows_1_2[] = {
	{ .name = "content", { { DATA, 3, .bytes = "abc" } }, TLS_MORE, .n_content = 3 },
	{ .name = "content to a client", { { DATA, 3, .bytes = "abc" } }, TLS_MORE, .n_content = 3, .is_for_client = true },
	{ .name = "33 empty ones", { { DATA, .times = 33 } }, TLS_FAILED, "too many records without content", "record too small" },
	{ .name = "close_notify", { { DATA, 2, .bytes = "ab" }, { ALERT, 2, .bytes = { 1, 0 } } }, TLS_END, .n_content = 2 },
	{ .name = "a warning", { { ALERT, 2, .bytes = { 1, 110 } }, { DATA, 1, .bytes = "a" } }, TLS_MORE, .n_content = 1 },
	{ .name = "user_canceled", { { ALERT, 2, .bytes = { 1, 90 } }, { DATA, 1, .bytes = "a" } }, TLS_MORE, .n_content = 1 },
	{ .name = "fatal alert", { { ALERT, 2, .bytes = { 2, 80 } } }, TLS_RESET, "internal_error" },
	{ .name = "alert of 1 byte", { { ALERT, 1, .bytes = { 1 } } }, TLS_FAILED, "decode_error", "invalid alert" },
	{ .name = "CCS", { { 20, 1, .bytes = { 1 } } }, TLS_FAILED, "unexpected_message" },
	{ .name = "HelloRequest", { { HS, 4, .bytes = { 0, 0, 0, 0 } } }, TLS_FAILED, "renegotiation", .is_for_client = true },
};
/* clang-format on */

static void check_row(const struct row *r, int i_suite, enum layer layer)
{
	struct setup s = { .suite = &suites[i_suite],
			   .layer = layer,
			   .is_client = r->is_for_client,
			   .on_peer = watch_peer };

	forger.wants_servers = r->is_for_client;
	begin_tls(&s);
	shake();
	assert_shaken(r->name);
	forger_begin();
	for (int i = 0; i < 4 && (r->record[i].type != 0 || r->record[i].padding != 0); i++)
		for (int k = 0; k < (r->record[i].times == 0 ? 1 : r->record[i].times); k++)
			forge(r->record[i].type, r->record[i].bytes, r->record[i].n,
			      r->record[i].padding);
	lb_turn();
	ck_assert_msg(lb.v == r->want, "%s, %s, %s: verdict %d, not %d (%s)", s.suite->name,
		      layer == COMPACT ? "compact" : "openssl", r->name, (int)lb.v, (int)r->want,
		      lb.t->state == TLS_IS_BROKEN ? tls_error(lb.t) : "no error");
	ck_assert_msg(lb.plain.bytes == r->n_content, "%s: %u bytes", r->name, lb.plain.bytes);
	if (r->error != NULL && lb.layer == COMPACT && !s.is_client)
		ck_assert_str_eq(tls_error(lb.t), r->error);
	if (r->openssl != NULL && lb.layer == OPENSSL)
		ck_assert_msg(strcmp(tls_error(lb.t), r->openssl) == 0, "%s: %s", r->name,
			      tls_error(lb.t));
	/* A mistake is answered by an alert, a reset is not. */
	if (lb.v == TLS_RESET)
		ck_assert(queue_is_empty(&lb.t->sealed));
	if (lb.v == TLS_FAILED)
		ck_assert_msg(!queue_is_empty(&lb.t->sealed), "%s: no alert", r->name);
	end_tls();
}

START_TEST(forged_1_3)
{
	check_row(&rows_1_3[_i / 6], _i % 3, _i / 3 % 2);
}
END_TEST

START_TEST(forged_1_2)
{
	check_row(&rows_1_2[_i / 6], 3 + _i % 3, _i / 3 % 2);
}
END_TEST

/* Content of 16,385 bytes is one too many; padding may fill the rest. */
START_TEST(the_longest_record)
{
	static uint8_t bytes[TLS_CONTENT_MAX + 1];

	for (int extra = 0; extra < 3; extra++) {
		struct setup s = { .suite = &suites[_i % N_SUITES],
				   .layer = _i / N_SUITES,
				   .on_peer = watch_peer };
		bool is_1_3 = s.suite->version == TLS1_3_VERSION;

		if (extra == 2 && !is_1_3)
			break;
		begin_tls(&s);
		shake();
		assert_shaken(s.suite->name);
		forger_begin();
		forge(DATA, bytes, extra == 1 ? TLS_CONTENT_MAX + 1 : 16000, extra == 2 ? 384 : 0);
		lb_turn();
		if (extra != 1) {
			ck_assert_int_eq(lb.v, TLS_MORE);
			ck_assert_uint_eq(lb.plain.bytes, 16000);
		} else {
			ck_assert_int_eq(lb.v, TLS_FAILED);
			ck_assert_uint_eq(lb.plain.bytes, 0);
			if (s.layer == COMPACT)
				ck_assert_str_eq(tls_error(lb.t), "record_overflow");
		}
		end_tls();
	}
}
END_TEST

/* The keys change with the record behind a KeyUpdate, many times, and content goes on. */
START_TEST(forged_updates)
{
	static const uint8_t update[] = { 24, 0, 0, 1, 0 };
	struct setup s = { .suite = &suites[_i % 3], .layer = _i / 3, .on_peer = watch_peer };

	begin_tls(&s);
	shake();
	assert_shaken(s.suite->name);
	forger_begin();
	for (int i = 0; i < 100; i++) {
		uint8_t byte = byte_at((size_t)i);
		forge(HS, update, 1 + (size_t)i % 4, 0);
		forge(HS, update + 1 + i % 4, 4 - (size_t)i % 4, 0);
		forger_next_keys();
		forge(DATA, &byte, 1, 0);
	}
	lb_turn();
	expect_plain(0, 100, s.suite->name);
	end_tls();
}
END_TEST

/* A record is good once, and in its place: repeated, left out and swapped ones are not. */
START_TEST(records_are_good_in_their_order)
{
	for (int how = 0; how < 3; how++) {
		struct setup s = { .suite = &suites[_i % N_SUITES],
				   .layer = _i / N_SUITES,
				   .on_peer = watch_peer };

		begin_tls(&s);
		shake();
		assert_shaken(s.suite->name);
		forger_begin();
		forge(DATA, (const uint8_t *)"\x00", 1, 0);
		if (how == 0)
			forger.seq--; /* the same number again */
		else if (how == 1)
			forger.seq++; /* one was lost */
		else
			forger.seq = UINT64_MAX - 5;
		forge(DATA, (const uint8_t *)"b", 1, 0);
		lb_turn();
		ck_assert_int_eq(lb.v, TLS_FAILED);
		expect_plain(0, 1, s.suite->name);
		end_tls();
	}
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, forged_1_3, 0, 6 * (int)ARRAY_SIZE(rows_1_3));
	tcase_add_loop_test(t, forged_1_2, 0, 6 * (int)ARRAY_SIZE(rows_1_2));
	tcase_add_loop_test(t, the_longest_record, 0, N_SUITES * N_LAYERS);
	tcase_add_loop_test(t, forged_updates, 0, 3 * N_LAYERS);
	tcase_add_loop_test(t, records_are_good_in_their_order, 0, N_SUITES * N_LAYERS);
}

int main(void)
{
	return run_suite("net/tls_control", add_tests);
}
