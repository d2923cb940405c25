/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "../suite.h"
#include "ev/loop.h"
#include "ev/mailbox.h"

#define N_PRODUCERS 4
#define N_LETTERS 20000

struct letter {
	struct mail mail; /* first */
	int producer, number;
};

/* The messages that a consumer has got. */
struct reader {
	struct mailbox box;
	struct loop *loop;
	int next[N_PRODUCERS];
	int n_read;
	int n_wakes;
};

static struct reader reader;

static void on_letter(struct mail *m, void *arg)
{
	struct letter *l = (struct letter *)m;
	struct reader *r = arg;

	/* The messages of one producer come in order; none is lost, and none comes twice. */
	ck_assert_int_eq(l->number, r->next[l->producer]);
	r->next[l->producer]++;
	r->n_read++;
	free(l);
	if (r->n_read == N_PRODUCERS * N_LETTERS && r->loop != NULL)
		loop_stop(r->loop);
}

static void post(struct mailbox *mb, int producer, int number)
{
	struct letter *l = malloc(sizeof(*l));

	*l = (struct letter){ { .run = on_letter }, producer, number };
	mailbox_post(mb, &l->mail);
}

static void *produce(void *arg)
{
	for (int i = 0; i < N_LETTERS; i++)
		post(&reader.box, *(int *)arg, i);
	return NULL;
}

/* Several threads post while the loop sleeps and wakes; a lost wake-up would hang here. */
START_TEST(many_threads_one_reader)
{
	static int id[N_PRODUCERS] = { 0, 1, 2, 3 };
	pthread_t thread[N_PRODUCERS];
	struct err e = ERR_INIT;

	ck_assert_int_eq(mailbox_open(&reader.box, &reader), 0);
	ck_assert_int_eq(loop_new(&(struct loop_opts){ .engine = _i }, &e, &reader.loop), 0);
	ck_assert_int_eq(mailbox_attach(&reader.box, reader.loop), 0);
	for (int i = 0; i < N_PRODUCERS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, produce, &id[i]), 0);
	ck_assert_int_eq(loop_run(reader.loop), 0);
	ck_assert_int_eq(reader.n_read, N_PRODUCERS * N_LETTERS);
	for (int i = 0; i < N_PRODUCERS; i++)
		pthread_join(thread[i], NULL);
	loop_free(reader.loop);
	mailbox_close(&reader.box);
	err_deinit(&e);
}
END_TEST

static void on_wake(void *arg)
{
	((struct reader *)arg)->n_wakes++;
}

START_TEST(wakes_once_for_a_batch)
{
	mailbox_open_with(&reader.box, &reader, on_wake, &reader);
	for (int i = 0; i < 5; i++)
		post(&reader.box, 0, i);
	ck_assert_int_eq(reader.n_wakes, 1);
	ck_assert_int_eq(reader.n_read, 0);
	mailbox_drain(&reader.box);
	ck_assert_int_eq(reader.n_read, 5);
	mailbox_drain(&reader.box);
	ck_assert_int_eq(reader.n_read, 5);
	post(&reader.box, 0, 5);
	ck_assert_int_eq(reader.n_wakes, 2);
	mailbox_drain(&reader.box);
	ck_assert_int_eq(reader.n_read, 6);
	mailbox_close(&reader.box);
}
END_TEST

static int n_dropped;

static void drop_letter(struct mail *m)
{
	struct letter *l = (struct letter *)m;

	ck_assert_int_eq(l->number, n_dropped); /* the oldest first */
	n_dropped++;
	free(l);
}

/*
 * A message that was not delivered does not run, because its reader may be gone; a message without
 * drop() stays.
 */
START_TEST(close_drops_what_is_left)
{
	struct letter part = { .mail = { .run = on_letter } };

	mailbox_open_with(&reader.box, NULL, on_wake, &reader);
	for (int i = 0; i < 3; i++) {
		struct letter *l = malloc(sizeof(*l));
		*l = (struct letter){ { .run = on_letter, .drop = drop_letter }, 0, i };
		mailbox_post(&reader.box, &l->mail);
	}
	mailbox_post(&reader.box, &part.mail);
	mailbox_close(&reader.box);
	ck_assert_int_eq(n_dropped, 3);
	ck_assert_int_eq(reader.n_read, 0);
}
END_TEST

static void post_another(struct mail *m, void *arg)
{
	struct reader *r = arg;

	if (++r->n_read < 3)
		mailbox_post(&r->box, m); /* posts its own message again, which it owns */
}

/* A message that runs may post another one, which a later drain runs, and which wakes the loop. */
START_TEST(letters_may_post)
{
	struct mail m = { .run = post_another };

	mailbox_open_with(&reader.box, &reader, on_wake, &reader);
	mailbox_post(&reader.box, &m);
	for (int n = 1; n <= 3; n++) {
		ck_assert_int_eq(reader.n_wakes, n);
		mailbox_drain(&reader.box);
		ck_assert_int_eq(reader.n_read, n);
	}
	mailbox_close(&reader.box);
	ck_assert_int_eq(reader.n_read, 3);
}
END_TEST

static void add_tests(TCase *t)
{
	struct err e = ERR_INIT;

	tcase_add_test(t, wakes_once_for_a_batch);
	tcase_add_test(t, close_drops_what_is_left);
	tcase_add_test(t, letters_may_post);
	if (loop_probe_uring(&e) == 0)
		tcase_add_loop_test(t, many_threads_one_reader, LOOP_URING, LOOP_URING + 1);
	tcase_add_loop_test(t, many_threads_one_reader, LOOP_EPOLL, LOOP_EPOLL + 1);
	err_deinit(&e);
}

int main(void)
{
	return run_suite("ev/mailbox", add_tests);
}
