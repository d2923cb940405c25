/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <string.h>

#include "../suite.h"
#include "daemon/conn_capacity.h"
#include "util/assert.h"

#define EACH (CONN_CAPACITY_USER_BYTES + CONN_CAPACITY_KERNEL_BYTES)

/* ---- a file and a machine that the tests change ---------------------------------------------- */

static struct conf_backend backends[2][3];
static struct addr sources[2][3];
static struct conf_pool pools[2];
static struct conf_listener listeners[2];
static struct conf conf;
static struct host_limits machine;
static struct conn_capacity_in in;
static struct conn_capacity f;

static struct addr address(uint8_t last, uint16_t port)
{
	return (struct addr){ .family = AF_INET, .port = port, .v4 = { 127, 0, 0, last } };
}

/* Two listeners with three addresses; pool p0 with two backends, p1 with one; two workers. Nothing
 * binds but the descriptors, which allow 2,000,000. */
static void setup(void)
{
	static char names[2][3] = { "p0", "p1" };

	memset(backends, 0, sizeof(backends));
	memset(sources, 0, sizeof(sources));
	for (uint8_t i = 0; i < 2; i++) {
		pools[i] = (struct conf_pool){ .name = names[i],
					       .backends = backends[i],
					       .n_backends = 2u - i,
					       .sources = sources[i] };
		listeners[i] = (struct conf_listener){ .n_binds = 1 + i };
		for (uint8_t k = 0; k < 3; k++) {
			backends[i][k].addr = address(1, (uint16_t)(9000 + 10 * i + k));
			backends[i][k].weight = 1;
			sources[i][k] = address((uint8_t)(5 + k), 0);
		}
	}
	conf = (struct conf){
		.pools = pools, .n_pools = 2, .listeners = listeners, .n_listeners = 2
	};
	machine = (struct host_limits){
		.file_max = HOST_LIMITS_NONE,
		.mem_available = HOST_LIMITS_NONE,
		.cgroup_room = HOST_LIMITS_NONE,
		.tcp_mem_max = HOST_LIMITS_NONE,
		.n_ports = 1000000,
		.somaxconn = 128,
		.syn_backlog = 100,
		.syncookies = 1,
		.conntrack_max = HOST_LIMITS_NONE,
	};
	in = (struct conn_capacity_in){
		.machine = &machine, .conf = &conf, .n_workers = 2, .worker_conns = 1000000
	};
}

static void compute(void)
{
	ck_assert_int_eq(conn_capacity_compute(&in, &f), 0);
	ck_assert_uint_eq(f.n_conns, f.allows[f.binding]);
}

/* ---- each limit binds in turn ---------------------------------------------------------------- */

static void no_change(void)
{
}

static void too_few_descriptors(void)
{
	in.worker_conns = 0;
}

static void a_limit_in_the_file(void)
{
	conf.max_conns = 77;
}

static void a_limit_at_every_backend(void)
{
	backends[0][0].max_conns = backends[0][1].max_conns = 10;
	backends[1][0].max_conns = 5;
}

static void few_ports(void)
{
	machine.n_ports = 100;
}

static void few_files(void)
{
	machine.file_max = 1001;
	machine.files_used = 500;
}

static void all_files_in_use(void)
{
	machine.file_max = 1000;
	machine.files_used = 1001;
}

static void little_memory(void)
{
	machine.mem_available = 10 * EACH + EACH / 2;
	machine.cgroup_room = 20 * EACH;
}

static void a_small_cgroup(void)
{
	machine.mem_available = 20 * EACH;
	machine.cgroup_room = 10 * EACH - 1;
}

static void a_small_conntrack(void)
{
	machine.conntrack_max = 110;
	machine.conntrack_used = 10;
}

static void a_conntrack_that_tracks_nothing(void)
{
	machine.conntrack_max = 110;
	machine.conntrack_used = 0;
}

