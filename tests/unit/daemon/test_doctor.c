/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "machine.h"

#include "daemon/doctor.h"
#include "util/err.h"

static struct text out;
static char conf_path[64];

static void setup(void)
{
	machine_setup();
	machine_is_usual();
	machine_has("/proc/sys/net/netfilter/nf_conntrack_count", "10\n"); /* if it is loaded */
}

static void teardown(void)
{
	text_deinit(&out);
	machine_teardown();
}

/* Makes one of several spaces: columns are as wide as what this machine's figures need. */
static void squeeze(struct text *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		if (t->p[i] != ' ' || n == 0 || t->p[n - 1] != ' ')
			t->p[n++] = t->p[i];
	t->p[n] = '\0';
	t->n = n;
}

/* What the doctor says of this file. */
static const char *told(const char *yaml, bool is_json)
{
	struct err e = ERR_INIT;
	struct conf *conf = NULL;

	machine_has("/lb.yaml", yaml);
	(void)snprintf(conf_path, sizeof(conf_path), "%s/lb.yaml", root);
	ck_assert_int_eq(conf_load(conf_path, &e, &conf), 0);
	text_clear(&out);
	ck_assert_int_eq(doctor_report(conf, root, is_json, &out), 0);
	conf_unref(conf);
	err_deinit(&e);
	squeeze(&out);
	return out.p;
}

static void has(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "no\n%s\nin\n%s", part, text);
}

#define LISTENER_AND_POOL \
	"listeners: [{name: l, bind: '127.0.0.1:8080', mode: tcp, pool: p}]\n" \
	"pools: [{name: p, backends: ['127.0.0.1:9001', '127.0.0.1:9002']}]\n"
#define SMALL "workers: 4\n" LISTENER_AND_POOL

