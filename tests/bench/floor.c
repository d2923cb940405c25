/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lb-floor: a bare relay on io_uring, a measuring stick for the benchmark and nothing else.
 *
 * It does what no proxy can do without (accept, connect, receive, send, close) and nothing more: no
 * handshake, no limits, no timers, backends in turn. Its cost is the kernel's.
 *
 *   accept --> connect --> multishot recv into a ring's buffer --> send of that same buffer -->
 * ring
 *
 * Each thread has a ring, a listening socket and buffers of its own. A buffer that was received
 * waits in its receiver's queue; one send is in flight per direction. When the ring is empty,
 * receives end with ENOBUFS and are armed again when a buffer comes back.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKENDS_MAX 16
#define THREADS_MAX 64
#define SQ_ENTRIES 4096
#define CQ_ENTRIES 16384
#define GROUP 1
#define NONE (-1)

enum op { OP_ACCEPT, OP_RECV, OP_SEND }; /* the low bits of user_data; above: the side */
#define OP_BITS 7ull

/* A socket, and what waits to be sent to it. */
struct side {
	struct side *other;
	struct side *next_starved;
	int fd;
	int first, last;   /* its queue, of buffer numbers; NONE: empty */
	bool is_receiving; /* an operation is in flight */
	bool is_sending;
	bool is_starved; /* in the list */
	bool is_over;    /* nothing more is received */
};

struct pair {
	struct side side[2];
};

struct relay {
	struct io_uring ring;
	struct io_uring_buf_ring *bufs;
	uint8_t *mem;
	int *next; /* the buffer behind this one in a queue */
	unsigned *len;
	int listen_fd;
	int n_returned; /* in this turn */
	struct side *starved;
};

static struct {
	uint16_t port;
	unsigned buf_size, n_bufs;
	unsigned n_backends;
	struct sockaddr_in backend[BACKENDS_MAX];
	atomic_uint turn;
} conf;

static void die(const char *what, int error)
{
	(void)fprintf(stderr, "lb-floor: %s: %s\n", what, strerror(error));
	exit(1);
}

static struct io_uring_sqe *entry(struct relay *r)
{
	struct io_uring_sqe *q = io_uring_get_sqe(&r->ring);

	if (q == NULL) {
		(void)io_uring_submit(&r->ring);
		q = io_uring_get_sqe(&r->ring);
	}
	if (q == NULL)
		die("submission queue", EBUSY);
	return q;
}

/* After the prep, which clears it. */
static void set_tag(struct io_uring_sqe *q, struct side *s, enum op op)
{
	io_uring_sqe_set_data64(q, (uint64_t)(uintptr_t)s | op);
}

/* ---- sides ----------------------------------------------------------------------------------- */

static void receive(struct relay *r, struct side *s)
{
	struct io_uring_sqe *q = entry(r);

	io_uring_prep_recv_multishot(q, s->fd, NULL, 0, 0);
	q->flags |= IOSQE_BUFFER_SELECT;
	q->buf_group = GROUP;
	set_tag(q, s, OP_RECV);
	s->is_receiving = true;
}

static void send_first(struct relay *r, struct side *s)
{
	struct io_uring_sqe *q = entry(r);

	io_uring_prep_send(q, s->fd, r->mem + (size_t)s->first * conf.buf_size, r->len[s->first],
			   MSG_WAITALL | MSG_NOSIGNAL);
	set_tag(q, s, OP_SEND);
	s->is_sending = true;
}

static void give_back(struct relay *r, int buf)
{
	io_uring_buf_ring_add(r->bufs, r->mem + (size_t)buf * conf.buf_size, conf.buf_size,
			      (unsigned short)buf, io_uring_buf_ring_mask(conf.n_bufs),
			      r->n_returned++);
}

