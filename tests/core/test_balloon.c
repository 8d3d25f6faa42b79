/* Inflating and deflating: which pages go, in how many calls, and what a hostile list comes to. */
#include <sys/stat.h>
#include <sys/syscall.h>

#include "balloon_driver.h"

/* Stands in for the C library's: counts, and refuses when a test says so. */
static atomic_uint calls;
static atomic_int refusal;

int madvise(void *address, size_t length, int advice)
{
	if (advice == MADV_DONTNEED || advice == MADV_REMOVE) {
		atomic_fetch_add(&calls, 1);
		if (refusal) {
			errno = refusal;
			return -1;
		}
	}
	return (int)syscall(SYS_madvise, address, length, advice);
}

static struct balloon_driver started(const struct balloon_plan *plan, uint64_t features)
{
	struct balloon_driver b = balloon_open(plan);

	balloon_start(&b, features);
	calls = 0;
	return b;
}

static struct balloon_driver plain(void)
{
	return started(&(struct balloon_plan){0}, ALL_FEATURES);
}

static struct balloon_driver huge(uint64_t features)
{
	return started(&(struct balloon_plan){.page_size = HUGE}, features);
}

static void pages_in_the_balloon_are_the_hosts_and_their_neighbours_are_not(void)
{
	struct balloon_driver b = plain();

	send_list(&b, INFLATE_QUEUE, (uint32_t[]){PFN(VICTIMS) + 1, PFN(VICTIMS) + 3}, 2);
	EQUAL(kept_pages(&b, VICTIMS, 5 * PAGE), 3);
	EQUAL(*(uint8_t *)ram_at(&b, VICTIMS), FILL);
	EQUAL(*(uint8_t *)ram_at(&b, VICTIMS + PAGE), 0);
	EQUAL(*(uint8_t *)ram_at(&b, VICTIMS + 2 * PAGE), FILL);
	EQUAL(*(uint8_t *)ram_at(&b, VICTIMS + 3 * PAGE), 0);
	EQUAL(*(uint8_t *)ram_at(&b, VICTIMS + 4 * PAGE), FILL);
	EQUAL(calls, 2);
	balloon_close(&b);
}

static void neighbours_in_any_order_cost_one_call(void)
{
	struct balloon_driver b = plain();
	uint32_t pfns[1024];

	for (uint32_t i = 0; i < 1024; i++)
		pfns[i] = PFN(VICTIMS) + i * 389 % 1024; /* each once, 389 being odd */
	send_list(&b, INFLATE_QUEUE, pfns, 1024);
	EQUAL(calls, 1);
	EQUAL(kept_pages(&b, VICTIMS, 4 * MIB), 0);
	EQUAL(kept_pages(&b, VICTIMS - PAGE, PAGE), 1);
	EQUAL(kept_pages(&b, VICTIMS + 4 * MIB, PAGE), 1);
	balloon_close(&b);
}

static void a_page_that_is_named_twice_counts_once(void)
{
	struct balloon_driver b = plain();
	uint32_t first = PFN(VICTIMS);

	send_list(&b, INFLATE_QUEUE, (uint32_t[]){first + 1, first, first + 1, first, first + 2}, 5);
	EQUAL(calls, 1);
	EQUAL(kept_pages(&b, VICTIMS, 4 * PAGE), 1);
	balloon_close(&b);
}

static void pages_that_are_no_guest_memory_count_for_nothing(void)
{
	struct balloon_driver b = plain();
	uint32_t end = PFN(RAM_GPA + MEMORY);
	uint32_t pfns[] = {0,       1,        PFN(RAM_GPA) - 1, end - 1,   end,
			   end + 1, 1u << 20, UINT32_MAX - 1,   UINT32_MAX};

	send_list(&b, INFLATE_QUEUE, pfns, 9);
	EQUAL(calls, 1);
	EQUAL(kept_pages(&b, RAM_GPA + MEMORY - 2 * PAGE, 2 * PAGE), 1);
	EQUAL(reg_read(&b.d, R_STATUS), S_READY | S_DRIVER_OK);
	balloon_close(&b);
}

