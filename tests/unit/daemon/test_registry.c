/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry over two and more configurations, without a worker: main's side of a reload, socket
 * by socket and backend by backend.
 */
#include <arpa/inet.h>
#include <malloc.h>
#include <sys/resource.h>

#include "../ev/loop_fixture.h"
#include "../proxy/written.h"

#include "balance/backend.h"
#include "balance/pool.h"
#include "daemon/delta.h"
#include "daemon/delta_binds.h"
#include "daemon/registry.h"
#include "net/sock.h"
#include "proxy/listener.h"
#include "proxy/names.h"
#include "proxy/snapshot.h"

#define N_WORKERS 3

static struct registry registry;
static int n_fds_idle; /* with the loop, without any listener */

/* ---- what the tests share -------------------------------------------------------------------- */

static size_t list_length(const struct list *l)
{
	size_t n = 0;

	list_for_each(it, l) n++;
	return n;
}

static void setup(void)
{
	begin(0);
	ck_assert_int_eq(registry_init(&registry, loop, N_WORKERS), 0);
	n_fds_idle = n_fds();
}

static void teardown(void)
{
	registry_deinit(&registry);
	registry_deinit(&registry); /* of what is gone already */
	end();
}

/* Open descriptors more than without any listener. */
static int n_sockets(void)
{
	ck_assert_int_eq(loop_turn(loop, 0), 0);
	return n_fds() - n_fds_idle;
}

/* A port below 10000 that nobody listens on. */
static uint16_t free_port(void)
{
	static uint16_t next;
	struct addr a = { .family = AF_INET, .v4 = { 127, 0, 0, 1 } };

	if (next == 0)
		next = (uint16_t)(3000 + getpid() % 6000);
	for (int i = 0; i < 1000; i++) {
		a.port = ++next;
		if (sock_probe_free(loop, &a, &a.port) == 0)
			return a.port;
	}
	ck_abort_msg("no free port");
}

static bool is_accepting(uint16_t port)
{
	struct sockaddr_in to = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = connect(fd, (struct sockaddr *)&to, sizeof(to));

	ck_assert(r == 0 || errno == ECONNREFUSED);
	close(fd);
	return r == 0;
}

/* Takes over the reference of `conf`. */
static struct delta *prepared(struct conf *conf)
{
	struct err e = ERR_INIT;
	struct delta *d = NULL;
	int r = delta_prepare(&registry, conf, &e, &d);

	ck_assert_msg(r == 0, "%s", e.n_kept > 0 ? e.item[0].text : "no reason");
	ck_assert_uint_eq(e.n, 0);
	conf_unref(conf);
	return d;
}

static void committed(struct conf *conf)
{
	struct err e = ERR_INIT;
	struct delta *d = prepared(conf);

	ck_assert_int_eq(delta_binds_listen(&registry, d, &e), 0);
	size_t used = mallinfo2().uordblks;
	delta_commit(&registry, d);
	/* It has nothing left that could be refused. */
	ck_assert_uint_le(mallinfo2().uordblks, used);
	registry_tidy(&registry);
	ck_assert_ptr_null(delta_free(&registry, d));
	err_deinit(&e);
}

/* One listener "l" on `port`, one pool "p" with what is given of it. */
static struct conf *simple(uint16_t port, const char *pool)
{
	return written("listeners: [{name: l, bind: '127.0.0.1:%u', pool: p}]\n"
		       "pools: [{name: p, %s}]\n",
		       port, pool);
}

static size_t n_of(const struct list *l)
{
	size_t n = 0;

	list_for_each(it, l) n++;
	return n;
}

static struct listener *listener_at(size_t i)
{
	list_for_each(it, &registry.listeners) if (i-- == 0) return list_entry(
		it, struct registry_listener, link)
		->listener;
	ck_abort_msg("there is no such listener");
}

static struct registry_pool *pool_named(const char *name)
{
	struct registry_pool *p = registry_find_pool(&registry, name);

	ck_assert_msg(p != NULL, "no pool %s", name);
	return p;
}

static struct registry_backend *backend_named(const char *name)
{
	struct registry_backend *fb = registry_find_backend(pool_named("p"), name);

	ck_assert_msg(fb != NULL, "no backend %s", name);
	return fb;
}

/* "a b -c": the names of a pool's backends in their order, the removed with a minus. */
static const char *backends_of(const struct registry_pool *p)
{
	static char out[256];
	size_t n = 0;

	out[0] = '\0';
	list_for_each(it, &p->backends)
	{
		struct registry_backend *fb = list_entry(it, struct registry_backend, link);
		ck_assert(fb->is_removed == atomic_load(&fb->backend->is_removed));
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%s%s", n > 0 ? " " : "",
				      fb->is_removed ? "-" : "", fb->backend->name);
	}
	return out;
}

#define A "{name: a, address: '127.0.0.1:1'}"
#define B "{name: b, address: '127.0.0.1:2'}"
#define C "{name: c, address: '127.0.0.1:3'}"

static bool has_line(const struct err *e, const char *place, const char *text)
{
	for (size_t i = 0; i < e->n_kept; i++)
		if (strstr(e->item[i].text, place) != NULL && strstr(e->item[i].text, text) != NULL)
			return true;
	return false;
}

/* ---- listeners ------------------------------------------------------------------------------- */

START_TEST(preparing_changes_nothing)
{
	uint16_t port = free_port();
	struct err e = ERR_INIT;
	struct delta *d = prepared(simple(port, "backends: [" A "]"));

	ck_assert(list_is_empty(&registry.listeners));
	ck_assert(list_is_empty(&registry.pools));
	ck_assert_ptr_null(registry.snapshot);
	ck_assert_uint_eq(d->n_listeners, 1);
	ck_assert(d->listeners[0].is_new);
	/* A socket for every worker is bound, and none of them listens. */
	ck_assert_int_eq(n_sockets(), N_WORKERS);
	ck_assert(!is_accepting(port));

	ck_assert_int_eq(delta_binds_listen(&registry, d, &e), 0);
	ck_assert(is_accepting(port));
	ck_assert(list_is_empty(&registry.listeners));
	delta_commit(&registry, d);
	registry_tidy(&registry);
	ck_assert_uint_eq(n_of(&registry.listeners), 1);
	ck_assert_uint_eq(n_of(&registry.pools), 1);
	ck_assert_ptr_eq(registry.snapshot, d->snapshot);
	delta_free(&registry, d);
	ck_assert_int_eq(n_sockets(), 0); /* main's copies; the workers have theirs */
	err_deinit(&e);
}
END_TEST

