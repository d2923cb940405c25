/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the machine allows, read from /proc and /sys.
 *
 * Terms. A figure is one number of struct host_limits. A source says where to find a figure: the
 * file, the key at the beginning of the line, and the position of the word in the line. A hierarchy
 * is a tree of control groups (cgroups). Version 2 has one hierarchy for all controllers; version 1
 * has one hierarchy per controller or per pair of controllers.
 *
 * host_limits_read() fills the figures in three ways:
 *
 *   read_figure()    a figure that is a number in a file has a row in `sources`
 *   count_ports()    the number of local ports: the local port range less the reserved ports
 *   walk_cgroups()   memory and CPU time: reads every cgroup from this process's own up to the root
 *                    of the hierarchy, because all their limits apply, and keeps the tightest
 *
 * All paths are below `root`, so that a test can give the files of any machine. It is no error when
 * a file is missing or has no number at the expected place: the figure then becomes source.missing,
 * which is HOST_LIMITS_NONE for a limit and 0 for a count of what is used.
 *
 * The memory that a cgroup uses is counted without its inactive file cache, because the kernel
 * frees that cache before the cgroup reaches its limit.
 *
 * Thread: main. The files are small, and are read anew each time.
 */
#include "daemon/host_limits.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/parse.h"
#include "util/text.h"

/* A file with a longer path is not read. The length is for paths of cgroups, which may be long. */
#define PATH_LEN 1024

/* ---- files ----------------------------------------------------------------------------------- */

/* The text of the whole file; "" when the file cannot be read. */
static const char *read_file(const char *root, const char *path, struct text *t)
{
	char full[PATH_LEN], part[4096];
	ssize_t n;

	text_clear(t);
	text_addf(t, "%s", "");
	int len = snprintf(full, sizeof(full), "%s%s", root, path);
	int fd = len < (int)sizeof(full) ? open(full, O_RDONLY | O_CLOEXEC) : -1;
	while (fd >= 0 && (n = read(fd, part, sizeof(part))) > 0)
		text_add(t, (struct slice){ .p = part, .n = (size_t)n });
	if (fd >= 0)
		(void)close(fd);
	return t->failed || t->p == NULL ? "" : t->p;
}

/* The text behind the first `key` at the beginning of a line; NULL when no line begins with `key`.
 * When `key` is NULL or "", the whole text. */
static const char *behind(const char *text, const char *key)
{
	size_t n = key != NULL ? strlen(key) : 0;

	if (n == 0)
		return text;
	for (const char *p = text; p != NULL; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, key, n) == 0)
			return p + n;
	}
	return NULL;
}

/* Reads the i-th word of a line (from 0) as a number. Returns false when the line has no such word,
 * or when the word is no number ("max", "unlimited"). */
static bool word_at(const char *line, size_t i, uint64_t *ret)
{
	static const char blank[] = " \t";

	for (;; i--) {
		line += strspn(line, blank);
		size_t n = strcspn(line, " \t\n");
		if (n == 0)
			return false;
		if (i == 0)
			return parse_uint((struct slice){ .p = line, .n = n }, ret) == 0;
		line += n;
	}
}

/* ---- the table ------------------------------------------------------------------------------- */

struct source {
	const char *path;
	const char *key;  /* beginning of the line; NULL: the first line of the file */
	size_t word;      /* position of the number among the words behind the key, from 0 */
	uint64_t unit;    /* factor by which the number is multiplied */
	uint64_t missing; /* the figure when there is no number */
	size_t offset;    /* of the figure in struct host_limits */
};

/* clang-format off */
#define AT(member) offsetof(struct host_limits, member)
static const struct source sources[] = {
	{ "/proc/self/limits", "Max open files", 0, 1, HOST_LIMITS_NONE, AT(nofile_soft) },
	{ "/proc/self/limits", "Max open files", 1, 1, HOST_LIMITS_NONE, AT(nofile_hard) },
	{ "/proc/sys/fs/nr_open", NULL, 0, 1, HOST_LIMITS_NONE, AT(nr_open) },
	{ "/proc/sys/fs/file-max", NULL, 0, 1, HOST_LIMITS_NONE, AT(file_max) },
	{ "/proc/sys/fs/file-nr", NULL, 0, 1, 0, AT(files_used) },
	{ "/proc/meminfo", "MemAvailable:", 0, 1024, HOST_LIMITS_NONE, AT(mem_available) },
	{ "/proc/sys/net/ipv4/tcp_mem", NULL, 0, 1, HOST_LIMITS_NONE, AT(tcp_mem_low) },
	{ "/proc/sys/net/ipv4/tcp_mem", NULL, 1, 1, HOST_LIMITS_NONE, AT(tcp_mem_pressure) },
	{ "/proc/sys/net/ipv4/tcp_mem", NULL, 2, 1, HOST_LIMITS_NONE, AT(tcp_mem_max) },
	/* TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 1 */
	{ "/proc/net/sockstat", "TCP:", 9, 1, 0, AT(tcp_mem_used) },
	{ "/proc/sys/net/ipv4/ip_local_port_range", NULL, 0, 1, HOST_LIMITS_NONE, AT(port_low) },
	{ "/proc/sys/net/ipv4/ip_local_port_range", NULL, 1, 1, HOST_LIMITS_NONE, AT(port_high) },
	{ "/proc/sys/net/core/somaxconn", NULL, 0, 1, HOST_LIMITS_NONE, AT(somaxconn) },
	{ "/proc/sys/net/ipv4/tcp_max_syn_backlog", NULL, 0, 1, HOST_LIMITS_NONE, AT(syn_backlog) },
	{ "/proc/sys/net/ipv4/tcp_syncookies", NULL, 0, 1, 0, AT(syncookies) },
	{ "/proc/sys/net/netfilter/nf_conntrack_max", NULL, 0, 1, HOST_LIMITS_NONE, AT(conntrack_max) },
	{ "/proc/sys/net/netfilter/nf_conntrack_count", NULL, 0, 1, 0, AT(conntrack_used) },
};
#undef AT
/* clang-format on */

