/* What is behind a card changes while the guest runs. */
#include <pthread.h>

#include "net_driver.h"

static void wait_config_interrupt(struct card *c)
{
	uint32_t causes = reg_read(&c->d, R_INT_STATUS);

	while (!(causes & VIRTIO_INTERRUPT_CONFIG))
		causes = wait_interrupt(&c->d);
	reg_write(&c->d, R_INT_ACK, VIRTIO_INTERRUPT_CONFIG);
}

static void a_card_without_a_backend_has_no_link_and_takes_every_frame(void)
{
	struct card c = card_open(1, 0);

	card_start(&c, MERGEABLE);
	EQUAL(link_is_up(&c), false);
	put_frame(&c, 0, 0, 60, 1);
	card_notify(&c, 1);
	wait_index(&c, 1, 1);
	card_close(&c);
}

static void a_plug_brings_the_link_and_the_frames(void)
{
	struct card c = card_open(1, 0);

	card_start(&c, MERGEABLE);
	EQUAL(card_plug(&c, 1), 0);
	wait_config_interrupt(&c);
	EQUAL(link_is_up(&c), true);
	card_expect_traffic(&c);
	card_close(&c);
}

static void an_unplug_takes_the_link_and_closes_the_descriptor(void)
{
	struct card c = card_started(MERGEABLE);
	char byte;

	card_expect_traffic(&c);
	EQUAL(sv_net_unplug(c.d.device), 0);
	EQUAL(recv(c.peers[0], &byte, 1, 0), 0); /* the end of it */
	wait_config_interrupt(&c);
	EQUAL(link_is_up(&c), false);
	EQUAL(card_plug(&c, 1), 0);
	wait_config_interrupt(&c);
	card_expect_traffic(&c);
	card_close(&c);
}

static void a_backend_is_replaced_at_once_and_the_driver_need_not_know(void)
{
	struct card c = card_started(MERGEABLE);

	card_expect_traffic(&c);
	EQUAL(card_plug(&c, 1), 0);
	EQUAL(link_is_up(&c), true);
	EQUAL(reg_read(&c.d, R_INT_STATUS) & VIRTIO_INTERRUPT_CONFIG, 0);
	card_expect_traffic(&c);
	card_close(&c);
}

static void a_plug_before_the_driver_comes_is_in_its_configuration(void)
{
	struct card c = card_open(1, 0);

	EQUAL(card_plug(&c, 1), 0);
	card_start(&c, MERGEABLE);
	EQUAL(link_is_up(&c), true);
	card_expect_traffic(&c);
	card_close(&c);
}

static void fill_wire(struct card *c)
{
	for (uint32_t given = 0; given - used_index(&c->rings[1]) < QUEUE_SIZE; given++) {
		put_frame(c, 0, given % QUEUE_SIZE, 20000, 1);
		card_notify(c, 1);
		card_settle(c);
	}
}

static void frames_that_wait_for_room_are_freed_by_an_unplug(void)
{
	struct card c = card_started(MERGEABLE);

	fill_wire(&c);
	EQUAL(sv_net_unplug(c.d.device), 0);
	wait_index(&c, 1, c.rings[1].avail);
	card_close(&c);
}

static void frames_that_wait_for_room_go_to_the_new_backend(void)
{
	struct card c = card_started(MERGEABLE);

	fill_wire(&c);
	EQUAL(card_plug(&c, 1), 0);
	for (uint32_t i = 0; i < QUEUE_SIZE; i++)
		wire_expect(c.peers[0], 20000, 1);
	wait_index(&c, 1, c.rings[1].avail);
	card_close(&c);
}