START_TEST(dropping_leaves_no_trace)
{
	uint16_t port = free_port(), other = free_port();

	committed(simple(port, "timeouts: {idle: 7s}, backends: [" A ", " B "]"));
	struct listener *l = listener_at(0);
	struct snapshot *snapshot = registry.snapshot;
	struct members *members = pool_named("p")->members;
	struct backend *a = backend_named("a")->backend;
	unsigned refs = ref_count(&a->refs);

	struct delta *d = prepared(
		written("listeners:\n"
			"  - {name: l2, bind: ['127.0.0.1:%u', '127.0.0.1:%u'], pool: p}\n"
			"pools:\n"
			"  - {name: p, timeouts: {idle: 9s}, balance: first,\n"
			"     backends: [" C ", {name: a, address: '127.0.0.1:1', weight: 9}]}\n"
			"  - {name: q, backends: [" A "]}\n",
			port, other));
	ck_assert_int_eq(n_sockets(), N_WORKERS);
	ck_assert_ptr_null(delta_free(&registry, d));

	ck_assert_int_eq(n_sockets(), 0);
	ck_assert(!is_accepting(other));
	ck_assert_uint_eq(n_of(&registry.listeners), 1);
	ck_assert_ptr_eq(listener_at(0), l);
	ck_assert_str_eq(atomic_load(&l->name), "l");
	ck_assert_uint_eq(ref_count(&l->refs), 1);
	ck_assert_ptr_eq(registry.snapshot, snapshot);
	ck_assert_uint_eq(n_of(&registry.pools), 1);
	ck_assert_ptr_eq(pool_named("p")->members, members);
	ck_assert_int_eq(pool_named("p")->balance, CONF_BALANCE_LEAST);
	ck_assert_uint_eq(pool_idle_ms(pool_named("p")->pool), 7000);
	ck_assert_str_eq(backends_of(pool_named("p")), "a b");
	ck_assert_ptr_eq(backend_named("a")->backend, a);
	ck_assert_uint_eq(backend_weight(a), 1);
	ck_assert_uint_eq(ref_count(&a->refs), refs);
	ck_assert_ptr_null(delta_free(&registry, NULL));
}
END_TEST

/* Whatever else of it changed: its sockets stay, so nobody who is queued is reset. */
START_TEST(a_listener_is_its_address)
{
	uint16_t port = free_port();

	committed(simple(port, "backends: [" A "]"));
	struct listener *l = listener_at(0);
	struct delta *d = prepared(written("listeners: [{name: new, bind: '127.0.0.1:%u', mode: "
					   "tcp, pool: q}]\n"
					   "pools: [{name: q, backends: [" A "]}]\n",
					   port));
	ck_assert(!d->listeners[0].is_new);
	ck_assert_ptr_null(d->listeners[0].fd);
	ck_assert_ptr_eq(d->listeners[0].listener, l);
	ck_assert_int_eq(n_sockets(), 0);
	ck_assert_str_eq(atomic_load(&l->name), "l");
	delta_commit(&registry, d);
	registry_tidy(&registry);
	ck_assert_str_eq(atomic_load(&l->name), "new");
	ck_assert_ptr_eq(listener_at(0), l);
	delta_free(&registry, d);
}
END_TEST

static struct conf *two_addresses(uint16_t one, uint16_t two)
{
	return written("listeners: [{name: l, bind: ['127.0.0.1:%u', '127.0.0.1:%u'], pool: p}]\n"
		       "pools: [{name: p, backends: [" A "]}]\n",
		       one, two);
}

START_TEST(addresses_come_and_go)
{
	uint16_t a = free_port(), b = free_port(), c = free_port();

	committed(two_addresses(a, b));
	ck_assert_uint_eq(n_of(&registry.listeners), 2);
	struct listener *kept = listener_at(1), *gone = listener_ref(listener_at(0));
	uint64_t number = kept->number;

	struct delta *d = prepared(two_addresses(c, b));
	ck_assert(d->listeners[0].is_new && !d->listeners[1].is_new);
	ck_assert_uint_ne(d->listeners[0].listener->number, number);
	ck_assert_uint_ne(d->listeners[0].listener->number, gone->number);
	delta_commit(&registry, d);
	registry_tidy(&registry);
	ck_assert_uint_eq(n_of(&registry.listeners), 2);
	ck_assert_uint_eq(listener_at(0)->addr.port, c);
	ck_assert_ptr_eq(listener_at(1), kept);
	/* Sessions that came in by it may hold the one that has left: the registry remembers it. */
	ck_assert_uint_eq(n_of(&registry.leaving), 1);
	listener_unref(gone);
	registry_tidy(&registry);
	ck_assert_uint_eq(n_of(&registry.leaving), 0);
	delta_free(&registry, d);
}
END_TEST

/* ---- addresses that include each other ------------------------------------------------------- */

