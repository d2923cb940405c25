/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel counts of this process, from /proc/self and getrusage(2). Descriptors are
 * counted per table: the table of main and the log thread, and the table of each worker that has
 * one of its own. A file that cannot be read leaves its figures 0.
 *
 * Thread: main.
 */
#include "daemon/process.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/status.h"
#include "daemon/threads.h"

static bool slurp(const char *path, char *out, size_t len)
{
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return false;
	size_t n = fread(out, 1, len - 1, f);
	out[n] = '\0';
	(void)fclose(f);
	return n > 0;
}

static uint64_t boot_time_s(void)
{
	char line[256];
	unsigned long long s = 0;
	FILE *f = fopen("/proc/stat", "re");

	while (f != NULL && s == 0 && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "btime ", 6) == 0)
			s = strtoull(line + 6, NULL, 10);
	if (f != NULL)
		(void)fclose(f);
	return s;
}

/* Reads the fields of /proc/PID/stat that follow the command's name. They begin behind the last
 * `)`, because the name may contain any character (proc(5)). */
static void read_stat(struct status_process *ret)
{
	enum { THREADS_AT = 20, START_AT = 22, FIRST = 3 };
	char text[1024], *save = NULL;
	uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK), boot_s = boot_time_s();
	const char *end = slurp("/proc/self/stat", text, sizeof(text)) ? strrchr(text, ')') : NULL;

	if (end == NULL)
		return;
	char *p = text + (end + 1 - text);
	int at = FIRST;
	for (char *word = strtok_r(p, " ", &save); word != NULL;
	     word = strtok_r(NULL, " ", &save), at++) {
		if (at == THREADS_AT)
			ret->n_threads = strtoull(word, NULL, 10);
		else if (at == START_AT && boot_s > 0)
			ret->start_time_s =
				(double)boot_s + (double)strtoull(word, NULL, 10) / (double)ticks;
	}
}

static void read_memory(struct status_process *ret)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	char text[128], *end = NULL;

	if (!slurp("/proc/self/statm", text, sizeof(text)))
		return;
	ret->virtual_bytes = strtoull(text, &end, 10) * page;
	ret->resident_bytes = strtoull(end, NULL, 10) * page;
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/*
 * Counts the open descriptors of a table, whose folder in /proc is `path`. Since Linux 6.2 the
 * folder's size is this number; on an older kernel the entries of the folder are counted. When
 * `is_own`, the folder is that of main's table. Opening the folder adds a descriptor to main's
 * table, so one entry is subtracted.
 */
static uint64_t count_fds(const char *path, bool is_own)
{
	struct stat st;
	uint64_t n = 0;

	if (stat(path, &st) == 0 && st.st_size > 0)
		return (uint64_t)st.st_size;
	DIR *d = opendir(path);
	if (d == NULL)
		return 0;
	for (const struct dirent *e; (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return is_own && n > 0 ? n - 1 : n;
}

static void read_fds(const struct threads *t, struct status_process *ret)
{
	struct rlimit limit;
	uint64_t n_tables = 1;
	char path[64];

	ret->open_fds = count_fds("/proc/self/fd", true);
	for (uint32_t i = 0; i < t->n && !t->need.is_shared; i++) {
		int tid = atomic_load_explicit(&t->thread[i].tid, memory_order_relaxed);
		(void)snprintf(path, sizeof(path), "/proc/self/task/%d/fd", tid);
		ret->open_fds += count_fds(path, false);
		n_tables++;
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		ret->max_fds = limit.rlim_cur * n_tables;
}

void process_read(const struct threads *t, struct status_process *ret)
{
	struct rusage usage;

	*ret = (struct status_process){ .open_fds = 0 };
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		ret->cpu_s = seconds(usage.ru_utime) + seconds(usage.ru_stime);
	read_stat(ret);
	read_memory(ret);
	read_fds(t, ret);
}
