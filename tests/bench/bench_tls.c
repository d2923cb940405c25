/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS ends under both record layers: ns of a record that is sealed by one end and opened by the
 * other, and the memory of idle ends.
 *
 * Memory is counted in two ways: bytes that malloc has given out and bytes of the slab, and pages
 * of the process that are resident. --idle N sets how many ends there are (2,000).
 */
#include "micro.h"

#include <malloc.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include "net/tls.h"
#include "net/tls_ctx.h"
#include "net/tls_lib.h"
#include "proto/tls_frame.h"
#include "util/slab.h"

struct pair {
	struct tls *server, *client;
};

static struct {
	struct tls_lib *lib;
	struct buf_pool *pool;
	struct tls_ends es;
	struct tls_ctx *server, *client;
	char *cert, *key;
	struct pair pair;
	struct queue plain; /* what is to be sealed */
	uint32_t n;         /* bytes of it */
} b;

/* A certificate of one's own, for a minute. */
static void make_cert(void)
{
	X509 *x = X509_new();
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());

	MICRO_CHECK(x != NULL && key != NULL && bio != NULL);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	MICRO_CHECK(X509_sign(x, key, EVP_sha256()) > 0);
	MICRO_CHECK(PEM_write_bio_X509(bio, x) == 1);
	char *p;
	long n = BIO_get_mem_data(bio, &p);
	b.cert = strndup(p, (size_t)n);
	(void)BIO_reset(bio);
	MICRO_CHECK(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
	n = BIO_get_mem_data(bio, &p);
	b.key = strndup(p, (size_t)n);
	BIO_free(bio);
	X509_free(x);
	EVP_PKEY_free(key);
}

static void make_contexts(bool is_compact, uint16_t version)
{
	struct tls_settings common = { .is_compact = is_compact,
				       .min_version = version,
				       .max_version = version,
				       .now_s = time(NULL) };
	struct tls_cert_files files = { { "cert", slice_of(b.cert) }, { "key", slice_of(b.key) } };
	struct tls_server_settings server = { .common = common, .certs = &files, .n_certs = 1 };
	struct tls_client_settings client = { .common = common, .is_unverified = true };
	struct err e = ERR_INIT;

	MICRO_CHECK(tls_ctx_new_server(b.lib, &server, &e, &b.server) == 0);
	MICRO_CHECK(tls_ctx_new_client(b.lib, &client, &e, &b.client) == 0);
	err_deinit(&e);
}

static void drop_contexts(void)
{
	b.server = tls_ctx_unref(b.server);
	b.client = tls_ctx_unref(b.client);
}

/* Everything that `from` has sealed goes to `to`. */
static void carry(struct tls *from, struct tls *to)
{
	struct buf *buf;

	while ((buf = queue_pop(&from->sealed)) != NULL)
		tls_feed(&b.es, to, buf);
}

static void step(struct tls *t, bool *is_done)
{
	if (*is_done || !tls_wants_step(t))
		return;
	enum tls_verdict v = tls_step(&b.es, t);
	MICRO_CHECK(v == TLS_MORE || v == TLS_DONE);
	if (v == TLS_DONE)
		tls_start(&b.es, t);
	*is_done = v == TLS_DONE;
}

static struct pair connect_pair(void)
{
	MICRO_CHECK(slab_reserve(b.es.slab, 2) == 0);
	MICRO_CHECK(tls_reserve(&b.es) == 0);
	struct pair p = { .server = tls_new_server(&b.es, b.server),
			  .client = tls_new_client(&b.es, b.client, NULL, NULL) };
	bool is_server_done = false, is_client_done = false;

	MICRO_CHECK(p.server != NULL && p.client != NULL);
	while (!is_server_done || !is_client_done) {
		step(p.client, &is_client_done);
		carry(p.client, p.server);
		step(p.server, &is_server_done);
		carry(p.server, p.client);
	}
	return p;
}

static void fill(uint32_t n)
{
	while (n > 0) {
		struct buf *buf = buf_get(b.pool, n > BUF_SMALL_BYTES ? BUF_LARGE : BUF_SMALL);
		MICRO_CHECK(buf != NULL);
		buf->len = n < buf->cap ? n : buf->cap;
		memset(buf->data, 0x55, buf->len);
		n -= buf->len;
		queue_push(&b.plain, b.pool, buf);
	}
}

