#include "vsock_muxer.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vsock_host.h"

#define NO_KEY          UINT64_MAX /* both ports VSOCK_PORT_ANY: in no packet that is accepted */
#define FIRST_HOST_PORT 0x40000000u
#define HOST_PORT_MASK  0x3fffffffu

#define BUFFERS_SIZE ((size_t)VSOCK_CONNECTIONS * VSOCK_BUFFER_SIZE)

static uint64_t key_of(uint32_t guest_port, uint32_t host_port)
{
	return (uint64_t)guest_port << 32 | host_port;
}

static uint64_t *key_at(struct vsock_conn *conn)
{
	return &conn->muxer->keys[conn - conn->muxer->connections];
}

static struct vsock_conn *find(struct vsock_muxer *muxer, uint32_t guest_port, uint32_t host_port)
{
	uint64_t key = key_of(guest_port, host_port);

	for (uint32_t i = 0; key != NO_KEY && i < VSOCK_CONNECTIONS; i++)
		if (muxer->keys[i] == key)
			return &muxer->connections[i];
	return NULL;
}

void vsock_muxer_forget_ports(struct vsock_conn *conn)
{
	*key_at(conn) = NO_KEY;
}

void vsock_muxer_enter(struct vsock_conn *conn, enum vsock_state state)
{
	struct vsock_muxer *muxer = conn->muxer;

	muxer->handshakes -= conn->state == VSOCK_HANDSHAKE;
	muxer->handshakes += state == VSOCK_HANDSHAKE;
	conn->state = state;
	conn->since = muxer->serial++;
}

void vsock_muxer_queue(struct vsock_conn *conn)
{
	struct vsock_muxer *muxer = conn->muxer;

	if (conn->queued)
		return;
	conn->queued = true;
	conn->next_ready = NULL;
	if (muxer->last_ready)
		muxer->last_ready->next_ready = conn;
	else
		muxer->first_ready = conn;
	muxer->last_ready = conn;
}

/* NULL when nobody has anything; some that had it once may have it no longer. */
static struct vsock_conn *next_ready(struct vsock_muxer *muxer)
{
	struct vsock_conn *conn = muxer->first_ready;

	if (!conn)
		return NULL;
	muxer->first_ready = conn->next_ready;
	if (!muxer->first_ready)
		muxer->last_ready = NULL;
	conn->queued = false;
	return conn;
}

void vsock_muxer_release(struct vsock_conn *conn)
{
	vsock_muxer_forget_ports(conn);
	vsock_muxer_enter(conn, VSOCK_FREE);
	conn->owes = 0;
	conn->used = 0;
	if (conn->buffer_dirty)
		madvise(conn->buffer, VSOCK_BUFFER_SIZE, MADV_DONTNEED); /* or it just stays resident */
	conn->buffer_dirty = false;
}

/* Drops the one that has been longest in one of the states, and returns its place; NULL for none. */
static struct vsock_conn *evict(struct vsock_muxer *muxer, enum vsock_state first, enum vsock_state last)
{
	struct vsock_conn *oldest = NULL;

	for (uint32_t i = 0; i < VSOCK_CONNECTIONS; i++) {
		struct vsock_conn *conn = &muxer->connections[i];

		if (conn->state >= first && conn->state <= last && (!oldest || conn->since < oldest->since))
			oldest = conn;
	}
	if (!oldest)
		return NULL;
	if (*key_at(oldest) != NO_KEY) {
		struct vsock_reply reply = {VSOCK_CID_HOST, oldest->host_port, oldest->guest_port,
					    VSOCK_TYPE_STREAM};
		vsock_replies_put(&muxer->replies, &reply);
	}
	vsock_conn_hang_up(oldest);
	vsock_muxer_release(oldest);
	return oldest;
}

/* Returns a place for a new connection; NULL when all are taken by such as live. */
static struct vsock_conn *free_place(struct vsock_muxer *muxer)
{
	struct vsock_conn *conn;

