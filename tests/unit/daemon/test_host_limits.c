/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "machine.h"

#include "daemon/host_limits.h"
#include "util/assert.h"

static struct host_limits l;

START_TEST(every_figure_is_read)
{
	machine_is_usual();
	machine_has("/proc/sys/net/netfilter/nf_conntrack_max", "262144\n");
	machine_has("/proc/sys/net/netfilter/nf_conntrack_count", "17\n");
	host_limits_read(root, &l);
	ck_assert_uint_eq(l.nofile_soft, 512);
	ck_assert_uint_eq(l.nofile_hard, 1000);
	ck_assert_uint_eq(l.nr_open, 1048576);
	ck_assert_uint_eq(l.file_max, 500000);
	ck_assert_uint_eq(l.files_used, 2000);
	ck_assert_uint_eq(l.mem_available, 20000000ull * 1024);
	ck_assert_uint_eq(l.cgroup_limit, HOST_LIMITS_NONE);
	ck_assert_uint_eq(l.cgroup_room, HOST_LIMITS_NONE);
	ck_assert_uint_eq(l.tcp_mem_low, 1000);
	ck_assert_uint_eq(l.tcp_mem_pressure, 2000);
	ck_assert_uint_eq(l.tcp_mem_max, 3000);
	ck_assert_uint_eq(l.tcp_mem_used, 100);
	ck_assert_uint_eq(l.port_low, 32768);
	ck_assert_uint_eq(l.port_high, 60999);
	ck_assert_uint_eq(l.n_ports, 28232);
	ck_assert_uint_eq(l.somaxconn, 4096);
	ck_assert_uint_eq(l.syn_backlog, 2048);
	ck_assert_uint_eq(l.syncookies, 1);
	ck_assert_uint_eq(l.conntrack_max, 262144);
	ck_assert_uint_eq(l.conntrack_used, 17);
}
END_TEST

/* No file at all: no limit is known, nothing is used. */
START_TEST(what_is_not_there_is_no_limit)
{
	host_limits_read(root, &l);
	ck_assert_uint_eq(l.nofile_hard, HOST_LIMITS_NONE);
	ck_assert_uint_eq(l.file_max, HOST_LIMITS_NONE);
	ck_assert_uint_eq(l.files_used, 0);
	ck_assert_uint_eq(l.mem_available, HOST_LIMITS_NONE);
	ck_assert_uint_eq(l.cgroup_room, HOST_LIMITS_NONE);
	ck_assert_uint_eq(l.cgroup_cpu_milli, HOST_LIMITS_NONE);
	ck_assert_uint_eq(l.n_ports, HOST_LIMITS_NONE);
	ck_assert_uint_eq(l.conntrack_max, HOST_LIMITS_NONE);
	ck_assert_uint_eq(l.conntrack_used, 0);
	ck_assert_uint_eq(l.tcp_mem_used, 0);
}
END_TEST

static const struct {
	const char *name, *path, *text;
	size_t offset;
	uint64_t want;
} odd[] = {
	{ "unlimited", "/proc/self/limits",
	  "Max open files            unlimited            unlimited            files\n",
	  offsetof(struct host_limits, nofile_hard), HOST_LIMITS_NONE },
	{ "empty", "/proc/sys/fs/file-max", "", offsetof(struct host_limits, file_max),
	  HOST_LIMITS_NONE },
	{ "no newline", "/proc/sys/fs/file-max", "7", offsetof(struct host_limits, file_max), 7 },
	{ "as systemd sets it", "/proc/sys/fs/file-max", "9223372036854775807\n",
	  offsetof(struct host_limits, file_max), INT64_MAX },
	{ "no number", "/proc/sys/fs/file-max", "x\n", offsetof(struct host_limits, file_max),
	  HOST_LIMITS_NONE },
	{ "too few words", "/proc/sys/net/ipv4/tcp_mem", "1 2\n",
	  offsetof(struct host_limits, tcp_mem_max), HOST_LIMITS_NONE },
	{ "a key that another begins with", "/proc/meminfo", "MemAvailableX: 1 kB\n",
	  offsetof(struct host_limits, mem_available), HOST_LIMITS_NONE },
	{ "too large for its unit", "/proc/meminfo", "MemAvailable: 18446744073709551615 kB\n",
	  offsetof(struct host_limits, mem_available), HOST_LIMITS_NONE },
};

START_TEST(odd_files)
{
	uint64_t got;

	machine_has(odd[_i].path, odd[_i].text);
	host_limits_read(root, &l);
	memcpy(&got, (char *)&l + odd[_i].offset, sizeof(got));
	ck_assert_msg(got == odd[_i].want, "%s: %llu", odd[_i].name, (unsigned long long)got);
}
END_TEST

