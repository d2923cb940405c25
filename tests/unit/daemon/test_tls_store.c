/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a configuration become contexts, or mistakes with their places. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../net/tls_certs.h"
#include "../suite.h"

#include "balance/pool.h"
#include "conf/conf.h"
#include "daemon/tls_store.h"
#include "net/tls_check.h"
#include "net/tls_ctx.h"
#include "net/tls_lib.h"
#include "net/tls_ticket.h"
#include "proxy/names.h"
#include "proxy/snapshot.h"
#include "util/log.h"

#define N_WORKERS 3

static char dir[] = "/tmp/test_tls_store.XXXXXX";
static struct names *names;
static struct tls_store store;
static const struct log silent = { .sink = NULL };

/* ---- a folder of files ----------------------------------------------------------------------- */

static const char *path_of(const char *name)
{
	static char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void write_file(const char *name, struct slice text)
{
	FILE *f = fopen(path_of(name), "we");

	ck_assert_msg(f != NULL, "%s: %s", name, strerror(errno));
	ck_assert_uint_eq(fwrite(text.p, 1, text.n, f), text.n);
	ck_assert_int_eq(fclose(f), 0);
}

static void write_pair(const char *cert, const char *key, const struct made *m)
{
	write_file(cert, m->cert_pem.text);
	write_file(key, m->key_pem.text);
}

static void make_files(void)
{
	const struct made *ca = make_cert((struct wish){ .cn = "ca", .is_ca = true });

	write_pair("a.pem", "a.key",
		   make_cert((struct wish){ .cn = "a", .san = "DNS:a.test,DNS:*.b.test" }));
	write_pair("c.pem", "c.key", make_cert((struct wish){ .cn = "c.test" }));
	write_pair("old.pem", "old.key",
		   make_cert((struct wish){ .cn = "old.test", .from_days = -30, .to_days = -3 }));
	write_pair("star.pem", "star.key",
		   make_cert((struct wish){ .cn = "x", .san = "DNS:a.*.test" }));
	write_pair("ca.pem", "ca.key", ca);
	write_file("crl.pem", make_crl(ca, NULL, 5).text);
	write_file("garbage.pem", SLICE("\n-----BEGIN CERTIFICATE-----\nAAAA\n"
					"-----END CERTIFICATE-----\n"));
	write_file("empty.pem", SLICE(""));
	write_file("tickets", SLICE("# two keys would do\n"
				    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZG"
				    "VmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"));
	write_file("open", SLICE("x\n"));
	ck_assert_int_eq(chmod(path_of("tickets"), 0640), 0);
	ck_assert_int_eq(chmod(path_of("open"), 0644), 0);
}

/* A configuration whose listener `l` has `tls` as written. */
static struct conf *conf_with(const char *tls)
{
	struct err e = ERR_INIT;
	struct conf *conf = NULL;
	char text[1024];
	int n = snprintf(text, sizeof(text),
			 "listeners:\n"
			 "  - {name: plain, bind: '127.0.0.1:81', pool: p}\n"
			 "  - {name: l, bind: '127.0.0.1:82', pool: p%s%s}\n"
			 "pools: [{name: p, backends: ['127.0.0.1:1']}]\n",
			 *tls != '\0' ? ", tls: " : "", tls);

	write_file("lb.yaml", (struct slice){ .p = text, .n = (size_t)n });
	int r = conf_load(path_of("lb.yaml"), &e, &conf);
	ck_assert_msg(r == 0, "%s", e.n_kept > 0 ? e.item[0].text : "");
	err_deinit(&e);
	return conf;
}

static uint64_t now_ns(void)
{
	return (uint64_t)time(NULL) * 1000000000u;
}

/* The snapshot of a configuration, without its contexts. */
static struct snapshot *snapshot_with(const char *tls)
{
	struct conf *conf = conf_with(tls);
	struct pool *pool = pool_new(&conf->pools[0], 0);
	struct snapshot *p = snapshot_new(conf, &pool, names);

	ck_assert_ptr_nonnull(p);
	pool_unref(pool);
	conf_unref(conf);
	return p;
}

static void setup(void)
{
	(void)strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	make_files();
	ck_assert_ptr_nonnull(names = names_new());
	tls_store_init(&store, N_WORKERS);
}

static void teardown(void)
{
	char command[300];

	tls_store_deinit(&store);
	names_free(names);
	certs_end();
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
}

/* ---- what is good ---------------------------------------------------------------------------- */

#define TWO "{certificates: [{cert: a.pem, key: a.key}, {cert: c.pem, key: c.key}]}"

START_TEST(each_worker_has_a_context)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct snapshot *p = snapshot_with(TWO);

	ck_assert_int_eq(tls_store_fill(&store, p, now_ns(), &e), 0);
	ck_assert_uint_eq(err_n_lines(&e), 0);
	for (uint32_t w = 0; w < N_WORKERS; w++) {
		const struct tls_ctx *c = snapshot_tls(p, 1, w);
		ck_assert_ptr_null(snapshot_tls(p, 0, w));
		ck_assert_ptr_nonnull(c);
		ck_assert_ptr_nonnull(snapshot_tls_lib(p, w));
		for (uint32_t v = 0; v < w; v++) {
			ck_assert_ptr_ne(c, snapshot_tls(p, 1, v));
			ck_assert_ptr_ne(snapshot_tls_lib(p, w), snapshot_tls_lib(p, v));
		}
		ck_assert(tls_ctx_has_name(c, SLICE("x.b.test")));
		ck_assert(tls_ctx_has_name(c, SLICE("c.test")));
		ck_assert(!tls_ctx_has_name(c, SLICE("d.test")));
	}
	snapshot_unref(p);
}
END_TEST