static void read_figure(const char *root, const struct source *s, struct text *t,
			struct host_limits *ret)
{
	const char *line = behind(read_file(root, s->path, t), s->key);
	uint64_t v = 0;

	if (line == NULL || !word_at(line, s->word, &v) || v > HOST_LIMITS_NONE / s->unit)
		v = s->missing;
	else
		v *= s->unit;
	LB_ASSERT(s->unit > 0 && s->offset + sizeof(v) <= sizeof(*ret));
	memcpy((char *)ret + s->offset, &v, sizeof(v));
}

/* ---- ports ----------------------------------------------------------------------------------- */

/* How many of the ports that the text from `p` to `end` names ("8080" or "9000-9100") are from
 * `low` to `high`. */
static uint64_t n_within(const char *p, const char *end, uint64_t low, uint64_t high)
{
	const char *dash = memchr(p, '-', (size_t)(end - p));
	const char *first_end = dash != NULL ? dash : end;
	uint64_t a, b;

	if (parse_uint((struct slice){ .p = p, .n = (size_t)(first_end - p) }, &a) < 0)
		return 0;
	b = a;
	if (dash != NULL &&
	    parse_uint((struct slice){ .p = dash + 1, .n = (size_t)(end - dash - 1) }, &b) < 0)
		return 0;
	a = a < low ? low : a;
	b = b > high ? high : b;
	return a <= b ? b - a + 1 : 0;
}

/* Counts the local ports that are not reserved. The kernel lists each reserved port once, so the
 * ranges of the list can be subtracted one by one. */
static void count_ports(const char *root, struct text *t, struct host_limits *l)
{
	const char *p = read_file(root, "/proc/sys/net/ipv4/ip_local_reserved_ports", t);

	l->n_ports = HOST_LIMITS_NONE;
	if (l->port_low > l->port_high || l->port_high > UINT16_MAX)
		return;
	l->n_ports = l->port_high - l->port_low + 1;
	for (size_t n; *p != '\0' && *p != '\n'; p += n + (p[n] == ',')) {
		n = strcspn(p, ",\n");
		l->n_ports -= n_within(p, p + n, l->port_low, l->port_high);
	}
}

/* ---- cgroups --------------------------------------------------------------------------------- */

struct hierarchy;

/* Reads the figures of one cgroup. `cgroup` is the cgroup's path in the hierarchy, "" for the
 * root. */
typedef void read_cgroup_fn(const char *root, const struct hierarchy *h, const char *cgroup,
			    struct text *t, struct host_limits *l);

static read_cgroup_fn read_memory, read_cpu;

struct hierarchy {
	const char *controller; /* name in /proc/self/cgroup; "": version 2 */
	const char *mount;
	read_cgroup_fn *read;
	const char *limit;
	const char *used;   /* the file with the memory in use; NULL: not a hierarchy of memory */
	const char *cache;  /* the key in memory.stat of the inactive file cache */
	const char *period; /* the file with the period of CPU time; NULL: second word of `limit` */
};

/* In cgroup version 1 the controllers cpu and cpuacct are mounted together or each alone, so there
 * are two rows for cpu. */
static const struct hierarchy hierarchies[] = {
	{ "", "/sys/fs/cgroup", read_memory, "memory.max", "memory.current", "inactive_file ",
	  NULL },
	{ "memory", "/sys/fs/cgroup/memory", read_memory, "memory.limit_in_bytes",
	  "memory.usage_in_bytes", "total_inactive_file ", NULL },
	{ "", "/sys/fs/cgroup", read_cpu, "cpu.max", NULL, NULL, NULL },
	{ "cpu", "/sys/fs/cgroup/cpu", read_cpu, "cpu.cfs_quota_us", NULL, NULL,
	  "cpu.cfs_period_us" },
	{ "cpu", "/sys/fs/cgroup/cpu,cpuacct", read_cpu, "cpu.cfs_quota_us", NULL, NULL,
	  "cpu.cfs_period_us" },
};

/* Version 1 writes "no limit" as the largest multiple of a page that a signed 64-bit number can
 * hold. So a limit above this many bytes counts as no limit. */
#define CGROUP_UNLIMITED (1ull << 60)

