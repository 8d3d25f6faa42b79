/* A hostile driver: random register accesses and rings against a real disk on a memfd. The machine is used
 * for many inputs, with a reset between them, so that what one leaves behind meets the next.
 */
#include "driver.h"
#include "fuzz.h"

#define INPUTS_PER_MACHINE 50

static struct driver d;
static uint32_t uses;

static uint64_t value(struct input *input)
{
	static const uint64_t values[] = {
	    0,          1,         2,          3,           11,
	    15,         16,        256,        65535,       RING_DESC,
	    RING_AVAIL, RING_USED, UINT32_MAX, RAM_GPA - 4, RAM_GPA + RAM_SIZE - 64,
	    BUFFERS};
	uint8_t which = (uint8_t)take(input, 1);

	return which & 0x80 ? take(input, 4) : values[which % 16];
}

static void access_register(struct input *input, bool writes)
{
	static const uint16_t common[] = {R_STATUS, R_NOTIFY, R_QUEUE_READY, R_QUEUE_SIZE, R_DESC, R_INT_ACK};
	uint8_t which = (uint8_t)take(input, 1);
	uint32_t sizes = (uint32_t)take(input, 1);
	uint32_t size = sizes < 0xe0 ? 4 : 1u << (sizes % 4);
	uint64_t offset = which < 0x80 ? which * 4u : common[which % 6];

	if (writes)
		bus_write(&d.vm->mmio, WINDOW + offset, size, value(input));
	else
		bus_read(&d.vm->mmio, WINDOW + offset + sizes % 2, size);
}

static void write_desc(struct input *input)
{
	static const uint64_t places[] = {HEADER_OF(0), HEADER_OF(1), STATUS_OF(0), DATA,
					  TABLES,       RING_DESC,    RING_USED,    RAM_GPA + RAM_SIZE - 512};
	uint32_t index = (uint32_t)take(input, 1) % 32;
	uint64_t place = places[take(input, 1) % 8] + (take(input, 1) & 0x81);
	uint32_t length = (uint32_t)value(input);
	struct desc desc = {place, length, (uint16_t)(take(input, 1) & 7), (uint16_t)(take(input, 1) % 18)};
	struct desc *table = at_gpa(&d.ring, index < 16 ? RING_DESC : TABLES);

	table[index % 16] = desc;
}

static void write_header(struct input *input)
{
	static const uint32_t types[] = {T_IN, T_OUT, T_FLUSH, T_GET_ID, T_DISCARD, T_WRITE_ZEROES, 2, 77};

	put_header(&d, (uint32_t)take(input, 1) % 2, types[take(input, 1) % 8], take(input, 1) * 16);
	memcpy(at_gpa(&d.ring, DATA), (uint64_t[]){take(input, 1) * 8, take(input, 1) | take(input, 1) << 32},
	       16);
}

static void make_ready(struct input *input)
{
	driver_start(&d, take(input, 1) % 4 ? ALL_FEATURES : VIRTIO_F_VERSION_1 | take(input, 4));
}

static void step(struct input *input)
{
	switch (take(input, 1) % 9) {
	case 0:
		access_register(input, false);
		break;
	case 1:
		access_register(input, true);
		break;
	case 2:
	case 3:
		write_desc(input);
		break;
	case 4:
		write_header(input);
		break;
	case 5:
		make_ready(input);
		break;
	case 6:
		put_request(&d, (uint32_t)take(input, 1) % 5, (uint32_t)take(input, 1) % 16, take(input, 2),
			    DATA + take(input, 1), (uint32_t)take(input, 1) * 512);
		driver_notify(&d);
		break;
	case 7:
		publish(&d.ring, (uint32_t)take(input, 1) % 20);
		driver_notify(&d);
		break;
	default:
		settle(&d);
		break;
	}
}

/* Every kind of disk in turn. */
static void renew_machine(void)
{
	static const uint32_t alignments[] = {1, 512, 4096};
	struct sv_blk_config config = plain_config(numbered_image());
	uint32_t kind = uses / INPUTS_PER_MACHINE;

	if (d.vm)
		driver_close(&d);
	config.alignment = alignments[kind % 3];
	config.engine = kind % 2 ? SV_AIO_AUTO : SV_AIO_SYNC;
	config.readonly = kind % 5 == 4;
	config.discard = kind % 7 != 6;
	config.iops = kind % 11 == 3 ? 20000 : 0;
	d = driver_open(&config);
	if (kind % 4 == 3) /* somebody cuts the image behind the device's back */
		CHECK(ftruncate(d.image, IMAGE_SIZE / 3) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct sv_event events[16];

	alarm(30); /* nothing here takes long: a hang is a finding */
	if (uses++ % INPUTS_PER_MACHINE == 0)
		renew_machine();
	while (input.left > 0)
		step(&input);
	driver_start(&d, ALL_FEATURES);
	EQUAL(request(&d, T_FLUSH, 0, 0, 0), 0); /* whatever was: a proper driver is served */
	sv_events_take(d.vm, events, 16);
	return 0;
}