	for (uint32_t i = 0; i < VSOCK_CONNECTIONS; i++)
		if (muxer->connections[i].state == VSOCK_FREE)
			return &muxer->connections[i];
	conn = evict(muxer, VSOCK_CLOSING, VSOCK_DRAINING);
	return conn ? conn : evict(muxer, VSOCK_HANDSHAKE, VSOCK_HANDSHAKE);
}

static void on_socket(void *context, uint32_t epoll_events)
{
	struct vsock_conn *conn = context;
	struct vsock_muxer *muxer = conn->muxer;

	vsock_conn_on_host(conn, epoll_events);
	muxer->wake(muxer->context);
}

/* Puts a socket into a place of the table; NULL, and the socket closed, when there is none. */
static struct vsock_conn *adopt(struct vsock_muxer *muxer, int fd, enum vsock_state state)
{
	struct vsock_conn *conn = free_place(muxer);
	const uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

	if (!conn) {
		close(fd);
		return NULL;
	}
	*conn = (struct vsock_conn){.muxer = muxer,
				    .queued = conn->queued,
				    .next_ready = conn->next_ready,
				    .buffer = conn->buffer,
				    .source = {fd, on_socket, conn}};
	if (iothread_add(muxer->io, &conn->source, events) < 0) {
		close(fd);
		return NULL;
	}
	vsock_muxer_enter(conn, state);
	return conn;
}

static void name_ports(struct vsock_conn *conn, uint32_t guest_port, uint32_t host_port)
{
	conn->guest_port = guest_port;
	conn->host_port = host_port;
	*key_at(conn) = key_of(guest_port, host_port);
}

/* A program in the guest connects to a port of the host. */
static void connect_to_host(struct vsock_muxer *muxer, const struct vsock_header *header)
{
	int fd = vsock_host_connect(muxer->path, header->dst_port);
	struct vsock_conn *conn = fd < 0 ? NULL : adopt(muxer, fd, VSOCK_OPEN);

	if (!conn) {
		vsock_replies_refuse(&muxer->replies, header);
		return;
	}
	name_ports(conn, header->src_port, header->dst_port);
	conn->peer_buf_alloc = header->buf_alloc;
	conn->peer_fwd_cnt = header->fwd_cnt;
	conn->readable = true;
	conn->writable = true;
	conn->owes = VSOCK_OWES_RESPONSE;
	vsock_muxer_queue(conn);
}

bool vsock_muxer_has_room(const struct vsock_muxer *muxer)
{
	return !vsock_replies_full(&muxer->replies);
}

void vsock_muxer_receive(struct vsock_muxer *muxer, enum vsock_verdict verdict,
			 const struct vsock_header *header, struct span *data)
{
	bool ours = header->dst_cid == VSOCK_CID_HOST && header->type == VSOCK_TYPE_STREAM;
	struct vsock_conn *conn = ours ? find(muxer, header->src_port, header->dst_port) : NULL;

	if (conn && verdict == VSOCK_ACCEPT)
		vsock_conn_receive(conn, header, data);
	else if (conn)
		vsock_conn_reset(conn);
	else if (verdict == VSOCK_ACCEPT && header->op == VSOCK_OP_REQUEST)
		connect_to_host(muxer, header);
	else
		vsock_replies_refuse(&muxer->replies, header);
}

bool vsock_muxer_next(struct vsock_muxer *muxer, struct vsock_header *header, const struct span *space)
{
	struct vsock_conn *conn;

	*header = (struct vsock_header){
	    .src_cid = VSOCK_CID_HOST, .dst_cid = muxer->guest_cid, .type = VSOCK_TYPE_STREAM};
	if (vsock_replies_take(&muxer->replies, header))
		return true;
	/* One that has more is at the end of the list again: each in turn. */
	while ((conn = next_ready(muxer)))
		if (vsock_conn_next(conn, header, space))
			return true;
	return false;
}

