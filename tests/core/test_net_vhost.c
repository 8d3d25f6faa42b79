/* A card that vhost serves, and what becomes of it when its tap goes, comes, or is another one. */
#include "vhost_card.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>

#define CAME_TO 40

static void start(struct vhost_card *v)
{
	card_start(&v->c, EVERYTHING);
	card_settle(&v->c);
}

static void the_module_serves_the_pairs_that_the_driver_uses(void)
{
	struct vhost_card v = vhost_open(2);

	start(&v);
	CHECK(serves(0) && !serves(1));
	EQUAL(card_set_pairs(&v.c, 2), 0);
	CHECK(serves(0) && serves(1));
	reg_write(&v.c.d, R_STATUS, 0);
	CHECK(!serves(0) && !serves(1));
	vhost_close(&v);
}

static void a_pair_that_is_given_again_goes_on_where_the_module_came_to(void)
{
	struct vhost_card v = vhost_open(2);

	start(&v);
	EQUAL(card_set_pairs(&v.c, 2), 0);
	EQUAL(modules[1].base[0], 0);
	modules[1].came_to[0] = modules[1].came_to[1] = CAME_TO;
	EQUAL(card_set_pairs(&v.c, 1), 0);
	CHECK(!serves(1));
	EQUAL(card_set_pairs(&v.c, 2), 0);
	CHECK(serves(1));
	EQUAL(modules[1].base[0], CAME_TO);
	EQUAL(modules[1].base[1], CAME_TO);
	reg_write(&v.c.d, R_STATUS, 0);
	start(&v); /* a reset begins anew */
	EQUAL(card_set_pairs(&v.c, 2), 0);
	EQUAL(modules[0].base[0], 0);
	EQUAL(modules[1].base[1], 0);
	vhost_close(&v);
}

static void wait_until_the_link_is_down(struct vhost_card *v)
{
	while (link_is_up(&v->c))
		poll(NULL, 0, 10); /* it is looked at once a second */
	card_settle(&v->c);
}

/* Without a tap nothing is looked after: an I/O thread that has a timer which nobody reads never rests. */
static void expect_no_watch(struct vhost_card *v)
{
	struct itimerspec left;
	struct net *net = net_of(v->c.d.device);

	card_settle(&v->c);
	CHECK(timerfd_gettime(net->watch.fd, &left) == 0);
	EQUAL(left.it_value.tv_sec, 0);
	EQUAL(left.it_value.tv_nsec, 0);
}

static void a_deleted_tap_takes_the_link_down_and_the_queues_back(void)
{
	struct vhost_card v = vhost_open(2);
	struct sv_event event;

	start(&v);
	EQUAL(card_set_pairs(&v.c, 2), 0);
	CHECK(link_is_up(&v.c));
	delete_taps(&v);
	wait_until_the_link_is_down(&v);
	CHECK(!serves(0) && !serves(1));
	event = next_event(&v.c.d);
	EQUAL(event.kind, SV_EVENT_NET_FAILED);
	EQUAL(event.data[1], SV_NET_TAP_LOST);
	EQUAL(next_event(&v.c.d).kind, 0);
	start(&v); /* another driver finds no link, and nothing is given to the module */
	EQUAL(card_set_pairs(&v.c, 2), 0);
	CHECK(!link_is_up(&v.c) && !serves(0) && !serves(1));
	vhost_close(&v);
}

/* The driver sends; the module has sent the first CAME_TO frames, and has taken `swallowed` more off the
 * ring, which the tap did not take.
 */
static void send_until_the_tap_goes(struct vhost_card *v, unsigned swallowed)
{
	modules[0].came_to[1] = CAME_TO + swallowed;
	start(v);
	EQUAL(card_set_pairs(&v->c, 2), 0);
	for (uint32_t i = 0; i < CAME_TO + 3; i++)
		put_frame(&v->c, 0, i % 4, 60, 1);
	__atomic_store_n(&used_words(&v->c.rings[1])[1], CAME_TO, __ATOMIC_RELEASE);
	delete_taps(v);
}

static void send_one(struct vhost_card *v)
{
	uint16_t before = used_index(&v->c.rings[1]);

	put_frame(&v->c, 0, 0, 60, 1);
	card_notify(&v->c, 1);
	wait_index(&v->c, 1, (uint16_t)(before + 1));
}

static void expect_all_frames_back(struct vhost_card *v)
{
	wait_index(&v->c, 1, CAME_TO + 3);
	for (uint32_t i = 0; i < 3; i++)
		EQUAL(used_at(&v->c.rings[1], CAME_TO + i).id, (CAME_TO + i) % 4);
	wait_until_the_link_is_down(v);
	EQUAL(reg_read(&v->c.d, R_STATUS), S_READY | S_DRIVER_OK);
	send_one(v); /* what is sent later comes back too, */
	start(v);    /* and what another driver sends */
	send_one(v);
}

