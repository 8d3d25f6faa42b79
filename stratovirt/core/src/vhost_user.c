#include "vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

#define ANSWER_SECONDS 5

#define NO_FD 0x100u /* of a message that could carry a descriptor */

#define F_PROTOCOL_FEATURES ((uint64_t)1 << 30)
#define PROTOCOL_REPLY_ACK  ((uint64_t)1 << 3)

#define VERSION      0x1u /* bits 0 and 1 of a message's flags */
#define VERSION_MASK 0x3u
#define REPLY        0x4u
#define NEED_REPLY   0x8u

enum request {
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
};

struct header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload */
};

struct region {
	uint64_t gpa;
	uint64_t size;
	uint64_t address;     /* ours, which the rings are named by */
	uint64_t mmap_offset; /* in its file */
};

struct memory_table {
	uint32_t count;
	uint32_t padding;
	struct region regions[GUESTMEM_MAX_REGIONS];
};

/* What goes along with a message. */
struct files {
	const int *fds;
	uint32_t count; /* at most GUESTMEM_MAX_REGIONS */
};

static const struct files none;

void vhost_user_cut(struct vhost_user *user)
{
	shutdown(user->fd, SHUT_RDWR);
}

void vhost_user_begin(struct vhost_user *user)
{
	user->deadline = clock_now() + (uint64_t)ANSWER_SECONDS * CLOCK_SECOND;
}

/* One that went before it had read everything is as gone as any other. */
static int give_up(struct vhost_user *user, int error)
{
	vhost_user_cut(user);
	return error == -ECONNRESET ? -EPIPE : error;
}

static void attach(struct msghdr *message, void *control, const struct files *files)
{
	size_t size = files->count * sizeof(int);
	struct cmsghdr *head;

	message->msg_control = control;
	message->msg_controllen = CMSG_SPACE(size);
	head = CMSG_FIRSTHDR(message);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(head), files->fds, size);
}

static int send_message(struct vhost_user *user, struct header header, const void *payload,
			const struct files *files)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(GUESTMEM_MAX_REGIONS * sizeof(int))] = {0};
	struct iovec parts[2] = {{&header, sizeof(header)}, {(void *)(uintptr_t)payload, header.size}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t sent;

	if (clock_now() >= user->deadline)
		return give_up(user, -ETIMEDOUT);
	if (files->count > 0)
		attach(&message, control, files);
	/* A few bytes into an empty buffer: it takes them all, or the other side reads nothing at all. */
	do
		sent = sendmsg(user->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return give_up(user, errno == EAGAIN ? -ETIMEDOUT : -errno);
	return sent == (ssize_t)(sizeof(header) + header.size) ? 0 : give_up(user, -ETIMEDOUT);
}

/* Waits until there is something to read; false when the time is over. */
static bool wait_readable(struct vhost_user *user)
{
	struct pollfd connection = {.fd = user->fd, .events = POLLIN};
	uint64_t now = clock_now();

	if (now >= user->deadline)
		return false;
	return poll(&connection, 1, (int)((user->deadline - now) / 1000000 + 1)) > 0 || errno == EINTR;
}

static int receive_bytes(struct vhost_user *user, void *to, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = recv(user->fd, (uint8_t *)to + done, size - done, MSG_DONTWAIT);

		if (got == 0)
			return give_up(user, -EPIPE);
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return give_up(user, -errno);
		if (got < 0 && !wait_readable(user))
			return give_up(user, -ETIMEDOUT);
		done += got > 0 ? (size_t)got : 0;
	}
	return 0;
}

/* Reads the answer to a request, of exactly this size. */
static int receive(struct vhost_user *user, enum request request, void *payload, uint32_t size)
{
	struct header header;
	int error = receive_bytes(user, &header, sizeof(header));

	if (error < 0)
		return error;
	if (header.request != request || header.size != size || !(header.flags & REPLY) ||
	    (header.flags & VERSION_MASK) != VERSION)
		return give_up(user, -EPROTO);
	return receive_bytes(user, payload, size);
}

/* Sends what has no answer, and waits until it was taken where the other side says so. */
static int say(struct vhost_user *user, enum request request, const void *payload, uint32_t size,
	       const struct files *files)
{
	struct header header = {request, VERSION | (user->acks ? NEED_REPLY : 0), size};
	uint64_t refused = 0;
	int error = send_message(user, header, payload, files);

	if (error == 0 && user->acks)
		error = receive(user, request, &refused, sizeof(refused));
	return error == 0 && refused ? give_up(user, -EREMOTEIO) : error;
}

/* Sends a request and puts its answer in place of it. */
static int ask(struct vhost_user *user, enum request request, void *payload, uint32_t sent, uint32_t answer)
{
	struct header header = {request, VERSION, sent};
	int error = send_message(user, header, payload, &none);

	return error < 0 ? error : receive(user, request, payload, answer);
}

static int say_number(struct vhost_user *user, enum request request, uint64_t number)
{
	return say(user, request, &number, sizeof(number), &none);
}

