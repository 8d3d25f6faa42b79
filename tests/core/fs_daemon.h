/* A daemon of a shared folder that is played: the other end of the vhost-user connection, on a thread of its
 * own. It answers as the protocol says, until it is told to do otherwise.
 */
#ifndef FS_DAEMON_H
#define FS_DAEMON_H

#include "driver.h"

#include <linux/vhost.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

enum {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	SET_VRING_ERR = 14,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	SET_VRING_ENABLE = 18,
	REQUESTS = 19,
};

#define F_PROTOCOL  ((uint64_t)1 << 30)
#define F_VERSION_1 ((uint64_t)1 << 32) /* <linux/vhost.h> calls the number of the bit as we call the bit */
#define REPLY_ACK   8u
#define FS_QUEUES   2u

/* What it does at a request in place of a good answer. */
enum manner { ANSWERS, REFUSES, IS_SILENT, HANGS_UP, NAMES_ANOTHER, IS_LONG, IS_NO_REPLY };

struct message {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
	uint8_t payload[272];
};

struct daemon {
	atomic_uint meetings;
	int end;
	pthread_t thread;
	uint64_t features;
	uint64_t protocol;
	uint32_t odd; /* the request of the manner */
	enum manner manner;

	/* what it was told, for the test to read while nothing is asked of it */
	uint32_t asked[REQUESTS];
	uint64_t accepted;
	uint8_t *memory; /* its own mapping of the first region */
	uint64_t memory_size;
	uint64_t memory_address; /* what the front end calls it */
	struct vhost_vring_addr rings[FS_QUEUES];
	uint32_t base[FS_QUEUES];    /* where it was told to begin */
	uint32_t came_to[FS_QUEUES]; /* where it says that it is */
	uint32_t enabled[FS_QUEUES];
	int kick[FS_QUEUES];
	int call[FS_QUEUES];
	int err[FS_QUEUES];
};

/* What either thread wrote before, the other one may read after: a connection orders them too, but the
 * sanitizer does not know of it.
 */
static inline void meet(struct daemon *daemon)
{
	daemon->meetings++;
}

/* Whoever waits for the daemon does so for a moment only. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	struct timeval moment = {.tv_usec = 100000};
	bool limit = name == SO_RCVTIMEO || name == SO_SNDTIMEO;

	return (int)syscall(SYS_setsockopt, fd, level, name, limit ? &moment : value, size);
}

static inline void keep_fd(int *place, int fd)
{
	if (*place > 0)
		close(*place);
	*place = fd;
}

static inline void map_memory(struct daemon *daemon, const uint8_t *payload, int fd)
{
	uint64_t region[4]; /* guest address, size, address of the front end, offset in the file */

	memcpy(region, payload + 8, sizeof(region));
	if (daemon->memory)
		munmap(daemon->memory, daemon->memory_size);
	daemon->memory_size = region[1];
	daemon->memory_address = region[2];
	daemon->memory = mmap(NULL, region[1], PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)region[3]);
	CHECK(daemon->memory != MAP_FAILED);
	close(fd);
}

/* Does what the message says; returns the size of the answer that it has anyway, in its payload. */
static inline uint32_t obey(struct daemon *daemon, struct message *message, int fd)
{
	struct vhost_vring_state state;
	uint64_t number;

	memcpy(&state, message->payload, sizeof(state));
	memcpy(&number, message->payload, sizeof(number));
	switch (message->request) {
	case GET_FEATURES:
		memcpy(message->payload, &daemon->features, 8);
		return 8;
	case GET_PROTOCOL_FEATURES:
		memcpy(message->payload, &daemon->protocol, 8);
		return 8;
	case GET_VRING_BASE:
		state.num = daemon->came_to[state.index];
		memcpy(message->payload, &state, sizeof(state));
		return sizeof(state);
	case SET_FEATURES:
		daemon->accepted = number;
		break;
	case SET_MEM_TABLE:
		map_memory(daemon, message->payload, fd);
		break;
	case SET_VRING_ADDR:
		memcpy(&daemon->rings[state.index], message->payload, sizeof(daemon->rings[0]));
		break;
	case SET_VRING_BASE:
		daemon->base[state.index] = state.num;
		break;
	case SET_VRING_ENABLE:
		daemon->enabled[state.index] = state.num;
		break;
	case SET_VRING_KICK:
		keep_fd(&daemon->kick[number & 0xff], fd);
		break;
	case SET_VRING_CALL:
		keep_fd(&daemon->call[number & 0xff], fd);
		break;
	case SET_VRING_ERR:
		keep_fd(&daemon->err[number & 0xff], fd);
		break;
	default:
		break;
	}
	return 0;
}

