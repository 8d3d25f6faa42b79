/* What is behind a card changes while the guest runs; and cards with several pairs of queues. */
#include <pthread.h>

#include "net_driver.h"

#define CONTROL 4u

static int plug(struct card *c, int count)
{
	struct sv_net_backend backend = {.count = count};
	int fresh[SV_NET_MAX_PAIRS];
	int error;

	for (int i = 0; i < count; i++)
		fresh[i] = make_wire(&backend.fds[i]);
	error = sv_net_plug(c->d.device, &backend);
	for (int i = 0; i < count; i++) {
		close(backend.fds[i]);
		if (c->peers[i] > 0)
			close(c->peers[i]);
		c->peers[i] = fresh[i];
	}
	return error;
}

static void expect_traffic(struct card *c)
{
	uint16_t received = used_index(&c->rings[0]);
	uint16_t sent = used_index(&c->rings[1]);

	give_buffers(c, 0, 1, 2048);
	wire_send(c->peers[0], 60, 1);
	wait_index(c, 0, (uint16_t)(received + 1));
	expect_received(c, 0, received, 2048, 60, 1);
	put_frame(c, 0, 0, 60, 2);
	card_notify(c, 1);
	wire_expect(c->peers[0], 60, 2);
	wait_index(c, 1, (uint16_t)(sent + 1));
}

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
	EQUAL(plug(&c, 1), 0);
	wait_config_interrupt(&c);
	EQUAL(link_is_up(&c), true);
	expect_traffic(&c);
	card_close(&c);
}

static void an_unplug_takes_the_link_and_closes_the_descriptor(void)
{
	struct card c = card_started(MERGEABLE);
	char byte;

	expect_traffic(&c);
	EQUAL(sv_net_unplug(c.d.device), 0);
	EQUAL(recv(c.peers[0], &byte, 1, 0), 0); /* the end of it */
	wait_config_interrupt(&c);
	EQUAL(link_is_up(&c), false);
	EQUAL(plug(&c, 1), 0);
	wait_config_interrupt(&c);
	expect_traffic(&c);
	card_close(&c);
}

static void a_backend_is_replaced_at_once_and_the_driver_need_not_know(void)
{
	struct card c = card_started(MERGEABLE);

	expect_traffic(&c);
	EQUAL(plug(&c, 1), 0);
	EQUAL(link_is_up(&c), true);
	EQUAL(reg_read(&c.d, R_INT_STATUS) & VIRTIO_INTERRUPT_CONFIG, 0);
	expect_traffic(&c);
	card_close(&c);
}

static void a_plug_before_the_driver_comes_is_in_its_configuration(void)
{
	struct card c = card_open(1, 0);

	EQUAL(plug(&c, 1), 0);
	card_start(&c, MERGEABLE);
	EQUAL(link_is_up(&c), true);
	expect_traffic(&c);
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
	EQUAL(plug(&c, 1), 0);
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
	EQUAL(plug(&c, 1), 0);
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
	expect_traffic(&c);
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
		EQUAL(plug(&c, 1), 0);
		wire_send(c.peers[0], 60, 1);
		if (round % 3 == 0)
			EQUAL(sv_net_unplug(c.d.device), 0);
	}
	atomic_store(&sender.stop, true);
	pthread_join(thread, NULL);
	card_close(&c);
}

static void several_pairs_are_offered_with_a_control_queue(void)
{
	struct card c = card_open(2, 2);

	EQUAL(c.d.device->offered >> 17 & 0x3f, 1 | 1 << 5);
	EQUAL(reg_read_sized(&c.d, R_CONFIG + 8, 2), 2);
	for (uint32_t queue = 0; queue < 6; queue++) {
		reg_write(&c.d, R_QUEUE_SEL, queue);
		EQUAL(reg_read(&c.d, R_QUEUE_MAX), queue < 5 ? 256 : 0);
	}
	card_close(&c);
}

static void a_second_pair_works_once_the_driver_asked_for_it(void)
{
	struct card c = card_open(2, 2);

	card_start(&c, EVERYTHING);
	give_buffers(&c, 1, 2, 2048);
	wire_send(c.peers[1], 60, 4);
	card_settle(&c);
	EQUAL(used_index(&c.rings[2]), 0);
	EQUAL(card_set_pairs(&c, 2), 0);
	wait_index(&c, 2, 1);
	expect_received(&c, 1, 0, 2048, 60, 4);
	put_frame(&c, 1, 0, 100, 8);
	card_notify(&c, 3);
	wire_expect(c.peers[1], 100, 8);
	EQUAL(card_set_pairs(&c, 1), 0);
	wire_send(c.peers[1], 60, 5);
	expect_traffic(&c);
	EQUAL(used_index(&c.rings[2]), 1);
	card_close(&c);
}