static const struct {
	const char *range, *reserved;
	uint64_t want;
} ports[] = {
	{ "1024 65535", "", 64512 },
	{ "10000 10009", "\n", 10 },
	{ "10000 10009", "10003\n", 9 },
	{ "10000 10009", "9000-10001,10003,10009-20000\n", 6 },
	{ "10000 10009", "1-9999,10010\n", 10 },
	{ "10000 10009", "1-65535\n", 0 },
	{ "10000 10000", "\n", 1 },
	{ "10000 9999", "\n", HOST_LIMITS_NONE },
	{ "1 65536", "\n", HOST_LIMITS_NONE },
};

START_TEST(reserved_ports_are_left_out)
{
	machine_has("/proc/sys/net/ipv4/ip_local_port_range", ports[_i].range);
	machine_has("/proc/sys/net/ipv4/ip_local_reserved_ports", ports[_i].reserved);
	host_limits_read(root, &l);
	ck_assert_msg(l.n_ports == ports[_i].want, "%s less %s: %llu", ports[_i].range,
		      ports[_i].reserved, (unsigned long long)l.n_ports);
}
END_TEST

/* A list longer than any buffer. */
START_TEST(many_reserved_ports)
{
	char *list = calloc(1, 8 * 20000);
	size_t n = 0;

	for (unsigned p = 20000; p < 40000; p += 2)
		n += (size_t)sprintf(list + n, "%s%u", n > 0 ? "," : "", p);
	machine_has("/proc/sys/net/ipv4/ip_local_port_range", "20000 40001");
	machine_has("/proc/sys/net/ipv4/ip_local_reserved_ports", list);
	host_limits_read(root, &l);
	ck_assert_uint_eq(l.n_ports, 20002 - 10000);
	free(list);
}
END_TEST

#define V2 "/sys/fs/cgroup"
#define V1 "/sys/fs/cgroup/memory"

static const struct {
	const char *name;
	const char *self; /* /proc/self/cgroup */
	const char *file[8][2];
	uint64_t limit, room;
} cgroups[] = {
	{ "version 2",
	  "0::/a/b\n",
	  { { V2 "/a/b/memory.max", "1000\n" },
	    { V2 "/a/b/memory.current", "300\n" },
	    { V2 "/a/b/memory.stat", "anon 1\ninactive_file 100\n" } },
	  1000,
	  800 },
	{ "no limit",
	  "0::/a\n",
	  { { V2 "/a/memory.max", "max\n" } },
	  HOST_LIMITS_NONE,
	  HOST_LIMITS_NONE },
	{ "the one above is tighter",
	  "0::/a/b\n",
	  { { V2 "/a/b/memory.max", "1000\n" },
	    { V2 "/a/memory.max", "2000\n" },
	    { V2 "/a/memory.current", "1900\n" } },
	  2000,
	  100 },
	{ "in a namespace of its own", "0::/\n", { { V2 "/memory.max", "1000\n" } }, 1000, 1000 },
	{ "more used than allowed",
	  "0::/a\n",
	  { { V2 "/a/memory.max", "1000\n" }, { V2 "/a/memory.current", "1001\n" } },
	  1000,
	  0 },
	{ "version 1, beside others",
	  "3:cpuset:/x\n2:cpu,memory,pids:/a\n0::/\n",
	  { { V1 "/a/memory.limit_in_bytes", "1000\n" },
	    { V1 "/a/memory.usage_in_bytes", "900\n" },
	    { V1 "/a/memory.stat", "inactive_file 1\ntotal_inactive_file 400\n" } },
	  1000,
	  500 },
	{ "version 1 without a limit",
	  "2:memory:/a\n",
	  { { V1 "/a/memory.limit_in_bytes", "9223372036854771712\n" } },
	  HOST_LIMITS_NONE,
	  HOST_LIMITS_NONE },
	{ "version 1, of a container that sees its own only",
	  "2:memory:/docker/1234\n",
	  { { V1 "/memory.limit_in_bytes", "1000\n" } },
	  1000,
	  1000 },
	{ "another controller",
	  "2:memorable:/a\n",
	  { { V1 "/a/memory.limit_in_bytes", "1000\n" } },
	  HOST_LIMITS_NONE,
	  HOST_LIMITS_NONE },
	{ "broken lines", "\n::\n0\n0:\n0::", { { V2 "/memory.max", "1000\n" } }, 1000, 1000 },
};

START_TEST(cgroups_are_walked)
{
	machine_has("/proc/self/cgroup", cgroups[_i].self);
	for (size_t i = 0; cgroups[_i].file[i][0] != NULL; i++)
		machine_has(cgroups[_i].file[i][0], cgroups[_i].file[i][1]);
	host_limits_read(root, &l);
	ck_assert_msg(l.cgroup_limit == cgroups[_i].limit && l.cgroup_room == cgroups[_i].room,
		      "%s: %llu of %llu", cgroups[_i].name, (unsigned long long)l.cgroup_room,
		      (unsigned long long)l.cgroup_limit);
}
END_TEST

#define CPU "/sys/fs/cgroup/cpu"
#define BOTH "/sys/fs/cgroup/cpu,cpuacct"