/* Reads a message with its descriptor; false when the other side has gone. */
static inline bool hear(struct daemon *daemon, struct message *message, int *fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))];
	struct iovec header = {message, 12};
	struct msghdr received = {
	    .msg_iov = &header, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *rights;

	*fd = -1;
	if (recvmsg(daemon->end, &received, MSG_WAITALL | MSG_CMSG_CLOEXEC) != 12)
		return false;
	rights = CMSG_FIRSTHDR(&received);
	if (rights)
		memcpy(fd, CMSG_DATA(rights), sizeof(*fd));
	CHECK(message->request < REQUESTS && message->size <= sizeof(message->payload));
	return message->size == 0 || recv(daemon->end, message->payload, message->size, MSG_WAITALL) > 0;
}

static inline bool answer(struct daemon *daemon, struct message *message, uint32_t size, bool wants_ack)
{
	enum manner manner = daemon->odd == message->request ? daemon->manner : ANSWERS;
	uint64_t refused = manner == REFUSES;

	meet(daemon);
	if (manner == HANGS_UP)
		return false;
	if (manner == IS_SILENT || (size == 0 && !wants_ack))
		return true;
	if (size == 0) {
		memcpy(message->payload, &refused, sizeof(refused));
		size = sizeof(refused);
	}
	message->request += manner == NAMES_ANOTHER;
	message->flags = 1 | (manner == IS_NO_REPLY ? 0 : 4);
	message->size = size + (manner == IS_LONG ? 8 : 0);
	return send(daemon->end, message, 12 + message->size, MSG_NOSIGNAL) > 0;
}

static inline void *serve(void *context)
{
	struct daemon *daemon = context;
	struct message message;
	int fd;

	while (hear(daemon, &message, &fd)) {
		bool wants_ack = message.flags & REPLY_ACK;
		uint32_t size;

		meet(daemon);
		size = obey(daemon, &message, fd);
		daemon->asked[message.request]++;
		if (!answer(daemon, &message, size, wants_ack))
			break;
	}
	shutdown(daemon->end, SHUT_RDWR);
	return NULL;
}

/* Starts it; returns the end of the connection that the device takes. */
static inline int daemon_start(struct daemon *daemon)
{
	int ends[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	daemon->end = ends[0];
	CHECK(pthread_create(&daemon->thread, NULL, serve, daemon) == 0);
	return ends[1];
}

/* Ends it, as when it is killed. */
static inline void daemon_stop(struct daemon *daemon)
{
	shutdown(daemon->end, SHUT_RDWR);
	pthread_join(daemon->thread, NULL);
	close(daemon->end);
	for (uint32_t i = 0; i < FS_QUEUES; i++) {
		keep_fd(&daemon->kick[i], 0);
		keep_fd(&daemon->call[i], 0);
		keep_fd(&daemon->err[i], 0);
	}
	if (daemon->memory)
		munmap(daemon->memory, daemon->memory_size);
	daemon->memory = NULL;
}

/* Where in its own mapping the daemon finds what the front end calls by this address. */
static inline void *in_daemon(struct daemon *daemon, uint64_t address)
{
	return daemon->memory + (address - daemon->memory_address);
}

#endif
