/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that are resumed: by lb's tickets, and by lb at a backend. */
#include "tls_fixture.h"

static struct tls_tickets *tickets;

static struct tls_ticket_key random_key(void)
{
	struct tls_ticket_key k;

	ck_assert_int_eq(tls_ticket_key_random(&k), 0);
	return k;
}

static void tickets_begin(void)
{
	struct tls_ticket_keys keys = { .key = { random_key() }, .n = 1 };

	tickets = tls_tickets_new(&keys);
	ck_assert_ptr_nonnull(tickets);
}

static void tickets_end(void)
{
	tickets = tls_tickets_unref(tickets);
}

/* Some content each way, so that a client has read its ticket. */
static void talk(const char *name)
{
	struct queue q = { 0 };

	push_plain(&q, 0, 100, 4096);
	lb_write(&q);
	ck_assert_int_eq(peer_read(0, 100, name), SSL_ERROR_WANT_READ);
	peer_write(0, 100);
	peer_to_lb();
	expect_plain(0, 100, name);
}

/* Whether the peer's ticket is another one than it came with. */
static bool has_new_ticket(const struct setup *s)
{
	const unsigned char *a, *b;
	size_t n_a = 0, n_b = 0;

	if (s->suite->version == TLS1_3_VERSION)
		return peer.session != NULL;
	SSL_SESSION_get0_ticket(SSL_get0_session(peer.ssl), &a, &n_a);
	if (s->peer_session != NULL)
		SSL_SESSION_get0_ticket(s->peer_session, &b, &n_b);
	return n_a > 0 && (n_a != n_b || memcmp(a, b, n_a) != 0);
}

static bool got_ticket; /* of the newest run() */

/* A connection from handshake to end. Returns whether it was resumed. */
static bool run(struct setup *s)
{
	conn_begin(s);
	shake();
	assert_shaken(s->suite->name);
	talk(s->suite->name);
	bool is_resumed = SSL_session_reused(peer.ssl) == 1;
	got_ticket = has_new_ticket(s);
	ck_assert_int_eq(tls_is_compact(lb.t), s->layer == COMPACT);
	if (s->layer == COMPACT)
		ck_assert_uint_eq(lb.es.counts.n_kept, 0);
	conn_end();
	return is_resumed;
}

static SSL_SESSION *take_peer_session(void)
{
	SSL_SESSION *s = peer.session;

	peer.session = NULL;
	ck_assert_ptr_nonnull(s);
	return s;
}

/* A ticket of lb's is good in the next connection, which gets one in its turn (TLS 1.3). */
START_TEST(tickets_resume)
{
	struct setup s = { .suite = &suites[_i % N_SUITES], .layer = _i / N_SUITES };
	bool is_1_3 = s.suite->version == TLS1_3_VERSION;

	tickets_begin();
	lb_begin();
	s.tickets = tickets;
	ck_assert(!run(&s));
	for (int round = 0; round < 3; round++) {
		s.peer_session = take_peer_session();
		ck_assert_msg(run(&s), "%s", s.suite->name);
		ck_assert_int_eq(got_ticket, is_1_3);
		if (!is_1_3 && peer.session == NULL)
			peer.session = s.peer_session;
		else
			SSL_SESSION_free(s.peer_session);
	}
	end_tls();
	tickets_end();
}
END_TEST

/* All workers and all reloads share the keys: a ticket of one context is good in another one. A key
 * is good until two others have followed it. */
START_TEST(keys_are_shared_and_rotated)
{
	struct setup s = { .suite = &suites[_i % 2 == 0 ? SUITE_1_3 : SUITE_1_2], .layer = _i / 2 };
	struct tls_ticket_key fresh;

	tickets_begin();
	lb_begin();
	s.tickets = tickets; /* each run() has a context of its own */
	ck_assert(!run(&s));
	SSL_SESSION *first = take_peer_session();
	for (int age = 0; age < 4; age++) {
		/* A copy: OpenSSL's client drops a session when it is given a newer one. */
		s.peer_session = SSL_SESSION_dup(first);
		ck_assert_msg(run(&s) == (age < 3), "%s, after %d rotations", s.suite->name, age);
		/* An old key's ticket is replaced, in TLS 1.2, too. */
		ck_assert_int_eq(got_ticket, age > 0 || s.suite->version == TLS1_3_VERSION);
		SSL_SESSION_free(s.peer_session);
		fresh = random_key();
		tls_tickets_rotate(tickets, &fresh);
	}
	SSL_SESSION_free(first);
	end_tls();
	tickets_end();
}
END_TEST

