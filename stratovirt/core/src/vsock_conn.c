#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vsock_muxer.h"

#define OK_LINE_SIZE 16 /* "OK 4294967295\n" and its NUL */

void vsock_conn_hang_up(struct vsock_conn *conn)
{
	if (conn->source.fd < 0)
		return;
	iothread_remove(conn->muxer->io, &conn->source);
	close(conn->source.fd);
	conn->source.fd = -1;
	conn->readable = false;
	conn->writable = false;
}

/* Bytes that nobody will read count as handed on. */
static void discard(struct vsock_conn *conn)
{
	conn->fwd_cnt += conn->used;
	conn->used = 0;
}

void vsock_conn_reset(struct vsock_conn *conn)
{
	bool unknown = conn->owes & VSOCK_OWES_REQUEST; /* to the guest, which needs not be told */

	vsock_conn_hang_up(conn);
	discard(conn);
	if (unknown) {
		vsock_muxer_release(conn);
		return;
	}
	conn->owes = VSOCK_OWES_RST;
	vsock_muxer_enter(conn, VSOCK_RESETTING);
	vsock_muxer_queue(conn);
}

static void host_is_gone(struct vsock_conn *conn)
{
	conn->host_shutdown = VSOCK_SHUTDOWN_BOTH;
	conn->owes |= VSOCK_OWES_SHUTDOWN;
	vsock_conn_hang_up(conn);
	discard(conn);
	vsock_muxer_enter(conn, VSOCK_CLOSING);
}

static uint32_t credit_of(const struct vsock_conn *conn)
{
	return vsock_credit(conn->peer_buf_alloc, conn->peer_fwd_cnt, conn->tx_cnt);
}

static bool wants_to_read(const struct vsock_conn *conn)
{
	return conn->state == VSOCK_OPEN && conn->readable && !(conn->host_shutdown & VSOCK_SHUTDOWN_SEND) &&
	       !(conn->guest_shutdown & VSOCK_SHUTDOWN_RCV);
}

bool vsock_conn_is_ready(const struct vsock_conn *conn)
{
	return conn->owes || (wants_to_read(conn) && credit_of(conn) > 0);
}

/* Draws the consequences of an event; the connection may be free on return. */
static void settle(struct vsock_conn *conn)
{
	if (conn->state == VSOCK_DRAINING && conn->used == 0) {
		vsock_conn_hang_up(conn);
		if (!conn->owes) {
			vsock_muxer_release(conn);
			return;
		}
		vsock_muxer_enter(conn, VSOCK_RESETTING);
	}
	if (conn->state == VSOCK_OPEN && conn->fwd_cnt - conn->told_fwd_cnt >= VSOCK_BUFFER_SIZE / 2)
		conn->owes |= VSOCK_OWES_CREDIT_UPDATE;
	if (wants_to_read(conn) && credit_of(conn) == 0 && !conn->credit_asked) {
		conn->owes |= VSOCK_OWES_CREDIT_REQUEST;
		conn->credit_asked = true;
	}
	if (vsock_conn_is_ready(conn))
		vsock_muxer_queue(conn);
}

/* Gives the host program bytes; returns how many it took. */
static size_t send_to_host(struct vsock_conn *conn, struct iovec *iov, size_t count)
{
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
	ssize_t sent = sendmsg(conn->source.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent >= 0)
		return (size_t)sent;
	conn->writable = false;
	if (errno == EAGAIN)
		return 0;
	conn->host_shutdown |= VSOCK_SHUTDOWN_RCV; /* it reads no more, and may still send */
	if (conn->state == VSOCK_OPEN)
		conn->owes |= VSOCK_OWES_SHUTDOWN;
	return 0;
}

/* Hands on what is buffered, as far as the host program takes it. */
static void flush(struct vsock_conn *conn)
{
	while (conn->used > 0 && conn->writable) {
		uint32_t to_end = VSOCK_BUFFER_SIZE - conn->first;
		uint32_t piece = conn->used < to_end ? conn->used : to_end;
		struct iovec parts[2] = {{conn->buffer + conn->first, piece},
					 {conn->buffer, conn->used - piece}};
		uint32_t sent = (uint32_t)send_to_host(conn, parts, 2);

		conn->first = (conn->first + sent) % VSOCK_BUFFER_SIZE;
		conn->used -= sent;
		conn->fwd_cnt += sent;
	}
	if (conn->host_shutdown & VSOCK_SHUTDOWN_RCV)
		discard(conn);
	if (conn->used == 0 && (conn->guest_shutdown & VSOCK_SHUTDOWN_SEND) && conn->source.fd >= 0)
		shutdown(conn->source.fd, SHUT_WR);
}