START_TEST(the_snapshot_tells_of_its_certificates)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct snapshot *p = snapshot_with(TWO);

	ck_assert_int_eq(tls_store_fill(&store, p, now_ns(), &e), 0);
	const struct snapshot_listener *l = &p->listeners[1];
	ck_assert_uint_eq(p->listeners[0].n_certs, 0);
	ck_assert_uint_eq(l->n_certs, 2);
	ck_assert_str_eq(l->certs[0].file, path_of("a.pem"));
	ck_assert_uint_eq(l->certs[0].n_names, 2);
	ck_assert_str_eq(l->certs[0].names[0], "a.test");
	ck_assert_str_eq(l->certs[0].names[1], "*.b.test");
	ck_assert_uint_eq(l->certs[1].n_names, 1);
	ck_assert_str_eq(l->certs[1].names[0], "c.test");
	ck_assert_int_lt(l->certs[0].not_before_s, (int64_t)time(NULL));
	ck_assert_int_gt(l->certs[0].not_after_s, (int64_t)time(NULL) + 29 * DAY);
	snapshot_unref(p);
}
END_TEST

START_TEST(without_tls_nothing_is_made)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct snapshot *p = snapshot_with("");

	ck_assert_int_eq(tls_store_fill(&store, p, now_ns(), &e), 0);
	ck_assert_ptr_null(snapshot_tls(p, 1, 0));
	ck_assert_ptr_null(snapshot_tls_lib(p, 0));
	snapshot_unref(p);
}
END_TEST

/* A reload gets contexts from the same library contexts: a worker keeps what it has made of them.
 */
START_TEST(libraries_outlive_a_snapshot)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct snapshot *p = snapshot_with(TWO);

	ck_assert_int_eq(tls_store_fill(&store, p, now_ns(), &e), 0);
	const struct tls_lib *lib = snapshot_tls_lib(p, 1);
	snapshot_unref(p);
	p = snapshot_with(TWO);
	ck_assert_int_eq(tls_store_fill(&store, p, now_ns(), &e), 0);
	ck_assert_ptr_eq(snapshot_tls_lib(p, 1), lib);
	snapshot_unref(p);
}
END_TEST

/* ---- what is not ----------------------------------------------------------------------------- */

#define A "{cert: a.pem, key: a.key}"

