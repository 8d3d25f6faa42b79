#include "console.h"

#include <errno.h>
#include <stdlib.h>

#define VIRTIO_ID_CONSOLE     3                  /* VIRTIO 1.2, 5 */
#define VIRTIO_CONSOLE_F_SIZE ((uint64_t)1 << 0) /* VIRTIO 1.2, 5.3.3 */

/* Chains after which the other devices of the thread have a turn. */
#define TURN 16

enum outcome { DRAINED, HELD };

static enum virtq_result take_one(struct console *console, uint32_t queue)
{
	struct virtq *ring = &console->device.queues[queue].ring;
	struct console_chain *taken = &console->chains[queue];
	struct chain chain = {.iov = taken->iov, .capacity = CONSOLE_IOV_MAX};
	enum virtq_result result = virtq_pop(ring, &chain);

	if (result == VQ_CHAIN) {
		taken->held = true;
		taken->head = chain.head;
		taken->data = queue == CONSOLE_TX ? span_of(taken->iov, chain.readable)
						  : span_of(taken->iov + chain.readable, chain.writable);
	} else if (result == VQ_BROKEN) {
		virtio_broken(&console->device, queue, ring->error);
	}
	return result;
}

static void give_back(struct console *console, uint32_t queue, uint32_t written)
{
	virtq_push(&console->device.queues[queue].ring, console->chains[queue].head, written);
	console->chains[queue].held = false;
}

/* Linux's driver looks at the size only when it is told of a change, and not before there is a terminal; that
 * it has one shows in its first output. */
static void tell_size(struct console *console)
{
	uint16_t cols;

	if (console->told_size)
		return;
	console->told_size = true;
	virtio_copy_config(&console->device, offsetof(struct console_config_space, cols), &cols,
			   sizeof(cols));
	if (cols != 0)
		virtio_interrupt(&console->device, VIRTIO_INTERRUPT_CONFIG);
}

/* Gives back the chain at hand, when all of it has gone; else the client calls again. */
static bool send_chain(struct console *console)
{
	if (!console_client_send(console, &console->chains[CONSOLE_TX].data))
		return false;
	give_back(console, CONSOLE_TX, 0);
	tell_size(console);
	return true;
}

/* Gives back the chain at hand with what the client has sent; false when that is nothing yet. */
static bool fill_chain(struct console *console)
{
	struct span *room = &console->chains[CONSOLE_RX].data;
	uint32_t got = room->bytes > 0 ? console_client_receive(console, room) : 0;

	if (got == 0 && room->bytes > 0)
		return false;
	give_back(console, CONSOLE_RX, got);
	return true;
}

/* Serves chains until the ring is empty (DRAINED), or something else calls console_run() again (HELD). */
static enum outcome serve(struct console *console, uint32_t queue, uint32_t *budget)
{
	while (console->device.queues[queue].runs && !virtio_is_stopping(&console->device)) {
		enum virtq_result result = VQ_CHAIN;

		if ((*budget)-- == 0) {
			virtio_process_later(&console->device, queue);
			return HELD;
		}
		if (!console->chains[queue].held)
			result = take_one(console, queue);
		if (result != VQ_CHAIN)
			return result == VQ_EMPTY ? DRAINED : HELD;
		if (!(queue == CONSOLE_TX ? send_chain(console) : fill_chain(console)))
			return HELD;
	}
	return HELD;
}

void console_run(struct console *console, uint32_t queue)
{
	struct virtq *ring = &console->device.queues[queue].ring;
	struct span nothing = {0};
	uint32_t budget = TURN;
	enum outcome outcome;

	if (queue == CONSOLE_TX)
		console_client_send(console, &nothing); /* what is unread goes out also when no driver runs */
	else
		console->wants_input = false;
	do {
		virtq_disable_notification(ring);
		outcome = serve(console, queue, &budget);
	} while (outcome == DRAINED && virtq_enable_notification(ring));
	console_client_rewatch(console);
	if (virtq_needs_notify(ring))
		virtio_interrupt(&console->device, VIRTIO_INTERRUPT_QUEUE);
}

static void process(struct sv_virtio *device, uint32_t queue)
{
	console_run((struct console *)device, queue);
}

static void stop(struct sv_virtio *device, uint32_t queue)
{
	struct console *console = (struct console *)device;
	struct console_chain *chain = &console->chains[queue];

	if (queue == CONSOLE_RX)
		console->wants_input = false;
	else if (chain->held) /* a client is slow, and the driver takes its buffer back: the rest is cut */
		bytering_add(&console->unread, &chain->data);
	chain->held = false;
	console->told_size = false;
	console_client_rewatch(console);
}

static void destroy(struct console *console)
{
	console_client_close(console);
	free(console);
}

static void free_device(struct sv_virtio *device)
{
	destroy((struct console *)device);
}

static const struct virtio_ops console_ops = {
    .type = VIRTIO_ID_CONSOLE, .process = process, .stop = stop, .free = free_device};

/* The size is offered from the start, although nobody knows it then: features cannot be added later. A window
 * of 0 by 0 is what a terminal of Linux has when its size was never set, so it says just that. */
int sv_console_create(struct sv_vm *vm, int listener_fd, struct sv_iothread *iothread, struct sv_virtio **out)
{
	struct virtio_plan plan = {.ops = &console_ops,
				   .io = iothread,
				   .features = VIRTIO_CONSOLE_F_SIZE,
				   .queue_count = 2,
				   .queue_size = CONSOLE_QUEUE_SIZE,
				   .config_size = sizeof(struct console_config_space)};
	struct console *console;
	int error = iothread_or_main(vm, &plan.io);

	if (error < 0)
		return error;
	console = calloc(1, sizeof(*console));
	if (!console)
		return -ENOMEM;
	console->client.fd = -1;
	console->timer.fd = -1;
	console->config.max_nr_ports = 1;
	plan.config = (uint8_t *)&console->config;
	error = console_client_open(console, listener_fd);
	if (error == 0)
		error = virtio_init(&console->device, vm, &plan);
	if (error < 0) {
		destroy(console);
		return error;
	}
	*out = &console->device;
	return console_client_watch(console); /* whatever it returns: the machine frees the device */
}

int sv_console_resize(struct sv_virtio *device, uint16_t cols, uint16_t rows)
{
	uint16_t size[2] = {cols, rows}; /* neighbours in the config space */

	if (device->ops != &console_ops)
		return -EINVAL;
	virtio_change_config(device, offsetof(struct console_config_space, cols), size, sizeof(size));
	return 0;
}
