/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A machine of the test's own: a directory with the files of /proc and /sys that it writes. */

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[32];

static inline void machine_setup(void)
{
	(void)strcpy(root, "/tmp/test_machine.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static inline int machine_remove(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

static inline void machine_teardown(void)
{
	ck_assert_int_eq(nftw(root, machine_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Writes a file below the root; its folders are made. */
static inline void machine_has(const char *path, const char *text)
{
	char full[512];

	ck_assert_int_lt(snprintf(full, sizeof(full), "%s%s", root, path), (int)sizeof(full));
	for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		(void)mkdir(full, 0700);
		*p = '/';
	}
	FILE *f = fopen(full, "we");
	ck_assert_msg(f != NULL, "%s", full);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

/* As the kernel writes them: 24 GB, 1,000 open files, and what a Debian has by default. */
static inline void machine_is_usual(void)
{
	machine_has(
		"/proc/self/limits",
		"Limit                     Soft Limit           Hard Limit           Units     \n"
		"Max cpu time              unlimited            unlimited            seconds   \n"
		"Max open files            512                  1000                 files     \n"
		"Max locked memory         8388608              8388608              bytes     \n");
	machine_has("/proc/sys/fs/nr_open", "1048576\n");
	machine_has("/proc/sys/fs/file-max", "500000\n");
	machine_has("/proc/sys/fs/file-nr", "2000\t0\t500000\n");
	machine_has("/proc/meminfo", "MemTotal:       24684540 kB\n"
				     "MemFree:        23228416 kB\n"
				     "MemAvailable:   20000000 kB\n");
	machine_has("/proc/sys/net/ipv4/tcp_mem", "1000\t2000\t3000\n");
	machine_has("/proc/net/sockstat", "sockets: used 12\n"
					  "TCP: inuse 1 orphan 0 tw 350 alloc 3 mem 100\n"
					  "UDP: inuse 7 mem 9\n");
	machine_has("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
	machine_has("/proc/sys/net/ipv4/ip_local_reserved_ports", "\n");
	machine_has("/proc/sys/net/core/somaxconn", "4096\n");
	machine_has("/proc/sys/net/ipv4/tcp_max_syn_backlog", "2048\n");
	machine_has("/proc/sys/net/ipv4/tcp_syncookies", "1\n");
}