/* A listening socket of somebody else's, who is the same user and shares his port. */
static int squatting(const char *host, uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	ck_assert_int_eq(inet_pton(AF_INET, host, &at.sin_addr), 1);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

/* clang-format off */
static const struct {
	const char *name;
	const char *from, *to; /* binds, # for the port */
	const char *squatter;  /* who listens there, too; NULL: nobody */
	int want;
} includes[] = {
	{ "to all", "'127.0.0.1:#'", "'0.0.0.0:#'", NULL, 0 },
	{ "to one", "'0.0.0.0:#'", "'127.0.0.1:#'", NULL, 0 },
	{ "to both", "'127.0.0.1:#'", "'0.0.0.0:#', '127.0.0.1:#'", NULL, 0 },
	{ "both from the start", "'0.0.0.0:#', '127.0.0.1:#'", "'127.0.0.1:#'", NULL, 0 },
	{ "to another one and all", "'127.0.0.1:#'", "'127.0.0.2:#', '0.0.0.0:#'", NULL, 0 },
	{ "to all of IPv6", "'[::1]:#'", "'[::]:#'", NULL, 0 },
	{ "to one of IPv6", "'[::]:#'", "'[::1]:#'", NULL, 0 },
	{ "to all of the other family", "'127.0.0.1:#'", "'[::]:#'", NULL, 0 },
	{ "to all, where somebody has one", "'127.0.0.1:#'", "'0.0.0.0:#'", "127.0.0.2", -EADDRINUSE },
	{ "to one that somebody has", "'0.0.0.0:#'", "'127.0.0.2:#'", "127.0.0.2", -EADDRINUSE },
	{ "to one, where somebody has another", "'0.0.0.0:#'", "'127.0.0.1:#'", "127.0.0.2", 0 },
};
/* clang-format on */

static struct conf *with_binds(const char *binds, uint16_t port)
{
	char text[128];
	size_t n = 0;

	for (const char *p = binds; *p != '\0'; p++)
		n += (size_t)(*p == '#' ? snprintf(text + n, sizeof(text) - n, "%u", port)
					: snprintf(text + n, sizeof(text) - n, "%c", *p));
	return written("listeners: [{name: l, bind: [%s], pool: p}]\n"
		       "pools: [{name: p, backends: [" A "]}]\n",
		       text);
}

/* Lets the delta's sockets listen; they go on when it is committed, as the workers' do. */
static void serve(struct delta *d, int *copies, size_t *n)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(delta_binds_listen(&registry, d, &e), 0);
	for (size_t i = 0; i < d->n_listeners; i++)
		for (int w = 0; d->listeners[i].is_new && w < N_WORKERS; w++)
			copies[(*n)++] = dup(d->listeners[i].fd[w]);
	delta_commit(&registry, d);
	delta_free(&registry, d);
}

/* lb's own sockets are in nobody's way; those of another program are found as ever. */
START_TEST(an_address_may_include_another)
{
	uint16_t port = free_port();
	int copies[4 * N_WORKERS], squatter = -1;
	size_t n = 0;
	struct err e = ERR_INIT;
	struct delta *d = NULL;

	serve(prepared(with_binds(includes[_i].from, port)), copies, &n);
	if (includes[_i].squatter != NULL)
		squatter = squatting(includes[_i].squatter, port);
	struct conf *conf = with_binds(includes[_i].to, port);
	int r = delta_prepare(&registry, conf, &e, &d);
	ck_assert_msg((r < 0) == (includes[_i].want < 0), "%s: %d", includes[_i].name, r);
	if (r == 0)
		serve(d, copies, &n);
	else
		ck_assert(has_line(&e, ":1:", strerror(-includes[_i].want)));
	conf_unref(conf);
	for (size_t i = 0; i < n; i++)
		close(copies[i]);
	if (squatter >= 0)
		close(squatter);
	err_deinit(&e);
}
END_TEST

/* Nobody writes its real port: it is known by its name. */
START_TEST(port_0_is_kept_by_its_name)
{
	committed(simple(0, "backends: [" A "]"));
	struct listener *l = listener_at(0);
	ck_assert_uint_ne(l->addr.port, 0);
	ck_assert(l->is_any_port);
	ck_assert_ptr_null(strstr(l->text, ":0"));

	committed(simple(0, "backends: [" B "]"));
	ck_assert_ptr_eq(listener_at(0), l);

	struct delta *d = prepared(written("listeners: [{name: m, bind: '127.0.0.1:0', pool: p}]\n"
					   "pools: [{name: p, backends: [" A "]}]\n"));
	ck_assert(d->listeners[0].is_new);
	ck_assert_uint_ne(d->listeners[0].listener->addr.port, l->addr.port);
	delta_free(&registry, d);
}
END_TEST

/* ---- failures -------------------------------------------------------------------------------- */

/* Every address that cannot be had is named, with its place in the file; nothing has changed. */
START_TEST(failed_binds_are_all_named_and_undone)
{
	uint16_t port = free_port(), vacant = free_port(), taken;
	struct err e = ERR_INIT;
	struct delta *d = NULL;
	char address[32];
	int squatter = listening(1, &taken);

	committed(simple(port, "timeouts: {idle: 7s}, backends: [" A "]"));
	struct snapshot *snapshot = registry.snapshot;
	struct conf *bad = written("listeners:\n"
				   "  - {name: l, bind: '127.0.0.1:%u', pool: p}\n"
				   "  - {name: vacant, bind: '127.0.0.1:%u', pool: p}\n"
				   "  - {name: taken, bind: '127.0.0.1:%u', pool: p}\n"
				   "  - {name: strange, bind: '192.0.2.1:%u', pool: p}\n"
				   "pools: [{name: p, timeouts: {idle: 9s}, backends: [" B "]}]\n",
				   port, vacant, taken, vacant);
	int before = n_sockets();
	ck_assert_int_lt(delta_prepare(&registry, bad, &e, &d), 0);
	ck_assert_ptr_null(d);

	ck_assert_uint_eq(e.n, 2);
	(void)snprintf(address, sizeof(address), "127.0.0.1:%u", taken);
	ck_assert(has_line(&e, ":4:", address));
	ck_assert(has_line(&e, ":4:", strerror(EADDRINUSE)));
	ck_assert(has_line(&e, ":5:", "192.0.2.1:"));
	ck_assert(has_line(&e, ":5:", strerror(EADDRNOTAVAIL)));

	ck_assert_int_eq(n_sockets(), before);
	ck_assert(!is_accepting(vacant));
	ck_assert_uint_eq(n_of(&registry.listeners), 1);
	ck_assert_ptr_eq(registry.snapshot, snapshot);
	ck_assert_str_eq(backends_of(pool_named("p")), "a");
	ck_assert_uint_eq(pool_idle_ms(pool_named("p")->pool), 7000);
	ck_assert_uint_eq(ref_count(&bad->refs), 1);
	conf_unref(bad);
	err_deinit(&e);
	close(squatter);
}
END_TEST

