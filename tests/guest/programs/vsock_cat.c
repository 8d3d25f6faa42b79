/* Speaks vsock in a guest, as `nc-vsock` would:
 *
 *   vsock_cat connect CID PORT   stdin to a port, and what comes back to stdout
 *   vsock_cat listen PORT        the same with whoever connects first; says LISTENING PORT on stderr
 *   vsock_cat echo PORT COUNT    gives COUNT connections, at the same time, what they send
 *
 * The end of what is sent closes that direction only; the program ends when the other one has ended too.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

static void fail(const char *what)
{
	fprintf(stderr, "vsock_cat: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int vsock(unsigned int cid, unsigned int port, struct sockaddr_vm *address)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0)
		fail("socket");
	*address = (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
	return fd;
}

static int listen_at(unsigned int port)
{
	struct sockaddr_vm address;
	int fd = vsock(VMADDR_CID_ANY, port, &address);

	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
		fail("listen");
	fprintf(stderr, "LISTENING %u\n", port);
	return fd;
}

static int accept_from(int listener)
{
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		fail("accept");
	return fd;
}

static int connect_to(unsigned int cid, unsigned int port)
{
	struct timeval limit = {.tv_sec = 60}; /* 2 s are short for a machine in a machine */
	struct sockaddr_vm address;
	int fd = vsock(cid, port, &address);

	setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail("connect");
	return fd;
}

/* Moves one block; 0 at the end of what there is. */
static size_t move(int from, int to)
{
	static char block[65536];
	ssize_t got = read(from, block, sizeof(block));
	ssize_t done = 0;

	if (got < 0 && errno == ENOTCONN)
		return 0; /* what Linux says when the other end had closed before we came to read */
	if (got < 0)
		fail("read");
	while (done < got) {
		ssize_t put = write(to, block + done, (size_t)(got - done));

		if (put < 0)
			fail("write");
		done += put;
	}
	return (size_t)got;
}

static void talk(int fd)
{
	struct pollfd ends[2] = {{.fd = fd, .events = POLLIN}, {.fd = 0, .events = POLLIN}};

	while (ends[0].fd >= 0 || ends[1].fd >= 0) {
		if (poll(ends, 2, -1) < 0)
			fail("poll");
		if (ends[0].revents && move(fd, 1) == 0)
			ends[0].fd = -1;
		if (ends[1].revents && move(0, fd) == 0) {
			ends[1].fd = -1;
			shutdown(fd, SHUT_WR);
		}
	}
}

static void echo(int listener, int count)
{
	for (int i = 0; i < count; i++) {
		int fd = accept_from(listener);

		if (fork() == 0) {
			while (move(fd, fd) > 0)
				continue;
			exit(0);
		}
		close(fd);
	}
	while (wait(NULL) > 0)
		continue;
}

static unsigned int number(const char *text)
{
	return (unsigned int)strtoul(text, NULL, 0);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "connect") == 0)
		talk(connect_to(number(argv[2]), number(argv[3])));
	else if (argc == 3 && strcmp(argv[1], "listen") == 0)
		talk(accept_from(listen_at(number(argv[2]))));
	else if (argc == 4 && strcmp(argv[1], "echo") == 0)
		echo(listen_at(number(argv[2])), (int)number(argv[3]));
	else
		return 2;
	return 0;
}
