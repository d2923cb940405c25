/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users, capabilities, and the limit of open files.
 *
 * glibc's set*id() act on every thread of the process. capset(2) acts on the calling thread only,
 * and a new thread inherits the capabilities of the thread that creates it. So main first drops all
 * capabilities but the one for binding low ports at a reload (privs_drop()). Every other thread
 * drops this one, too, when it starts (privs_drop_thread_caps()).
 *
 * Thread: as the header says.
 */
#include "daemon/privs.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

uint32_t privs_raise_nofile(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return 1024;
	rl.rlim_cur = rl.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &rl);
	if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur > UINT32_MAX)
		return 1u << 30;
	return (uint32_t)rl.rlim_cur;
}

int privs_resolve_user(const char *name, uid_t *ret_uid, gid_t *ret_gid, struct err *e)
{
	errno = 0;
	const struct passwd *pw = getpwnam(name);

	if (pw == NULL)
		return err_add(e, -ENOENT, "user \"%s\": %s", name,
			       errno != 0 ? strerror(errno) : "no such user");
	*ret_uid = pw->pw_uid;
	*ret_gid = pw->pw_gid;
	return 0;
}

/* Gives the calling thread the capabilities in `mask` (bits 1 << CAP_...) and no others. Returns 0
 * or a negative errno. */
static int set_caps(uint32_t mask)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{ .effective = mask, .permitted = mask },
	};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int privs_drop(const char *name, uid_t uid, gid_t gid, enum privs_kept kept, struct err *e)
{
	int r = 0;

	if (getuid() == uid && geteuid() == uid)
		return 0;
	if (kept == PRIVS_KEEP_BIND && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0 && (initgroups(name, gid) < 0 || setresgid(gid, gid, gid) < 0 ||
		       setresuid(uid, uid, uid) < 0))
		r = -errno;
	if (r == 0)
		r = set_caps(kept == PRIVS_KEEP_BIND ? 1u << CAP_NET_BIND_SERVICE : 0);
	LB_ASSERT(r < 0 || (getuid() == uid && geteuid() == uid && getegid() == gid));
	if (r < 0)
		return err_add(e, r, "becoming user \"%s\": %s%s", name, strerror(-r),
			       r == -EPERM ? "; start lb as root, or leave \"user\" out" : "");
	return 0;
}

void privs_forbid_dumps(void)
{
	int r = prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);

	LB_ASSERT(r == 0); /* it refuses other values only */
}

void privs_drop_thread_caps(void)
{
	if (geteuid() != 0)
		(void)set_caps(0);
}