static void sixteen_pairs_carry_frames_both_ways(void)
{
	struct card c = card_open(SV_NET_MAX_PAIRS, SV_NET_MAX_PAIRS);

	EQUAL(reg_read_sized(&c.d, R_CONFIG + 8, 2), SV_NET_MAX_PAIRS);
	card_start(&c, EVERYTHING);
	EQUAL(card_set_pairs(&c, SV_NET_MAX_PAIRS + 1), 1);
	EQUAL(card_set_pairs(&c, SV_NET_MAX_PAIRS), 0);
	for (uint32_t pair = 0; pair < SV_NET_MAX_PAIRS; pair++) {
		give_buffers(&c, pair, 1, 2048);
		wire_send(c.peers[pair], 60, (uint8_t)pair);
		put_frame(&c, pair, 0, 100, (uint8_t)(100 + pair));
		card_notify(&c, 2 * pair + 1);
	}
	for (uint32_t pair = 0; pair < SV_NET_MAX_PAIRS; pair++) {
		wait_index(&c, 2 * pair, 1);
		expect_received(&c, pair, 0, 2048, 60, (uint8_t)pair);
		wire_expect(c.peers[pair], 100, (uint8_t)(100 + pair));
	}
	card_close(&c);
}

static void commands_that_make_no_sense_are_refused(void)
{
	struct card c = card_open(2, 2);

	card_start(&c, EVERYTHING);
	EQUAL(card_set_pairs(&c, 0), 1);
	EQUAL(card_set_pairs(&c, 3), 1);
	EQUAL(card_command(&c, (uint8_t[]){4, 0, 1, 1}, 4), 1); /* 257 */
	EQUAL(card_command(&c, (uint8_t[]){4, 0, 1}, 3), 1);
	EQUAL(card_command(&c, (uint8_t[]){4, 1, 1, 0}, 4), 1);
	EQUAL(card_command(&c, (uint8_t[]){0, 0, 1, 0}, 4), 1);
	EQUAL(card_set_pairs(&c, 2), 0);
	card_close(&c);
}

static void a_command_without_room_for_an_answer_is_given_back(void)
{
	struct card c = card_open(2, 2);
	struct ring *ring = &c.rings[CONTROL];

	card_start(&c, EVERYTHING);
	memcpy(buffer_at(&c, CONTROL, 0), (uint8_t[]){4, 0, 2, 0}, 4);
	put_desc(ring, 0, buffer_gpa(CONTROL, 0), 4, 0, 0);
	put_desc(ring, 1, buffer_gpa(CONTROL, 0), 4, F_WRITE, 0);
	publish(ring, 0);
	publish(ring, 1);
	card_notify(&c, CONTROL);
	wait_index(&c, CONTROL, 2);
	EQUAL(used_at(ring, 0).len, 0);
	EQUAL(used_at(ring, 1).len, 1);
	EQUAL(*buffer_at(&c, CONTROL, 0), 1);
	card_close(&c);
}

/* VIRTIO 1.2, 5.1.2: the control queue of a driver without MQ is the third one. */
static void without_multiqueue_the_control_queue_is_the_third(void)
{
	struct card c = card_open(2, 2);
	struct ring *ring = &c.rings[2];

	card_start(&c, MERGEABLE | VIRTIO_NET_F_CTRL_VQ);
	memcpy(buffer_at(&c, 2, 0), (uint8_t[]){4, 0, 2, 0}, 4);
	put_desc(ring, 0, buffer_gpa(2, 0), 4, F_NEXT, 1);
	put_desc(ring, 1, buffer_gpa(2, 0x100), 1, F_WRITE, 0);
	publish(ring, 0);
	card_notify(&c, 2);
	wait_index(&c, 2, 1);
	EQUAL(*buffer_at(&c, 2, 0x100), 1);
	expect_traffic(&c);
	card_close(&c);
}

static void a_backend_with_fewer_descriptors_serves_every_sender(void)
{
	struct card c = card_open(2, 2);

	card_start(&c, EVERYTHING);
	EQUAL(card_set_pairs(&c, 2), 0);
	EQUAL(plug(&c, 1), 0);
	put_frame(&c, 1, 0, 100, 8);
	card_notify(&c, 3);
	wire_expect(c.peers[0], 100, 8);
	expect_traffic(&c);
	card_close(&c);
}

static void a_reset_goes_back_to_one_pair(void)
{
	struct card c = card_open(2, 2);

	card_start(&c, EVERYTHING);
	EQUAL(card_set_pairs(&c, 2), 0);
	card_start(&c, EVERYTHING);
	give_buffers(&c, 1, 1, 2048);
	wire_send(c.peers[1], 60, 1);
	expect_traffic(&c);
	EQUAL(used_index(&c.rings[2]), 0);
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
	RUN(several_pairs_are_offered_with_a_control_queue);
	RUN(a_second_pair_works_once_the_driver_asked_for_it);
	RUN(sixteen_pairs_carry_frames_both_ways);
	RUN(commands_that_make_no_sense_are_refused);
	RUN(a_command_without_room_for_an_answer_is_given_back);
	RUN(without_multiqueue_the_control_queue_is_the_third);
	RUN(a_backend_with_fewer_descriptors_serves_every_sender);
	RUN(a_reset_goes_back_to_one_pair);
	return 0;
}
