/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of an error that this machine causes.
 *
 * Terms. The way out is the end of an error's text. It says what the user can do about the error.
 * When no way out is known for an errno, the text has none.
 *
 * There is one function for each thing that lb may be refused: refusal_bind(), refusal_own() and
 * refusal_http() for an address to listen at, refusal_source() for an address to connect from,
 * refusal_log() for a log, refusal_socket() for the admin socket, refusal_file() for the
 * configuration file. `r` is the negative errno, and decides the way out. A start, a reload and
 * `lb check` call these functions, so that one error has the same words everywhere; tests quote
 * them.
 *
 * A text begins with the key, the path or the address, then comes the errno as strerror(3) has it,
 * then the way out. A way out names a command with its arguments, a key of the file, or a user. It
 * assumes nothing that this process cannot know: which program has a port, for example, is left to
 * `ss`, which root may run.
 *
 * err_at() cuts a text that is longer than ERR_TEXT_MAX.
 *
 * Thread: main.
 */
#include "daemon/refusal.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAY_MAX 256 /* size in bytes; a longer way out is cut */

char *refusal_folder(const char *path, char *out, size_t size)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);

	(void)snprintf(out, size, "%.*s", n == 0 ? 1 : (int)n, n == 0 ? "." : path);
	return out;
}