static void a_run_goes_over_the_border_of_two_regions(void)
{
	struct balloon_driver b = plain();

	send_range(&b, INFLATE_QUEUE, RAM_GPA + MEMORY / 2 - 4 * PAGE, 8);
	EQUAL(calls, 2);
	EQUAL(kept_pages(&b, RAM_GPA + MEMORY / 2 - 5 * PAGE, 10 * PAGE), 2);
	balloon_close(&b);
}

static void a_number_may_be_split_between_buffers_and_a_rest_is_no_number(void)
{
	struct balloon_driver b = plain();

	memcpy(ram_at(&b, LIST), (uint32_t[]){PFN(VICTIMS), PFN(VICTIMS) + 2, PFN(VICTIMS) + 4}, 12);
	balloon_desc(&b, INFLATE_QUEUE, 0, (struct desc){LIST, 3, F_NEXT, 1});
	balloon_desc(&b, INFLATE_QUEUE, 1, (struct desc){LIST + 3, 8, 0, 0});
	balloon_put(&b, INFLATE_QUEUE, 0);
	balloon_settle(&b, INFLATE_QUEUE);
	EQUAL(calls, 2);
	EQUAL(kept_pages(&b, VICTIMS, 5 * PAGE), 3);
	balloon_close(&b);
}

static void a_request_without_a_list_is_done_at_once(void)
{
	struct balloon_driver b = plain();

	balloon_desc(&b, INFLATE_QUEUE, 0, (struct desc){VICTIMS, PAGE, F_WRITE, 0});
	balloon_put(&b, INFLATE_QUEUE, 0);
	balloon_settle(&b, INFLATE_QUEUE);
	EQUAL(calls, 0);
	EQUAL(*(uint8_t *)ram_at(&b, VICTIMS), FILL);
	balloon_close(&b);
}

static void more_requests_than_one_turn_are_all_served(void)
{
	struct balloon_driver b = plain();

	for (uint32_t i = 0; i < QUEUE_SIZE; i++) {
		*(uint32_t *)ram_at(&b, LIST + i * 4) = PFN(VICTIMS) + 2 * i;
		balloon_desc(&b, INFLATE_QUEUE, i, (struct desc){LIST + i * 4, 4, 0, 0});
	}
	for (uint32_t i = 0; i < QUEUE_SIZE; i++)
		balloon_put(&b, INFLATE_QUEUE, i);
	balloon_settle(&b, INFLATE_QUEUE);
	EQUAL(kept_pages(&b, VICTIMS, 2 * QUEUE_SIZE * PAGE), QUEUE_SIZE);
	balloon_close(&b);
}

static void deflating_takes_nothing_and_the_page_is_usable(void)
{
	struct balloon_driver b = plain();

	send_range(&b, INFLATE_QUEUE, VICTIMS, 2);
	send_range(&b, DEFLATE_QUEUE, VICTIMS, 2);
	EQUAL(calls, 1);
	memset(ram_at(&b, VICTIMS), 7, 2 * PAGE);
	EQUAL(kept_pages(&b, VICTIMS, 2 * PAGE), 2);
	balloon_close(&b);
}

static void shared_memory_goes_back_to_the_file_system(void)
{
	struct balloon_driver b = started(&(struct balloon_plan){.shared = true}, ALL_FEATURES);
	struct stat before;
	struct stat after;

	CHECK(fstat(b.file, &before) == 0);
	send_range(&b, INFLATE_QUEUE, VICTIMS, 512);
	CHECK(fstat(b.file, &after) == 0);
	EQUAL((before.st_blocks - after.st_blocks) * 512, 2 * MIB);
	EQUAL(after.st_size, MEMORY);
	EQUAL(*(uint8_t *)ram_at(&b, VICTIMS), 0);
	EQUAL(*(uint8_t *)ram_at(&b, VICTIMS - 1), FILL);
	balloon_close(&b);
}

static void a_large_page_goes_when_its_last_part_does(void)
{
	struct balloon_driver b = huge(ALL_FEATURES);

	send_range(&b, INFLATE_QUEUE, VICTIMS, 256);
	EQUAL(calls, 0);
	send_range(&b, INFLATE_QUEUE, VICTIMS + HUGE / 2, 255);
	EQUAL(calls, 0);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 512);
	send_range(&b, INFLATE_QUEUE, VICTIMS + HUGE - PAGE, 1);
	EQUAL(calls, 1);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 0);
	EQUAL(kept_pages(&b, VICTIMS - HUGE, HUGE) + kept_pages(&b, VICTIMS + HUGE, HUGE), 1024);
	balloon_close(&b);
}