START_TEST(other_keys_do_not_resume)
{
	struct setup s = { .suite = &suites[_i % 2 == 0 ? SUITE_1_3 : SUITE_1_2], .layer = _i / 2 };
	struct tls_ticket_keys keys = { .key = { random_key() }, .n = 1 };

	tickets_begin();
	lb_begin();
	s.tickets = tickets;
	ck_assert(!run(&s));
	s.peer_session = take_peer_session();
	tls_tickets_set(tickets, &keys);
	ck_assert(!run(&s)); /* a full handshake, and no error */
	SSL_SESSION_free(s.peer_session);
	end_tls();
	tickets_end();
}
END_TEST

START_TEST(without_keys_there_are_no_tickets)
{
	struct setup s = { .suite = &suites[_i % 2 == 0 ? SUITE_1_3 : SUITE_1_2], .layer = _i / 2 };

	lb_begin();
	ck_assert(!run(&s));
	if (peer.session != NULL) { /* of TLS 1.2: an id without a ticket */
		ck_assert(!SSL_SESSION_has_ticket(peer.session));
		ck_assert_int_eq(s.suite->version, TLS1_2_VERSION);
	}
	end_tls();
}
END_TEST

/* As a client lb resumes with the session that it was given, under both record layers. */
START_TEST(lb_resumes_at_a_backend)
{
	struct setup s = { .suite = &suites[_i % N_SUITES],
			   .layer = _i / N_SUITES,
			   .is_client = true };

	lb_begin();
	s.ctx = client_ctx(&s);
	/* One context of the peer's for all connections: it holds the keys of its tickets. */
	SSL_CTX *backend = NULL;
	for (int round = 0; round < 3; round++) {
		conn_begin(&s);
		SSL_free(peer.ssl);
		if (backend == NULL) {
			backend = peer.ctx;
			SSL_CTX_up_ref(backend);
		} else {
			SSL_CTX_free(peer.ctx);
			peer.ctx = backend;
			SSL_CTX_up_ref(backend);
		}
		peer_open(&s);
		shake();
		assert_shaken(s.suite->name);
		talk(s.suite->name);
		talk(s.suite->name);
		ck_assert_msg((SSL_session_reused(peer.ssl) == 1) == (round > 0), "%s, round %d",
			      s.suite->name, round);
		ck_assert_ptr_nonnull(lb.session);
		s.session = lb.session;
		ck_assert_int_eq(tls_is_compact(lb.t), s.layer == COMPACT);
		conn_end();
	}
	/* A session is not used under another context: that may verify by another CA. */
	s.ctx = tls_ctx_unref(s.ctx);
	conn_begin(&s);
	SSL_CTX_free(peer.ctx);
	SSL_free(peer.ssl);
	peer.ctx = backend;
	peer_open(&s);
	shake();
	assert_shaken(s.suite->name);
	ck_assert_int_eq(SSL_session_reused(peer.ssl), 0);
	end_tls();
}
END_TEST

static void small_tickets(SSL_CTX *x)
{
	SSL_CTX_set_num_tickets(x, 4);
}

/* A backend that gives several tickets, before and between content. */
START_TEST(many_tickets_of_a_backend)
{
	struct setup s = { .suite = &suites[SUITE_1_3],
			   .layer = _i,
			   .is_client = true,
			   .on_peer = small_tickets };

	begin_tls(&s);
	lb.piece = 11;
	shake();
	assert_shaken(s.suite->name);
	talk(s.suite->name);
	talk(s.suite->name);
	/* A ticket that comes when lb carries the records itself is skipped. */
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(SSL_new_session_ticket(peer.ssl), 1);
		talk(s.suite->name);
	}
	ck_assert_int_eq(tls_is_compact(lb.t), s.layer == COMPACT);
	end_tls();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, tickets_resume, 0, N_SUITES * N_LAYERS);
	tcase_add_loop_test(t, keys_are_shared_and_rotated, 0, 2 * N_LAYERS);
	tcase_add_loop_test(t, other_keys_do_not_resume, 0, 2 * N_LAYERS);
	tcase_add_loop_test(t, without_keys_there_are_no_tickets, 0, 2 * N_LAYERS);
	tcase_add_loop_test(t, lb_resumes_at_a_backend, 0, N_SUITES * N_LAYERS);
	tcase_add_loop_test(t, many_tickets_of_a_backend, 0, N_LAYERS);
}

int main(void)
{
	return run_suite("net/tls_resume", add_tests);
}
