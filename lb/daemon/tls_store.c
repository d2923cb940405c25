/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listener's files become texts, the texts become one context for each worker, and the snapshot
 * takes the contexts. Nothing of it is kept beyond the snapshot but the library contexts and the
 * keys of tickets: a reload reads all files again, and connections hold the contexts that they
 * began with.
 *
 * A mistake is reported with two places: that of the key in lb.yaml that names the file, and,
 * behind it, that of the line in the file.
 */
#include "daemon/tls_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"
#include "daemon/refusal.h"
#include "daemon/tls_file.h"
#include "net/tls_cert_names.h"
#include "net/tls_check.h"
#include "net/tls_ctx.h"
#include "net/tls_lib.h"
#include "net/tls_ticket.h"
#include "proto/tls_frame.h"
#include "proxy/snapshot.h"
#include "util/log.h"

#define NS_PER_S 1000000000u

/* The keys of a listener's tickets. */
struct ticket_set {
	struct list link;
	char *listener;              /* owns: its name */
	struct tls_tickets *tickets; /* counted */
	uint64_t rotated_ms;         /* when the newest key was made; 0: before the first tick */
};

void tls_store_init(struct tls_store *st, uint32_t n_workers)
{
	*st = (struct tls_store){ .n_workers = n_workers };
	list_init(&st->tickets);
}

static void ticket_set_free(struct ticket_set *t)
{
	list_del(&t->link);
	tls_tickets_unref(t->tickets);
	free(t->listener);
	free(t);
}

static void free_libs(struct tls_store *st)
{
	for (uint32_t w = 0; st->libs != NULL && w < st->n_workers; w++)
		tls_lib_free(st->libs[w]);
	free(st->libs);
	st->libs = NULL;
}

void tls_store_deinit(struct tls_store *st)
{
	list_for_each(it, &st->tickets) ticket_set_free(list_entry(it, struct ticket_set, link));
	free_libs(st);
}

/* ---- keys of tickets ------------------------------------------------------------------------- */

static struct ticket_set *find_set(const struct tls_store *st, const char *listener)
{
	list_for_each(it, &st->tickets)
	{
		struct ticket_set *t = list_entry(it, struct ticket_set, link);
		if (strcmp(t->listener, listener) == 0)
			return t;
	}
	return NULL;
}

struct tls_tickets *tls_store_tickets(const struct tls_store *st, const char *listener)
{
	struct ticket_set *t = find_set(st, listener);

	return t != NULL ? t->tickets : NULL;
}

static struct tls_tickets *random_tickets(void)
{
	struct tls_ticket_keys keys = { .n = 1 };
	struct tls_tickets *t = NULL;

	if (tls_ticket_key_random(&keys.key[0]) == 0)
		t = tls_tickets_new(&keys);
	explicit_bzero(&keys, sizeof(keys));
	return t;
}

/* The listener's set; made where there is none. NULL: reported. */
static struct ticket_set *rotating_set(struct tls_store *st, const char *listener, struct err *e)
{
	struct ticket_set *t = find_set(st, listener);

	if (t != NULL)
		return t;
	t = calloc(1, sizeof(*t));
	if (t != NULL) {
		list_init(&t->link);
		t->listener = strdup(listener);
		t->tickets = random_tickets();
	}
	if (t == NULL || t->listener == NULL || t->tickets == NULL) {
		if (t != NULL)
			ticket_set_free(t);
		(void)err_add(e, -ENOMEM, "no memory or no randomness for keys of tickets");
		return NULL;
	}
	list_add_tail(&st->tickets, &t->link);
	return t;
}

/* The keys of a file, which the context alone holds. NULL: reported. */
static struct tls_tickets *tickets_of_file(const struct tls_file *file, struct err *e)
{
	struct tls_ticket_keys keys;
	struct tls_tickets *t = NULL;

	if (tls_ticket_keys_parse(tls_file_pem(file), e, &keys) < 0)
		return NULL;
	t = tls_tickets_new(&keys);
	explicit_bzero(&keys, sizeof(keys));
	if (t == NULL)
		(void)err_add(e, -ENOMEM, "out of memory");
	return t;
}

