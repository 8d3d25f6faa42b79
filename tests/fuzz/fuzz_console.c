/* A hostile driver and clients that come, go, write, read or do not, against a virtio-console. The machine is
 * used for many inputs, with a reset between them.
 */
#include "console_driver.h"
#include "hostile.h"

#define INPUTS_PER_MACHINE 50
#define CLIENTS            3

static struct guest g;
static int clients[CLIENTS] = {-1, -1, -1};
static uint32_t uses;

static struct driver *queue_of(struct input *input)
{
	return take(input, 1) % 2 ? &g.tx : &g.rx;
}

static void leave(int *client)
{
	if (*client >= 0)
		close(*client);
	*client = -1;
}

static void use_client(struct input *input)
{
	static uint8_t bytes[65536];
	int *client = &clients[take(input, 1) % CLIENTS];
	size_t size = take(input, 1) * 257;

	if (*client < 0) {
		*client = connect_to(&g);
		return;
	}
	switch (take(input, 1) % 5) {
	case 0:
		leave(client);
		break;
	case 1:
		shutdown(*client, SHUT_WR);
		break;
	case 2:
		send(*client, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	default:
		recv(*client, bytes, size + 1, MSG_DONTWAIT);
		break;
	}
}

static void step(struct input *input)
{
	switch (take(input, 1) % 12) {
	case 0:
		access_register(&g.rx, input, false);
		break;
	case 1:
		access_register(&g.rx, input, true);
		break;
	case 2:
	case 3:
		write_desc(queue_of(input), input);
		break;
	case 4:
		guest_start(&g, odd_features(input));
		break;
	case 5:
		put_output(&g, (uint32_t)take(input, 1) % 16, BULK, (uint32_t)take(input, 2) * 16);
		break;
	case 6:
		put_room(&g, (uint32_t)take(input, 1) % 16, DATA, (uint32_t)take(input, 2));
		break;
	case 7:
		publish(&queue_of(input)->ring, (uint32_t)take(input, 1) % 20);
		notify(&g, (uint32_t)take(input, 1) % 3);
		break;
	case 8:
	case 9:
		use_client(input);
		break;
	case 10:
		sv_console_resize(g.rx.device, (uint16_t)take(input, 1), (uint16_t)take(input, 1));
		clock_arm(((struct console *)g.rx.device)->timer.fd, 1); /* all patience ends, now and then */
		break;
	default:
		settle(&g.rx);
		break;
	}
}

/* Whatever was: a proper driver is heard by the next client. */
static void check_service(void)
{
	char heard[4096];
	ssize_t n = 0;
	int client;

	for (uint32_t i = 0; i < CLIENTS; i++)
		leave(&clients[i]);
	settle(&g.rx);
	guest_start(&g, ALL_FEATURES);
	client = connect_to(&g);
	say(&g, "well\n");
	shutdown(client, SHUT_WR);
	do { /* first what was kept for it */
		memmove(heard, heard + (n > 5 ? n - 5 : 0), 5);
		n = recv(client, heard + 5, sizeof(heard) - 5, 0);
		CHECK(n > 0);
		n += 5;
	} while (memcmp(heard + n - 5, "well\n", 5) != 0);
	close(client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct sv_event events[16];

	alarm(30); /* nothing here takes long: a hang is a finding */
	if (uses++ % INPUTS_PER_MACHINE == 0) {
		if (g.rx.vm)
			guest_close(&g);
		guest_open(&g);
	}
	while (input.left > 0)
		step(&input);
	check_service();
	sv_events_take(g.rx.vm, events, 16);
	return 0;
}