/* Descriptors run out after so many sockets: those before it are closed again. */
START_TEST(a_full_table_undoes_what_was_bound)
{
	struct rlimit all, few;
	struct err e = ERR_INIT;
	struct delta *d = NULL;
	struct conf *conf = simple(free_port(), "backends: [" A "]");
	int before = n_sockets();

	/* One more than are open is for probing the address; _i of N_WORKERS sockets fit. */
	int probe = dup(0);
	close(probe);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
	few = (struct rlimit){ .rlim_cur = (rlim_t)(probe + _i), .rlim_max = all.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	int r = delta_prepare(&registry, conf, &e, &d);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &all), 0);
	ck_assert_int_lt(r, 0);
	ck_assert_ptr_null(d);
	ck_assert(has_line(&e, ":1:", strerror(EMFILE)));
	ck_assert_int_eq(n_sockets(), before);
	ck_assert(list_is_empty(&registry.listeners));

	/* And with room again, it works. */
	d = prepared(conf);
	ck_assert_int_eq(n_sockets(), before + N_WORKERS);
	delta_free(&registry, d);
	err_deinit(&e);
}
END_TEST

/* Between the bind and the listen somebody else may begin to listen: that is told, too. */
START_TEST(a_failed_listen_is_told)
{
	uint16_t port = free_port();
	struct err e = ERR_INIT;
	struct delta *d = prepared(simple(port, "backends: [" A "]"));
	char address[32];

	loop_close(loop, d->listeners[0].fd[N_WORKERS - 1]);
	d->listeners[0].fd[N_WORKERS - 1] = open("/dev/null", O_RDWR | O_CLOEXEC);
	ck_assert_int_lt(delta_binds_listen(&registry, d, &e), 0);
	(void)snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	ck_assert(has_line(&e, address, strerror(ENOTSOCK)));
	delta_free(&registry, d);
	ck_assert(!is_accepting(port));
	err_deinit(&e);
}
END_TEST

/* ---- backends -------------------------------------------------------------------------------- */

/* (pool, name, address) in the next file is the same one, with its counters. */
static const struct {
	const char *name;
	const char *next; /* of the pool with A and B in it */
	bool is_a_kept;
	const char *want;
} identities[] = {
	{ "nothing changed", "{name: p, backends: [" A ", " B "]}", true, "a b" },
	{ "another order", "{name: p, backends: [" B ", " A "]}", true, "b a" },
	{ "another weight", "{name: p, backends: [{name: a, address: '127.0.0.1:1', weight: 5}]}",
	  true, "a" },
	{ "a third one first", "{name: p, backends: [" C ", " A "]}", true, "c a" },
	{ "another address", "{name: p, backends: [{name: a, address: '127.0.0.1:9'}]}", false,
	  "a" },
	{ "another name", "{name: p, backends: [{name: z, address: '127.0.0.1:1'}]}", false, "z" },
};

START_TEST(a_backend_is_its_pool_name_and_address)
{
	uint16_t port = free_port();

	committed(simple(port, "backends: [" A ", " B "]"));
	struct backend *a = backend_ref(backend_named("a")->backend);
	committed(written("listeners: [{name: l, bind: '127.0.0.1:%u', pool: p}]\npools: [%s]\n",
			  port, identities[_i].next));
	ck_assert_str_eq(backends_of(pool_named("p")), identities[_i].want);
	bool is_kept = false;
	list_for_each(it, &pool_named("p")->backends) is_kept =
		is_kept || list_entry(it, struct registry_backend, link)->backend == a;
	ck_assert_msg(is_kept == identities[_i].is_a_kept, "%s", identities[_i].name);
	ck_assert_msg(atomic_load(&a->is_removed) != is_kept, "%s", identities[_i].name);
	/* Where it left, nobody but this test holds it: it had no connection. */
	ck_assert_msg((ref_count(&a->refs) == 1) != is_kept, "%s", identities[_i].name);
	backend_unref(a);
}
END_TEST

START_TEST(a_removed_backend_stays_until_its_last_connection)
{
	uint16_t port = free_port();

	committed(simple(port, "backends: [" A ", " B ", " C "]"));
	struct backend *a = backend_ref(backend_named("a")->backend);
	ck_assert(backend_reserve(a));
	ck_assert(backend_reserve(a));

	committed(simple(port, "backends: [" C "]"));
	ck_assert_str_eq(backends_of(pool_named("p")), "c -a"); /* b had none and is gone */
	ck_assert_ptr_null(registry_find_backend(pool_named("p"), "a"));
	ck_assert_str_eq(backend_state_name(a), "draining");
	ck_assert_uint_eq(pool_named("p")->members->n, 1); /* nobody picks the removed ones */
	ck_assert_ptr_ne(pool_named("p")->members->entry[0].backend, a);

	backend_release(a);
	registry_tidy(&registry);
	ck_assert_str_eq(backends_of(pool_named("p")), "c -a");
	backend_release(a);
	registry_tidy(&registry);
	ck_assert_str_eq(backends_of(pool_named("p")), "c");
	ck_assert_uint_eq(ref_count(&a->refs), 1);
	backend_unref(a);
}
END_TEST

START_TEST(a_removed_backend_may_come_back)
{
	uint16_t port = free_port();

	committed(simple(port, "backends: [" A ", " B "]"));
	struct backend *a = backend_named("a")->backend;
	ck_assert(backend_reserve(a));
	backend_count_bytes(a, 1, 100, 200);
	committed(simple(port, "backends: [" B "]"));
	committed(simple(port, "backends: [" B ", " A "]"));
	ck_assert_ptr_eq(backend_named("a")->backend, a);
	ck_assert_str_eq(backends_of(pool_named("p")), "b a");
	ck_assert_uint_eq(backend_active(a), 1);
	ck_assert_uint_eq(backend_bytes_out(a), 200);
	ck_assert(backend_is_usable(a));
	backend_release(a);
}
END_TEST