/* Appends to the buffer, which has room for it. */
static void keep(struct vsock_conn *conn, struct span *data)
{
	while (data->bytes > 0) {
		uint32_t at = (conn->first + conn->used) % VSOCK_BUFFER_SIZE;
		uint32_t to_end = VSOCK_BUFFER_SIZE - at;
		uint32_t piece = data->bytes < to_end ? (uint32_t)data->bytes : to_end;

		span_take(data, conn->buffer + at, piece);
		conn->used += piece;
		conn->buffer_dirty = true;
	}
}

static void take_data(struct vsock_conn *conn, struct span *data)
{
	if (conn->state == VSOCK_CLOSING) { /* it was on its way when the host program went */
		conn->fwd_cnt += (uint32_t)data->bytes;
		return;
	}
	/* The second would be credit that we never gave (5.10.6.3). */
	if (conn->state != VSOCK_OPEN || (conn->guest_shutdown & VSOCK_SHUTDOWN_SEND) ||
	    data->bytes > VSOCK_BUFFER_SIZE - conn->used) {
		vsock_conn_reset(conn);
		return;
	}
	if (conn->used == 0 && conn->writable && data->bytes > 0) {
		size_t sent = send_to_host(conn, data->iov, data->count);

		span_skip(data, sent);
		conn->fwd_cnt += (uint32_t)sent;
	}
	keep(conn, data);
	flush(conn);
}

/* The guest has closed, or says RST: what it sent before is still handed on. */
static void guest_is_gone(struct vsock_conn *conn, uint32_t owed)
{
	if (!owed)
		vsock_muxer_forget_ports(conn);
	conn->owes = owed;
	if (conn->state != VSOCK_OPEN && conn->state != VSOCK_DRAINING) {
		vsock_conn_hang_up(conn);
		discard(conn);
	}
	vsock_muxer_enter(conn, VSOCK_DRAINING);
}

static void take_shutdown(struct vsock_conn *conn, uint32_t flags)
{
	if (conn->state != VSOCK_OPEN && conn->state != VSOCK_CLOSING) {
		vsock_conn_reset(conn);
		return;
	}
	conn->guest_shutdown |= flags & VSOCK_SHUTDOWN_BOTH;
	flush(conn);
	if (conn->guest_shutdown == VSOCK_SHUTDOWN_BOTH)
		guest_is_gone(conn, VSOCK_OWES_RST);
	else if ((conn->guest_shutdown & VSOCK_SHUTDOWN_RCV) && conn->hung_up && conn->state == VSOCK_OPEN)
		host_is_gone(conn);
	else if ((conn->guest_shutdown & VSOCK_SHUTDOWN_RCV) && conn->source.fd >= 0)
		shutdown(conn->source.fd, SHUT_RD);
}

/* The guest has taken a host program's connection: says so, and lets its bytes through. */
static void take_response(struct vsock_conn *conn)
{
	char line[OK_LINE_SIZE];
	int length = snprintf(line, sizeof(line), "OK %u\n", conn->host_port);

	if (conn->state != VSOCK_REQUESTED ||
	    send(conn->source.fd, line, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) != length) {
		vsock_conn_reset(conn);
		return;
	}
	vsock_muxer_enter(conn, VSOCK_OPEN);
	conn->readable = true;
	conn->writable = true;
}

void vsock_conn_receive(struct vsock_conn *conn, const struct vsock_header *header, struct span *data)
{
	bool over = conn->state == VSOCK_RESETTING || conn->state == VSOCK_DRAINING;

	conn->peer_buf_alloc = header->buf_alloc;
	conn->peer_fwd_cnt = header->fwd_cnt;
	if (credit_of(conn) > 0)
		conn->credit_asked = false;
	if (over && header->op != VSOCK_OP_RST)
		return; /* sent before the guest saw our RST */
	switch (header->op) {
	case VSOCK_OP_RESPONSE:
		take_response(conn);
		break;
	case VSOCK_OP_RST:
		guest_is_gone(conn, 0);
		break;
	case VSOCK_OP_SHUTDOWN:
		take_shutdown(conn, header->flags);
		break;
	case VSOCK_OP_RW:
		take_data(conn, data);
		break;
	case VSOCK_OP_CREDIT_UPDATE:
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		if (conn->state == VSOCK_OPEN)
			conn->owes |= VSOCK_OWES_CREDIT_UPDATE;
		break;
	default: /* REQUEST: the ports are taken */
		vsock_conn_reset(conn);
		break;
	}
	settle(conn);
}