static const struct {
	const char *tls;
	const char *want[3]; /* the end of each line, from "lb.yaml" on; DIR is the folder */
	bool is_warning;     /* all of them are, and the context is made */
} rows[] = {
	{ "{certificates: [{cert: nope.pem, key: a.key}]}",
	  { "lb.yaml:3:74: DIR/nope.pem: No such file or directory; a path that does not begin "
	    "with / starts at the folder of the configuration" },
	  false },
	{ "{certificates: [{cert: a.pem, key: /}]}",
	  { "lb.yaml:3:86: /: it cannot be read: Is a directory" },
	  false },
	{ "{certificates: [{cert: /dev/null, key: a.key}]}",
	  { "lb.yaml:3:74: /dev/null: it is no regular file" },
	  false },
	{ "{certificates: [{cert: garbage.pem, key: a.key}]}",
	  { "lb.yaml:3:74: DIR/garbage.pem:2:1: this certificate cannot be read (" },
	  false },
	{ "{certificates: [{cert: empty.pem, key: a.key}]}",
	  { "lb.yaml:3:74: DIR/empty.pem: no certificate is in this file" },
	  false },
	{ "{certificates: [{cert: a.pem, key: a.pem}]}",
	  { "lb.yaml:3:74: DIR/a.pem: no private key is in this file" },
	  false },
	{ "{certificates: [{cert: a.pem, key: c.key}]}",
	  { "lb.yaml:3:74: DIR/a.pem: the key of DIR/c.key fits none of the certificates" },
	  false },
	{ "{certificates: [{cert: star.pem, key: star.key}]}",
	  { "lb.yaml:3:74: DIR/star.pem: the certificate bears the name \"a.*.test\", which is "
	    "no" },
	  false },
	{ "{certificates: [" A ", {cert: nope.pem, key: no.key}, {cert: c.key, key: c.key}]}",
	  { "lb.yaml:3:101: DIR/nope.pem: No such file", "lb.yaml:3:116: DIR/no.key: No such file",
	    "lb.yaml:3:132: DIR/c.key: no certificate is in this file" },
	  false },
	{ "{certificates: [" A "], groups: X25519:P-0}",
	  { "lb.yaml:3:103: groups: OpenSSL does not accept \"X25519:P-0\" (" },
	  false },
	{ "{certificates: [" A "], ciphersuites: TLS_NONE}",
	  { "lb.yaml:3:109: ciphersuites: OpenSSL does not accept \"TLS_NONE\" (" },
	  false },
	{ "{certificates: [" A "], ciphers: NONE}",
	  { "lb.yaml:3:104: ciphers: OpenSSL does not accept \"NONE\" (" },
	  false },
	{ "{certificates: [" A "], client: {ca: no.pem}}",
	  { "lb.yaml:3:108: DIR/no.pem: No such file" },
	  false },
	{ "{certificates: [" A "], client: {ca: ca.key}}",
	  { "lb.yaml:3:108: DIR/ca.key: no certificate is in this file" },
	  false },
	{ "{certificates: [" A "], client: {ca: ca.pem, crl: c.pem}}",
	  { "lb.yaml:3:121: DIR/c.pem: no revocation list is in this file" },
	  false },
	{ "{certificates: [" A "], tickets: {file: empty.pem}}",
	  { "lb.yaml:3:111: DIR/empty.pem: other users may use this file of secrets (mode 0644): "
	    "\"chmod o= DIR/empty.pem\"" },
	  false },
	{ "{certificates: [" A "], tickets: {file: open}}",
	  { "lb.yaml:3:111: DIR/open: other users may use this file of secrets (mode 0644): "
	    "\"chmod o= DIR/open\"" },
	  false },
	{ "{certificates: [{cert: old.pem, key: old.key}]}",
	  { "lb.yaml:3:74: DIR/old.pem: the certificate has expired 3 days ago" },
	  true },
	{ "{certificates: [" A ", {cert: old.pem, key: old.key}]}",
	  { "lb.yaml:3:101: DIR/old.pem: the certificate has expired 3 days ago" },
	  true },
	{ "{certificates: [" A "], client: {ca: ca.pem, crl: crl.pem}, tickets: {file: tickets}}",
	  { NULL },
	  true },
};

/* Replaces DIR in what is wanted. */
static char *with_dir(const char *text)
{
	char *out = calloc(1, 1024), *p = out;

	for (; *text != '\0'; text++) {
		if (strncmp(text, "DIR", 3) == 0) {
			p = stpcpy(p, dir);
			text += 2;
		} else {
			*p++ = *text;
		}
	}
	return out;
}

/* Both of a reload and of a check. */
static void says(const struct err *e, int i)
{
	size_t n = 0;

	while (n < 3 && rows[i].want[n] != NULL)
		n++;
	ck_assert_msg(err_n_lines(e) == n, "%s: %zu lines, the first: %s", rows[i].tls,
		      err_n_lines(e), e->n_kept > 0 ? e->item[0].text : "");
	for (size_t k = 0; k < n; k++) {
		char *want = with_dir(rows[i].want[k]);
		const char *got = strstr(e->item[k].text, "lb.yaml");
		ck_assert_msg(got != NULL && strncmp(got, want, strlen(want)) == 0,
			      "wanted: %s\ngot: %s", want, e->item[k].text);
		ck_assert(e->item[k].is_warning == rows[i].is_warning);
		free(want);
	}
}

START_TEST(a_mistake_has_its_place)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT, again = ERR_INIT;
	struct snapshot *p = snapshot_with(rows[_i].tls);
	int r = tls_store_fill(&store, p, now_ns(), &e);

	err_sort(&e);
	ck_assert_int_eq(r, rows[_i].is_warning ? 0 : -EINVAL);
	ck_assert(rows[_i].is_warning == (snapshot_tls(p, 1, 0) != NULL));
	says(&e, _i);
	tls_store_check(p->conf, now_ns(), &again);
	err_sort(&again);
	says(&again, _i);
	snapshot_unref(p);
}
END_TEST