/* A name may move to another address while the old one still serves. */
START_TEST(an_old_and_a_new_one_of_a_name_live_side_by_side)
{
	uint16_t port = free_port();

	committed(simple(port, "backends: [" A "]"));
	struct backend *old = backend_named("a")->backend;
	ck_assert(backend_reserve(old));
	committed(simple(port, "backends: [{name: a, address: '127.0.0.1:9'}]"));
	ck_assert_str_eq(backends_of(pool_named("p")), "a -a");
	ck_assert_ptr_ne(backend_named("a")->backend, old);
	ck_assert_uint_eq(backend_named("a")->backend->addr.port, 9);
	backend_release(old);
	registry_tidy(&registry);
	ck_assert_str_eq(backends_of(pool_named("p")), "a");
}
END_TEST

/* ---- what is gone ---------------------------------------------------------------------------- */

/* What a backend did outlives it: under its name, and after an hour in the name of who has it. */
START_TEST(a_name_keeps_its_sums)
{
	uint16_t port = free_port();

	committed(simple(port, "backends: [" A ", " B "]"));
	backend_count_bytes(backend_named("a")->backend, 0, 100, 200);
	backend_count_failure(backend_named("b")->backend, 1);
	committed(simple(port, "backends: [{name: a, address: '127.0.0.1:9'}]"));
	struct registry_pool *p = pool_named("p");
	ck_assert_uint_eq(n_of(&p->past.records), 2);
	ck_assert_uint_eq(registry.past.n, 2);
	ck_assert(backend_sums_are_zero(&backend_named("a")->past));

	loop->now_ns += PAST_KEEP_NS;
	registry_tidy(&registry);
	ck_assert_uint_eq(registry.past.n, 0);
	ck_assert_uint_eq(backend_named("a")->past.bytes_in, 100);
	ck_assert_uint_eq(backend_named("a")->past.bytes_out, 200);
	ck_assert_uint_eq(backend_named("a")->past.failed, 0);
	ck_assert_uint_eq(p->past.sums.failed, 1);
	ck_assert_uint_eq(p->past.sums.bytes_in, 0);

	/* It moves once more: the sums of both addresses go along. */
	backend_count_bytes(backend_named("a")->backend, 0, 1, 2);
	committed(simple(port, "backends: [" B "]"));
	committed(simple(port, "backends: [{name: a, address: '127.0.0.1:8'}]"));
	loop->now_ns += PAST_KEEP_NS;
	registry_tidy(&registry);
	ck_assert_uint_eq(backend_named("a")->past.bytes_in, 101);
	ck_assert_uint_eq(backend_named("a")->past.bytes_out, 202);
}
END_TEST

/* One that still serves counts on, under whatever address its name is now. */
START_TEST(the_hour_begins_with_the_last_connection)
{
	uint16_t port = free_port();

	committed(simple(port, "backends: [" A "]"));
	struct backend *a = backend_named("a")->backend;
	ck_assert(backend_reserve(a));
	committed(simple(port, "backends: [" B "]"));
	loop->now_ns += 2 * PAST_KEEP_NS;
	registry_tidy(&registry);
	ck_assert_str_eq(backends_of(pool_named("p")), "b -a");
	backend_count_bytes(a, 0, 5, 5);
	backend_release(a);
	registry_tidy(&registry);
	ck_assert_uint_eq(registry.past.n, 1);
	loop->now_ns += PAST_KEEP_NS - 1;
	registry_tidy(&registry);
	ck_assert_uint_eq(registry.past.n, 1);
	loop->now_ns++;
	registry_tidy(&registry);
	ck_assert_uint_eq(pool_named("p")->past.sums.bytes_in, 5);
}
END_TEST

/* A pool that has left the file goes with the last of its past, and no backend stays for it. */
START_TEST(a_removed_pool_stays_with_its_past)
{
	uint16_t port = free_port();

	committed(simple(port, "backends: [" A "]"));
	struct registry_pool *p = pool_named("p");
	struct backend *a = backend_ref(backend_named("a")->backend);
	backend_count_bytes(a, 0, 5, 5);
	for (int comes_back = 1; comes_back >= 0; comes_back--) {
		committed(written("listeners: [{name: l, bind: '127.0.0.1:%u', pool: q}]\n"
				  "pools: [{name: q, backends: [" A "]}]\n",
				  port));
		ck_assert_uint_eq(n_of(&registry.pools), 2);
		ck_assert(list_is_empty(&p->backends));
		ck_assert_uint_eq(ref_count(&a->refs), 1);
		if (comes_back) {
			committed(simple(port, "backends: [" A "]"));
			ck_assert_ptr_eq(pool_named("p"), p);
			ck_assert_uint_eq(n_of(&p->past.records), 1);
		}
	}
	loop->now_ns += PAST_KEEP_NS;
	registry_tidy(&registry);
	ck_assert_uint_eq(n_of(&registry.pools), 1);
	backend_unref(a);
}
END_TEST

/* A pool's own counters are kept as long, also where its backends have done nothing, and where
 * other backends of the pool left the file long before. */