static const struct conf_listener *listener_of(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->n_listeners; i++)
		if (strcmp(conf->listeners[i].name, name) == 0)
			return &conf->listeners[i];
	return NULL;
}

static void rotate(struct ticket_set *t, uint64_t now_ms, const struct log *log)
{
	struct tls_ticket_key fresh;

	if (tls_ticket_key_random(&fresh) < 0) {
		log_warn(log, "no randomness for a new key of tickets listener=%s", t->listener);
		return;
	}
	tls_tickets_rotate(t->tickets, &fresh);
	explicit_bzero(&fresh, sizeof(fresh));
	t->rotated_ms = now_ms;
	log_debug(log, "new key of tickets listener=%s", t->listener);
}

void tls_store_tick(struct tls_store *st, const struct conf *conf, uint64_t now_ms,
		    const struct log *log)
{
	list_for_each(it, &st->tickets)
	{
		struct ticket_set *t = list_entry(it, struct ticket_set, link);
		const struct conf_listener *l = listener_of(conf, t->listener);

		if (l == NULL || !l->tls.is_on || l->tls.tickets.file != NULL)
			ticket_set_free(t);
		else if (t->rotated_ms == 0)
			t->rotated_ms = now_ms;
		else if (now_ms - t->rotated_ms >= l->tls.tickets.rotate_ms)
			rotate(t, now_ms, log);
	}
}

/* ---- a listener's files ---------------------------------------------------------------------- */

/* The files of one listener, read; unread ones are zeroed. */
struct listener_files {
	struct tls_file *cert, *key;  /* own: one for each certificate */
	struct tls_cert_files *pairs; /* owns: borrows from them; those of which both are read */
	size_t n_pairs;
	struct tls_file ca, crl, tickets;
};

static void files_deinit(struct listener_files *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (f->cert != NULL)
			tls_file_deinit(&f->cert[i]);
		if (f->key != NULL)
			tls_file_deinit(&f->key[i]);
	}
	free(f->cert);
	free(f->key);
	free(f->pairs);
	tls_file_deinit(&f->ca);
	tls_file_deinit(&f->crl);
	tls_file_deinit(&f->tickets);
}

/* Reads all, also after a failure, so that `e` names every file that cannot be read. */
static int read_files(const struct conf_tls *c, struct err *e, struct listener_files *f)
{
	size_t n = c->n_certificates;
	int r = 0;

	f->cert = calloc(n, sizeof(*f->cert));
	f->key = calloc(n, sizeof(*f->key));
	f->pairs = calloc(n, sizeof(*f->pairs));
	if (f->cert == NULL || f->key == NULL || f->pairs == NULL)
		return err_add(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const struct conf_certificate *cert = &c->certificates[i];
		r |= tls_file_read(cert->cert, cert->cert_at, e, &f->cert[i]);
		r |= tls_file_read(cert->key, cert->key_at, e, &f->key[i]);
		if (f->cert[i].text != NULL && f->key[i].text != NULL)
			f->pairs[f->n_pairs++] =
				(struct tls_cert_files){ .cert = tls_file_pem(&f->cert[i]),
							 .key = tls_file_pem(&f->key[i]) };
	}
	if (c->client.verify != CONF_VERIFY_NONE)
		r |= tls_file_read(c->client.ca, c->client.ca_at, e, &f->ca);
	if (c->client.verify != CONF_VERIFY_NONE && c->client.crl != NULL)
		r |= tls_file_read(c->client.crl, c->client.crl_at, e, &f->crl);
	if (c->tickets.file != NULL)
		r |= tls_file_read_secret(c->tickets.file, c->tickets.file_at, e, &f->tickets);
	return r < 0 ? -EINVAL : 0;
}

/* ---- a listener's contexts ------------------------------------------------------------------- */

static bool begins_with(const char *text, const char *place)
{
	size_t n = place != NULL ? strlen(place) : 0;

	return n > 0 && strncmp(text, place, n) == 0 && text[n] == ':';
}

