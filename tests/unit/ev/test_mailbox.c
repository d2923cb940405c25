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

/* What a consumer has seen. */
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

	/* Those of one producer come in order, none is lost, none comes twice. */
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
	mailbox_close(&reader.box);
	ck_assert_int_eq(reader.n_read, 6); /* close delivers what is left */
}
END_TEST

static void post_another(struct mail *m, void *arg)
{
	struct reader *r = arg;

	if (++r->n_read < 3)
		mailbox_post(&r->box, m); /* its own letter again: it owns it */
}

/* A letter may post: it is run by a later drain, and wakes for it. */
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
