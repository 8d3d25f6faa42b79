/* A hostile driver: random register accesses and rings against a real disk on a memfd. The machine is used
 * for many inputs, with a reset between them, so that what one leaves behind meets the next.
 */
#include "hostile.h"

#define INPUTS_PER_MACHINE 50

static struct driver d;
static struct sv_blk_config image; /* as it is put in, and put in again */
static uint32_t uses;

static void write_header(struct input *input)
{
	static const uint32_t types[] = {T_IN, T_OUT, T_FLUSH, T_GET_ID, T_DISCARD, T_WRITE_ZEROES, 2, 77};

	put_header(&d, (uint32_t)take(input, 1) % 2, types[take(input, 1) % 8], take(input, 1) * 16);
	memcpy(at_gpa(&d.ring, DATA), (uint64_t[]){take(input, 1) * 8, take(input, 1) | take(input, 1) << 32},
	       16);
}

/* Up to three queues; they share one ring, each with indices of its own. */
static void make_ready(struct input *input)
{
	struct virtq_layout layout = ring_layout(&d.ring);
	uint32_t queues = 1 + (uint32_t)take(input, 1) % 3;

	driver_prepare(&d, odd_features(input));
	for (uint32_t queue = 1; queue < queues; queue++) {
		reg_write(&d, R_QUEUE_SEL, queue);
		driver_write_layout(&d, &layout);
	}
	reg_write(&d, R_STATUS, S_READY | S_DRIVER_OK);
}

static void step(struct input *input)
{
	switch (take(input, 1) % 11) {
	case 0:
		access_register(&d, input, false);
		break;
	case 1:
		access_register(&d, input, true);
		break;
	case 2:
	case 3:
		write_desc(&d, input);
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
		reg_write(&d, R_NOTIFY, (uint32_t)take(input, 1) % 3);
		break;
	case 8:
		sv_blk_unplug(d.device);
		break;
	case 9:
		sv_blk_plug(d.device, &image);
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
	config.write_bytes = kind % 3 == 2 ? 1u << 30 : 0;
	config.queues = kind % 4;
	image = config;
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
	sv_blk_plug(d.device, &image);
	driver_start(&d, ALL_FEATURES);
	EQUAL(request(&d, T_FLUSH, 0, 0, 0), 0); /* whatever was: a proper driver is served */
	sv_events_take(d.vm, events, 16);
	return 0;
}