/* 1,000 descriptors each: 43 of a worker's own and 2 for each of 15 pipes, so 463 connections. */
START_TEST(a_table)
{
	const char *text = told(SMALL, false);
	char last[128];

	has(text, " LIMIT ALLOWS NOW ");
	has(text, "* descriptors 1852 1000 open files (ulimit -Hn) x 4 workers, 2 a "
		  "connection, 73 a worker's own ");
	has(text,
	    " systemctl edit lb: [Service] LimitNOFILE=1048576; or `workers: 8` in the file\n");
	has(text, " limits.connections - auto: ");
	has(text, " max_connections - 0 of 2 backends have one\n");
	has(text, " local_ports 56464 28232 of ports 32768 to 60999 ");
	has(text, " sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"; ");
	has(text, " system_files 249000 fs.file-max 500000, 2000 in use ");
	has(text, " sysctl -w fs.file-max=1000000\n");
	has(text, " conntrack - not loaded\n");
	has(text, " accept_queue 16384 at once: somaxconn 4096");
	has(text, " syn_queue 16384 at once: tcp_max_syn_backlog 2048, SYN cookies on");
	has(text, " tcp_mem 1450 at once");
	has(text, " sysctl -w net.ipv4.tcp_mem=\"2000 4000 6000\"\n");
	(void)snprintf(last, sizeof(last), "\n%s: 1852 connections, bound by descriptors\n",
		       conf_path);
	has(text, last);
	ck_assert_str_eq(text + out.n - strlen(last), last);
}
END_TEST

START_TEST(a_conntrack_that_tracks_nothing_does_not_bind)
{
	machine_has("/proc/sys/net/netfilter/nf_conntrack_max", "110\n");
	machine_has("/proc/sys/net/netfilter/nf_conntrack_count", "0\n");
	const char *text = told(SMALL, false);

	has(text, " conntrack - loaded, but no connection is tracked now\n");
	has(text, ": 1852 connections, bound by descriptors\n");
}
END_TEST

/* Checks that do not fit into main's table at the same time are told. */
START_TEST(checks_that_wait_are_told)
{
	static char yaml[8192];
	int n = sprintf(yaml,
			"workers: 4\nlisteners: [{name: l, bind: '127.0.0.1:8080', mode: tcp, "
			"pool: p}]\npools: [{name: p, health: {type: tcp}, backends: [");

	for (int i = 1; i <= 250; i++)
		n += sprintf(yaml + n, "%s'127.0.0.%d:9001'", i > 1 ? "," : "", i);
	(void)sprintf(yaml + n, "]}]\n");
	has(told(yaml, true), "\"checks\":250,\"checks_at_once\":419,");
	ck_assert_ptr_null(strstr(told(yaml, false), " are checked"));
	machine_has("/proc/self/limits", "Max open files 400 400 files\n");
	has(told(yaml, true), "\"checks\":250,\"checks_at_once\":157,");
	has(told(yaml, false), "\nnote: 250 backends are checked, at most 157 at a time ");
}
END_TEST

/* The quota of a cgroup is told, and counted where the file leaves the workers to lb. */
START_TEST(a_quota_of_cpu_time_is_told)
{
	const char *text = told(SMALL, false);

	ck_assert_ptr_null(strstr(text, "control group"));
	has(told(SMALL, true), ",\"cpu_quota_milli\":null,");
	machine_has("/proc/self/cgroup", "0::/a\n");
	machine_has("/sys/fs/cgroup/a/cpu.max", "50000 100000\n");
	has(told(SMALL, true), ",\"cpu_quota_milli\":500,");
	text = told(SMALL, false);
	has(text, "\nnote: 4 workers on ");
	has(text, "\nnote: the control group grants the time of 0.500 CPUs, ");
	has(told("workers: auto\n" LISTENER_AND_POOL, false), "\nnote: 1 workers on ");
}
END_TEST

/* One row is marked, and it is the one that the last line names. */
static const struct {
	const char *name, *path, *text; /* a file of the machine */
	const char *yaml;
	const char *row, *last;
} binding[] = {
	{ "the file", NULL, NULL, "limits: {connections: 7}\n" SMALL,
	  "* limits.connections 7 7 in the file ",
	  ": 7 connections, bound by limits.connections\n" },
	{ "memory", "/proc/meminfo", "MemAvailable: 100 kB\n", SMALL,
	  "* memory 10 100.0 KiB available on the machine", ": 10 connections, bound by memory\n" },
	{ "few ports", "/proc/sys/net/ipv4/ip_local_port_range", "1024 1033\n", SMALL,
	  "* local_ports 20 10 of ports 1024 to 1033 ",
	  ": 20 connections, bound by local_ports\n" },
	{ "too few descriptors", "/proc/self/limits", "Max open files 10 10 files\n", SMALL,
	  "* descriptors 0 10 open files ", ": 0 connections, bound by descriptors\n" },
	{ "conntrack", "/proc/sys/net/netfilter/nf_conntrack_max", "110\n", SMALL,
	  "* conntrack 50 nf_conntrack_max 110, 10 in use, 2 a connection",
	  ": 50 connections, bound by conntrack\n" },
};

START_TEST(the_binding_row_is_marked)
{
	if (binding[_i].path != NULL)
		machine_has(binding[_i].path, binding[_i].text);
	const char *text = told(binding[_i].yaml, false);
	const char *mark = strstr(text, "\n*");

	ck_assert_ptr_nonnull(mark);
	ck_assert_ptr_null(strstr(mark + 1, "\n*"));
	has(text, binding[_i].row);
	has(text, binding[_i].last);
}
END_TEST

static const struct {
	const char *path, *text; /* a file of the machine */
	const char *want;        /* what is said to raise it */
} raises[] = {
	{ "/proc/sys/fs/nr_open", "1000\n", "sysctl -w fs.nr_open=2000 and systemctl edit lb" },
	{ "/proc/sys/net/core/somaxconn", "128\n", "sysctl -w net.core.somaxconn=4096" },
	{ "/proc/sys/net/ipv4/tcp_syncookies", "0\n",
	  "sysctl -w net.ipv4.tcp_syncookies=1 net.ipv4.tcp_max_syn_backlog=4096" },
	{ "/proc/sys/net/netfilter/nf_conntrack_max", "110\n",
	  "sysctl -w net.netfilter.nf_conntrack_max=220" },
	{ "/proc/sys/net/ipv4/ip_local_port_range", "1024 65535\n",
	  "each source and backend; fewest in pool p: 129024 more addresses under" },
};

START_TEST(what_to_type_follows_the_machine)
{
	machine_has(raises[_i].path, raises[_i].text);
	has(told(SMALL, false), raises[_i].want);
}
END_TEST

START_TEST(a_cgroup_is_named)
{
	machine_has("/proc/self/cgroup", "0::/a\n");
	machine_has("/sys/fs/cgroup/a/memory.max", "1048576\n");
	const char *text = told(SMALL, false);
	has(text, "* memory 111 1.0 MiB available in the cgroup, ");
	has(text, "systemctl edit lb: [Service] MemoryMax=infinity\n");
}
END_TEST

START_TEST(as_json)
{
	const char *text = told(SMALL, true);

	ck_assert_ptr_eq(strchr(text, '\n'), text + out.n - 1);
	ck_assert_int_eq(strncmp(text, "{\"file\":\"/tmp/", 14), 0);
	has(text, "/lb.yaml\",\"connections\":1852,\"bound_by\":\"descriptors\","
		  "\"workers\":4,\"descriptor_tables\":\"own\","
		  "\"checks\":0,\"checks_at_once\":419,\"cpus\":");
	has(text, ",\"limits\":[{\"name\":\"descriptors\",\"kind\":\"held\",\"allows\":1852,"
		  "\"binds\":true,\"now\":\"1000 open files");
	has(text, "{\"name\":\"max_connections\",\"kind\":\"held\",\"allows\":null,\"binds\":false,"
		  "\"now\":\"0 of 2 backends have one\",\"raise\":\"\"}");
	has(text, "{\"name\":\"accept_queue\",\"kind\":\"at_once\",\"allows\":16384,");
	has(text, "fs.file-max=1000000\"}");
	ck_assert_str_eq(text + out.n - 4, "}]}\n");
}
END_TEST

/* A machine without any of the files: only the descriptors' own limit is left, the largest. */
START_TEST(nothing_can_be_read)
{
	machine_teardown();
	machine_setup();
	const char *text = told(SMALL, false);

	has(text, "the port range cannot be read\n");
	has(text, "fs.file-max cannot be read\n");
	has(text, "/proc/meminfo cannot be read\n");
	has(text, "tcp_mem cannot be read\n");
	ck_assert_ptr_null(strstr(text, "18446744073709551615"));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_table);
	tcase_add_test(t, checks_that_wait_are_told);
	tcase_add_test(t, a_quota_of_cpu_time_is_told);
	tcase_add_test(t, a_conntrack_that_tracks_nothing_does_not_bind);
	tcase_add_loop_test(t, the_binding_row_is_marked, 0, ARRAY_SIZE(binding));
	tcase_add_loop_test(t, what_to_type_follows_the_machine, 0, ARRAY_SIZE(raises));
	tcase_add_test(t, a_cgroup_is_named);
	tcase_add_test(t, as_json);
	tcase_add_test(t, nothing_can_be_read);
}

int main(void)
{
	return run_suite("daemon/doctor", add_tests);
}