/* Ends both sides once nothing waits, and frees the pair once nothing is in flight. */
static void check(struct side *s)
{
	struct side *o = s->other;

	if (!s->is_over && !o->is_over)
		return;
	if (s->first == NONE && o->first == NONE) {
		(void)shutdown(s->fd, SHUT_RDWR);
		(void)shutdown(o->fd, SHUT_RDWR);
	}
	if (s->is_receiving || s->is_sending || o->is_receiving || o->is_sending || s->is_starved ||
	    o->is_starved)
		return;
	close(s->fd);
	close(o->fd);
	free(s < o ? s : o); /* the pair's first member */
}

static int connect_next(void)
{
	const int one = 1;
	unsigned i = atomic_fetch_add(&conf.turn, 1) % conf.n_backends;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (const struct sockaddr *)&conf.backend[i], sizeof(conf.backend[i])) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- completions ----------------------------------------------------------------------------- */

static void accept_next(struct relay *r)
{
	struct io_uring_sqe *q = entry(r);

	io_uring_prep_multishot_accept(q, r->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	set_tag(q, NULL, OP_ACCEPT);
}

static void on_accept(struct relay *r, int fd)
{
	const int one = 1;
	int backend = fd >= 0 ? connect_next() : -1;
	struct pair *p = backend >= 0 ? calloc(1, sizeof(*p)) : NULL;

	if (p == NULL) {
		if (fd >= 0)
			close(fd);
		if (backend >= 0)
			close(backend);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	p->side[0] = (struct side){ .other = &p->side[1], .fd = fd, .first = NONE };
	p->side[1] = (struct side){ .other = &p->side[0], .fd = backend, .first = NONE };
	receive(r, &p->side[0]);
	receive(r, &p->side[1]);
}

static void on_recv(struct relay *r, struct side *s, const struct io_uring_cqe *c)
{
	struct side *to = s->other;

	if (!(c->flags & IORING_CQE_F_MORE))
		s->is_receiving = false;
	if (c->res > 0) {
		int buf = (int)(c->flags >> IORING_CQE_BUFFER_SHIFT);

		r->len[buf] = (unsigned)c->res;
		r->next[buf] = NONE;
		if (to->first == NONE)
			to->first = buf;
		else
			r->next[to->last] = buf;
		to->last = buf;
		if (!to->is_sending)
			send_first(r, to);
	} else if (c->res != -ENOBUFS) {
		s->is_over = true;
	}
	if (!s->is_receiving && !s->is_over && c->res == -ENOBUFS) {
		s->is_starved = true;
		s->next_starved = r->starved;
		r->starved = s;
	} else if (!s->is_receiving && !s->is_over) {
		receive(r, s);
	}
	check(s);
}

static void on_send(struct relay *r, struct side *s, int res)
{
	int buf = s->first;

	s->is_sending = false;
	s->first = r->next[buf];
	give_back(r, buf);
	if (res < 0) { /* nobody is there to read the rest */
		s->is_over = true;
		for (; s->first != NONE; s->first = r->next[s->first])
			give_back(r, s->first);
	}
	if (s->first != NONE)
		send_first(r, s);
	check(s);
}

static void feed_starved(struct relay *r)
{
	struct side *s = r->starved;

	r->starved = NULL;
	while (s != NULL) {
		struct side *next = s->next_starved;

		s->is_starved = false;
		if (!s->is_over && !s->other->is_over)
			receive(r, s);
		else
			check(s);
		s = next;
	}
}

static void turn(struct relay *r)
{
	struct io_uring_cqe *c;
	unsigned head, n = 0;

	(void)io_uring_submit_and_wait(&r->ring, 1);
	io_uring_for_each_cqe(&r->ring, head, c)
	{
		struct side *s = (struct side *)(uintptr_t)(c->user_data & ~OP_BITS);

		n++;
		switch ((enum op)(c->user_data & OP_BITS)) {
		case OP_ACCEPT:
			on_accept(r, c->res);
			if (!(c->flags & IORING_CQE_F_MORE))
				accept_next(r);
			break;
		case OP_RECV: on_recv(r, s, c); break;
		case OP_SEND: on_send(r, s, c->res); break;
		}
	}
	io_uring_cq_advance(&r->ring, n);
	if (r->n_returned > 0) {
		io_uring_buf_ring_advance(r->bufs, r->n_returned);
		r->n_returned = 0;
		feed_starved(r);
	}
}

/* ---- start ----------------------------------------------------------------------------------- */

static void open_ring(struct relay *r)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};
	int x = io_uring_queue_init_params(SQ_ENTRIES, &r->ring, &p);

	if (x < 0)
		die("io_uring_setup", -x);
	(void)io_uring_register_ring_fd(&r->ring);
	size_t n_bytes = conf.n_bufs * sizeof(struct io_uring_buf);
	r->bufs = aligned_alloc(4096, (n_bytes + 4095) & ~(size_t)4095);
	r->mem = aligned_alloc(4096, (size_t)conf.n_bufs * conf.buf_size);
	r->next = calloc(conf.n_bufs, sizeof(*r->next));
	r->len = calloc(conf.n_bufs, sizeof(*r->len));
	if (r->bufs == NULL || r->mem == NULL || r->next == NULL || r->len == NULL)
		die("buffers", ENOMEM);
	memset(r->bufs, 0, n_bytes);
	struct io_uring_buf_reg reg = {
		.ring_addr = (uint64_t)(uintptr_t)r->bufs,
		.ring_entries = conf.n_bufs,
		.bgid = GROUP,
	};
	x = io_uring_register_buf_ring(&r->ring, &reg, 0);
	if (x < 0)
		die("buffer ring", -x);
	io_uring_buf_ring_init(r->bufs);
	for (unsigned i = 0; i < conf.n_bufs; i++)
		give_back(r, (int)i);
	io_uring_buf_ring_advance(r->bufs, r->n_returned);
	r->n_returned = 0;
}