static void frames_that_the_module_left_in_the_ring_go_nowhere_and_come_back(void)
{
	for (unsigned swallowed = 0; swallowed < 3; swallowed++) {
		struct vhost_card v = vhost_open(2);

		send_until_the_tap_goes(&v, swallowed);
		expect_all_frames_back(&v);
		vhost_close(&v);
	}
}

static void a_module_that_gives_up_for_want_of_a_tap_breaks_nothing(void)
{
	struct vhost_card v = vhost_open(2);
	struct sv_event event;

	send_until_the_tap_goes(&v, 2);
	CHECK(eventfd_write(v.c.d.device->lost.fd, 1) == 0);
	expect_all_frames_back(&v);
	CHECK(eventfd_write(v.c.d.device->lost.fd, 1) == 0); /* while its rings are taken */
	card_settle(&v.c);
	send_one(&v);
	event = next_event(&v.c.d);
	EQUAL(event.kind, SV_EVENT_NET_FAILED);
	EQUAL(event.data[1], SV_NET_TAP_LOST);
	EQUAL(next_event(&v.c.d).kind, 0);
	vhost_close(&v);
}

static void a_module_that_gives_up_with_its_tap_in_place_asks_for_a_reset(void)
{
	struct vhost_card v = vhost_open(1);

	start(&v);
	CHECK(eventfd_write(v.c.d.device->lost.fd, 1) == 0);
	while (!(reg_read(&v.c.d, R_STATUS) & S_NEEDS_RESET))
		poll(NULL, 0, 1);
	EQUAL(next_event(&v.c.d).kind, SV_EVENT_DEVICE_BROKEN);
	CHECK(!serves(0));
	start(&v);
	CHECK(serves(0));
	vhost_close(&v);
}

static void what_the_module_refuses_is_told_and_the_driver_resets(void)
{
	static const unsigned long requests[] = {VHOST_SETTINGS, VHOST_NET_SET_BACKEND};

	for (uint32_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		struct vhost_card v = vhost_open(1);
		struct sv_event event;

		refused = requests[i];
		card_prepare(&v.c, EVERYTHING);
		reg_write(&v.c.d, R_STATUS, S_READY | S_DRIVER_OK);
		card_settle(&v.c);
		EQUAL(reg_read(&v.c.d, R_STATUS) & S_NEEDS_RESET, S_NEEDS_RESET);
		event = next_event(&v.c.d);
		EQUAL(event.kind, SV_EVENT_VHOST_FAILED);
		EQUAL(event.data[0], EPERM);
		refused = 0;
		start(&v);
		CHECK(serves(0));
		vhost_close(&v);
	}
}

static void a_card_without_its_tap_is_served_here_and_with_another_by_the_module(void)
{
	struct vhost_card v = vhost_open(2);

	start(&v);
	EQUAL(card_set_pairs(&v.c, 2), 0);
	EQUAL(sv_net_unplug(v.c.d.device), 0);
	CHECK(!serves(0) && !serves(1) && !link_is_up(&v.c));
	expect_no_watch(&v);
	for (uint16_t i = 1; i <= CAME_TO; i++) {
		put_frame(&v.c, 0, i % 4, 60, 1);
		card_notify(&v.c, 1);
		wait_index(&v.c, 1, i);
	}
	EQUAL(plug(&v, 2), 0);
	CHECK(serves(0) && serves(1) && link_is_up(&v.c));
	EQUAL(modules[0].base[0], 0);
	EQUAL(modules[0].base[1], CAME_TO);
	EQUAL(next_event(&v.c.d).kind, 0);
	vhost_close(&v);
}

/* The module hears of what the driver put into its rings while nobody asked it to. */
static void a_module_that_begins_again_is_notified(void)
{
	struct vhost_card v = vhost_open(1);
	uint64_t count;

	start(&v);
	EQUAL(sv_net_unplug(v.c.d.device), 0);
	card_settle(&v.c);
	for (uint32_t queue = 0; queue < 2; queue++)
		CHECK(read(v.c.d.device->queues[queue].kick.fd, &count, sizeof(count)) == sizeof(count));
	EQUAL(plug(&v, 1), 0);
	for (uint32_t queue = 0; queue < 2; queue++)
		CHECK(read(v.c.d.device->queues[queue].kick.fd, &count, sizeof(count)) == sizeof(count));
	/* and what is in them is the module's alone */
	modules[0].came_to[1] = 0;
	put_frame(&v.c, 0, 0, 60, 1);
	card_notify(&v.c, 1);
	card_settle(&v.c);
	EQUAL(used_index(&v.c.rings[1]), 0);
	vhost_close(&v);
}

