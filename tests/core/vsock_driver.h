/* A driver for a virtio-vsock device whose streams end in Unix sockets, and the programs on the host's side
 * of it. Each queue has rings of its own, one after the other; buffers come behind them.
 */
#ifndef VSOCK_DRIVER_H
#define VSOCK_DRIVER_H

#include <sys/socket.h>
#include <sys/un.h>

#include "driver.h"
#include "vsock.h"

#define GUEST_CID  42u
#define QUEUE_ROOM 0x8000u /* of one queue's rings */
#define RX_BUFFER  (RAM_GPA + 0x20000)
#define RX_SIZE    4140u /* header and a page, as Linux has it */
#define RX_ROOM    0x2000u
#define TX_BUFFER  (RAM_GPA + 0x200000)
#define EVENT_ROOM (RAM_GPA + 0x1f0000)
#define BIG        (1u << 20) /* a buf_alloc that is in nobody's way */

struct guest {
	struct driver d;
	struct ring rings[VSOCK_QUEUE_COUNT];
	uint32_t rx_seen; /* used entries, not wrapped */
	uint32_t tx_sent;
	uint32_t buf_alloc; /* what its packets say */
	uint32_t fwd_cnt;
	int listener;
	char path[64];
};

static inline struct vsock *vsock_of(struct guest *g)
{
	return (struct vsock *)g->d.device;
}

static inline struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return address;
}

static inline int host_listen(const char *path)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	unlink(path);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(listen(fd, 300) == 0);
	return fd;
}

static inline int host_listen_port(struct guest *g, uint32_t port)
{
	char path[80];

	snprintf(path, sizeof(path), "%s_%u", g->path, port);
	return host_listen(path);
}

/* A call that would wait for longer than this is a test that failed. */
static inline int with_timeout(int fd)
{
	struct timeval limit = {.tv_sec = 20};

	CHECK(fd >= 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0);
	return fd;
}

static inline int host_accept(int listener)
{
	return with_timeout(accept4(with_timeout(listener), NULL, NULL, SOCK_CLOEXEC));
}