START_TEST(a_removed_pool_keeps_its_counters)
{
	uint16_t port = free_port();

	committed(simple(port, "backends: [" A ", " B "]"));
	struct registry_pool *p = pool_named("p");
	backend_count_failure(backend_named("b")->backend, 1);
	committed(simple(port, "backends: [" A "]"));
	loop->now_ns += PAST_KEEP_NS - 1;
	registry_tidy(&registry);
	pool_count_end(p->pool, 1);
	pool_count_response(p->pool, 503);
	for (int comes_back = 1; comes_back >= 0; comes_back--) {
		committed(written("listeners: [{name: l, bind: '127.0.0.1:%u', pool: q}]\n"
				  "pools: [{name: q, backends: [" A "]}]\n",
				  port));
		ck_assert_uint_eq(n_of(&registry.pools), 2);
		ck_assert(list_is_empty(&p->backends));
		if (comes_back) {
			committed(simple(port, "backends: [" A "]"));
			ck_assert_ptr_eq(pool_named("p"), p);
		}
	}
	ck_assert_uint_eq(counter_read(&p->pool->tally.ends[1]), 1);
	loop->now_ns += PAST_KEEP_NS - 1;
	registry_tidy(&registry);
	ck_assert_uint_eq(n_of(&registry.pools), 2);
	loop->now_ns++;
	registry_tidy(&registry);
	ck_assert_uint_eq(n_of(&registry.pools), 1);
}
END_TEST

/* ---- pools ----------------------------------------------------------------------------------- */

/* The listener leads to `first`. */
static struct conf *with_pools(uint16_t port, const char *first, const char *pools)
{
	return written("listeners: [{name: l, bind: '127.0.0.1:%u', pool: %s}]\npools: [%s]\n",
		       port, first, pools);
}

START_TEST(a_removed_pool_stays_with_its_last_connection)
{
	uint16_t port = free_port();

	committed(with_pools(port, "p",
			     "{name: p, backends: [" A "]}, "
			     "{name: idle, backends: [" A "]}"));
	struct registry_pool *p = pool_named("p");
	struct pool *pool = p->pool;
	struct backend *a = backend_named("a")->backend;
	/* One address in two pools is two backends. */
	ck_assert_ptr_ne(a, registry_find_backend(pool_named("idle"), "a")->backend);
	ck_assert(backend_reserve(a));

	committed(with_pools(port, "q", "{name: q, backends: [" A "]}"));
	ck_assert_ptr_null(registry_find_pool(&registry, "p"));
	ck_assert_ptr_null(registry_find_pool(&registry, "idle"));
	ck_assert_uint_eq(n_of(&registry.pools), 2); /* idle is gone */
	ck_assert(p->is_removed);
	ck_assert_str_eq(backends_of(p), "-a");
	ck_assert_uint_ne(pool_named("q")->pool->slot, pool->slot);

	committed(with_pools(port, "p", "{name: p, backends: [" A "]}"));
	ck_assert_ptr_eq(pool_named("p")->pool, pool);
	ck_assert_ptr_eq(backend_named("a")->backend, a);
	ck_assert_uint_eq(n_of(&registry.pools), 1);

	committed(with_pools(port, "q", "{name: q, backends: [" A "]}"));
	backend_release(a);
	registry_tidy(&registry);
	ck_assert_uint_eq(n_of(&registry.pools), 1);
}
END_TEST

/* A session that still shakes hands under the old snapshot may pick from a pool that left the file.
 */
START_TEST(a_removed_pool_stays_while_a_snapshot_names_it)
{
	uint16_t port = free_port();

	committed(with_pools(port, "p", "{name: p, backends: [" A ", " B "]}"));
	struct snapshot *snapshot = snapshot_ref(registry.snapshot); /* as such a session does */
	struct registry_pool *p = pool_named("p");
	struct members *members = p->members;
	ck_assert_ptr_null(pool_kept_members(p->pool));

	for (int i = 0; i < 3; i++) {
		committed(with_pools(port, "q", "{name: q, backends: [" A "]}"));
		ck_assert_ptr_null(registry_find_pool(&registry, "p"));
		ck_assert_str_eq(backends_of(p), "-a -b");
		ck_assert_ptr_eq(pool_kept_members(p->pool), members);
		for (size_t b = 0; b < members->n; b++)
			ck_assert(backend_is_usable(members->entry[b].backend));
	}
	/* It comes back as the same one, and leaves again. */
	committed(with_pools(port, "p", "{name: p, backends: [" B "]}"));
	ck_assert_ptr_eq(pool_named("p"), p);
	ck_assert_ptr_null(pool_kept_members(p->pool));
	ck_assert_str_eq(backends_of(p), "b");
	committed(with_pools(port, "q", "{name: q, backends: [" A "]}"));
	ck_assert_ptr_eq(pool_kept_members(p->pool), p->members);
	ck_assert_uint_eq(p->members->n, 1);

	snapshot_unref(snapshot);
	registry_tidy(&registry);
	ck_assert_uint_eq(n_of(&registry.pools), 1);
	ck_assert_ptr_null(registry.old);
}
END_TEST

/* ---- what is given back ---------------------------------------------------------------------- */

#define N_RENAMES 100
#define N_POOLS_EACH 8

/* Pools, routes and a listener whose names are those of no other generation. */
static struct conf *generation(uint16_t port, int g)
{
	char routes[1024] = "", pools[1024] = "";

	for (int i = 0; i < N_POOLS_EACH; i++) {
		(void)snprintf(routes + strlen(routes), sizeof(routes) - strlen(routes),
			       "%s{name: r%d-%d, path: /%d, pool: p%d-%d}", i > 0 ? ", " : "", g, i,
			       i, g, i);
		(void)snprintf(pools + strlen(pools), sizeof(pools) - strlen(pools),
			       "%s{name: p%d-%d, backends: [" A "]}", i > 0 ? ", " : "", g, i);
	}
	return written("listeners: [{name: l%d, bind: '127.0.0.1:%u', routes: [%s]}]\n"
		       "pools: [%s]\n",
		       g, port, routes, pools);
}

