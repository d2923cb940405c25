/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to the service manager: one datagram each, to the Unix socket that $NOTIFY_SOCKET
 * names. The format is that of sd_notify(3). When there is no such socket, or the socket is full,
 * the message is dropped and no error is reported.
 *
 * Thread: main.
 */
#include "daemon/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void notify(const char *text)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path != NULL ? strlen(path) : 0;

	if (len == 0 || len >= sizeof(sun.sun_path))
		return;
	memcpy(sun.sun_path, path, len);
	if (sun.sun_path[0] == '@') /* an abstract socket: its name begins with a 0 */
		sun.sun_path[0] = '\0';

	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&sun,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	(void)close(fd);
}

void notify_ready(void)
{
	notify("READY=1");
}

void notify_reloading(void)
{
	struct timespec ts;
	char text[64];

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	(void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
		       (long long)ts.tv_sec * 1000000 + ts.tv_nsec / 1000);
	notify(text);
}

void notify_stopping(uint64_t within_ms)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu",
		       (unsigned long long)within_ms * 1000);
	notify(text);
}

void notify_status(struct notify_status *told, const char *fmt, ...)
{
	static const char key[] = "STATUS=";
	char text[sizeof(key) + sizeof(told->text)];
	char *line = text + sizeof(key) - 1;
	va_list ap;

	memcpy(text, key, sizeof(key));
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(told->text), fmt, ap);
	va_end(ap);
	if (strcmp(line, told->text) == 0)
		return;
	memcpy(told->text, line, strlen(line) + 1);
	notify(text);
}