static const struct {
	const char *name;
	const char *self; /* /proc/self/cgroup */
	const char *file[6][2];
	uint64_t milli;
} quotas[] = {
	{ "no cgroup", "", { { NULL } }, HOST_LIMITS_NONE },
	{ "version 2", "0::/a/b\n", { { V2 "/a/b/cpu.max", "150000 100000\n" } }, 1500 },
	{ "no quota", "0::/a\n", { { V2 "/a/cpu.max", "max 100000\n" } }, HOST_LIMITS_NONE },
	{ "the one above grants less",
	  "0::/a/b\n",
	  { { V2 "/a/b/cpu.max", "400000 100000\n" }, { V2 "/a/cpu.max", "50000 100000\n" } },
	  500 },
	{ "the one above grants more",
	  "0::/a/b\n",
	  { { V2 "/a/b/cpu.max", "20000 10000\n" }, { V2 "/a/cpu.max", "900000 100000\n" } },
	  2000 },
	{ "in a namespace of its own", "0::/\n", { { V2 "/cpu.max", "10000 100000\n" } }, 100 },
	{ "seen from outside", "0::/../../x\n", { { V2 "/cpu.max", "100000 100000\n" } }, 1000 },
	{ "version 1",
	  "3:cpuset:/x\n2:cpu:/a\n0::/\n",
	  { { CPU "/a/cpu.cfs_quota_us", "250000\n" }, { CPU "/a/cpu.cfs_period_us", "100000\n" } },
	  2500 },
	{ "version 1, mounted with another controller",
	  "2:cpu,cpuacct:/a\n",
	  { { BOTH "/a/cpu.cfs_quota_us", "30000\n" }, { BOTH "/a/cpu.cfs_period_us", "20000\n" } },
	  1500 },
	{ "version 1 without a quota",
	  "2:cpu:/a\n",
	  { { CPU "/a/cpu.cfs_quota_us", "-1\n" }, { CPU "/a/cpu.cfs_period_us", "100000\n" } },
	  HOST_LIMITS_NONE },
	{ "version 1 without a period",
	  "2:cpu:/a\n",
	  { { CPU "/a/cpu.cfs_quota_us", "100000\n" } },
	  HOST_LIMITS_NONE },
	{ "another controller",
	  "2:cpuacct:/a\n",
	  { { CPU "/a/cpu.cfs_quota_us", "100000\n" }, { CPU "/a/cpu.cfs_period_us", "100000\n" } },
	  HOST_LIMITS_NONE },
	{ "half a line", "0::/a\n", { { V2 "/a/cpu.max", "100000" } }, HOST_LIMITS_NONE },
	{ "a period of nothing", "0::/a\n", { { V2 "/a/cpu.max", "1 0\n" } }, HOST_LIMITS_NONE },
	{ "too large",
	  "0::/a\n",
	  { { V2 "/a/cpu.max", "18446744073709551615 1\n" } },
	  HOST_LIMITS_NONE },
};

START_TEST(quotas_are_walked)
{
	machine_has("/proc/self/cgroup", quotas[_i].self);
	for (size_t i = 0; quotas[_i].file[i][0] != NULL; i++)
		machine_has(quotas[_i].file[i][0], quotas[_i].file[i][1]);
	host_limits_read(root, &l);
	ck_assert_msg(l.cgroup_cpu_milli == quotas[_i].milli, "%s: %llu", quotas[_i].name,
		      (unsigned long long)l.cgroup_cpu_milli);
}
END_TEST

/* The machine that this runs on has what every Linux has. */
START_TEST(the_real_one)
{
	host_limits_read("", &l);
	ck_assert_uint_ge(l.nofile_hard, l.nofile_soft);
	ck_assert_uint_lt(l.nr_open, HOST_LIMITS_NONE);
	ck_assert_uint_lt(l.mem_available, 1ull << 60);
	ck_assert_uint_gt(l.mem_available, 1u << 20);
	ck_assert_uint_le(l.n_ports, 65535);
	ck_assert_uint_gt(l.files_used, 0);
	ck_assert_uint_lt(l.somaxconn, HOST_LIMITS_NONE);
	ck_assert_uint_ge(l.page_bytes, 4096);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, machine_setup, machine_teardown);
	tcase_add_test(t, every_figure_is_read);
	tcase_add_test(t, what_is_not_there_is_no_limit);
	tcase_add_loop_test(t, odd_files, 0, ARRAY_SIZE(odd));
	tcase_add_loop_test(t, reserved_ports_are_left_out, 0, ARRAY_SIZE(ports));
	tcase_add_test(t, many_reserved_ports);
	tcase_add_loop_test(t, cgroups_are_walked, 0, ARRAY_SIZE(cgroups));
	tcase_add_loop_test(t, quotas_are_walked, 0, ARRAY_SIZE(quotas));
	tcase_add_test(t, the_real_one);
}

int main(void)
{
	return run_suite("daemon/host_limits", add_tests);
}