static int ask_number(struct vhost_user *user, enum request request, uint64_t *number)
{
	return ask(user, request, number, 0, sizeof(*number));
}

static int open_connection(struct vhost_user *user, int fd)
{
	user->acks = false;
	vhost_user_begin(user);
	user->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return user->fd < 0 ? -errno : 0;
}

static int negotiate(struct vhost_user *user)
{
	uint64_t protocol = 0;
	int error = ask_number(user, GET_PROTOCOL_FEATURES, &protocol);

	if (error == 0)
		error = say_number(user, SET_PROTOCOL_FEATURES, protocol & PROTOCOL_REPLY_ACK);
	user->acks = error == 0 && protocol & PROTOCOL_REPLY_ACK;
	return error;
}

int vhost_user_claim(struct vhost_user *user, int fd, uint64_t *features)
{
	int error = open_connection(user, fd);

	*features = 0;
	if (error == 0)
		error = ask_number(user, GET_FEATURES, features);
	/* Without them a ring cannot be stopped but by ending it; everybody has had them for ten years. */
	if (error == 0 && !(*features & F_PROTOCOL_FEATURES))
		error = -EPROTONOSUPPORT;
	if (error == 0)
		error = negotiate(user);
	if (error == 0)
		error = say(user, SET_OWNER, NULL, 0, &none);
	if (error < 0)
		vhost_user_close(user);
	*features &= ~F_PROTOCOL_FEATURES;
	return error;
}

void vhost_user_close(struct vhost_user *user)
{
	if (user->fd >= 0)
		close(user->fd);
	user->fd = -1;
}

static int set_memory(struct vhost_user *user, const struct sv_vm *vm, int memory_fd)
{
	const struct guestmem *memory = &vm->memory;
	struct memory_table table = {.count = memory->count};
	uint32_t size =
	    (uint32_t)(offsetof(struct memory_table, regions) + memory->count * sizeof(struct region));
	int fds[GUESTMEM_MAX_REGIONS];
	struct files files = {fds, memory->count};

	for (uint32_t i = 0; i < memory->count; i++) {
		const struct guestmem_region *region = &memory->regions[i];

		/* All of it is one file, mapped from its start on. */
		table.regions[i] = (struct region){region->gpa, region->size, (uintptr_t)region->host,
						   (uint64_t)(region->host - (uint8_t *)vm->maps[0].host)};
		fds[i] = memory_fd;
	}
	return say(user, SET_MEM_TABLE, &table, size, &files);
}

int vhost_user_set_up(struct vhost_user *user, const struct sv_virtio *device, int memory_fd)
{
	int error = say_number(user, SET_FEATURES, device->features | F_PROTOCOL_FEATURES);

	return error < 0 ? error : set_memory(user, device->vm, memory_fd);
}

static int set_vring(struct vhost_user *user, enum request request, uint32_t index, uint32_t number)
{
	struct vhost_vring_state state = {index, number};

	return say(user, request, &state, sizeof(state), &none);
}

static int set_vring_fd(struct vhost_user *user, enum request request, uint32_t index, int fd)
{
	uint64_t number = fd < 0 ? index | NO_FD : index;
	struct files files = {&fd, fd >= 0};

	return say(user, request, &number, sizeof(number), &files);
}

int vhost_user_give_queue(struct vhost_user *user, struct virtio_queue *queue, uint32_t index)
{
	const struct virtq *ring = &queue->ring;
	struct vhost_vring_addr address = {.index = index,
					   .desc_user_addr = (uintptr_t)ring->desc,
					   .avail_user_addr = (uintptr_t)ring->avail_flags,
					   .used_user_addr = (uintptr_t)ring->used_flags};
	int error = set_vring(user, SET_VRING_NUM, index, ring->size);

	if (error == 0)
		error = set_vring(user, SET_VRING_BASE, index, ring->next_avail);
	if (error == 0)
		error = say(user, SET_VRING_ADDR, &address, sizeof(address), &none);
	if (error == 0) /* who gives a ring up hangs up */
		error = set_vring_fd(user, SET_VRING_ERR, index, -1);
	if (error == 0)
		error = set_vring_fd(user, SET_VRING_CALL, index, queue->device->irq_fd);
	/* The ring runs from the kick on. Enabled by then, it misses no notification where nothing is
	 * acknowledged either. */
	if (error == 0)
		error = set_vring(user, SET_VRING_ENABLE, index, 1);
	return error == 0 ? set_vring_fd(user, SET_VRING_KICK, index, queue->kick.fd) : error;
}

int vhost_user_take_queue(struct vhost_user *user, struct virtio_queue *queue, uint32_t index)
{
	struct vhost_vring_state state = {.index = index};
	int error = set_vring(user, SET_VRING_ENABLE, index, 0);

	if (error == 0)
		error = ask(user, GET_VRING_BASE, &state, sizeof(state), sizeof(state));
	if (error == 0)
		queue->ring.next_avail = (uint16_t)state.num;
	return error;
}
