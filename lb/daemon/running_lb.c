/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends the command "stats json" to the lb that answers on an admin socket, and reads the number of
 * its process and its listening addresses from the answer.
 *
 * running_lb_ask() connects, sends the command, reads the whole answer within ANSWER_S
 * (receive_all()), and gives the answer to running_lb_read(). The answer is not parsed as JSON:
 * behind() searches the text for keys with their quotes. A string in the answer cannot be taken for
 * a key, because quotes within a JSON string are escaped.
 *
 * Thread: any one.
 */
#include "daemon/running_lb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "util/text.h"

#define WAIT_S 2                      /* time-out of each system call, in seconds */
#define ANSWER_S 10                   /* time-out of the whole answer, in seconds */
#define ANSWER_MAX ((size_t)64 << 20) /* in bytes: enough for some hundred thousand backends */

void running_lb_deinit(struct running_lb *r)
{
	free(r->listeners);
	*r = RUNNING_LB_INIT;
}

/* ---- the answer ------------------------------------------------------------------------------ */

/*
 * The text behind the first `key`, or NULL. `key` has its quotes and its colon, so it is not found
 * within a JSON string, where quotes are escaped.
 */
static const char *behind(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at == NULL ? NULL : at + strlen(key);
}

static bool read_addr(const char *at, struct addr *ret)
{
	struct slice s = { .p = at, .n = strcspn(at, "\"") };

	return addr_parse(s, ret) == 0;
}

static int add_listener(struct running_lb *r, const struct addr *a)
{
	struct addr *grown = reallocarray(r->listeners, r->n + 1, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	r->listeners = grown;
	grown[r->n++] = *a;
	return 0;
}

static int read_text(const char *text, struct running_lb *ret)
{
	LB_ASSERT(ret->listeners == NULL && ret->n == 0); /* *ret is RUNNING_LB_INIT */
	static const char first[] = "{\"version\":\"";
	const char *pid = behind(text, "\"pid\":");
	struct addr a;

	if (strncmp(text, first, sizeof(first) - 1) != 0 || pid == NULL)
		return -EPROTO;
	ret->pid = strtol(pid, NULL, 10);
	if (ret->pid <= 0)
		return -EPROTO;
	const char *http = behind(text, "\"admin_http\":\"");
	ret->has_http = http != NULL && read_addr(http, &ret->http);
	for (const char *at = text; (at = behind(at, "\"bind\":\"")) != NULL;) {
		if (read_addr(at, &a) && add_listener(ret, &a) < 0)
			return -ENOMEM;
	}
	return 0;
}

int running_lb_read(struct slice answer, struct running_lb *ret)
{
	char *text = strndup(answer.n > 0 ? answer.p : "", answer.n);
	int r = text == NULL ? -ENOMEM : read_text(text, ret);

	free(text);
	if (r < 0)
		running_lb_deinit(ret);
	return r;
}

bool running_lb_has(const struct running_lb *r, const struct addr *a)
{
	for (size_t i = 0; i < r->n; i++)
		if (addr_eq(&r->listeners[i], a))
			return true;
	return false;
}

const struct addr *running_lb_in_way(const struct running_lb *r, const struct addr *a)
{
	for (size_t i = 0; i < r->n; i++)
		if (addr_overlaps(&r->listeners[i], a))
			return &r->listeners[i];
	return r->has_http && addr_overlaps(&r->http, a) ? &r->http : NULL;
}

/* ---- the question ---------------------------------------------------------------------------- */

static time_t now_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static int receive_all(int fd, struct text *out)
{
	time_t end_s = now_s() + ANSWER_S;
	char buf[65536];

	for (;;) {
		if (now_s() > end_s)
			return -EAGAIN;
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return out->failed ? -ENOMEM : 0;
		text_add(out, (struct slice){ .p = buf, .n = (size_t)n });
		if (out->n > ANSWER_MAX)
			return -EPROTO;
	}
}

static int ask(int fd, const struct sockaddr_un *sun, struct text *out)
{
	static const char question[] = "stats json\n";
	struct timeval wait = { .tv_sec = WAIT_S };

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)); /* connect(2), too */
	if (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) < 0)
		return -errno;
	if (send(fd, question, sizeof(question) - 1, MSG_NOSIGNAL) != sizeof(question) - 1 ||
	    shutdown(fd, SHUT_WR) < 0)
		return -EPROTO;
	return receive_all(fd, out);
}

int running_lb_ask(const char *path, struct running_lb *ret)
{
	_cleanup_(text_deinit) struct text answer = TEXT_INIT;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int r = ask(fd, &sun, &answer);
	(void)close(fd);
	return r < 0 ? r : running_lb_read(text_slice(&answer), ret);
}