/* The server's end opens what the client's end has sealed. */
static void seal_and_open(void *arg, unsigned n)
{
	(void)arg;
	for (unsigned i = 0; i < n; i++) {
		struct queue out = { 0 };
		fill(b.n);
		while (out.bytes < b.n) {
			MICRO_CHECK(tls_seal(&b.es, b.pair.client, &b.plain) == TLS_MORE);
			carry(b.pair.client, b.pair.server);
			MICRO_CHECK(tls_open(&b.es, b.pair.server, &out) == TLS_MORE);
		}
		queue_clear(&out, b.pool);
	}
}

/* A client goes over to lb's records when something has come. */
static void greet_client(void)
{
	struct queue out = { 0 };

	fill(1);
	MICRO_CHECK(tls_seal(&b.es, b.pair.server, &b.plain) == TLS_MORE);
	carry(b.pair.server, b.pair.client);
	MICRO_CHECK(tls_open(&b.es, b.pair.client, &out) == TLS_MORE && out.bytes == 1);
	queue_clear(&out, b.pool);
}

static size_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long all, resident = 0;

	MICRO_CHECK(f != NULL && fscanf(f, "%lu %lu", &all, &resident) == 2);
	(void)fclose(f);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t used_bytes(void)
{
	return mallinfo2().uordblks + mallinfo2().hblkhd;
}

/* `n` servers' ends, each of which has moved a message both ways and waits. */
static void measure_idle(const char *name, unsigned n)
{
	struct tls **idle = calloc(n, sizeof(struct tls *));
	struct pair warm = connect_pair();

	tls_free(&b.es, warm.server);
	tls_free(&b.es, warm.client);
	(void)malloc_trim(0);
	/* The slab's chunks may be malloc's or mapped: its bytes are counted apart. */
	size_t used = used_bytes(), resident = resident_bytes(), slab = slab_bytes(b.es.slab);
	for (unsigned i = 0; i < n; i++) {
		struct pair p = connect_pair();
		b.pair = p;
		greet_client();
		b.n = 100;
		seal_and_open(NULL, 1);
		tls_free(&b.es, p.client);
		idle[i] = p.server;
	}
	(void)malloc_trim(0);
	printf("%s: bytes of malloc for each idle end\t%.0f\n", name,
	       (double)(used_bytes() - used) / n);
	printf("%s: bytes of the slab for each\t%.0f\n", name,
	       (double)(slab_bytes(b.es.slab) - slab) / n);
	printf("%s: bytes of resident memory for each\t%.0f\n", name,
	       (double)(resident_bytes() - resident) / n);
	for (unsigned i = 0; i < n; i++)
		tls_free(&b.es, idle[i]);
	free(idle);
	slab_trim(b.es.slab);
	(void)malloc_trim(0);
}

static void measure_records(const char *name, int argc, char **argv)
{
	static const struct {
		uint32_t n;
		const char *text;
	} sizes[] = {
		{ 64, "64 B" }, { 4000, "4,000 B" }, { 16384, "16 KiB" }, { 131072, "128 KiB" }
	};
	char row[128];

	b.pair = connect_pair();
	greet_client();
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		b.n = sizes[i].n;
		(void)snprintf(row, sizeof(row), "%s: %s sealed and opened", name, sizes[i].text);
		micro_run(row, seal_and_open, NULL, 100, argc, argv);
	}
	tls_free(&b.es, b.pair.server);
	tls_free(&b.es, b.pair.client);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		bool is_compact;
		uint16_t version;
	} rows[] = {
		{ "compact, 1.3", true, TLS_VERSION_1_3 },
		{ "openssl, 1.3", false, TLS_VERSION_1_3 },
		{ "compact, 1.2", true, TLS_VERSION_1_2 },
		{ "openssl, 1.2", false, TLS_VERSION_1_2 },
	};
	unsigned n_idle = 2000;

	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "--idle") == 0)
			n_idle = (unsigned)strtoul(argv[i + 1], NULL, 10);
	b.lib = tls_lib_new();
	b.pool = buf_pool_new(16u << 20);
	MICRO_CHECK(b.lib != NULL && b.pool != NULL);
	MICRO_CHECK(tls_ends_init(&b.es, b.lib, b.pool, n_idle + 8) == 0);
	MICRO_CHECK(buf_reserve(b.pool, BUF_SMALL, 64) == 0);
	MICRO_CHECK(buf_reserve(b.pool, BUF_LARGE, 8) == 0);
	make_cert();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		make_contexts(rows[i].is_compact, rows[i].version);
		measure_records(rows[i].name, argc, argv);
		measure_idle(rows[i].name, n_idle);
		drop_contexts();
	}
	tls_ends_deinit(&b.es);
	buf_pool_free(b.pool);
	tls_lib_free(b.lib);
	free(b.cert);
	free(b.key);
	return 0;
}