/* The place in lb.yaml that a message of the TLS engine is about: it begins with a file or a key.
 */
static struct mark mark_of(const struct conf_tls *c, const char *text)
{
	const struct {
		const char *place;
		struct mark at;
	} rows[] = {
		{ c->client.ca, c->client.ca_at },
		{ c->client.crl, c->client.crl_at },
		{ c->tickets.file, c->tickets.file_at },
		{ "groups", c->groups_at },
		{ "ciphers", c->ciphers_at },
		{ "ciphersuites", c->ciphersuites_at },
	};

	for (size_t i = 0; i < c->n_certificates; i++)
		if (begins_with(text, c->certificates[i].cert))
			return c->certificates[i].cert_at;
	for (size_t i = 0; i < c->n_certificates; i++)
		if (begins_with(text, c->certificates[i].key))
			return c->certificates[i].key_at;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (begins_with(text, rows[i].place))
			return rows[i].at;
	return c->at;
}

/* Moves what the TLS engine said of a listener to `e`, with its place in lb.yaml. */
static void report(const struct conf_tls *c, struct err *why, struct err *e)
{
	char scratch[64];

	for (size_t i = 0; i < err_n_lines(why); i++) {
		const char *line = err_line(why, i, scratch, sizeof(scratch));
		if (i < why->n_kept && why->item[i].is_warning)
			err_warn_at(e, mark_of(c, line), "%s", line);
		else
			(void)err_at(e, mark_of(c, line), "%s", line);
	}
	err_deinit(why);
}

static enum tls_verify verify_of(enum conf_verify v)
{
	switch (v) {
	case CONF_VERIFY_NONE: return TLS_VERIFY_NONE;
	case CONF_VERIFY_OPTIONAL: return TLS_VERIFY_OPTIONAL;
	case CONF_VERIFY_REQUIRED: return TLS_VERIFY_REQUIRED;
	}
	return TLS_VERIFY_REQUIRED;
}

/* A key of lb's own seals tickets until the next rotation, and opens them for two more. A ticket
 * that was sealed last is good for these two. 0: a day. */
static uint32_t ticket_seconds(const struct conf_tls *c)
{
	return c->tickets.file != NULL ? 0 : c->tickets.rotate_ms / 1000 * 2;
}

static struct tls_server_settings settings_of(const struct conf_listener *l,
					      const struct listener_files *f,
					      struct tls_tickets *tickets, uint64_t now_ns)
{
	const struct conf_tls *c = &l->tls;

	return (struct tls_server_settings){
		.common = {
			.min_version = c->min_version == CONF_TLS_1_3 ? TLS_VERSION_1_3
								      : TLS_VERSION_1_2,
			.ciphers = c->ciphers,
			.ciphersuites = c->ciphersuites,
			.groups = c->groups,
			.alpn = (const char *const *)c->alpn,
			.n_alpn = c->n_alpn,
			.is_compact = c->records == CONF_RECORDS_COMPACT,
			.now_s = (int64_t)(now_ns / NS_PER_S),
		},
		.certs = f->pairs,
		.n_certs = f->n_pairs,
		.is_strict_sni = c->strict_sni == CONF_YES,
		.verify = f->ca.text != NULL ? verify_of(c->client.verify) : TLS_VERIFY_NONE,
		.ca = tls_file_pem(&f->ca),
		.crl = tls_file_pem(&f->crl),
		.tickets = tickets,
		.ticket_seconds = ticket_seconds(c),
		.id = l->name,
	};
}

/* One context for each worker. The first one's mistakes and warnings are those of all. */
static int make_contexts(const struct tls_store *st, const struct tls_server_settings *s,
			 struct err *e, struct tls_ctx **contexts)
{
	for (uint32_t w = 0; w < st->n_workers; w++) {
		_cleanup_(err_deinit) struct err again = ERR_INIT;
		int r = tls_ctx_new_server(st->libs[w], s, w == 0 ? e : &again, &contexts[w]);
		if (r < 0 && w > 0)
			return err_add(e, r, "worker %u: %s", w,
				       again.n_kept > 0 ? again.item[0].text : "out of memory");
		if (r < 0)
			return r;
	}
	return 0;
}

