/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>

#include "ev/signals.h"
#include "loop_fixture.h"

static int n_caught[NSIG], n_all;

static void on_signal(void *arg, int signo)
{
	ck_assert_ptr_eq(arg, n_caught);
	n_caught[signo]++;
	n_all++;
}

/* Signals that would end the process come as events; each kind comes again and again. */
START_TEST(signals_are_events)
{
	static const int wanted[] = { SIGHUP, SIGTERM, SIGUSR1 };
	struct signals *s = NULL;

	begin(_i);
	ck_assert_int_eq(signals_open(loop, CLASS_TEST + 1, wanted, 3, on_signal, n_caught, &s), 0);
	ck_assert_ptr_nonnull(s);
	idle();
	ck_assert_int_eq(n_all, 0);
	for (int round = 1; round <= 3; round++) {
		for (int i = 0; i < 3; i++)
			kill(getpid(), wanted[i]);
		UNTIL(n_all == 3 * round);
		for (int i = 0; i < 3; i++)
			ck_assert_int_eq(n_caught[wanted[i]], round);
	}
	kill(getpid(), SIGPIPE); /* ignored */
	kill(getpid(), SIGXFSZ);
	ck_assert_ptr_null(signals_close(s));
	ck_assert_ptr_null(signals_close(NULL));

	/*
	 * After the close the signals stay blocked: no event comes, and the process does not end.
	 */
	kill(getpid(), SIGTERM);
	idle();
	ck_assert_int_eq(n_all, 9);
	end();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, signals_are_events, 0, n_engines);
}

int main(void)
{
	return run_on_engines("ev/signals", add_tests);
}