static void a_tap_that_comes_after_a_deleted_one_is_looked_after_like_the_first(void)
{
	struct vhost_card v = vhost_open(2);

	start(&v);
	EQUAL(card_set_pairs(&v.c, 2), 0);
	for (int round = 0; round < 3; round++) {
		CHECK(serves(0) && serves(1) && link_is_up(&v.c));
		card_settle(&v.c);
		delete_taps(&v);
		wait_until_the_link_is_down(&v);
		EQUAL(next_event(&v.c.d).data[1], SV_NET_TAP_LOST);
		send_one(&v);
		modules[0].came_to[1] = used_index(&v.c.rings[1]);
		EQUAL(plug(&v, 2), 0);
	}
	vhost_close(&v);
}

static void a_tap_that_comes_while_there_is_no_driver_is_the_next_one_s(void)
{
	struct vhost_card v = vhost_open(1);

	EQUAL(sv_net_unplug(v.c.d.device), 0);
	EQUAL(plug(&v, 1), 0);
	CHECK(!serves(0));
	start(&v);
	CHECK(serves(0) && link_is_up(&v.c));
	reg_write(&v.c.d, R_STATUS, 0);
	EQUAL(sv_net_unplug(v.c.d.device), 0);
	start(&v);
	CHECK(!serves(0) && !link_is_up(&v.c));
	send_one(&v);
	vhost_close(&v);
}

static void give_up_and_plug(void *context)
{
	struct vhost_card *v = context;

	CHECK(eventfd_write(v->c.d.device->lost.fd, 1) == 0);
	EQUAL(plug(v, 1), 0);
}

static void a_module_that_gave_up_on_the_last_tap_goes_on_with_the_next(void)
{
	struct vhost_card v = vhost_open(1);

	start(&v);
	iothread_call(v.c.d.device->io, give_up_and_plug, &v); /* so that the plug comes first */
	card_settle(&v.c);
	CHECK(serves(0) && link_is_up(&v.c));
	EQUAL(reg_read(&v.c.d, R_STATUS), S_READY | S_DRIVER_OK);
	EQUAL(next_event(&v.c.d).kind, 0);
	vhost_close(&v);
}

static void a_module_that_refuses_another_tap_leaves_the_card_without_one(void)
{
	struct vhost_card v = vhost_open(2);
	struct sv_net_backend with_modules = {.count = 2, .vhost = 1};

	start(&v);
	EQUAL(card_set_pairs(&v.c, 2), 0);
	EQUAL(plug(&v, 1), -EINVAL); /* one for each pair */
	EQUAL(sv_net_plug(v.c.d.device, &with_modules), -ENOTSUP);
	CHECK(serves(0) && serves(1));
	card_settle(&v.c);
	refused = VHOST_SET_VRING_ADDR;
	EQUAL(plug(&v, 2), -EPERM);
	CHECK(!link_is_up(&v.c));
	expect_no_watch(&v);
	send_one(&v);
	refused = 0;
	EQUAL(plug(&v, 2), 0);
	CHECK(serves(0) && serves(1) && link_is_up(&v.c));
	EQUAL(reg_read(&v.c.d, R_STATUS), S_READY | S_DRIVER_OK);
	vhost_close(&v);
}

int main(int argc, char **argv)
{
	RUN(the_module_serves_the_pairs_that_the_driver_uses);
	RUN(a_pair_that_is_given_again_goes_on_where_the_module_came_to);
	RUN(a_deleted_tap_takes_the_link_down_and_the_queues_back);
	RUN(frames_that_the_module_left_in_the_ring_go_nowhere_and_come_back);
	RUN(a_module_that_gives_up_for_want_of_a_tap_breaks_nothing);
	RUN(a_module_that_gives_up_with_its_tap_in_place_asks_for_a_reset);
	RUN(what_the_module_refuses_is_told_and_the_driver_resets);
	RUN(a_card_without_its_tap_is_served_here_and_with_another_by_the_module);
	RUN(a_module_that_begins_again_is_notified);
	RUN(a_tap_that_comes_after_a_deleted_one_is_looked_after_like_the_first);
	RUN(a_tap_that_comes_while_there_is_no_driver_is_the_next_one_s);
	RUN(a_module_that_gave_up_on_the_last_tap_goes_on_with_the_next);
	RUN(a_module_that_refuses_another_tap_leaves_the_card_without_one);
	return 0;
}