static void open_listener(struct relay *r)
{
	const int one = 1;
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons(conf.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	r->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r->listen_fd < 0 ||
	    setsockopt(r->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    setsockopt(r->listen_fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0 ||
	    bind(r->listen_fd, (const struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(r->listen_fd, SOMAXCONN) < 0)
		die("listen", errno);
}

static void *run(void *arg)
{
	struct relay *r = calloc(1, sizeof(*r));

	(void)arg;
	if (r == NULL)
		die("relay", ENOMEM);
	open_ring(r);
	open_listener(r);
	accept_next(r);
	for (;;)
		turn(r);
	return NULL;
}

static bool parse_backend(char *text)
{
	char *colon = strrchr(text, ':');
	struct sockaddr_in *a = &conf.backend[conf.n_backends];

	if (colon == NULL || conf.n_backends == BACKENDS_MAX)
		return false;
	*colon = '\0';
	a->sin_family = AF_INET;
	a->sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	conf.n_backends++;
	return a->sin_port != 0 && inet_pton(AF_INET, text, &a->sin_addr) == 1;
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	pthread_t thread;
	unsigned n_threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	bool is_right = argc > 5 && n_threads >= 1 && n_threads <= THREADS_MAX;

	if (is_right) {
		conf.port = (uint16_t)strtoul(argv[1], NULL, 10);
		conf.buf_size = (unsigned)strtoul(argv[3], NULL, 10);
		conf.n_bufs = (unsigned)strtoul(argv[4], NULL, 10);
	}
	for (int i = 5; i < argc && is_right; i++)
		is_right = parse_backend(argv[i]);
	/* The ring's size is a power of two; aligned_alloc wants whole pages. */
	if (!is_right || conf.port == 0 || conf.buf_size == 0 || conf.buf_size % 4096 != 0 ||
	    conf.n_bufs == 0 || conf.n_bufs > 32768 || (conf.n_bufs & (conf.n_bufs - 1)) != 0) {
		(void)fputs("usage: lb-floor PORT THREADS BUF_SIZE N_BUFS ADDR:PORT...\n", stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	for (unsigned i = 1; i < n_threads; i++) {
		int x = pthread_create(&thread, NULL, run, NULL);

		if (x != 0)
			die("pthread_create", x);
	}
	run(NULL);
	return 0;
}