/* Reads from the host program straight into the guest's buffers; false when there is nothing to read now. */
static bool read_host(struct vsock_conn *conn, struct vsock_header *header, const struct span *space)
{
	uint32_t credit = credit_of(conn);
	struct iovec iov[VSOCK_IOV_MAX];
	struct span room = {.iov = iov, .count = space->count, .bytes = space->bytes};
	ssize_t got;

	memcpy(iov, space->iov, space->count * sizeof(*iov));
	span_cut(&room, space->bytes < credit ? space->bytes : credit);
	got = readv(conn->source.fd, room.iov, (int)room.count);
	if (got > 0) {
		header->op = VSOCK_OP_RW;
		header->len = (uint32_t)got;
		conn->tx_cnt += (uint32_t)got;
		return true;
	}
	if (got < 0 && errno == EAGAIN) {
		conn->readable = false;
		return false;
	}
	if (got < 0 || conn->hung_up) {
		host_is_gone(conn);
	} else {
		conn->host_shutdown |= VSOCK_SHUTDOWN_SEND;
		conn->owes |= VSOCK_OWES_SHUTDOWN;
	}
	return false;
}

/* Takes the most urgent packet that is owed. */
static void pay(struct vsock_conn *conn, struct vsock_header *header)
{
	static const struct {
		uint32_t owed;
		uint16_t op;
	} order[] = {{VSOCK_OWES_RST, VSOCK_OP_RST},
		     {VSOCK_OWES_REQUEST, VSOCK_OP_REQUEST},
		     {VSOCK_OWES_RESPONSE, VSOCK_OP_RESPONSE},
		     {VSOCK_OWES_CREDIT_UPDATE, VSOCK_OP_CREDIT_UPDATE},
		     {VSOCK_OWES_CREDIT_REQUEST, VSOCK_OP_CREDIT_REQUEST},
		     {VSOCK_OWES_SHUTDOWN, VSOCK_OP_SHUTDOWN}};
	uint32_t i = 0;

	while (!(conn->owes & order[i].owed))
		i++;
	conn->owes &= ~order[i].owed;
	header->op = order[i].op;
	if (header->op == VSOCK_OP_SHUTDOWN)
		header->flags = conn->host_shutdown;
}

bool vsock_conn_next(struct vsock_conn *conn, struct vsock_header *header, const struct span *space)
{
	header->src_port = conn->host_port;
	header->dst_port = conn->guest_port;
	header->buf_alloc = VSOCK_BUFFER_SIZE;
	header->fwd_cnt = conn->fwd_cnt;
	if (conn->owes) {
		pay(conn, header);
	} else if (!vsock_conn_is_ready(conn) || !read_host(conn, header, space)) {
		settle(conn);
		return false;
	}
	conn->told_fwd_cnt = conn->fwd_cnt; /* each packet tells it */
	conn->owes &= ~(uint32_t)VSOCK_OWES_CREDIT_UPDATE;
	if (header->op == VSOCK_OP_RST) {
		vsock_muxer_forget_ports(conn);
		if (conn->state == VSOCK_RESETTING) {
			vsock_muxer_release(conn);
			return true;
		}
	}
	settle(conn);
	return true;
}

void vsock_conn_on_host(struct vsock_conn *conn, uint32_t epoll_events)
{
	conn->writable = conn->writable || (epoll_events & EPOLLOUT);
	conn->readable = conn->readable || (epoll_events & ~(uint32_t)EPOLLOUT);
	conn->half_closed = conn->half_closed || (epoll_events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
	conn->hung_up = conn->hung_up || (epoll_events & (EPOLLHUP | EPOLLERR));
	switch (conn->state) {
	case VSOCK_HANDSHAKE:
		vsock_muxer_handshake(conn);
		return;
	case VSOCK_REQUESTED:
		if (conn->hung_up)
			vsock_conn_reset(conn);
		return;
	default:
		break;
	}
	flush(conn);
	if (conn->hung_up && conn->state == VSOCK_DRAINING)
		discard(conn);
	if (conn->hung_up && conn->state == VSOCK_OPEN &&
	    ((conn->host_shutdown & VSOCK_SHUTDOWN_SEND) || (conn->guest_shutdown & VSOCK_SHUTDOWN_RCV)))
		host_is_gone(conn);
	settle(conn);
}
