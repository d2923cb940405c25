/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a file to a frozen struct conf, and back.
 *
 * conf_load() makes a struct conf from a file in these steps, and each step goes on after a
 * mistake, so that one run reports all mistakes of the file:
 *
 *   lb_yaml_read()       the file becomes a tree of nodes, each with its mark (yaml.c)
 *   opt_set_defaults(),
 *   opt_read()           the tree is read by the tables of options (opt.c, *_opts.c) into members
 *   set_derived()        members that have no row of their own
 *   check_all()          the rules about more than one value (check.c)
 *   warn_all()           when there is no mistake: what is allowed but hardly meant (warn.c)
 *   sort_pools()         the index for conf_find_pool()
 *
 * After that nothing changes the configuration. Its references are counted (conf_ref(),
 * conf_unref()); the thread that drops the last reference frees it. The configuration owns its
 * strings and arrays; its marks borrow conf.file.
 *
 * When memory runs short during reading, opt_ctx.no_memory is set, reading goes on with members
 * missing, and fill() returns -ENOMEM at its end. So conf_unref() must accept a configuration with
 * missing members.
 *
 * conf_print() writes a configuration as YAML by the tables that read it. conf_restart_keys()
 * compares two configurations for a reload.
 *
 * Thread: main loads; any thread reads and drops its reference.
 */
#include "conf/conf.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/check.h"
#include "conf/print.h"
#include "conf/tables.h"
#include "conf/warn.h"
#include "conf/yaml.h"

/* ---- the end ---- */

static void pool_deinit(struct conf_pool *p)
{
	for (size_t i = 0; i < p->n_backends; i++)
		free(p->backends[i].name);
	free(p->backends);
	free(p->sources);
	free(p->sources_at);
	free(p->hash.name);
	free(p->health.path);
	free(p->health.host);
	free(p->name);
}

static void route_deinit(struct conf_route *r)
{
	for (size_t i = 0; i < r->n_headers; i++) {
		free(r->headers[i].name);
		free(r->headers[i].value);
	}
	free(r->headers);
	free(r->name);
	free(r->host);
	free(r->path);
}

static void tls_deinit(struct conf_tls *t)
{
	for (size_t i = 0; i < t->n_certificates; i++) {
		free(t->certificates[i].cert);
		free(t->certificates[i].key);
	}
	for (size_t i = 0; i < t->n_alpn; i++)
		free(t->alpn[i]);
	free(t->certificates);
	free(t->alpn);
	free(t->groups);
	free(t->ciphers);
	free(t->ciphersuites);
	free(t->client.ca);
	free(t->client.crl);
	free(t->tickets.file);
}

static void listener_deinit(struct conf_listener *l)
{
	for (size_t i = 0; i < l->n_routes; i++)
		route_deinit(&l->routes[i]);
	for (size_t i = 0; i < l->n_binds; i++)
		free(l->binds[i].text);
	tls_deinit(&l->tls);
	free(l->proxy.from);
	free(l->routes);
	free(l->binds);
	free(l->name);
}

struct conf *conf_ref(struct conf *c)
{
	ref_get(&c->refs);
	return c;
}

struct conf *conf_unref(struct conf *c)
{
	if (c == NULL || !ref_put(&c->refs))
		return NULL;
	LB_ASSERT(c->n_listeners == 0 || c->listeners != NULL);
	LB_ASSERT(c->n_pools == 0 || c->pools != NULL);
	for (size_t i = 0; i < c->n_listeners; i++)
		listener_deinit(&c->listeners[i]);
	for (size_t i = 0; i < c->n_pools; i++)
		pool_deinit(&c->pools[i]);
	free(c->listeners);
	free(c->pools);
	free(c->pools_by_name);
	free(c->file);
	free(c->dir);
	free(c->user);
	free(c->log.to);
	free(c->access_log.to);
	free(c->admin.socket);
	free(c->admin.http_text);
	free(c);
	return NULL;
}

/* ---- the beginning ---- */

/*
 * Sets c->dir to the file's folder as an absolute path, so that relative paths of the file do not
 * depend on the working directory.
 */
static int set_dir(struct conf *c)
{
	const char *slash = strrchr(c->file, '/');
	size_t n = slash == c->file ? 1 : slash == NULL ? 0 : (size_t)(slash - c->file);

	char *given = n == 0 ? strdup(".") : strndup(c->file, n);
	if (given == NULL)
		return -ENOMEM;
	c->dir = realpath(given, NULL);
	int r = c->dir == NULL ? -errno : 0;
	LB_ASSERT(r < 0 || c->dir[0] == '/');
	free(given);
	return r;
}

/* The mark of a key's value. When the file does not have the key, a mark of the file as a whole. */
static struct mark mark_of(const struct conf *c, const struct yaml_node *root, const char *key)
{
	const struct yaml_node *n = opt_find(root, key);

	return n != NULL ? n->at : (struct mark){ .file = c->file };
}

/*
 * Sets the members that no row sets: marks, and whether `access_log` and `admin.http` are in the
 * file.
 */