/* Those who are there have their files, memory and entries already. */
static void many_already(void)
{
	few_files();
	machine.conntrack_max = 1000;
	machine.conntrack_used = 1000;
	in.n_active = 123;
}

static const struct {
	const char *name;
	void (*change)(void);
	enum conn_capacity_limit binding;
	uint64_t n_conns;
} rows[] = {
	{ "nothing special", no_change, CONN_CAPACITY_DESCRIPTORS, 2000000 },
	{ "no descriptors", too_few_descriptors, CONN_CAPACITY_DESCRIPTORS, 0 },
	{ "the file's limit", a_limit_in_the_file, CONN_CAPACITY_CONF, 77 },
	{ "all backends' limits", a_limit_at_every_backend, CONN_CAPACITY_BACKENDS, 25 },
	{ "few ports", few_ports, CONN_CAPACITY_PORTS, 300 },
	{ "few files", few_files, CONN_CAPACITY_FILES, 250 },
	{ "no files", all_files_in_use, CONN_CAPACITY_FILES, 0 },
	{ "little memory", little_memory, CONN_CAPACITY_MEMORY, 10 },
	{ "a small cgroup", a_small_cgroup, CONN_CAPACITY_MEMORY, 9 },
	{ "a small conntrack", a_small_conntrack, CONN_CAPACITY_CONNTRACK, 50 },
	{ "no rule for it", a_conntrack_that_tracks_nothing, CONN_CAPACITY_DESCRIPTORS, 2000000 },
	{ "with connections that are there", many_already, CONN_CAPACITY_CONNTRACK, 123 },
};

START_TEST(each_binds_in_turn)
{
	rows[_i].change();
	compute();
	ck_assert_msg(f.binding == rows[_i].binding && f.n_conns == rows[_i].n_conns,
		      "%s: %llu by %s", rows[_i].name, (unsigned long long)f.n_conns,
		      conn_capacity_limit_name(f.binding));
}
END_TEST

START_TEST(what_is_unknown_does_not_bind)
{
	machine.n_ports = HOST_LIMITS_NONE;
	in.worker_conns = UINT64_MAX / 2 + 1; /* and sums do not wrap */
	compute();
	ck_assert_uint_eq(f.n_conns, HOST_LIMITS_NONE);
	ck_assert_uint_eq(f.allows[CONN_CAPACITY_PORTS], HOST_LIMITS_NONE);
}
END_TEST

/* One backend without a limit, or no connections for it. */
START_TEST(backends_limit_together)
{
	a_limit_at_every_backend();
	backends[0][1].max_conns = 0;
	compute();
	ck_assert_uint_eq(f.allows[CONN_CAPACITY_BACKENDS], HOST_LIMITS_NONE);
	backends[0][1].weight = 0;
	compute();
	ck_assert_uint_eq(f.allows[CONN_CAPACITY_BACKENDS], 15);
}
END_TEST

/* ---- ports ----------------------------------------------------------------------------------- */

static void two_sources(void)
{
	pools[0].n_sources = 2;
}

static void a_source_of_another_family(void)
{
	pools[0].n_sources = 2;
	sources[0][0] = (struct addr){ .family = AF_INET6, .v6 = { [15] = 1 } };
}

static void a_backend_without_weight(void)
{
	backends[0][0].weight = 0;
}

static void one_address_in_both_pools(void)
{
	backends[1][0].addr = backends[0][1].addr;
}

static void one_address_in_both_pools_by_other_sources(void)
{
	one_address_in_both_pools();
	pools[0].n_sources = 2; /* 5, 6 */
	pools[1].n_sources = 2; /* 6, 9 */
	sources[1][0] = address(6, 0);
	sources[1][1] = address(9, 0);
}

static void one_address_in_both_pools_once_without_source(void)
{
	one_address_in_both_pools();
	pools[1].n_sources = 1;
}