/* However often all is renamed: slots and names are those of two generations at most. */
START_TEST(slots_and_names_are_given_back)
{
	uint16_t port = free_port();

	for (int g = 0; g < N_RENAMES; g++) {
		committed(generation(port, g));
		ck_assert_uint_eq(n_of(&registry.pools), N_POOLS_EACH);
		ck_assert_uint_le(registry.next_slot, 2 * N_POOLS_EACH);
		ck_assert_uint_eq(registry.next_slot - registry.n_free, N_POOLS_EACH);
		ck_assert_uint_eq(names_count(registry.names), N_POOLS_EACH + 1);
		bool is_taken[2 * N_POOLS_EACH] = { false };
		list_for_each(it, &registry.pools)
		{
			uint32_t slot = list_entry(it, struct registry_pool, link)->pool->slot;
			ck_assert(!is_taken[slot]);
			is_taken[slot] = true;
		}
	}
	/* What is refused gives back what it has taken, too. */
	for (int g = 0; g < N_RENAMES; g++)
		delta_free(&registry, prepared(generation(port, -g)));
	ck_assert_uint_le(registry.next_slot, 2 * N_POOLS_EACH);
	ck_assert_uint_eq(registry.next_slot - registry.n_free, N_POOLS_EACH);
}
END_TEST

/* A living tunnel keeps its pool, with its slot, and the name of its route; nothing else stays. */
START_TEST(a_living_tunnel_keeps_what_it_names)
{
	uint16_t port = free_port();

	committed(generation(port, 0));
	struct registry_pool *p = pool_named("p0-3");
	struct backend *a = registry_find_backend(p, "a")->backend;
	const char *route = names_ref(registry.snapshot->listeners[0].route_name[3]);
	uint32_t slot = p->pool->slot;
	ck_assert(backend_reserve(a));
	for (int g = 1; g < N_RENAMES; g++) {
		committed(generation(port, g));
		ck_assert_uint_eq(n_of(&registry.pools), N_POOLS_EACH + 1);
		ck_assert_uint_eq(registry.next_slot - registry.n_free, N_POOLS_EACH + 1);
		ck_assert_uint_le(registry.next_slot, 2 * N_POOLS_EACH + 1);
		ck_assert_uint_eq(names_count(registry.names), N_POOLS_EACH + 2);
		for (int i = 0; i < N_POOLS_EACH; i++)
			ck_assert_uint_ne(registry.snapshot->pools[i].pool->slot, slot);
	}
	ck_assert_str_eq(route, "r0-3");
	names_unref(route);
	backend_release(a);
	committed(generation(port, N_RENAMES));
	ck_assert_uint_eq(n_of(&registry.pools), N_POOLS_EACH);
	ck_assert_uint_eq(names_count(registry.names), N_POOLS_EACH + 1);
}
END_TEST

/* Relaying sessions read them: they change at the commit, not before. */
START_TEST(live_settings_change_at_the_commit)
{
	uint16_t port = free_port();

	committed(simple(port, "timeouts: {idle: 7s, user: 10s}, backends: [" A "]"));
	struct pool *p = pool_named("p")->pool;
	struct delta *d = prepared(
		simple(port, "balance: random, health: {type: http}, timeouts: {idle: off, "
			     "user: 20s, half_closed: 3s}, relay: {splice: never}, "
			     "backends: [{name: a, address: '127.0.0.1:1', "
			     "max_connections: 5}]"));
	ck_assert_uint_eq(pool_idle_ms(p), 7000);
	ck_assert_uint_eq(pool_user_ms(p), 10000);
	ck_assert_uint_eq(backend_max_conns(backend_named("a")->backend), 0);
	ck_assert(delta_has_new_timeouts(d));
	delta_commit(&registry, d);
	registry_tidy(&registry);
	ck_assert_ptr_eq(pool_named("p")->pool, p);
	ck_assert_uint_eq(pool_idle_ms(p), CONF_OFF);
	ck_assert_uint_eq(pool_user_ms(p), 20000);
	ck_assert_uint_eq(pool_half_closed_ms(p), 3000);
	ck_assert_int_eq(pool_splice(p), CONF_SPLICE_NEVER);
	ck_assert_uint_eq(backend_max_conns(backend_named("a")->backend), 5);
	ck_assert_int_eq(pool_named("p")->balance, CONF_BALANCE_RANDOM);
	ck_assert_int_eq(pool_named("p")->check, CONF_CHECK_HTTP);
	delta_free(&registry, d);
}
END_TEST

static const struct {
	const char *name;
	const char *next;
	bool want;
} timeouts[] = {
	{ "the same", "timeouts: {idle: 7s}", false },
	{ "another idle", "timeouts: {idle: 8s}", true },
	{ "no idle", "timeouts: {}", true },
	{ "another half_closed", "timeouts: {idle: 7s, half_closed: 3s}", true },
	{ "what tunnels do not wait for", "timeouts: {idle: 7s, connect: 1s, user: off}", false },
};

/* Then every tunnel's timer must be set anew, which takes time where there are many. */
START_TEST(new_timeouts_are_found)
{
	uint16_t port = free_port();
	char next[128];

	committed(simple(port, "timeouts: {idle: 7s}, backends: [" A "]"));
	(void)snprintf(next, sizeof(next), "%s, backends: [" A ", " B "]", timeouts[_i].next);
	struct delta *d = prepared(simple(port, next));
	ck_assert_msg(delta_has_new_timeouts(d) == timeouts[_i].want, "%s", timeouts[_i].name);
	delta_free(&registry, d);
}
END_TEST

/* ---- weights --------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	bool is_set; /* to 9, at run time */
	const char *next;
	uint32_t want;
} weights[] = {
	{ "the file's", false, "weight: 2", 2 },
	{ "the next file's", false, "weight: 3", 3 },
	{ "set, and the file says the same again", true, "weight: 2", 9 },
	{ "set, and the file has changed", true, "weight: 3", 3 },
	{ "set, and the file leaves it out", true, "max_connections: 7", 1 },
	{ "set, and the file turns it off", true, "weight: 0", 0 },
};

/* What was set at run time holds until the file changes that backend's weight. */
START_TEST(a_weight_set_at_run_time_holds_until_the_file_changes_it)
{
	uint16_t port = free_port();
	char pool[200];

	committed(simple(port, "backends: [{name: a, address: '127.0.0.1:1', weight: 2}, " B "]"));
	struct registry_backend *a = backend_named("a");
	if (weights[_i].is_set) {
		backend_set_weight(a->backend, 9);
		a->is_weight_set = true;
	}
	(void)snprintf(pool, sizeof(pool),
		       "backends: [{name: a, address: '127.0.0.1:1', %s}, " B "]",
		       weights[_i].next);
	committed(simple(port, pool));
	ck_assert_msg(backend_weight(a->backend) == weights[_i].want, "%s", weights[_i].name);
	ck_assert_uint_eq(pool_named("p")->members->entry[0].weight, weights[_i].want);
	/* The same file once more changes nothing. */
	committed(simple(port, pool));
	ck_assert_msg(backend_weight(a->backend) == weights[_i].want, "%s", weights[_i].name);
}
END_TEST