/* A quota above this many microseconds counts as no quota: it is more than any machine has, and it
 * would overflow when multiplied by 1000. */
#define MAX_CPU_US (UINT64_MAX / 1000)

/* Whether `word` is in `list`, whose words are separated by commas. */
static bool is_listed(struct slice list, struct slice word)
{
	for (;;) {
		const char *comma = list.n > 0 ? memchr(list.p, ',', list.n) : NULL;
		size_t n = comma != NULL ? (size_t)(comma - list.p) : list.n;
		if (slice_eq((struct slice){ .p = list.p, .n = n }, word))
			return true;
		if (comma == NULL)
			return false;
		list.p += n + 1;
		list.n -= n + 1;
	}
}

/* Finds the path of this process's cgroup in the controller's hierarchy. `text` is
 * /proc/self/cgroup, with lines NUMBER:CONTROLLERS:PATH. Returns false when no line has the
 * controller. */
static bool find_cgroup(const char *text, const char *controller, char path[PATH_LEN])
{
	for (const char *p = text; *p != '\0'; p += strcspn(p, "\n"), p += *p == '\n') {
		size_t number = strcspn(p, ":\n");
		const char *list = p + number + (p[number] == ':');
		size_t n = strcspn(list, ":\n");
		const char *at = list + n + (list[n] == ':');
		size_t len = strcspn(at, "\n");

		if (!is_listed((struct slice){ .p = list, .n = n }, slice_of(controller)) ||
		    list[n] != ':' || len >= PATH_LEN)
			continue;
		memcpy(path, at, len);
		path[len] = '\0';
		return true;
	}
	return false;
}

/* The text behind `key` in a file of the cgroup (see behind()), or NULL. The text is in `t`, so it
 * is valid until another file is read. */
static const char *cgroup_text(const char *root, const struct hierarchy *h, const char *cgroup,
			       const char *file, const char *key, struct text *t)
{
	char path[PATH_LEN];

	if (snprintf(path, sizeof(path), "%s%s/%s", h->mount, cgroup, file) >= (int)sizeof(path))
		return NULL;
	return behind(read_file(root, path, t), key);
}

static bool cgroup_figure(const char *root, const struct hierarchy *h, const char *cgroup,
			  const char *file, const char *key, struct text *t, uint64_t *ret)
{
	const char *line = cgroup_text(root, h, cgroup, file, key, t);

	return line != NULL && word_at(line, 0, ret);
}

static void read_memory(const char *root, const struct hierarchy *h, const char *cgroup,
			struct text *t, struct host_limits *l)
{
	uint64_t limit, used = 0, cache = 0;

	if (!cgroup_figure(root, h, cgroup, h->limit, NULL, t, &limit) || limit > CGROUP_UNLIMITED)
		return;
	(void)cgroup_figure(root, h, cgroup, h->used, NULL, t, &used);
	(void)cgroup_figure(root, h, cgroup, "memory.stat", h->cache, t, &cache);
	used -= cache < used ? cache : used;
	uint64_t room = used < limit ? limit - used : 0;
	if (room >= l->cgroup_room)
		return;
	l->cgroup_room = room;
	l->cgroup_limit = limit;
}

/* Reads how many microseconds of CPU time the cgroup may use in each period. A quota of "max" or
 * "-1" is no limit. */
static void read_cpu(const char *root, const struct hierarchy *h, const char *cgroup,
		     struct text *t, struct host_limits *l)
{
	uint64_t quota, period;
	const char *line = cgroup_text(root, h, cgroup, h->limit, NULL, t);

	if (line == NULL || !word_at(line, 0, &quota))
		return;
	bool is_whole = h->period == NULL
				? word_at(line, 1, &period)
				: cgroup_figure(root, h, cgroup, h->period, NULL, t, &period);
	if (!is_whole || period == 0 || quota > MAX_CPU_US)
		return;
	if (quota * 1000 / period < l->cgroup_cpu_milli)
		l->cgroup_cpu_milli = quota * 1000 / period;
}

static void walk_cgroups(const char *root, struct text *t, struct host_limits *l)
{
	char path[PATH_LEN];

	l->cgroup_limit = l->cgroup_room = l->cgroup_cpu_milli = HOST_LIMITS_NONE;
	for (size_t i = 0; i < ARRAY_SIZE(hierarchies); i++) {
		const char *text = read_file(root, "/proc/self/cgroup", t);
		if (!find_cgroup(text, hierarchies[i].controller, path))
			continue;
		/* `path` is "/a/b", then "/a", then "" */
		for (char *cut = path; cut != NULL;) {
			hierarchies[i].read(root, &hierarchies[i], path, t, l);
			cut = strrchr(path, '/');
			if (cut != NULL)
				*cut = '\0';
		}
	}
}

void host_limits_read(const char *root, struct host_limits *ret)
{
	struct text t = TEXT_INIT;

	*ret = (struct host_limits){ .page_bytes = (uint64_t)sysconf(_SC_PAGESIZE) };
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
		read_figure(root, &sources[i], &t, ret);
	count_ports(root, &t, ret);
	walk_cgroups(root, &t, ret);
	text_deinit(&t);
}
