/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stack that producers push onto with one exchange loop and the consumer takes whole and turns
 * round. Whoever finds it empty wakes the consumer; everybody else knows it has been woken.
 */
#include "ev/mailbox.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ev/loop.h"

int mailbox_open(struct mailbox *mb, void *arg)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	*mb = (struct mailbox){ .arg = arg, .wake_fd = fd };
	return 0;
}

void mailbox_open_with(struct mailbox *mb, void *arg, void (*wake)(void *), void *wake_arg)
{
	*mb = (struct mailbox){ .arg = arg, .wake_fd = -1, .wake = wake, .wake_arg = wake_arg };
}

static void arm(struct mailbox *mb)
{
	loop_poll(mb->loop, mb->wake_fd, POLLIN, tag_make(LOOP_CLASS_MAIL, 0, 0));
}

static void on_wake(void *arg, const struct completion *c)
{
	struct mailbox *mb = arg;
	uint64_t n;

	if (c->res < 0)
		return; /* closed: the loop is ending */
	/* Read before draining: a letter posted meanwhile raises it again. */
	ssize_t r = read(mb->wake_fd, &n, sizeof(n));
	LB_ASSERT(r == sizeof(n) || errno == EAGAIN || errno == EINTR);
	arm(mb);
	mailbox_drain(mb);
}

int mailbox_attach(struct mailbox *mb, struct loop *loop)
{
	mb->loop = loop;
	if (mb->wake != NULL)
		return 0;
	int r = loop_adopt(loop, mb->wake_fd);
	if (r < 0)
		return r;
	loop_set_handler(loop, LOOP_CLASS_MAIL, on_wake, mb);
	arm(mb);
	return 0;
}

void mailbox_post(struct mailbox *mb, struct mail *m)
{
	struct mail *head = atomic_load_explicit(&mb->head, memory_order_relaxed);

	/* Release: the consumer sees what the letter says. */
	do {
		m->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&mb->head, &head, m, memory_order_release,
							memory_order_relaxed));
	if (head != NULL)
		return;
	if (mb->wake != NULL) {
		mb->wake(mb->wake_arg);
		return;
	}
	uint64_t one = 1;
	ssize_t r = write(mb->wake_fd, &one, sizeof(one));
	LB_ASSERT(r == sizeof(one) || errno == EAGAIN || errno == EINTR);
}

void mailbox_drain(struct mailbox *mb)
{
	struct mail *newest = atomic_exchange_explicit(&mb->head, NULL, memory_order_acquire);
	struct mail *oldest = NULL;

	while (newest != NULL) {
		struct mail *m = newest;
		newest = m->next;
		m->next = oldest;
		oldest = m;
	}
	while (oldest != NULL) {
		struct mail *m = oldest;
		oldest = m->next; /* run() may free it */
		m->run(m, mb->arg);
	}
}

void mailbox_close(struct mailbox *mb)
{
	mailbox_drain(mb);
	if (mb->wake_fd >= 0)
		(void)close(mb->wake_fd);
	mb->wake_fd = -1;
}