static inline int host_connect(struct guest *g)
{
	struct sockaddr_un address = address_of(g->path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return with_timeout(fd);
}

static inline void host_write(int fd, const void *bytes, size_t size)
{
	EQUAL(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

static inline void host_say(int fd, const char *text)
{
	host_write(fd, text, strlen(text));
}

/* Reads exactly as many bytes. */
static inline void host_read(int fd, void *bytes, size_t size)
{
	EQUAL(recv(fd, bytes, size, MSG_WAITALL), size);
}

static inline void host_hears(int fd, const char *text)
{
	char heard[64] = {0};

	host_read(fd, heard, strlen(text));
	if (strcmp(heard, text) != 0)
		fprintf(stderr, "heard '%s', not '%s'\n", heard, text);
	CHECK(strcmp(heard, text) == 0);
}

/* The other side has closed: by the end of the stream, or by a reset where bytes were left. */
static inline void host_sees_end(int fd)
{
	char byte;
	ssize_t got = recv(fd, &byte, 1, 0);

	CHECK(got == 0 || (got < 0 && errno == ECONNRESET));
}

static inline struct guest guest_open(void)
{
	static int machines;
	struct sv_vsock_config config = {.guest_cid = GUEST_CID};
	struct guest g = {.buf_alloc = BIG};
	uint8_t *ram = ram_map(RAM_SIZE);

	snprintf(g.path, sizeof(g.path), "v%d-%d", getpid(), machines++);
	g.listener = host_listen(g.path);
	CHECK(fcntl(g.listener, F_SETFL, O_NONBLOCK) == 0);
	config.listener = g.listener;
	snprintf(config.path, sizeof(config.path), "%s", g.path);
	g.d.ring = (struct ring){.ram = ram, .size = VSOCK_QUEUE_SIZE};
	for (uint32_t i = 0; i < VSOCK_QUEUE_COUNT; i++)
		g.rings[i] = (struct ring){.ram = ram + i * QUEUE_ROOM, .size = VSOCK_QUEUE_SIZE};
	CHECK(sv_vm_create(-1, &g.d.vm) == 0);
	CHECK(sv_mem_add(g.d.vm, RAM_GPA, RAM_SIZE, ram) == 0);
	CHECK(sv_vsock_create(g.d.vm, &config, &g.d.device) == 0);
	CHECK(sv_mmio_place(g.d.vm, g.d.device, WINDOW, 5) == 0);
	return g;
}

static inline void guest_close(struct guest *g)
{
	sv_vm_destroy(g->d.vm);
	ram_unmap(g->d.ring.ram, RAM_SIZE);
	close(g->listener);
	unlink(g->path);
}

static inline void guest_notify(struct guest *g, uint32_t queue)
{
	reg_write(&g->d, R_NOTIFY, queue);
}

static inline void post_rx_buffer(struct guest *g, uint32_t slot)
{
	put_desc(&g->rings[VSOCK_RX], slot, RX_BUFFER + slot * RX_ROOM, RX_SIZE, F_WRITE, 0);
	publish(&g->rings[VSOCK_RX], slot);
}

static inline void post_rx_buffers(struct guest *g, uint32_t count)
{
	for (uint32_t slot = 0; slot < count; slot++)
		post_rx_buffer(g, slot);
	guest_notify(g, VSOCK_RX);
}

static inline void guest_write_queue(struct guest *g, uint32_t queue)
{
	struct virtq_layout layout = ring_layout(&g->rings[queue]);
	uint64_t offset = (uint64_t)queue * QUEUE_ROOM;

	reg_write(&g->d, R_QUEUE_SEL, queue);
	reg_write(&g->d, R_QUEUE_SIZE, layout.size);
	reg_write(&g->d, R_DESC, layout.desc + offset);
	reg_write(&g->d, R_AVAIL, layout.avail + offset);
	reg_write(&g->d, R_USED, layout.used + offset);
	reg_write(&g->d, R_QUEUE_READY, 1);
}

/* Rings as a driver that is loaded anew would make them; the device is not told yet to use them. */
static inline void guest_prepare(struct guest *g, uint64_t features)
{
	reg_write(&g->d, R_STATUS, 0);
	reg_write(&g->d, R_STATUS, S_ACKNOWLEDGE);
	reg_write(&g->d, R_STATUS, S_ACKNOWLEDGE | S_DRIVER);
	driver_write_features(&g->d, features);
	reg_write(&g->d, R_STATUS, S_READY);
	memset(g->d.ring.ram, 0, VSOCK_QUEUE_COUNT * QUEUE_ROOM);
	for (uint32_t i = 0; i < VSOCK_QUEUE_COUNT; i++) {
		g->rings[i].avail = 0;
		guest_write_queue(g, i);
	}
	g->rx_seen = 0;
	g->tx_sent = 0;
	g->fwd_cnt = 0;
}

/* A driver that is loaded anew, with `buffers` for packets. */
static inline void guest_start_with(struct guest *g, uint64_t features, uint32_t buffers)
{
	guest_prepare(g, features);
	reg_write(&g->d, R_STATUS, S_READY | S_DRIVER_OK);
	EQUAL(reg_read(&g->d, R_STATUS), S_READY | S_DRIVER_OK);
	post_rx_buffers(g, buffers);
}

static inline struct guest started(void)
{
	struct guest g = guest_open();

	guest_start_with(&g, VIRTIO_F_VERSION_1, 64);
	return g;
}

static inline void wait_queue(struct guest *g, uint32_t queue, uint32_t used)
{
	uint16_t seen;

	/* Read once: an index that came between two readings would be waited for. */
	while ((int16_t)((seen = used_index(&g->rings[queue])) - (uint16_t)used) < 0) {
		__atomic_store_n(used_event_of(&g->rings[queue]), seen, __ATOMIC_SEQ_CST);
		if (used_index(&g->rings[queue]) == seen)
			wait_interrupt(&g->d);
	}
}

/* Publishes a packet as it is, without waiting; `size` is what the descriptor says. */
static inline void put_packet(struct guest *g, const struct vsock_header *header, const void *data,
			      uint32_t size)
{
	uint32_t slot = g->tx_sent % 16;
	uint64_t gpa = TX_BUFFER + slot * 0x12000;
	uint32_t length = size > VSOCK_HEADER_SIZE ? size - VSOCK_HEADER_SIZE : 0;

	if (g->tx_sent >= 16)
		wait_queue(g, VSOCK_TX, g->tx_sent - 15);
	memcpy(at_gpa(&g->d.ring, gpa), header, VSOCK_HEADER_SIZE);
	if (length > 0)
		memcpy(at_gpa(&g->d.ring, gpa + VSOCK_HEADER_SIZE), data, length);
	put_desc(&g->rings[VSOCK_TX], slot, gpa, size, 0, 0);
	publish(&g->rings[VSOCK_TX], slot);
	g->tx_sent++;
	guest_notify(g, VSOCK_TX);
}

/* Sends a packet and waits until the device has taken it. */
static inline void send_raw(struct guest *g, const struct vsock_header *header, const void *data,
			    uint32_t size)
{
	put_packet(g, header, data, size);
	wait_queue(g, VSOCK_TX, g->tx_sent);
}

static inline struct vsock_header header_of(struct guest *g, uint32_t from, uint32_t to, uint16_t op)
{
	return (struct vsock_header){.src_cid = GUEST_CID,
				     .dst_cid = VSOCK_CID_HOST,
				     .src_port = from,
				     .dst_port = to,
				     .type = VSOCK_TYPE_STREAM,
				     .op = op,
				     .buf_alloc = g->buf_alloc,
				     .fwd_cnt = g->fwd_cnt};
}

static inline void send_op(struct guest *g, uint32_t from, uint32_t to, uint16_t op)
{
	struct vsock_header header = header_of(g, from, to, op);

	send_raw(g, &header, NULL, VSOCK_HEADER_SIZE);
}

static inline void send_shutdown(struct guest *g, uint32_t from, uint32_t to, uint32_t flags)
{
	struct vsock_header header = header_of(g, from, to, VSOCK_OP_SHUTDOWN);

	header.flags = flags;
	send_raw(g, &header, NULL, VSOCK_HEADER_SIZE);
}

static inline void send_data(struct guest *g, uint32_t from, uint32_t to, const void *data, uint32_t size)
{
	struct vsock_header header = header_of(g, from, to, VSOCK_OP_RW);

	header.len = size;
	send_raw(g, &header, data, VSOCK_HEADER_SIZE + size);
}

/* Waits for the next packet and posts its buffer again; at most RX_SIZE bytes of data. */
static inline struct vsock_header receive(struct guest *g, void *data)
{
	struct vsock_header header = {0};
	struct used_elem used;
	uint8_t *at;

	wait_queue(g, VSOCK_RX, g->rx_seen + 1);
	used = used_at(&g->rings[VSOCK_RX], g->rx_seen);
	g->rx_seen++;
	at = at_gpa(&g->d.ring, RX_BUFFER + used.id * RX_ROOM);
	memcpy(&header, at, VSOCK_HEADER_SIZE);
	EQUAL(used.len, VSOCK_HEADER_SIZE + header.len);
	if (data)
		memcpy(data, at + VSOCK_HEADER_SIZE, header.len);
	post_rx_buffer(g, used.id);
	guest_notify(g, VSOCK_RX);
	EQUAL(header.dst_cid, GUEST_CID);
	return header;
}

static inline struct vsock_header expect(struct guest *g, uint16_t op)
{
	struct vsock_header header = receive(g, NULL);

	EQUAL(header.op, op);
	return header;
}

static inline void expect_silence(struct guest *g)
{
	settle(&g->d);
	EQUAL((uint16_t)(used_index(&g->rings[VSOCK_RX]) - (uint16_t)g->rx_seen), 0);
}

/* A stream: ports, and the host program's end of it. */
struct stream {
	uint32_t guest_port;
	uint32_t host_port;
	int fd;
};

/* A program of the guest connects to a port where a host program listens. */
static inline struct stream guest_connects(struct guest *g, int listener, uint32_t from, uint32_t port)
{
	struct stream stream = {from, port, -1};

	send_op(g, from, port, VSOCK_OP_REQUEST);
	expect(g, VSOCK_OP_RESPONSE);
	stream.fd = host_accept(listener);
	return stream;
}

/* A host program connects to a port of the guest. */
static inline struct stream host_connects(struct guest *g, uint32_t port)
{
	struct stream stream = {.guest_port = port, .fd = host_connect(g)};
	struct vsock_header header;
	char line[32];

	snprintf(line, sizeof(line), "CONNECT %u\n", port);
	host_say(stream.fd, line);
	header = expect(g, VSOCK_OP_REQUEST);
	EQUAL(header.src_cid, VSOCK_CID_HOST);
	EQUAL(header.dst_port, port);
	stream.host_port = header.src_port;
	send_op(g, port, stream.host_port, VSOCK_OP_RESPONSE);
	snprintf(line, sizeof(line), "OK %u\n", stream.host_port);
	host_hears(stream.fd, line);
	return stream;
}

/* A look at the device's connections, taken on its thread. */
struct look {
	struct guest *g;
	enum vsock_state state;
	uint32_t in_state;           /* connections in `state` */
	const struct stream *stream; /* NULL for none */
	struct vsock_conn *conn;     /* of the stream */
	uint32_t used;               /* bytes in its buffer */
};

static inline void look_here(void *context)
{
	struct look *look = context;
	struct vsock_conn *conns = vsock_of(look->g)->muxer.connections;

	for (uint32_t i = 0; i < VSOCK_CONNECTIONS; i++) {
		struct vsock_conn *conn = &conns[i];

		look->in_state += conn->state == look->state;
		if (look->stream && conn->host_port == look->stream->host_port &&
		    conn->guest_port == look->stream->guest_port)
			look->conn = conn;
	}
	look->used = look->conn ? look->conn->used : 0;
}

static inline struct look look_at(struct guest *g, enum vsock_state state, const struct stream *stream)
{
	struct look look = {.g = g, .state = state, .stream = stream};

	settle(&g->d);
	iothread_call(g->d.device->io, look_here, &look);
	return look;
}

static inline uint32_t count_state(struct guest *g, enum vsock_state state)
{
	return look_at(g, state, NULL).in_state;
}

/* Waits until the device has seen what a host program did. */
static inline void wait_state(struct guest *g, enum vsock_state state, uint32_t count)
{
	for (int tries = 0; count_state(g, state) != count; tries++)
		CHECK(tries < 200000);
}

#endif
