/* net_load serve: on the host; answers each byte.
 * net_load ask HOST SECONDS: in the guest; prints microseconds for a round trip of one byte.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 5003

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int opened(void)
{
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void serve(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int listener = opened();

	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 4) < 0) {
		perror("net_load");
		exit(1);
	}
	for (;;) {
		int one = 1;
		int fd = accept(listener, NULL, NULL);
		char byte;

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
			continue;
		close(fd);
	}
}

static int reached(const char *host)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
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
	if (argc == 2 && strcmp(argv[1], "serve") == 0)
		serve();
	if (argc != 4 || strcmp(argv[1], "ask") != 0)
		return 2;
	printf("%f\n", round_trip(reached(argv[2]), atof(argv[3])));
	return 0;
}