static struct tls_tickets *tickets_of(struct tls_store *st, const struct conf_listener *l,
				      const struct listener_files *f, struct err *e)
{
	if (l->tls.tickets.file != NULL)
		return f->tickets.text != NULL ? tickets_of_file(&f->tickets, e) : NULL;
	struct ticket_set *t = rotating_set(st, l->name, e);
	return t != NULL ? tls_tickets_ref(t->tickets) : NULL;
}

/* ---- what main shows of certificates --------------------------------------------------------- */

static int add_name(void *arg, struct slice name)
{
	struct snapshot_cert *c = arg;
	char **grown = reallocarray(c->names, c->n_names + 1, sizeof(char *));

	if (grown == NULL)
		return -ENOMEM;
	c->names = grown;
	c->names[c->n_names] = strndup(name.p, name.n);
	return c->names[c->n_names++] == NULL ? -ENOMEM : 0;
}

/* Certificate `i` of a context. Returns 0 or -ENOMEM; what is filled is freed with the others. */
static int describe_cert(struct tls_lib *lib, const struct tls_ctx *ctx,
			 const struct listener_files *f, size_t i, uint64_t now_ns,
			 struct snapshot_cert *ret)
{
	const struct tls_cert_info *info = tls_ctx_cert(ctx, i);

	ret->file = strdup(info->file);
	ret->not_before_s = info->not_before_s;
	ret->not_after_s = info->not_after_s;
	if (ret->file == NULL)
		return -ENOMEM;
	return tls_cert_names(lib, &f->pairs[i], (int64_t)(now_ns / NS_PER_S), add_name, ret);
}

static int set_certs(const struct tls_store *st, struct snapshot *p, size_t i,
		     const struct tls_ctx *ctx, const struct listener_files *f, uint64_t now_ns)
{
	size_t n = tls_ctx_n_certs(ctx);
	struct snapshot_cert *certs = calloc(n, sizeof(*certs));
	int r = certs == NULL ? -ENOMEM : 0;

	LB_ASSERT(n == p->conf->listeners[i].tls.n_certificates);
	for (size_t k = 0; k < n && r == 0; k++)
		r = describe_cert(st->libs[0], ctx, f, k, now_ns, &certs[k]);
	if (r == 0)
		snapshot_set_certs(p, i, certs, n);
	else if (certs != NULL)
		snapshot_certs_free(certs, n);
	return r;
}

/* ---- a listener ------------------------------------------------------------------------------ */

/* The contexts of listener `i`, whose files are read, into the snapshot, if there is one. Reports
 * to `why`. */
static int set_contexts(struct tls_store *st, const struct conf *conf, size_t i, struct snapshot *p,
			const struct listener_files *f, uint64_t now_ns, struct err *why)
{
	const struct conf_listener *l = &conf->listeners[i];
	struct tls_ctx **contexts = calloc(st->n_workers, sizeof(struct tls_ctx *));
	struct tls_tickets *tickets = tickets_of(st, l, f, why);
	struct tls_server_settings s = settings_of(l, f, tickets, now_ns);
	int r = contexts == NULL ? err_add(why, -ENOMEM, "out of memory")
				 : make_contexts(st, &s, why, contexts);

	/* What is published never lets in whom the file keeps out. */
	LB_ASSERT(p == NULL || s.verify == verify_of(l->tls.client.verify));
	if (r == 0 && tickets == NULL)
		r = -EINVAL;
	if (r == 0 && p != NULL &&
	    (snapshot_set_tls(p, i, st->libs, contexts, st->n_workers) < 0 ||
	     set_certs(st, p, i, contexts[0], f, now_ns) < 0))
		r = err_add(why, -ENOMEM, "out of memory");
	for (uint32_t w = 0; contexts != NULL && w < st->n_workers; w++)
		tls_ctx_unref(contexts[w]);
	free(contexts);
	tls_tickets_unref(tickets);
	return r;
}