/* What the engine finds of `records: compact` is told at its key, unless openssl is asked for. */
START_TEST(compact_is_tried_first)
{
	_cleanup_(err_deinit) struct err found = ERR_INIT, e = ERR_INIT;
	struct tls_lib *lib = tls_lib_new();
	struct snapshot *p = snapshot_with("{certificates: [" A "], records: compact}");
	int can = tls_check_compact(lib, &found);

	ck_assert_ptr_null(tls_lib_free(lib));
	ck_assert_int_eq(tls_store_fill(&store, p, now_ns(), &e), can == 0 ? 0 : -EINVAL);
	ck_assert_uint_eq(e.n, found.n);
	if (can < 0) {
		ck_assert_str_eq(strstr(e.item[0].text, ": ") + 2, found.item[0].text);
		ck_assert_ptr_nonnull(strstr(e.item[0].text, "lb.yaml:3:104: "));
	}
	snapshot_unref(p);
}
END_TEST

/* ---- keys of tickets ------------------------------------------------------------------------- */

static struct tls_ticket_keys keys_now(void)
{
	struct tls_ticket_keys keys;
	struct tls_tickets *t = tls_store_tickets(&store, "l");

	ck_assert_ptr_nonnull(t);
	tls_tickets_get(t, &keys);
	return keys;
}

static struct snapshot *filled(const char *tls)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct snapshot *p = snapshot_with(tls);

	ck_assert_int_eq(tls_store_fill(&store, p, now_ns(), &e), 0);
	return p;
}

#define EACH_MINUTE "{certificates: [" A "], tickets: {rotate: 1m}}"

START_TEST(keys_outlive_a_reload_and_rotate)
{
	struct snapshot *old = filled(EACH_MINUTE), *p = filled(EACH_MINUTE);
	struct tls_ticket_keys first = keys_now();

	snapshot_unref(old);
	ck_assert_uint_eq(first.n, 1);
	tls_store_tick(&store, p->conf, 1000, &silent);
	tls_store_tick(&store, p->conf, 60999, &silent);
	ck_assert_uint_eq(keys_now().n, 1);
	tls_store_tick(&store, p->conf, 61000, &silent);
	struct tls_ticket_keys second = keys_now();
	ck_assert_uint_eq(second.n, 2);
	ck_assert_mem_eq(&second.key[1], &first.key[0], sizeof(first.key[0]));
	ck_assert_mem_ne(&second.key[0], &first.key[0], sizeof(first.key[0]));
	for (uint64_t t = 121000; t <= 301000; t += 60000)
		tls_store_tick(&store, p->conf, t, &silent);
	struct tls_ticket_keys last = keys_now();
	ck_assert_uint_eq(last.n, TLS_TICKET_KEYS);
	for (uint32_t i = 0; i < last.n; i++)
		ck_assert_mem_ne(&last.key[i], &first.key[0], sizeof(first.key[0]));
	snapshot_unref(p);
}
END_TEST

/* A shorter interval holds for the key that is there. */
START_TEST(a_reload_changes_the_interval)
{
	struct snapshot *old = filled(TWO);

	tls_store_tick(&store, old->conf, 1000, &silent);
	tls_store_tick(&store, old->conf, 61000, &silent);
	ck_assert_uint_eq(keys_now().n, 1);
	struct snapshot *p = filled(EACH_MINUTE);
	tls_store_tick(&store, p->conf, 61000, &silent);
	ck_assert_uint_eq(keys_now().n, 2);
	snapshot_unref(old);
	snapshot_unref(p);
}
END_TEST

static const char *const without[] = { "", "{certificates: [" A "], tickets: {file: tickets}}" };

START_TEST(keys_go_with_their_listener)
{
	struct snapshot *old = filled(TWO), *p = filled(without[_i]);

	ck_assert_ptr_nonnull(tls_store_tickets(&store, "l"));
	tls_store_tick(&store, p->conf, 1000, &silent);
	ck_assert_ptr_null(tls_store_tickets(&store, "l"));
	snapshot_unref(p);
	snapshot_unref(old); /* has a reference */
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, each_worker_has_a_context);
	tcase_add_test(t, the_snapshot_tells_of_its_certificates);
	tcase_add_test(t, without_tls_nothing_is_made);
	tcase_add_test(t, libraries_outlive_a_snapshot);
	tcase_add_loop_test(t, a_mistake_has_its_place, 0, (int)ARRAY_SIZE(rows));
	tcase_add_test(t, compact_is_tried_first);
	tcase_add_test(t, keys_outlive_a_reload_and_rotate);
	tcase_add_test(t, a_reload_changes_the_interval);
	tcase_add_loop_test(t, keys_go_with_their_listener, 0, (int)ARRAY_SIZE(without));
}

int main(void)
{
	return run_suite("daemon/tls_store", add_tests);
}
