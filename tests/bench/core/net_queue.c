/* The queue driver of a card: plays the guest against a virtio-net device whose wire is a pair of sockets
 * that keep frames apart, and compares the CPU time of the device's I/O thread with that of the bare system
 * calls for the same frames. A thread at the other end of the wire takes or makes them.
 *
 * Prints one line for each case: name, our ns and the bare ns for a frame, frames each second.
 */
#include <pthread.h>

#include "clocks.h"
#include "net_driver.h"

#define FRAME  (HEADER + 1514u)
#define FRAMES 200000u
#define ROUNDS 5
#define SLOTS  256u
#define STEP   2048u /* between buffers */

static void *take_frames(void *end)
{
	uint8_t frame[STEP];

	while (recv(*(int *)end, frame, sizeof(frame), 0) > 0)
		continue;
	return NULL;
}

static void *make_frames(void *end)
{
	uint8_t frame[FRAME] = {0};

	for (uint32_t i = 0; i < FRAMES; i++)
		CHECK(send(*(int *)end, frame, sizeof(frame), MSG_NOSIGNAL) == sizeof(frame));
	return NULL;
}

static pthread_t start_peer(void *(*body)(void *), int *end)
{
	pthread_t thread;

	CHECK(fcntl(*end, F_SETFL, 0) == 0); /* it waits */
	CHECK(pthread_create(&thread, NULL, body, end) == 0);
	return thread;
}

/* Tells the device of what was published since `before`, if it asked to hear of it (VIRTIO 1.2, 2.7.10). */
static void notify_if_wanted(struct card *c, uint32_t queue, uint16_t before)
{
	struct ring *ring = &c->rings[queue];
	uint16_t event;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = __atomic_load_n(avail_event_of(ring), __ATOMIC_RELAXED);
	if ((uint16_t)(ring->avail - event - 1) < (uint16_t)(ring->avail - before))
		card_notify(c, queue);
}

static void put_buffer(struct card *c, uint32_t queue, int flags)
{
	struct ring *ring = &c->rings[queue];
	uint32_t slot = ring->avail % SLOTS;

	put_desc(ring, slot, buffer_gpa(queue, slot * STEP), flags ? STEP : FRAME, flags, 0);
	publish(ring, slot);
}

/* The ring is kept as full as it gets, as a stream does. */
static void send_all(struct card *c)
{
	struct ring *ring = &c->rings[1];

	for (uint32_t sent = 0; sent < FRAMES;) {
		uint16_t room = (uint16_t)(SLOTS - (uint16_t)(ring->avail - used_index(ring)));
		uint16_t before = ring->avail;

		for (uint16_t i = 0; i < room; i++)
			put_buffer(c, 1, 0);
		if (room)
			notify_if_wanted(c, 1, before);
		sent += room;
	}
	while (used_index(&c->rings[1]) != c->rings[1].avail)
		__builtin_ia32_pause();
}

/* Buffers go back as they come, as many as there are. */
static void receive_all(struct card *c)
{
	struct ring *ring = &c->rings[0];

	for (uint32_t received = 0; received < FRAMES;) {
		uint16_t ready = (uint16_t)(used_index(ring) - ring->used);
		uint16_t before = ring->avail;

		for (uint16_t i = 0; i < ready; i++)
			put_buffer(c, 0, F_WRITE);
		if (ready)
			notify_if_wanted(c, 0, before);
		ring->used = (uint16_t)(ring->used + ready);
		received += ready;
	}
}

struct result {
	double ns;   /* of CPU for a frame */
	double rate; /* frames each second */
};

static struct result through_the_queue(void (*work)(struct card *), void *(*peer)(void *))
{
	struct card c = card_open(1, 1);
	clockid_t clock = cpu_clock_of(c.d.device);
	struct result result;
	pthread_t thread;
	uint64_t begin;
	uint64_t cpu;

	c.size = SLOTS;
	card_start(&c, MERGEABLE);
	for (uint32_t i = 0; work == receive_all && i < SLOTS; i++)
		put_buffer(&c, 0, F_WRITE);
	card_notify(&c, 0);
	card_settle(&c);
	cpu = now_of(clock);
	begin = now_of(CLOCK_MONOTONIC);
	thread = start_peer(peer, &c.peers[0]);
	work(&c);
	result.rate = FRAMES * 1e9 / (double)(now_of(CLOCK_MONOTONIC) - begin);
	result.ns = (double)(now_of(clock) - cpu) / FRAMES;
	shutdown(c.peers[0], SHUT_RDWR);
	pthread_join(thread, NULL);
	card_close(&c);
	return result;
}

static void wait_for(int end, short what)
{
	struct pollfd wanted = {.fd = end, .events = what};

	poll(&wanted, 1, -1);
}

static void bare_send(int end)
{
	uint8_t frame[FRAME] = {0};
	struct iovec iov = {frame, sizeof(frame)};

	for (uint32_t i = 0; i < FRAMES;) {
		if (writev(end, &iov, 1) == sizeof(frame))
			i++;
		else
			wait_for(end, POLLOUT);
	}
}

static void bare_receive(int end)
{
	uint8_t frame[STEP];
	struct iovec iov = {frame, sizeof(frame)};

	for (uint32_t i = 0; i < FRAMES;) {
		if (readv(end, &iov, 1) > 0)
			i++;
		else
			wait_for(end, POLLIN);
	}
}

static double bare(void (*work)(int), void *(*peer)(void *))
{
	int end;
	int other = make_wire(&end);
	uint64_t cpu = now_of(CLOCK_THREAD_CPUTIME_ID);
	pthread_t thread = start_peer(peer, &other);

	work(end);
	cpu = now_of(CLOCK_THREAD_CPUTIME_ID) - cpu;
	shutdown(other, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(end);
	close(other);
	return (double)cpu / FRAMES;
}

int main(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		double alone = bare(bare_send, take_frames);
		struct result ours = through_the_queue(send_all, take_frames);

		printf("net, frames of 1514 bytes sent\t%.1f\t%.1f\t%.0f\n", ours.ns, alone, ours.rate);
		alone = bare(bare_receive, make_frames);
		ours = through_the_queue(receive_all, make_frames);
		printf("net, frames of 1514 bytes received\t%.1f\t%.1f\t%.0f\n", ours.ns, alone, ours.rate);
	}
	return 0;
}
