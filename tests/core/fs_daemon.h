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
#include <time.h>

/* Numbers of its own, so that one that is wrong in the core is met by another one here. */
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
	EACH = 20,
};

#define F_PROTOCOL  ((uint64_t)1 << 30)
#define F_VERSION_1 ((uint64_t)1 << 32) /* <linux/vhost.h> calls the number of the bit as we call the bit */
#define REPLY_ACK   8u
#define FS_QUEUES   2u
#define FS_REGIONS  2u

/* What it does at a request in place of a good answer. */
enum manner { ANSWERS, REFUSES, IS_SILENT, IS_SLOW, HANGS_UP, NAMES_ANOTHER, IS_LONG, IS_NO_REPLY };

struct fs_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t address; /* what the front end calls it */
	uint64_t offset;  /* in its file */
};

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
	struct fs_region regions[FS_REGIONS];
	uint8_t *maps[FS_REGIONS]; /* its own, of the regions */
	uint32_t region_count;
	struct vhost_vring_addr rings[FS_QUEUES];
	uint32_t base[FS_QUEUES];    /* where it was told to begin */
	uint32_t came_to[FS_QUEUES]; /* where it says that it is */
	uint32_t enabled[FS_QUEUES];
	int kick[FS_QUEUES];
	int call[FS_QUEUES];
};

/* What either thread wrote before, the other one may read after: a connection orders them too, but the
 * sanitizer does not know of it.
 */
static inline void meet(struct daemon *daemon)
{
	daemon->meetings++;
}

static atomic_int later;   /* seconds that the clock is ahead */
static atomic_bool silent; /* the daemon is, by now: whoever waits for it has waited long enough */

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int status = (int)syscall(SYS_clock_gettime, clock, now);

	now->tv_sec += later;
	return status;
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	bool for_the_daemon = timeout > 0 && timeout <= 5001;
	int found = 0;

	if (!for_the_daemon)
		return (int)syscall(SYS_poll, fds, count, timeout);
	for (int waited = 0; waited < timeout && found == 0 && !silent; waited += 10)
		found = (int)syscall(SYS_poll, fds, count, 10);
	return found;
}

static inline void keep_fd(int *place, int fd)
{
	if (*place > 0)
		close(*place);
	*place = fd;
}

static inline void forget_memory(struct daemon *daemon)
{
	while (daemon->region_count > 0) {
		daemon->region_count--;
		munmap(daemon->maps[daemon->region_count], daemon->regions[daemon->region_count].size);
	}
}

static inline void map_memory(struct daemon *daemon, const uint8_t *payload, const int *fds)
{
	uint32_t count;

	forget_memory(daemon);
	memcpy(&count, payload, sizeof(count));
	CHECK(count <= FS_REGIONS);
	memcpy(daemon->regions, payload + 8, count * sizeof(daemon->regions[0]));
	for (uint32_t i = 0; i < count; i++) {
		const struct fs_region *region = &daemon->regions[i];

		daemon->maps[i] = mmap(NULL, region->size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i],
				       (off_t)region->offset);
		CHECK(daemon->maps[i] != MAP_FAILED);
		close(fds[i]);
	}
	daemon->region_count = count;
}

/* Takes what a message without an answer says. */
static inline void take(struct daemon *daemon, const struct message *message, const int *fds)
{
	struct vhost_vring_state state;
	uint64_t number;

	memcpy(&state, message->payload, sizeof(state));
	memcpy(&number, message->payload, sizeof(number));
	if (message->request == SET_FEATURES)
		daemon->accepted = number;
	else if (message->request == SET_MEM_TABLE)
		map_memory(daemon, message->payload, fds);
	else if (message->request == SET_VRING_ADDR)
		memcpy(&daemon->rings[state.index], message->payload, sizeof(daemon->rings[0]));
	else if (message->request == SET_VRING_BASE)
		daemon->base[state.index] = state.num;
	else if (message->request == SET_VRING_ENABLE)
		daemon->enabled[state.index] = state.num;
	else if (message->request == SET_VRING_KICK)
		keep_fd(&daemon->kick[number & 0xff], fds[0]);
	else if (message->request == SET_VRING_CALL)
		keep_fd(&daemon->call[number & 0xff], fds[0]);
	else if (message->request == SET_VRING_ERR)
		EQUAL(number & 0x100, 0x100);
}

/* Does what the message says; returns the size of the answer that it has anyway, in its payload. */
static inline uint32_t obey(struct daemon *daemon, struct message *message, const int *fds)
{
	struct vhost_vring_state state;

	switch (message->request) {
	case GET_FEATURES:
		memcpy(message->payload, &daemon->features, 8);
		return 8;
	case GET_PROTOCOL_FEATURES:
		memcpy(message->payload, &daemon->protocol, 8);
		return 8;
	case GET_VRING_BASE:
		memcpy(&state, message->payload, sizeof(state));
		state.num = daemon->came_to[state.index];
		memcpy(message->payload, &state, sizeof(state));
		return sizeof(state);
	default:
		take(daemon, message, fds);
		return 0;
	}
}

/* Reads a message with its descriptors; false when the other side has gone. */
static inline bool hear(struct daemon *daemon, struct message *message, int *fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))];
	struct iovec header = {message, 12};
	struct msghdr received = {
	    .msg_iov = &header, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *rights;

	if (recvmsg(daemon->end, &received, MSG_WAITALL | MSG_CMSG_CLOEXEC) != 12)
		return false;
	rights = CMSG_FIRSTHDR(&received);
	if (rights)
		memcpy(fds, CMSG_DATA(rights), rights->cmsg_len - CMSG_LEN(0));
	CHECK(message->request < REQUESTS && message->size <= sizeof(message->payload));
	return message->size == 0 || recv(daemon->end, message->payload, message->size, MSG_WAITALL) > 0;
}

static inline bool answer(struct daemon *daemon, struct message *message, uint32_t size, bool wants_ack)
{
	bool odd = daemon->odd == message->request || daemon->odd == EACH;
	enum manner manner = odd ? daemon->manner : ANSWERS;
	uint64_t refused = manner == REFUSES;

	meet(daemon);
	silent = manner == IS_SILENT;
	later += manner == IS_SLOW;
	if (manner == HANGS_UP)
		return false;
	if (silent || (size == 0 && !wants_ack))
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
	int fds[8];

	while (hear(daemon, &message, fds)) {
		bool wants_ack = message.flags & REPLY_ACK;
		uint32_t size;

		meet(daemon);
		size = obey(daemon, &message, fds);
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
	}
	forget_memory(daemon);
}

/* Where in its own mapping the daemon finds what the front end calls by this address. */
static inline void *in_daemon(struct daemon *daemon, uint64_t address)
{
	for (uint32_t i = 0; i < daemon->region_count; i++)
		if (address - daemon->regions[i].address < daemon->regions[i].size)
			return daemon->maps[i] + (address - daemon->regions[i].address);
	abort();
}

#endif