/* The name of the user that the process runs as, or the user's number as text. */
static const char *own_name(char out[32])
{
	const struct passwd *pw = getpwuid(geteuid());

	if (pw != NULL)
		return pw->pw_name;
	(void)snprintf(out, 32, "%u", (unsigned)geteuid());
	return out;
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* The way out for an address that cannot be bound, with "; " in front, or "". */
static const char *bind_way(const struct addr *a, int r, char out[WAY_MAX])
{
	bool is_v4 = a->family == AF_INET;

	out[0] = '\0';
	switch (-r) {
	case EADDRINUSE:
		(void)snprintf(out, WAY_MAX,
			       "; \"ss -ltnp sport = :%u\" shows which program has it: stop that "
			       "one, or take another port",
			       a->port);
		break;
	case EADDRNOTAVAIL:
		(void)snprintf(out, WAY_MAX,
			       "; \"ip addr\" shows the addresses of this machine: take one of "
			       "them, or %s for all",
			       is_v4 ? "0.0.0.0" : "[::]");
		break;
	case EACCES:
		(void)snprintf(out, WAY_MAX,
			       "; a port this low needs CAP_NET_BIND_SERVICE: start lb as root "
			       "(with \"user\" to become another), or take a port from 1024 on");
		break;
	case EAFNOSUPPORT:
		(void)snprintf(out, WAY_MAX,
			       "; this machine has no IPv%s: take an address of the "
			       "other kind",
			       is_v4 ? "4" : "6");
		break;
	default: break;
	}
	return out;
}

int refusal_bind(struct err *e, struct mark at, const struct addr *a, const char *text, int r)
{
	char way[WAY_MAX];

	LB_ASSERT(r < 0);
	return err_at(e, at, "cannot bind %s: %s%s", text, strerror(-r), bind_way(a, r, way));
}

int refusal_own(struct err *e, struct mark at, const char *text, const char *own)
{
	return err_at(e, at, "cannot bind %s: lb itself has this port, %s", text, own);
}

int refusal_http(struct err *e, const struct conf *conf, int r)
{
	char way[WAY_MAX];

	LB_ASSERT(r < 0);
	return err_at(e, conf->admin.at, "admin.http %s: %s%s", conf->admin.http_text, strerror(-r),
		      bind_way(&conf->admin.http, r, way));
}

int refusal_source(struct err *e, struct mark at, const struct addr *a, int r)
{
	char text[ADDR_TEXT_MAX];

	LB_ASSERT(r < 0);
	return err_at(e, at, "source %s: %s%s", addr_format_host(a, text), strerror(-r),
		      r == -EADDRNOTAVAIL
			      ? "; \"ip addr\" shows the addresses of this machine: take one of "
				"them, or give it this one with \"ip addr add\""
			      : "");
}

/* ---- files ----------------------------------------------------------------------------------- */

int refusal_log(struct err *e, struct mark at, const char *to, int r)
{
	char folder[PATH_MAX], name[32];

	LB_ASSERT(r < 0);
	(void)refusal_folder(to, folder, sizeof(folder));
	switch (-r) {
	case ENOENT:
		if (access(folder, F_OK) == 0) /* a folder of /proc or /sys */
			return err_at(e, at,
				      "cannot open log %s: no file can be made in %s; name a file "
				      "in another folder, or stderr",
				      to, folder);
		return err_at(e, at,
			      "cannot open log %s: %s; \"mkdir -p %s\" makes its folder, or name "
			      "another file",
			      to, strerror(-r), folder);
	case EACCES:
	case EPERM:
		return err_at(e, at,
			      "cannot open log %s: %s; user \"%s\" must be able to write it in %s, "
			      "or name another file",
			      to, strerror(-r), own_name(name), folder);
	case EISDIR:
		return err_at(e, at, "cannot open log %s: %s; name a file in it", to, strerror(-r));
	case ENOSPC:
	case EDQUOT:
		return err_at(e, at,
			      "cannot open log %s: %s; make room in %s (\"df -h %s\" shows it), or "
			      "name a file on another disk",
			      to, strerror(-r), folder, folder);
	case EROFS:
		return err_at(
			e, at,
			"cannot open log %s: %s; name a file in a folder that can be written, "
			"or stderr",
			to, strerror(-r));
	default:
		return err_at(e, at, "cannot open log %s: %s; name another file, or stderr", to,
			      strerror(-r));
	}
}

static const char *kind_of(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return "something that is gone now";
	if (S_ISDIR(st.st_mode))
		return "a folder";
	if (S_ISLNK(st.st_mode))
		return "a symbolic link";
	return "a file";
}

int refusal_socket(struct err *e, const struct conf *conf, int r)
{
	const char *path = conf->admin.socket, *user = conf->user;
	char folder[PATH_MAX], name[32];
	struct mark at = conf->admin.socket_at;

	LB_ASSERT(r < 0 && path != NULL);
	(void)refusal_folder(path, folder, sizeof(folder));
	switch (-r) {
	case EADDRINUSE:
		return err_at(e, at,
			      "admin.socket %s: another program answers on it (another lb?): stop "
			      "that one, or set admin.socket to another path or to off",
			      path);
	case ENOTSOCK:
		return err_at(
			e, at,
			"admin.socket %s: %s has this path, and no socket: move it away, or set "
			"admin.socket to another path or to off",
			path, kind_of(path));
	case ENOENT:
		return err_at(e, at,
			      "admin.socket %s: its folder is missing: \"mkdir -p %s%s%s%s%s\", or "
			      "set admin.socket to another path or to off",
			      path, folder, user != NULL ? " && chown " : "",
			      user != NULL ? user : "", user != NULL ? " " : "",
			      user != NULL ? folder : "");
	case EPERM:
		return err_at(
			e, at,
			"admin.socket %s: a socket of another user has this path: be that user "
			"or root, or set admin.socket to another path or to off",
			path);
	case EACCES:
		return err_at(e, at,
			      "admin.socket %s: %s: user \"%s\" must be able to write to %s: chown "
			      "it, or set admin.socket to another path or to off",
			      path, strerror(-r), own_name(name), folder);
	default:
		return err_at(e, at,
			      "admin.socket %s: %s: set admin.socket to another path or to off",
			      path, strerror(-r));
	}
}

int refusal_file(struct err *e, const struct conf *conf, int r)
{
	char name[32];

	LB_ASSERT(r < 0);
	return err_at(e, (struct mark){ .file = conf->file },
		      "user \"%s\" cannot read this file, which a reload needs: %s; let it, with "
		      "\"chgrp\" and \"chmod g+r\" (g+x for its folders)",
		      own_name(name), strerror(-r));
}

int refusal_tls_file(struct err *e, struct mark at, const char *path, int r)
{
	char name[32];

	switch (-r) {
	case EACCES:
	case EPERM:
		return err_at(
			e, at,
			"%s: user \"%s\" cannot read it: %s; let that user, with \"chgrp\" and "
			"\"chmod g+r\" (g+x for its folders)",
			path, own_name(name), strerror(-r));
	case ENOENT:
		return err_at(e, at,
			      "%s: %s; a path that does not begin with / starts at the folder of "
			      "the configuration",
			      path, strerror(-r));
	case ENXIO: return err_at(e, at, "%s: it is no regular file", path);
	default: return err_at(e, at, "%s: it cannot be read: %s", path, strerror(-r));
	}
}