/* Whether this build and this machine's OpenSSL can do `records: compact`: asked once. */
static int check_compact(struct tls_store *st, const struct conf_tls *c, struct err *e)
{
	_cleanup_(err_deinit) struct err why = ERR_INIT;

	if (c->records != CONF_RECORDS_COMPACT || st->can_compact)
		return 0;
	int r = tls_check_compact(st->libs[0], &why);
	for (size_t i = 0; r < 0 && i < why.n_kept; i++)
		(void)err_at(e, c->records_at, "%s", why.item[i].text);
	if (r < 0 && why.n_kept == 0)
		(void)err_at(e, c->records_at, "out of memory");
	st->can_compact = r == 0;
	return r == -ENOTSUP ? -EINVAL : r;
}

static int fill_listener(struct tls_store *st, const struct conf *conf, size_t i,
			 struct snapshot *p, uint64_t now_ns, struct err *e)
{
	const struct conf_tls *c = &conf->listeners[i].tls;
	struct listener_files f = { 0 };
	struct err why = ERR_INIT;
	int r = read_files(c, e, &f);
	int compact = check_compact(st, c, e);

	r = r < 0 ? r : compact;
	/* After a failure the files that are read are judged all the same, without the snapshot. */
	if (f.n_pairs > 0) {
		int made = set_contexts(st, conf, i, r == 0 ? p : NULL, &f, now_ns, &why);
		report(c, &why, e);
		r = r < 0 ? r : made;
	}
	files_deinit(&f, c->n_certificates);
	return r;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int make_libs(struct tls_store *st, struct err *e)
{
	if (st->libs != NULL)
		return 0;
	st->libs = calloc(st->n_workers, sizeof(struct tls_lib *));
	if (st->libs == NULL)
		return err_add(e, -ENOMEM, "out of memory");
	for (uint32_t w = 0; w < st->n_workers; w++) {
		st->libs[w] = tls_lib_new();
		if (st->libs[w] == NULL) {
			free_libs(st);
			return err_add(e, -ENOMEM,
				       "TLS: memory is short, or libcrypto lacks an algorithm");
		}
	}
	return 0;
}

static int fill(struct tls_store *st, const struct conf *conf, struct snapshot *p, uint64_t now_ns,
		struct err *e)
{
	if (!conf_has_tls(conf))
		return 0;
	int r = make_libs(st, e);
	if (r < 0)
		return r;
	/* Each listener is tried, so that `e` has every mistake. */
	for (size_t i = 0; i < conf->n_listeners; i++) {
		if (!conf->listeners[i].tls.is_on)
			continue;
		int one = fill_listener(st, conf, i, p, now_ns, e);
		r = r < 0 ? r : one;
	}
	return r;
}

int tls_store_fill(struct tls_store *st, struct snapshot *p, uint64_t now_ns, struct err *e)
{
	return fill(st, p->conf, p, now_ns, e);
}

void tls_store_check(const struct conf *conf, uint64_t now_ns, struct err *e)
{
	struct tls_store st;

	tls_store_init(&st, 1);
	(void)fill(&st, conf, NULL, now_ns, e);
	tls_store_deinit(&st);
}

static void check_access(const char *path, struct mark at, struct err *e)
{
	if (path != NULL && faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0 && errno == EACCES)
		(void)refusal_tls_file(e, at, path, -EACCES);
}

void tls_store_check_access(const struct conf *conf, struct err *e)
{
	for (size_t i = 0; i < conf->n_listeners; i++) {
		const struct conf_tls *c = &conf->listeners[i].tls;
		for (size_t k = 0; k < c->n_certificates; k++) {
			check_access(c->certificates[k].cert, c->certificates[k].cert_at, e);
			check_access(c->certificates[k].key, c->certificates[k].key_at, e);
		}
		check_access(c->client.ca, c->client.ca_at, e);
		check_access(c->client.crl, c->client.crl_at, e);
		check_access(c->tickets.file, c->tickets.file_at, e);
	}
}
