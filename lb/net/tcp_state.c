/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel knows of a peer (TCP_INFO): whether it acknowledges, and what it has
 * acknowledged.
 *
 * tcp_state_is_delivered() is asked before a close, tcp_state_is_alive() after ETIMEDOUT, and
 * tcp_state_taken() by idle timeouts. Each is one getsockopt(2). A socket that is no TCP socket, or
 * has failed, gives no information; the header says what each function returns then.
 *
 * Thread: the loop's.
 */
#include "net/tcp_state.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>

#include "ev/loop.h"

/* The kernel's TCP_CLOSE. <netinet/tcp.h> defines it, but has an older struct tcp_info than
 * <linux/tcp.h>. */
#define STATE_CLOSED 7

static bool tcp_info(struct loop *l, int fd, struct tcp_info *ret)
{
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return loop_getsockopt(l, fd, IPPROTO_TCP, TCP_INFO, ret, &len) == 0;
}

bool tcp_state_is_delivered(struct loop *l, int fd)
{
	struct tcp_info ti;

	if (!tcp_info(l, fd, &ti))
		return true;
	/* After a reset or a time-out nothing more will be delivered, so there is nothing to wait
	 * for. */
	return ti.tcpi_state == STATE_CLOSED ||
	       (ti.tcpi_unacked == 0 && ti.tcpi_notsent_bytes == 0);
}

bool tcp_state_is_alive(struct loop *l, int fd, uint32_t user_ms)
{
	struct tcp_info ti;

	if (!tcp_info(l, fd, &ti))
		return false;
	/*
	 * When the window is open, a peer that has vanished was last heard when the bytes were
	 * sent, which is user_ms ago; therefore the limit is a little less than user_ms. A closed
	 * window is probed ever more seldom, so the last answer of a live peer may be about user_ms
	 * old; therefore the limit is then a little more.
	 */
	bool is_closed = ti.tcpi_snd_wnd < ti.tcpi_snd_mss;
	uint32_t limit_ms = is_closed ? user_ms + user_ms / 8 : user_ms - user_ms / 16;
	return ti.tcpi_last_ack_recv < limit_ms;
}

bool tcp_state_taken(struct loop *l, int fd, struct tcp_taken *ret)
{
	struct tcp_info ti;

	if (!tcp_info(l, fd, &ti) || ti.tcpi_state == STATE_CLOSED)
		return false;
	ret->bytes = (uint32_t)ti.tcpi_bytes_acked;
	/* When no byte is on its way, the peer acknowledges only keepalive probes and the probes of
	 * a closed window. So the time of the last acknowledgement does not tell when the peer took
	 * bytes. */
	ret->is_shut_out = ti.tcpi_unacked == 0 && ti.tcpi_notsent_bytes > 0;
	ret->quiet_ms = ti.tcpi_unacked > 0 ? ti.tcpi_last_ack_recv : ti.tcpi_last_data_sent;
	return true;
}
