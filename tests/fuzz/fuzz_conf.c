/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file: it loads, and what is loaded keeps the promises of conf/conf.h; or there
 * are errors, each of one line with its place in the file. The input is the file.
 */
#include "fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/conf.h"
#include "util/text.h"

/* Lines and columns of a text as an editor counts them: how many lines there are, at most, and the
 * longest. YAML knows line ends beside ASCII's; of a text that has more than ASCII only the size is
 * known. */
struct extent {
	size_t n_lines, longest;
};

static struct extent extent_of(const uint8_t *p, size_t n)
{
	struct extent x = { .n_lines = 1 };
	size_t at = 0;

	for (size_t i = 0; i <= n; i++) {
		if (i < n && p[i] >= 0x80)
			return (struct extent){ .n_lines = n, .longest = n };
		if (i < n && p[i] != '\n' && p[i] != '\r')
			continue;
		x.longest = i - at > x.longest ? i - at : x.longest;
		x.n_lines += i < n;
		at = i + 1;
	}
	return x;
}

/* Where a text that is one line says it is: `:LINE: `, or `:LINE:COLUMN: `. */
static void check_place(const struct err_item *item, const char *text)
{
	char want[64];

	if (item->col == 0)
		(void)snprintf(want, sizeof(want), ":%u: ", item->line);
	else
		(void)snprintf(want, sizeof(want), ":%u:%u: ", item->line, item->col);
	LB_ASSERT(strncmp(text, want, strlen(want)) == 0 && text[strlen(want)] != '\0');
}

/* `FILE:LINE:COLUMN: text`, on one line, at a place that the file has. */
static void check_error(const struct err_item *item, const char *path, struct extent x)
{
	size_t n = strlen(path);

	LB_ASSERT(strncmp(item->text, path, n) == 0 && item->text[n] == ':');
	for (const char *p = item->text; *p != '\0'; p++)
		LB_ASSERT((uint8_t)*p >= ' ' && *p != 0x7f);
	if (item->line == 0) /* the whole file: it is empty, or too large */
		return;
	LB_ASSERT(item->line <= x.n_lines + 1 && item->col <= x.longest + 1);
	check_place(item, item->text + n);
}

static void check_errors(const struct err *e, const char *path, struct extent x)
{
	LB_ASSERT(e->n > 0 && e->n_kept > 0 && e->n_kept <= ERR_KEPT_MAX && e->n_kept <= e->n);
	for (size_t i = 0; i < e->n_kept; i++) {
		const struct err_item *item = &e->item[i];

		check_error(item, path, x);
		if (i > 0)
			LB_ASSERT(item[-1].line < item->line ||
				  (item[-1].line == item->line && item[-1].col <= item->col));
	}
}

static void check_pool(const struct conf_pool *p)
{
	LB_ASSERT(p->name[0] != '\0' && p->n_backends > 0 && p->buffer_bytes > 0);
	for (size_t i = 0; i < p->n_backends; i++) {
		const struct conf_backend *b = &p->backends[i];

		LB_ASSERT(b->name[0] != '\0' && b->weight <= 256 && b->addr.family != 0);
		LB_ASSERT(b->addr.port != 0);
		for (size_t k = 0; k < i; k++)
			LB_ASSERT(strcmp(p->backends[k].name, b->name) != 0 &&
				  !addr_eq(&p->backends[k].addr, &b->addr));
	}
	bool has_name = p->hash.key == CONF_HASH_HEADER || p->hash.key == CONF_HASH_COOKIE ||
			p->hash.key == CONF_HASH_QUERY;
	LB_ASSERT(has_name == (p->hash.name != NULL));
	LB_ASSERT(p->hash.load_percent == 0 || p->hash.load_percent > 100);
	LB_ASSERT(p->health.path[0] == '/' && p->health.status_min <= p->health.status_max);
	LB_ASSERT(p->health.rise > 0 && p->health.fall > 0 && p->health.interval_ms > 0);
}

static void check_listener(const struct conf *c, const struct conf_listener *l)
{
	LB_ASSERT(l->name[0] != '\0' && l->n_binds > 0 && l->handshake_ms > 0);
	LB_ASSERT(l->pool < c->n_pools || (l->pool == CONF_NO_POOL && l->n_routes > 0));
	LB_ASSERT(l->mode == CONF_MODE_HTTP || l->n_routes == 0);
	for (size_t i = 0; i < l->n_binds; i++)
		LB_ASSERT(l->binds[i].addr.family != 0 && l->binds[i].text[0] != '\0');
	for (size_t i = 0; i < l->n_routes; i++) {
		const struct conf_route *r = &l->routes[i];

		LB_ASSERT(r->pool < c->n_pools && r->name[0] != '\0');
		LB_ASSERT(!r->host_is_suffix || r->host[0] == '.');
		LB_ASSERT(r->path == NULL || r->path[0] == '/');
	}
}

static void check_conf(const struct conf *c)
{
	LB_ASSERT(c->n_listeners > 0 && c->n_pools > 0 && c->workers <= 256);
	LB_ASSERT(c->dir[0] == '/' && c->admin.mode <= 0777);
	LB_ASSERT(c->admin.socket == NULL || c->admin.socket[0] == '/');
	LB_ASSERT(c->admin.has_http == (c->admin.http.family != 0));
	for (size_t i = 0; i < c->n_pools; i++)
		check_pool(&c->pools[i]);
	for (size_t i = 0; i < c->n_listeners; i++)
		check_listener(c, &c->listeners[i]);
}

/* What is printed is read again, and prints the same. */
static void check_print(const struct conf *c)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct text first = TEXT_INIT, second = TEXT_INIT;
	struct conf *again = NULL;
	char path[64];
	int fd = memfd_create("printed.yaml", MFD_CLOEXEC);

	LB_ASSERT(fd >= 0 && conf_print(c, &first) == 0);
	LB_ASSERT(write(fd, first.p, first.n) == (ssize_t)first.n);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	LB_ASSERT(conf_load(path, &e, &again) == 0 && conf_print(again, &second) == 0);
	LB_ASSERT(slice_eq(text_slice(&first), text_slice(&second)));
	conf_unref(again);
	text_deinit(&first);
	text_deinit(&second);
	(void)close(fd);
}

static void check_load(const char *path, struct extent x)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT, again = ERR_INIT;
	struct conf *c = NULL, *d = NULL;
	const char *keys[4];

	int r = conf_load(path, &e, &c);
	LB_ASSERT(conf_load(path, &again, &d) == r && again.n == e.n &&
		  again.n_warnings == e.n_warnings);
	LB_ASSERT((r == 0) == (c != NULL) && (r == 0) == (e.n == 0) && r <= 0);
	if (r < 0) {
		check_errors(&e, path, x);
	} else {
		check_conf(c);
		check_print(c);
		LB_ASSERT(conf_restart_keys(c, d, keys) == 0);
	}
	conf_unref(c);
	conf_unref(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64];
	int fd = memfd_create("lb.yaml", MFD_CLOEXEC);

	LB_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	check_load(path, extent_of(data, size));
	(void)close(fd);
	return 0;
}
