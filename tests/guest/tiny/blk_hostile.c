#include "virtio.h"

/* One attack after another on the same device; after each a reset has to bring it back to work. */

static void loop(void)
{
	set_desc(0, (uint64_t)header, 16, NEXT, 1);
	set_desc(1, (uint64_t)buffer, 512, NEXT, 0);
	offer(0);
}

static void outside_memory(void)
{
	set_desc(0, 0xffffffffff000000ull, 16, NEXT, 1);
	set_desc(1, (uint64_t)&status_byte, 1, WRITE, 0);
	offer(0);
}

static void four_gib_long(void)
{
	header->type = 0;
	set_desc(0, (uint64_t)header, 16, NEXT, 1);
	set_desc(1, (uint64_t)buffer, 0xffffffffu, NEXT | WRITE, 2);
	set_desc(2, (uint64_t)&status_byte, 1, WRITE, 0);
	offer(0);
}

static void head_beyond_the_table(void)
{
	offer(60000);
}

static void index_far_ahead(void)
{
	avail->index += 30000;
	reg_write(QUEUE_NOTIFY, 0);
}

static void writable_first(void)
{
	set_desc(0, (uint64_t)buffer, 512, NEXT | WRITE, 1);
	set_desc(1, (uint64_t)header, 16, 0, 0);
	offer(0);
}

static void queue_of_65535(void)
{
	negotiate(0);
	set_queue(65535, 0xfffffffffffffff0ull, 1, 3);
	reg_write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	reg_write(QUEUE_NOTIFY, 0);
}

static void queue_of_0(void)
{
	negotiate(0);
	set_queue(0, 0, 0, 0);
	reg_write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	reg_write(QUEUE_NOTIFY, 0);
}

static void notify_before_ready(void)
{
	reg_write(STATUS, 0);
	for (uint32_t queue = 0; queue < 40; queue++)
		reg_write(QUEUE_NOTIFY, queue);
}

static void nonsense_everywhere(void)
{
	uint32_t value = 0x9e3779b9;

	for (uint32_t round = 0; round < 20; round++)
		for (uint32_t offset = 0; offset < 0x200; offset += 4) {
			value = value * 1664525 + 1013904223;
			if (offset != QUEUE_NOTIFY)
				reg_write(offset, value);
			reg_read(offset);
		}
}

static void reset_in_flight(void)
{
	for (int i = 0; i < 50; i++) {
		start_device();
		header->type = 0;
		header->sector = 0;
		set_desc(0, (uint64_t)header, 16, NEXT, 1);
		set_desc(1, (uint64_t)buffer, 512, NEXT | WRITE, 2);
		set_desc(2, (uint64_t)&status_byte, 1, WRITE, 0);
		offer(0);
		reg_write(STATUS, 0);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} attacks[] = {
    {"loop", loop},
    {"outside memory", outside_memory},
    {"four GiB long", four_gib_long},
    {"head beyond the table", head_beyond_the_table},
    {"index far ahead", index_far_ahead},
    {"writable first", writable_first},
    {"queue of 65535", queue_of_65535},
    {"queue of 0", queue_of_0},
    {"notify before ready", notify_before_ready},
    {"nonsense everywhere", nonsense_everywhere},
    {"reset in flight", reset_in_flight},
};

void guest_main(void *zero_page)
{
	(void)zero_page;
	for (uint32_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		start_device();
		attacks[i].run();
		start_device();
		print(attacks[i].name);
		print(request(0, 0) == 0 ? ": works again\n" : ": BROKEN\n");
	}
	print("done\n");
	power_off();
}