static void a_backend_that_goes_away_is_told_and_can_be_replaced(void)
{
	struct card c = card_started(MERGEABLE);
	struct sv_event event;

	give_buffers(&c, 0, 1, 2048);
	close(c.peers[0]);
	c.peers[0] = 0;
	wait_config_interrupt(&c);
	EQUAL(link_is_up(&c), false);
	card_settle(&c);
	event = next_event(&c.d);
	EQUAL(event.kind, SV_EVENT_NET_FAILED);
	EQUAL(event.source, sv_virtio_id(c.d.device));
	EQUAL(event.data[1], SV_NET_TAP_LOST);
	EQUAL(card_plug(&c, 1), 0);
	wait_config_interrupt(&c);
	wire_send(c.peers[0], 60, 1);
	wait_index(&c, 0, 1);
	card_close(&c);
}

static void what_cannot_be_plugged_is_refused(void)
{
	struct card c = card_started(MERGEABLE);
	struct sv_net_backend backend = {.count = 2, .fds = {c.peers[0], c.peers[0]}};

	EQUAL(sv_net_plug(c.d.device, &backend), -EINVAL);
	backend.count = 0;
	EQUAL(sv_net_plug(c.d.device, &backend), -EINVAL);
	backend = (struct sv_net_backend){.count = 1, .fds = {-1}};
	EQUAL(sv_net_plug(c.d.device, &backend), -EBADF);
	backend = (struct sv_net_backend){.count = 1, .vhost = 1};
	EQUAL(sv_net_plug(c.d.device, &backend), -ENOTSUP);
	card_expect_traffic(&c);
	card_close(&c);
}

static void a_device_of_another_type_takes_no_plug(void)
{
	struct sv_blk_config config = plain_config(numbered_image());
	struct driver d = driver_open(&config);
	struct sv_net_backend backend = {.count = 1};

	EQUAL(sv_net_plug(d.device, &backend), -EINVAL);
	EQUAL(sv_net_unplug(d.device), -EINVAL);
	driver_close(&d);
}

struct sender {
	struct card *c;
	atomic_bool stop;
};

static void *send_and_receive(void *argument)
{
	struct sender *sender = argument;
	struct card *c = sender->c;

	for (uint16_t sent = 0; !atomic_load(&sender->stop); sent++) {
		put_frame(c, 0, sent % 4, 60, 1);
		card_notify(c, 1);
		give_buffers(c, 0, 1, 2048);
		if (sent % 4 == 3)
			wait_index(c, 1, (uint16_t)(sent + 1));
		while ((uint16_t)(c->rings[0].avail - used_index(&c->rings[0])) >= QUEUE_SIZE - 1 &&
		       !atomic_load(&sender->stop))
			card_notify(c, 0);
	}
	return NULL;
}

/* As a guest's vCPU and the control thread do. */
static void backends_come_and_go_under_traffic(void)
{
	struct card c = card_started(MERGEABLE);
	struct sender sender = {.c = &c};
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, send_and_receive, &sender) == 0);
	for (int round = 0; round < 200; round++) {
		EQUAL(card_plug(&c, 1), 0);
		wire_send(c.peers[0], 60, 1);
		if (round % 3 == 0)
			EQUAL(sv_net_unplug(c.d.device), 0);
	}
	atomic_store(&sender.stop, true);
	pthread_join(thread, NULL);
	card_close(&c);
}

int main(int argc, char **argv)
{
	RUN(a_card_without_a_backend_has_no_link_and_takes_every_frame);
	RUN(a_plug_brings_the_link_and_the_frames);
	RUN(an_unplug_takes_the_link_and_closes_the_descriptor);
	RUN(a_backend_is_replaced_at_once_and_the_driver_need_not_know);
	RUN(a_plug_before_the_driver_comes_is_in_its_configuration);
	RUN(frames_that_wait_for_room_are_freed_by_an_unplug);
	RUN(frames_that_wait_for_room_go_to_the_new_backend);
	RUN(a_backend_that_goes_away_is_told_and_can_be_replaced);
	RUN(what_cannot_be_plugged_is_refused);
	RUN(a_device_of_another_type_takes_no_plug);
	RUN(backends_come_and_go_under_traffic);
	return 0;
}
