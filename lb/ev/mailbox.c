/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mailbox of one loop.
 *
 * Terms. The consumer is the thread whose loop the mailbox is attached to. A producer is any thread
 * that posts. To wake the consumer is to write to the mailbox's eventfd, which the loop polls (or,
 * without an eventfd, to call `wake`).
 *
 * A mailbox is a stack. mailbox_post() pushes a message with a compare-and-exchange of `head`.
 * mailbox_drain() takes the whole stack with one exchange, reverses it, and runs the messages, the
 * oldest first. So neither side waits for the other, and no lock is taken.
 *
 * A producer that finds the stack empty wakes the consumer. A producer that finds a message in the
 * stack does not wake the consumer, because the producer of that message has done so, and the
 * consumer has not taken the stack since. on_wake() reads the eventfd before it takes the stack: a
 * message that is posted after the taking finds the stack empty, and its producer wakes the
 * consumer again. So no message is left behind.
 *
 * Memory order: the push is a release and the taking an acquire, so the consumer sees what the
 * producer wrote to the message. The wake-up needs no order of its own.
 *
 * Thread: any for mailbox_post(), the consumer for the rest. Hot: no lock, no allocation.
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
		return; /* the poll was cancelled, because the loop is ending */
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

	LB_ASSERT(m->run != NULL);
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

/* Takes all messages out of the mailbox. Returns the oldest; the others follow by `next`. */
static struct mail *take_all(struct mailbox *mb)
{
	struct mail *newest = atomic_exchange_explicit(&mb->head, NULL, memory_order_acquire);
	struct mail *oldest = NULL;

	while (newest != NULL) {
		struct mail *m = newest;
		newest = m->next;
		m->next = oldest;
		oldest = m;
	}
	return oldest;
}

void mailbox_drain(struct mailbox *mb)
{
	struct mail *oldest = take_all(mb);

	while (oldest != NULL) {
		struct mail *m = oldest;
		oldest = m->next; /* run() may free `m` */
		m->run(m, mb->arg);
	}
}

void mailbox_close(struct mailbox *mb)
{
	struct mail *oldest = take_all(mb);

	while (oldest != NULL) {
		struct mail *m = oldest;
		oldest = m->next; /* drop() frees `m` */
		if (m->drop != NULL)
			m->drop(m);
	}
	LB_ASSERT(atomic_load_explicit(&mb->head, memory_order_relaxed) == NULL);
	if (mb->wake_fd >= 0)
		(void)close(mb->wake_fd);
	mb->wake_fd = -1;
}