static void a_part_that_was_taken_out_again_keeps_its_large_page(void)
{
	struct balloon_driver b = huge(ALL_FEATURES);

	send_range(&b, INFLATE_QUEUE, VICTIMS, 256);
	send_range(&b, DEFLATE_QUEUE, VICTIMS + 9 * PAGE, 1);
	send_range(&b, INFLATE_QUEUE, VICTIMS + HUGE / 2, 256);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 512);
	send_range(&b, INFLATE_QUEUE, VICTIMS + 9 * PAGE, 1);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 0);
	balloon_close(&b);
}

static void several_large_pages_go_with_one_list(void)
{
	struct balloon_driver b = huge(ALL_FEATURES);

	send_range(&b, INFLATE_QUEUE, VICTIMS + PAGE, 1024);
	EQUAL(calls, 1);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 512);
	EQUAL(kept_pages(&b, VICTIMS + HUGE, HUGE), 0);
	EQUAL(kept_pages(&b, VICTIMS + 2 * HUGE, HUGE), 512);
	balloon_close(&b);
}

/* Such a driver may use a page before it tells, so what was said before may not be true any more. */
static void a_driver_that_need_not_tell_has_to_name_a_large_page_at_once(void)
{
	struct balloon_driver b = huge(ALL_FEATURES & ~MUST_TELL);

	send_range(&b, INFLATE_QUEUE, VICTIMS, 256);
	send_range(&b, INFLATE_QUEUE, VICTIMS + HUGE / 2, 256);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 512);
	send_range(&b, INFLATE_QUEUE, VICTIMS, 512);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 0);
	balloon_close(&b);
}

static void a_new_driver_begins_with_an_empty_balloon(void)
{
	struct balloon_driver b = huge(ALL_FEATURES);

	send_range(&b, INFLATE_QUEUE, VICTIMS, 511);
	balloon_start(&b, ALL_FEATURES);
	send_range(&b, INFLATE_QUEUE, VICTIMS + HUGE - PAGE, 1);
	EQUAL(kept_pages(&b, VICTIMS, HUGE), 512);
	balloon_close(&b);
}

static void a_large_page_that_is_partly_guest_memory_is_kept(void)
{
	struct balloon_driver b = started(&(struct balloon_plan){.page_size = 2 * MEMORY}, ALL_FEATURES);

	for (uint64_t gpa = RAM_GPA - MEMORY; gpa < RAM_GPA + MEMORY; gpa += 4 * MIB)
		send_range(&b, INFLATE_QUEUE, gpa, 1024);
	EQUAL(calls, 0);
	balloon_close(&b);
}

static bool host_has_huge_pages(void)
{
	void *map = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | HUGE_2MB, -1, 0);

	if (map == MAP_FAILED)
		return false;
	munmap(map, MEMORY);
	return true;
}

static void pages_of_hugetlbfs_go_back_to_the_host(void)
{
	struct balloon_plan plan = {.page_size = HUGE, .hugetlb = true};

	if (!host_has_huge_pages()) {
		printf("skipped: this host has no 16 MiB of free huge pages\n");
		return;
	}
	for (int shared = 0; shared < 2; shared++) {
		struct balloon_driver b;

		plan.shared = shared;
		b = started(&plan, ALL_FEATURES);
		send_range(&b, INFLATE_QUEUE, VICTIMS, 1023);
		EQUAL(kept_pages(&b, VICTIMS, HUGE), 0);
		EQUAL(kept_pages(&b, VICTIMS + HUGE, HUGE), 512);
		EQUAL(next_event(&b.d).kind, 0);
		memset(ram_at(&b, VICTIMS), 1, HUGE);
		EQUAL(kept_pages(&b, VICTIMS, HUGE), 512);
		balloon_close(&b);
	}
}