/* A list of backends, wherever it comes from, gives a pool other members; no file is needed. */
START_TEST(a_list_replaces_the_members_of_a_pool)
{
	uint16_t port = free_port();
	struct delta *d = NULL;

	committed(simple(port, "balance: hash, hash: {load_factor: 1.5}, backends: [" A ", " B
			       ", " C "]"));
	struct registry_pool *p = pool_named("p");
	struct backend *a = backend_named("a")->backend, *b = backend_named("b")->backend;
	const struct snapshot *snapshot = registry.snapshot;
	struct members *old = members_ref(p->members);
	struct conf_backend list[] = {
		{ .name = a->name, .addr = a->addr, .weight = 1, .max_conns = 9 },
		{ .name = (char[]){ "new" }, .addr = a->addr, .weight = 42 },
	};

	backend_named("a")->is_weight_set = true;
	backend_set_weight(a, 5);
	ck_assert(backend_reserve(b));
	ck_assert_int_eq(delta_of_pool(&registry, p, list, 2, &d), 0);
	ck_assert_int_eq(delta_freeze(&d->pools[0]), 0);
	ck_assert_ptr_eq(p->members, old); /* nothing is set yet */
	ck_assert(!delta_has_new_timeouts(d));
	delta_commit(&registry, d);
	ck_assert_ptr_null(delta_free(&registry, d));

	ck_assert_ptr_eq(registry.snapshot, snapshot);
	ck_assert_ptr_eq(pool_named("p"), p);
	ck_assert_uint_eq(p->members->n, 2);
	ck_assert_ptr_eq(p->members->entry[0].backend, a);
	ck_assert_uint_eq(p->members->entry[0].weight, 5); /* an operator's weight holds */
	ck_assert_uint_eq(backend_max_conns(a), 9);
	ck_assert_str_eq(p->members->entry[1].backend->name, "new");
	ck_assert_uint_eq(p->members->entry[1].weight, 42);
	ck_assert_int_eq(p->members->balance, CONF_BALANCE_HASH);
	ck_assert_uint_eq(members_load_percent(p->members), 150);
	ck_assert_uint_eq(old->n, 3); /* workers may still pick by it */
	ck_assert_ptr_null(registry_find_backend(p, "b"));
	registry_tidy(&registry); /* b has a connection, c has none */
	ck_assert(list_length(&p->backends) == 3);
	backend_release(b);
	registry_tidy(&registry);
	ck_assert(list_length(&p->backends) == 2);
	members_unref(old);
}
END_TEST

START_TEST(a_list_that_is_not_committed_leaves_no_trace)
{
	struct delta *d = NULL;

	committed(simple(free_port(), "backends: [" A ", " B "]"));
	struct registry_pool *p = pool_named("p");
	struct members *old = p->members;
	ck_assert_int_eq(delta_of_pool(&registry, p, NULL, 0, &d), 0);
	ck_assert_int_eq(delta_freeze(&d->pools[0]), 0);
	ck_assert_ptr_null(delta_free(&registry, d));
	ck_assert_ptr_eq(p->members, old);
	ck_assert_uint_eq(ref_count(&old->refs), 1);
	ck_assert(!backend_named("a")->is_removed && !backend_named("b")->is_removed);
}
END_TEST

static void add_tests(TCase *t)
{
	engines[n_engines++] = LOOP_EPOLL;
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, preparing_changes_nothing);
	tcase_add_test(t, dropping_leaves_no_trace);
	tcase_add_test(t, a_listener_is_its_address);
	tcase_add_test(t, addresses_come_and_go);
	tcase_add_loop_test(t, an_address_may_include_another, 0, ARRAY_SIZE(includes));
	tcase_add_test(t, port_0_is_kept_by_its_name);
	tcase_add_test(t, failed_binds_are_all_named_and_undone);
	tcase_add_loop_test(t, a_full_table_undoes_what_was_bound, 0, N_WORKERS);
	tcase_add_test(t, a_failed_listen_is_told);
	tcase_add_loop_test(t, a_backend_is_its_pool_name_and_address, 0, ARRAY_SIZE(identities));
	tcase_add_test(t, a_removed_backend_stays_until_its_last_connection);
	tcase_add_test(t, a_removed_backend_may_come_back);
	tcase_add_test(t, an_old_and_a_new_one_of_a_name_live_side_by_side);
	tcase_add_test(t, a_name_keeps_its_sums);
	tcase_add_test(t, the_hour_begins_with_the_last_connection);
	tcase_add_test(t, a_removed_pool_stays_with_its_past);
	tcase_add_test(t, a_removed_pool_keeps_its_counters);
	tcase_add_test(t, a_removed_pool_stays_with_its_last_connection);
	tcase_add_test(t, a_removed_pool_stays_while_a_snapshot_names_it);
	tcase_add_test(t, slots_and_names_are_given_back);
	tcase_add_test(t, a_living_tunnel_keeps_what_it_names);
	tcase_add_test(t, live_settings_change_at_the_commit);
	tcase_add_loop_test(t, new_timeouts_are_found, 0, ARRAY_SIZE(timeouts));
	tcase_add_loop_test(t, a_weight_set_at_run_time_holds_until_the_file_changes_it, 0,
			    ARRAY_SIZE(weights));
	tcase_add_test(t, a_list_replaces_the_members_of_a_pool);
	tcase_add_test(t, a_list_that_is_not_committed_leaves_no_trace);
}

int main(void)
{
	return run_suite("daemon/registry", add_tests);
}
