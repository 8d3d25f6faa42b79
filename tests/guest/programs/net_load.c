/* net_load serve: on the host; ports 5001 (takes all), 5002 (sends for SECONDS), 5003 (answers each byte).
 * net_load send|receive|ask HOST SECONDS: in the guest; prints microseconds for a MiB, or for a round trip.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MIB     (1024.0 * 1024.0)
#define SECONDS 2.0

enum { TAKES = 5001, SENDS = 5002, ANSWERS = 5003 };

static char buffer[256 * 1024];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double send_for(int fd, double seconds)
{
	double end = now() + seconds;
	double sent = 0;

	while (now() < end) {
		ssize_t n = write(fd, buffer, sizeof(buffer));

		if (n <= 0)
			break;
		sent += (double)n;
	}
	return sent;
}

static double take_all(int fd)
{
	double taken = 0;
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		taken += (double)n;
	return taken;
}

static void answer(int fd)
{
	char byte;

	while (read(fd, &byte, 1) == 1)
		if (write(fd, &byte, 1) != 1)
			return;
}

static int opened(void)
{
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void serve(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int listener = opened();

	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 4) < 0) {
		perror("net_load");
		exit(1);
	}
	for (;;) {
		int one = 1;
		int fd = accept(listener, NULL, NULL);

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (port == TAKES)
			take_all(fd);
		else if (port == SENDS)
			send_for(fd, SECONDS);
		else
			answer(fd);
		close(fd);
	}
}

static int reached(const char *host, uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = opened();

	inet_pton(AF_INET, host, &address.sin_addr);
	for (int tries = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0; tries++) {
		if (tries == 50) {
			perror("net_load");
			exit(1);
		}
		usleep(100000); /* the link may not be up yet */
	}
	return fd;
}

static double round_trip(int fd, double seconds)
{
	double begin = now();
	double end = begin + seconds;
	double trips = 0;
	char byte = 1;

	for (; now() < end; trips++)
		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
			exit(1);
	return (now() - begin) * 1e6 / trips;
}

int main(int argc, char **argv)
{
	double begin;
	double seconds;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	if (argc == 2) {
		if (fork() == 0)
			serve(TAKES);
		if (fork() == 0)
			serve(SENDS);
		serve(ANSWERS);
	}
	if (argc != 4)
		return 2;
	seconds = atof(argv[3]);
	fd = reached(argv[2], argv[1][0] == 's' ? TAKES : argv[1][0] == 'r' ? SENDS : ANSWERS);
	begin = now();
	if (argv[1][0] == 'a') {
		printf("%.1f\n", round_trip(fd, seconds));
		return 0;
	}
	printf("%.1f\n",
	       1e6 * MIB / ((argv[1][0] == 's' ? send_for(fd, seconds) : take_all(fd)) / (now() - begin)));
	return 0;
}
