/* Alignment: an image that wants it, and a guest that does not care. */
#include "driver.h"

static int engine;
static uint32_t alignment;

static struct driver started_on(int image, uint64_t size)
{
	struct sv_blk_config config = plain_config(image);
	struct driver d;

	config.size = size;
	config.alignment = alignment;
	config.engine = engine;
	d = driver_open(&config);
	driver_start(&d, ALL_FEATURES);
	return d;
}

static struct driver started(void)
{
	return started_on(numbered_image(), IMAGE_SIZE);
}

static bool requests_bounce(struct driver *d, uint64_t sector, uint64_t data, uint32_t length)
{
	struct blk_probe {
		uint64_t odd;
	} probe = {sector * 512 | (uintptr_t)at_gpa(&d->ring, data) | length};

	return probe.odd % alignment != 0;
}

static void reads_arrive_wherever_the_buffer_is(void)
{
	struct driver d = started();

	CHECK(requests_bounce(&d, 3, DATA + 1, 512));
	EQUAL(request(&d, T_IN, 3, DATA + 1, 512), 0);
	EQUAL(number_in_ram(&d, DATA + 1), 3);
	EQUAL(request(&d, T_IN, 3, DATA, 1024), 0);
	EQUAL(number_in_ram(&d, DATA + 512), 4);
	EQUAL(request(&d, T_IN, 0, DATA, 8192), 0);
	EQUAL(number_in_ram(&d, DATA + 15 * 512), 15);
	EQUAL(request(&d, T_IN, IMAGE_SIZE / 512 - 1, DATA + 2, 512), 0);
	EQUAL(number_in_ram(&d, DATA + 2), IMAGE_SIZE / 512 - 1);
	driver_close(&d);
}

static void writes_change_their_sectors_and_no_others(void)
{
	struct driver d = started();

	memset(at_gpa(&d.ring, DATA), 0x44, 2048);
	EQUAL(request(&d, T_OUT, 5, DATA + 3, 1024), 0);
	EQUAL(number_in_image(&d, 4), 4);
	EQUAL(number_in_image(&d, 5), 0x44444444);
	EQUAL(number_in_image(&d, 6), 0x44444444);
	EQUAL(number_in_image(&d, 7), 7);
	EQUAL(number_in_image(&d, 8), 8);
	driver_close(&d);
}

/* 700 KiB through a buffer of 128 KiB, from and to odd places. */
static void large_requests_go_in_pieces(void)
{
	struct driver d = started();
	uint32_t sectors = 1400;

	EQUAL(request(&d, T_IN, 3, DATA + 5, sectors * 512), 0);
	for (uint32_t i = 0; i < sectors; i++)
		EQUAL(number_in_ram(&d, DATA + 5 + i * 512ull), 3 + i);
	EQUAL(request(&d, T_OUT, 1, DATA + 5, sectors * 512), 0);
	EQUAL(number_in_image(&d, 0), 0);
	for (uint32_t i = 1; i <= sectors; i++)
		EQUAL(number_in_image(&d, i), 2 + i);
	EQUAL(number_in_image(&d, 1 + sectors), 1 + sectors);
	driver_close(&d);
}

/* Neighbours in one block of the image, in one batch: a block that is read, changed and written back must not
 * undo what others in flight write to it. */
static void neighbours_do_not_undo_each_other(void)
{
	struct driver d = started();

	for (uint32_t round = 0; round < 100; round++) {
		memset(at_gpa(&d.ring, DATA), (int)round, 0x8000);
		for (uint32_t i = 0; i < 5; i++) /* some aligned, some not, all around block 1 */
			put_request(&d, i, T_OUT, i == 2 ? 8 : 9 + i, DATA + i * PAGE, i == 2 ? 4096 : 512);
		driver_notify(&d);
		wait_used(&d, 5);
		for (uint32_t i = 8; i < 16; i++)
			EQUAL(number_in_image(&d, i), round * 0x01010101);
	}
	driver_close(&d);
}

static void a_cut_image_fails_here_too(void)
{
	struct driver d = started();

	CHECK(ftruncate(d.image, 512 * 10) == 0);
	EQUAL(request(&d, T_IN, 9, DATA + 1, 512), 0);
	EQUAL(request(&d, T_IN, 10, DATA + 1, 512), 1);
	EQUAL(next_event(&d).data[0], ENODATA);
	driver_close(&d);
}

/* A real file with O_DIRECT, where the file system has it. */
static void the_host_is_content(void)
{
	char name[] = "direct-XXXXXX";
	int image = mkstemp(name);
	int direct;
	struct driver d;

	CHECK(image >= 0);
	CHECK(ftruncate(image, IMAGE_SIZE) == 0);
	direct = open(name, O_RDWR | O_CLOEXEC | O_DIRECT);
	unlink(name);
	if (direct < 0) {
		printf("skipped: no O_DIRECT here\n");
		close(image);
		return;
	}
	d = started_on(direct, IMAGE_SIZE);
	memset(at_gpa(&d.ring, DATA), 0x66, 0x10000);
	EQUAL(request(&d, T_OUT, 8, DATA, 4096), 0);
	EQUAL(request(&d, T_OUT, 17, DATA + 7, 4096), 0);
	EQUAL(request(&d, T_FLUSH, 0, 0, 0), 0);
	EQUAL(request(&d, T_IN, 0, DATA + 1, 32 * 512), 0);
	for (uint32_t i = 0; i < 32; i++) {
		bool written = (i >= 8 && i < 16) || (i >= 17 && i < 25);

		EQUAL(number_in_ram(&d, DATA + 1 + i * 512ull), written ? 0x66666666 : 0);
	}
	EQUAL(next_event(&d).kind, 0);
	close(image);
	driver_close(&d);
}

/* An image that is no multiple of the block: its last sectors are reached all the same. */
static void the_last_sectors_of_an_odd_image_are_reached(void)
{
	char name[] = "direct-XXXXXX";
	int image = mkstemp(name);
	int direct;
	struct driver d;

	CHECK(image >= 0);
	CHECK(ftruncate(image, 512 * 11) == 0);
	direct = open(name, O_RDWR | O_CLOEXEC | O_DIRECT);
	unlink(name);
	if (direct < 0) {
		close(image);
		return;
	}
	d = started_on(direct, 512 * 11);
	memset(at_gpa(&d.ring, DATA), 0x66, 512);
	EQUAL(request(&d, T_OUT, 10, DATA, 512), 0);
	EQUAL(request(&d, T_IN, 9, DATA + 1, 1024), 0);
	EQUAL(number_in_ram(&d, DATA + 1), 0);
	EQUAL(number_in_ram(&d, DATA + 1 + 512), 0x66666666);
	EQUAL(request(&d, T_IN, 11, DATA, 512), 1);
	close(image);
	driver_close(&d);
}

int main(int argc, char **argv)
{
	for (engine = SV_AIO_SYNC; engine <= SV_AIO_URING; engine++) {
		if (!engine_works(engine)) {
			printf("skipped: this host has no io_uring\n");
			return 0;
		}
		for (alignment = 512; alignment <= 65536; alignment *= 8) {
			RUN(reads_arrive_wherever_the_buffer_is);
			RUN(writes_change_their_sectors_and_no_others);
			RUN(large_requests_go_in_pieces);
			RUN(neighbours_do_not_undo_each_other);
			RUN(a_cut_image_fails_here_too);
			RUN(the_host_is_content);
			RUN(the_last_sectors_of_an_odd_image_are_reached);
		}
	}
	return 0;
}