static void set_derived(struct opt_ctx *ctx, const struct yaml_node *root)
{
	struct conf *c = ctx->conf;
	const struct yaml_node *http = opt_find(root, "admin.http");
	char text[ADDR_TEXT_MAX];

	c->log.is_on = true;
	c->log.at = mark_of(c, root, "log.to");
	c->access_log.at = mark_of(c, root, "access_log.to");
	c->user_at = mark_of(c, root, "user");
	c->admin.socket_at = mark_of(c, root, "admin.socket");
	c->access_log.is_on = lb_yaml_find(root, SLICE("access_log")) != NULL;
	if (c->admin.http.family != 0) {
		LB_ASSERT(http != NULL); /* admin.http has no default: the file has the key */
		c->admin.has_http = true;
		c->admin.at = http->at;
		opt_set_string(ctx, &c->admin.http_text,
			       slice_of(addr_format(&c->admin.http, text)));
	}
}

static int fill(struct conf *c, struct err *e)
{
	struct opt_ctx ctx = { .err = e, .conf = c, .tables = conf_tables };
	struct yaml_node *root = NULL;
	size_t n_before = e->n;

	LB_ASSERT(c->listeners == NULL && c->pools == NULL);
	int r = lb_yaml_read(c->file, e, &root);
	if (r < 0)
		return r;
	r = set_dir(c);
	if (r < 0) {
		lb_yaml_free(root);
		return err_add(e, r, "%s: its folder: %s", c->file, strerror(-r));
	}
	opt_set_defaults(&ctx, main_opts, c);
	opt_read(&ctx, main_opts, root, c);
	set_derived(&ctx, root);
	if (!ctx.no_memory)
		check_all(&ctx, root);
	if (e->n == n_before && !ctx.no_memory)
		warn_all(&ctx, root);
	lb_yaml_free(root);
	if (ctx.no_memory)
		return err_add(e, -ENOMEM, "%s: %s", c->file, strerror(ENOMEM));
	return e->n > n_before ? -EINVAL : 0;
}

static int by_name(const void *pa, const void *pb)
{
	const struct conf_pool *const *a = pa, *const *b = pb;

	return strcmp((*a)->name, (*b)->name);
}

/*
 * Sorts the pools by name for conf_find_pool(), because main may look up thousands of pools each
 * second.
 */
static int sort_pools(struct conf *c, struct err *e)
{
	LB_ASSERT(c->n_pools > 0); /* the row "pools" is OPT_REQUIRED */
	c->pools_by_name = calloc(c->n_pools, sizeof(const struct conf_pool *));
	if (c->pools_by_name == NULL)
		return err_add(e, -ENOMEM, "%s: %s", c->file, strerror(ENOMEM));
	for (size_t i = 0; i < c->n_pools; i++)
		c->pools_by_name[i] = &c->pools[i];
	qsort(c->pools_by_name, c->n_pools, sizeof(const struct conf_pool *), by_name);
	return 0;
}

int conf_load(const char *path, struct err *e, struct conf **ret)
{
	struct conf *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return err_add(e, -ENOMEM, "%s: %s", path, strerror(ENOMEM));
	ref_init(&c->refs);
	c->file = strdup(path);
	int r = c->file == NULL ? err_add(e, -ENOMEM, "%s: %s", path, strerror(ENOMEM))
				: fill(c, e);
	if (r == 0)
		r = sort_pools(c, e);
	err_sort(e);
	if (r == 0)
		*ret = take_ptr(c);
	conf_unref(c);
	return r;
}

int conf_print(const struct conf *c, struct text *out)
{
	struct printer p = { .conf = c, .out = out, .group = SLICE("") };

	print_map(&p, main_opts, c);
	return out->failed ? -ENOMEM : 0;
}

/* ---- a reload ---- */

static size_t key_len(const char *key)
{
	return strcspn(key, ".");
}

/* The keys at the top of the file that a reload does not apply. */
static const char *const restart_keys[] = { "workers", "engine", "user", "admin" };

/*
 * Whether the two configurations differ in a value that only a restart applies, and that is the
 * value of `key` or is in the map at `key`.
 */
static bool has_changed(const struct conf *old, const struct conf *new, const char *key)
{
	for (const struct opt *o = main_opts; o->key != NULL; o++) {
		if ((o->flags & (OPT_RELOAD | OPT_LATER)) != 0 || key_len(o->key) != strlen(key) ||
		    strncmp(o->key, key, strlen(key)) != 0)
			continue;
		if (!opt_is_same(o, old, new))
			return true;
	}
	return false;
}

size_t conf_restart_keys(const struct conf *old, const struct conf *new, const char *ret[4])
{
	size_t n = 0;

	static_assert(ARRAY_SIZE(restart_keys) == 4, "the size of ret[]");
	for (size_t i = 0; i < ARRAY_SIZE(restart_keys); i++) {
		if (has_changed(old, new, restart_keys[i]))
			ret[n++] = restart_keys[i];
	}
	return n;
}

size_t conf_n_binds(const struct conf *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_listeners; i++)
		n += c->listeners[i].n_binds;
	return n;
}

bool conf_has_tls(const struct conf *c)
{
	for (size_t i = 0; i < c->n_listeners; i++)
		if (c->listeners[i].tls.is_on)
			return true;
	return false;
}

static int by_key(const void *name, const void *pb)
{
	const struct conf_pool *const *b = pb;

	return strcmp(name, (*b)->name);
}

const struct conf_pool *conf_find_pool(const struct conf *c, const char *name)
{
	LB_ASSERT(c->pools_by_name != NULL);
	const struct conf_pool **at = bsearch(name, c->pools_by_name, c->n_pools,
					      sizeof(const struct conf_pool *), by_key);

	return at != NULL ? *at : NULL;
}
