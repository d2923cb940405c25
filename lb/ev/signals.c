/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals as events of a loop.
 *
 * signals_open() blocks the signals, so that the kernel keeps them pending, and polls a signalfd,
 * which is readable while one is pending. on_readable() reads them and gives each to the owner's
 * function. signals_close() cancels the poll and waits for its last completion, which ignore()
 * takes.
 *
 * Thread: main.
 */
#include "ev/signals.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "ev/loop.h"

struct signals {
	struct loop *loop;
	unsigned class_id;
	signals_fn fn;
	void *arg;
	int fd;
};

static void arm(struct signals *s)
{
	loop_poll(s->loop, s->fd, POLLIN, tag_make(s->class_id, 0, 0));
}

static void on_readable(void *arg, const struct completion *c)
{
	struct signals *s = arg;
	struct signalfd_siginfo info;

	/* signals_close() replaces this handler before it cancels the poll, so no error arrives
	 * here. */
	LB_ASSERT(c->res > 0);
	while (read(s->fd, &info, sizeof(info)) == sizeof(info))
		s->fn(s->arg, (int)info.ssi_signo);
	arm(s);
}

int signals_open(struct loop *loop, unsigned class_id, const int *signo, size_t n, signals_fn fn,
		 void *arg, struct signals **ret)
{
	sigset_t set;
	struct signals *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	sigemptyset(&set);
	for (size_t i = 0; i < n; i++)
		sigaddset(&set, signo[i]);
	int r = -pthread_sigmask(SIG_BLOCK, &set, NULL);
	LB_ASSERT(r == 0); /* pthread_sigmask() fails only for an unknown first argument */
	s->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	r = s->fd < 0 ? -errno : loop_adopt(loop, s->fd);
	if (r < 0) {
		if (s->fd >= 0)
			(void)close(s->fd);
		free(s);
		return r;
	}
	/* The kernel sends these two signals to a thread whose write fails. lb looks at the errno
	 * of the write instead. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);

	s->loop = loop;
	s->class_id = class_id;
	s->fn = fn;
	s->arg = arg;
	loop_set_handler(loop, class_id, on_readable, s);
	arm(s);
	*ret = s;
	return 0;
}

/* The handler after signals_close(): takes the last completion of the poll. */
static void ignore(void *arg, const struct completion *c)
{
	(void)arg;
	(void)c;
}

struct signals *signals_close(struct signals *s)
{
	if (s == NULL)
		return NULL;
	loop_set_handler(s->loop, s->class_id, ignore, NULL);
	loop_cancel(s->loop, s->fd, tag_make(s->class_id, 0, 0));
	(void)loop_turn(s->loop, 0);
	loop_close(s->loop, s->fd);
	free(s);
	return NULL;
}