static void a_list_that_is_too_long_breaks_the_device(void)
{
	struct balloon_driver b = plain();
	struct sv_event event;

	balloon_desc(&b, INFLATE_QUEUE, 0, (struct desc){LIST, 4 * BALLOON_MAX_PFNS + 4, 0, 0});
	balloon_put(&b, INFLATE_QUEUE, 0);
	CHECK(wait_interrupt(&b.d) & VIRTIO_INTERRUPT_CONFIG);
	CHECK(reg_read(&b.d, R_STATUS) & S_NEEDS_RESET);
	settle(&b.d);
	EQUAL(balloon_state(&b).active, 0);
	event = next_event(&b.d);
	EQUAL(event.kind, SV_EVENT_DEVICE_BROKEN);
	EQUAL(event.data[1], VIRTQ_TOO_LARGE);
	balloon_start(&b, ALL_FEATURES);
	EQUAL(balloon_state(&b).active, 1);
	send_range(&b, INFLATE_QUEUE, VICTIMS, 1);
	EQUAL(kept_pages(&b, VICTIMS, PAGE), 0);
	balloon_close(&b);
}

static void the_longest_list_is_served(void)
{
	struct balloon_driver b = plain();
	uint32_t *list = ram_at(&b, LIST);

	for (uint32_t i = 0; i < BALLOON_MAX_PFNS; i++)
		list[i] = PFN(VICTIMS) + i % 4;
	balloon_desc(&b, INFLATE_QUEUE, 0, (struct desc){LIST, 4 * BALLOON_MAX_PFNS, 0, 0});
	balloon_put(&b, INFLATE_QUEUE, 0);
	balloon_settle(&b, INFLATE_QUEUE);
	EQUAL(calls, BALLOON_MAX_PFNS / BALLOON_CHUNK);
	balloon_close(&b);
}

static void memory_that_the_host_refuses_is_told_once(void)
{
	struct balloon_driver b = plain();
	struct sv_event event;

	refusal = EOPNOTSUPP;
	send_range(&b, INFLATE_QUEUE, VICTIMS, 1);
	send_range(&b, INFLATE_QUEUE, VICTIMS, 1);
	refusal = 0;
	event = next_event(&b.d);
	EQUAL(event.kind, SV_EVENT_BALLOON_KEPT);
	EQUAL(event.source, b.d.device->id);
	EQUAL(event.data[0], EOPNOTSUPP);
	EQUAL(next_event(&b.d).kind, 0);
	balloon_close(&b);
}

static void the_kind_of_memory_is_a_power_of_two_and_no_part_of_a_page(void)
{
	struct sv_vm *vm;

	CHECK(sv_vm_create(-1, &vm) == 0);
	EQUAL(sv_mem_kind(vm, 0, 0), -EINVAL);
	EQUAL(sv_mem_kind(vm, 2048, 0), -EINVAL);
	EQUAL(sv_mem_kind(vm, 3 * HUGE, 0), -EINVAL);
	EQUAL(sv_mem_kind(vm, HUGE, 1), 0);
	sv_vm_destroy(vm);
}

int main(int argc, char **argv)
{
	RUN(pages_in_the_balloon_are_the_hosts_and_their_neighbours_are_not);
	RUN(neighbours_in_any_order_cost_one_call);
	RUN(a_page_that_is_named_twice_counts_once);
	RUN(pages_that_are_no_guest_memory_count_for_nothing);
	RUN(a_run_goes_over_the_border_of_two_regions);
	RUN(a_number_may_be_split_between_buffers_and_a_rest_is_no_number);
	RUN(a_request_without_a_list_is_done_at_once);
	RUN(more_requests_than_one_turn_are_all_served);
	RUN(deflating_takes_nothing_and_the_page_is_usable);
	RUN(shared_memory_goes_back_to_the_file_system);
	RUN(a_large_page_goes_when_its_last_part_does);
	RUN(a_part_that_was_taken_out_again_keeps_its_large_page);
	RUN(several_large_pages_go_with_one_list);
	RUN(a_driver_that_need_not_tell_has_to_name_a_large_page_at_once);
	RUN(a_new_driver_begins_with_an_empty_balloon);
	RUN(a_large_page_that_is_partly_guest_memory_is_kept);
	RUN(pages_of_hugetlbfs_go_back_to_the_host);
	RUN(a_list_that_is_too_long_breaks_the_device);
	RUN(the_longest_list_is_served);
	RUN(memory_that_the_host_refuses_is_told_once);
	RUN(the_kind_of_memory_is_a_power_of_two_and_no_part_of_a_page);
	return 0;
}