static const struct {
	const char *name;
	void (*change)(void);
	uint64_t pairs, tightest_pairs;
	const char *tightest;
} shares[] = {
	{ "no sources", no_change, 3, 1, "p1" },
	{ "two sources", two_sources, 5, 1, "p1" },
	{ "a source of another family", a_source_of_another_family, 3, 1, "p1" },
	{ "a backend of weight 0", a_backend_without_weight, 2, 1, "p0" },
	{ "an address twice", one_address_in_both_pools, 2, 1, "p1" },
	{ "an address twice by three sources", one_address_in_both_pools_by_other_sources, 5, 2,
	  "p1" },
	{ "an address twice, once without a source", one_address_in_both_pools_once_without_source,
	  3, 1, "p1" },
};

START_TEST(ports_are_of_source_and_backend)
{
	machine.n_ports = 100;
	shares[_i].change();
	compute();
	ck_assert_msg(f.allows[CONN_CAPACITY_PORTS] == 100 * shares[_i].pairs, "%s: %llu",
		      shares[_i].name, (unsigned long long)f.allows[CONN_CAPACITY_PORTS]);
	ck_assert_str_eq(f.tightest->name, shares[_i].tightest);
	ck_assert_uint_eq(f.tightest_ports, 100 * shares[_i].tightest_pairs);
}
END_TEST

START_TEST(sources_of_a_family)
{
	ck_assert_uint_eq(conn_capacity_n_sources(&pools[0], AF_INET), 1);
	pools[0].n_sources = 3;
	ck_assert_uint_eq(conn_capacity_n_sources(&pools[0], AF_INET), 3);
	ck_assert_uint_eq(conn_capacity_n_sources(&pools[0], AF_INET6), 1);
}
END_TEST

/* ---- at once --------------------------------------------------------------------------------- */

/* Three addresses, two workers: six listening sockets. None of these binds, however small. */
START_TEST(queues_do_not_bind)
{
	machine.tcp_mem_max = 9;
	machine.tcp_mem_used = 4;
	compute();
	ck_assert_uint_eq(f.allows[CONN_CAPACITY_ACCEPT], 6 * 128);
	ck_assert_uint_eq(f.allows[CONN_CAPACITY_SYN], 6 * 128);
	ck_assert_uint_eq(f.allows[CONN_CAPACITY_TCP_MEM], 2);
	ck_assert_int_eq(f.binding, CONN_CAPACITY_DESCRIPTORS);
	machine.somaxconn = 1000000; /* lb asks for 4,096 */
	machine.syncookies = 0;
	compute();
	ck_assert_uint_eq(f.allows[CONN_CAPACITY_ACCEPT], 6 * 4096);
	ck_assert_uint_eq(f.allows[CONN_CAPACITY_SYN], 6 * 75);
}
END_TEST

START_TEST(limits_have_names)
{
	for (enum conn_capacity_limit l = 0; l < CONN_CAPACITY_N; l++)
		for (enum conn_capacity_limit k = 0; k < l; k++)
			ck_assert_str_ne(conn_capacity_limit_name(l), conn_capacity_limit_name(k));
	ck_assert(conn_capacity_limit_holds(CONN_CAPACITY_DESCRIPTORS));
	ck_assert(!conn_capacity_limit_holds(CONN_CAPACITY_ACCEPT));
	ck_assert(!conn_capacity_limit_is_shared(CONN_CAPACITY_DESCRIPTORS));
	ck_assert(conn_capacity_limit_is_shared(CONN_CAPACITY_MEMORY));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_loop_test(t, each_binds_in_turn, 0, ARRAY_SIZE(rows));
	tcase_add_test(t, what_is_unknown_does_not_bind);
	tcase_add_test(t, backends_limit_together);
	tcase_add_loop_test(t, ports_are_of_source_and_backend, 0, ARRAY_SIZE(shares));
	tcase_add_test(t, sources_of_a_family);
	tcase_add_test(t, queues_do_not_bind);
	tcase_add_test(t, limits_have_names);
}

int main(void)
{
	return run_suite("daemon/conn_capacity", add_tests);
}