bool vsock_muxer_is_ready(const struct vsock_muxer *muxer)
{
	return muxer->replies.count > 0 || muxer->first_ready;
}

static uint32_t fresh_host_port(struct vsock_muxer *muxer)
{
	for (;;) { /* there are more ports than connections */
		uint32_t port = FIRST_HOST_PORT + (muxer->next_host_port++ & HOST_PORT_MASK);
		bool taken = false;

		for (uint32_t i = 0; i < VSOCK_CONNECTIONS; i++)
			taken = taken || (uint32_t)muxer->keys[i] == port;
		if (!taken)
			return port;
	}
}

void vsock_muxer_drop(struct vsock_conn *conn)
{
	vsock_conn_hang_up(conn);
	vsock_muxer_release(conn);
}

void vsock_muxer_meet(struct vsock_muxer *muxer, int fd, uint64_t deadline)
{
	struct vsock_conn *conn;

	if (muxer->handshakes == VSOCK_HANDSHAKES)
		evict(muxer, VSOCK_HANDSHAKE, VSOCK_HANDSHAKE);
	/* Making a place may take a reply: without room for one, nobody comes in. */
	if (!vsock_muxer_has_room(muxer)) {
		close(fd);
		return;
	}
	conn = adopt(muxer, fd, VSOCK_HANDSHAKE);
	if (conn)
		conn->deadline = deadline;
}

void vsock_muxer_handshake(struct vsock_conn *conn)
{
	uint32_t port;
	int known = vsock_host_read_connect(conn->source.fd, &port);

	if (known == 0 && !conn->half_closed)
		return; /* the line is not there yet */
	if (known <= 0) {
		vsock_muxer_drop(conn);
		return;
	}
	name_ports(conn, port, fresh_host_port(conn->muxer));
	conn->owes = VSOCK_OWES_REQUEST;
	vsock_muxer_enter(conn, VSOCK_REQUESTED);
	if (conn->hung_up)
		vsock_muxer_drop(conn);
	else
		vsock_muxer_queue(conn);
}

int vsock_muxer_init(struct vsock_muxer *muxer, struct sv_iothread *io, const struct sv_vsock_config *config)
{
	const int protection = PROT_READ | PROT_WRITE;
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

	muxer->io = io;
	muxer->guest_cid = config->guest_cid;
	memcpy(muxer->path, config->path, sizeof(muxer->path));
	muxer->listener.fd = -1;
	muxer->timer.fd = -1;
	muxer->buffers = mmap(NULL, BUFFERS_SIZE, protection, flags, -1, 0);
	if (muxer->buffers == MAP_FAILED)
		return -errno;
	for (uint32_t i = 0; i < VSOCK_CONNECTIONS; i++) {
		muxer->keys[i] = NO_KEY;
		muxer->connections[i].muxer = muxer;
		muxer->connections[i].source.fd = -1;
		muxer->connections[i].buffer = muxer->buffers + i * (size_t)VSOCK_BUFFER_SIZE;
	}
	return vsock_host_init(muxer, config->listener);
}

void vsock_muxer_free(struct vsock_muxer *muxer)
{
	vsock_host_free(muxer);
	if (muxer->buffers != MAP_FAILED)
		munmap(muxer->buffers, BUFFERS_SIZE);
}

void vsock_muxer_open(struct vsock_muxer *muxer)
{
	muxer->open = true;
	vsock_host_listen(muxer);
}

void vsock_muxer_close(struct vsock_muxer *muxer)
{
	muxer->open = false;
	vsock_host_ignore(muxer);
	for (uint32_t i = 0; i < VSOCK_CONNECTIONS; i++)
		if (muxer->connections[i].state != VSOCK_FREE)
			vsock_muxer_drop(&muxer->connections[i]);
	while (next_ready(muxer))
		continue;
	muxer->replies.count = 0;
}
