/* A vsock device whose streams the host's kernel serves, and a kernel that does not want to. */
#include "vhost_module.h"
#include "vsock_driver.h"

static int lost;   /* what VHOST_SET_VRING_ERR said last */
static int served; /* what VHOST_VSOCK_SET_RUNNING said last */

static void to_module(int fd, unsigned long number, void *argument)
{
	(void)fd;
	if (number == VHOST_GET_FEATURES)
		*(uint64_t *)argument = ALL_FEATURES;
	if (number == VHOST_VSOCK_SET_RUNNING)
		served = *(int *)argument;
	if (number == VHOST_SET_VRING_ERR)
		lost = ((struct vhost_vring_file *)argument)->fd;
}

static struct guest vhost_open(void)
{
	struct guest g = {.listener = -1};
	uint8_t *ram = ram_map(RAM_SIZE);
	int module = open("/dev/null", O_RDWR | O_CLOEXEC);

	refused = 0;
	served = 0;
	g.d.ring = (struct ring){.ram = ram, .size = VSOCK_QUEUE_SIZE};
	for (uint32_t i = 0; i < VSOCK_QUEUE_COUNT; i++)
		g.rings[i] = (struct ring){.ram = ram + i * QUEUE_ROOM, .size = VSOCK_QUEUE_SIZE};
	CHECK(sv_vm_create(-1, &g.d.vm) == 0);
	CHECK(sv_mem_add(g.d.vm, RAM_GPA, RAM_SIZE, ram) == 0);
	EQUAL(sv_vsock_vhost_create(g.d.vm, module, GUEST_CID, &g.d.device), 0);
	CHECK(sv_mmio_place(g.d.vm, g.d.device, WINDOW, 5) == 0);
	close(module);
	return g;
}

static void vhost_close(struct guest *g)
{
	sv_vm_destroy(g->d.vm);
	ram_unmap(g->d.ring.ram, RAM_SIZE);
}

static void start(struct guest *g)
{
	guest_prepare(g, ALL_FEATURES);
	reg_write(&g->d, R_STATUS, S_READY | S_DRIVER_OK);
	settle(&g->d);
}

static void the_module_serves_until_a_reset(void)
{
	struct guest g = vhost_open();

	start(&g);
	EQUAL(reg_read(&g.d, R_STATUS), S_READY | S_DRIVER_OK);
	EQUAL(served, 1);
	reg_write(&g.d, R_STATUS, 0);
	EQUAL(served, 0);
	EQUAL(next_event(&g.d).kind, 0);
	vhost_close(&g);
}

static void what_the_module_refuses_is_told_by_its_reason_and_the_driver_resets(void)
{
	static const unsigned long requests[] = {VHOST_SETTINGS, VHOST_VSOCK_SET_RUNNING};

	for (uint32_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		struct guest g = vhost_open();
		struct sv_event event;

		refused = requests[i];
		start(&g);
		EQUAL(reg_read(&g.d, R_STATUS) & S_NEEDS_RESET, S_NEEDS_RESET);
		event = next_event(&g.d);
		EQUAL(event.kind, SV_EVENT_VHOST_FAILED);
		EQUAL(event.source, sv_virtio_id(g.d.device));
		EQUAL(event.data[0], EPERM);
		refused = 0;
		start(&g);
		EQUAL(reg_read(&g.d, R_STATUS), S_READY | S_DRIVER_OK);
		EQUAL(served, 1);
		EQUAL(next_event(&g.d).kind, 0);
		vhost_close(&g);
	}
}

/* As the kernel does when a ring makes no sense to it. */
static void give_up(struct guest *g)
{
	uint64_t one = 1;

	CHECK(write(lost, &one, sizeof(one)) == sizeof(one));
	settle(&g->d);
}

static void a_ring_that_the_module_gives_up_is_told_and_the_driver_resets(void)
{
	struct guest g = vhost_open();
	struct sv_event event;

	start(&g);
	give_up(&g);
	EQUAL(reg_read(&g.d, R_STATUS) & S_NEEDS_RESET, S_NEEDS_RESET);
	EQUAL(served, 0);
	event = next_event(&g.d);
	EQUAL(event.kind, SV_EVENT_DEVICE_BROKEN);
	EQUAL(event.data[0], SV_QUEUE_OF_VHOST);
	reg_write(&g.d, R_STATUS, 0);
	give_up(&g); /* too late: nobody drives the device */
	start(&g);
	EQUAL(reg_read(&g.d, R_STATUS), S_READY | S_DRIVER_OK);
	EQUAL(served, 1);
	EQUAL(next_event(&g.d).kind, 0);
	vhost_close(&g);
}

static void a_driver_that_tries_again_and_again_is_told_of_once_a_second(void)
{
	struct guest g = vhost_open();
	int told = 0;

	refused = VHOST_SET_MEM_TABLE;
	for (int i = 0; i < 100; i++)
		start(&g);
	while (next_event(&g.d).kind == SV_EVENT_VHOST_FAILED)
		told++;
	CHECK(told >= 1 && told <= 20);
	vhost_close(&g);
}

static void a_queue_that_the_driver_left_out_is_its_own_fault(void)
{
	struct guest g = vhost_open();
	struct sv_event event;

	guest_prepare(&g, ALL_FEATURES);
	reg_write(&g.d, R_QUEUE_SEL, VSOCK_TX);
	reg_write(&g.d, R_QUEUE_READY, 0);
	reg_write(&g.d, R_STATUS, S_READY | S_DRIVER_OK);
	settle(&g.d);
	event = next_event(&g.d);
	EQUAL(event.kind, SV_EVENT_DEVICE_BROKEN);
	EQUAL(event.data[0], VSOCK_TX);
	EQUAL(event.data[1], VIRTQ_BAD_RING);
	EQUAL(served, 0);
	vhost_close(&g);
}

int main(int argc, char **argv)
{
	RUN(the_module_serves_until_a_reset);
	RUN(what_the_module_refuses_is_told_by_its_reason_and_the_driver_resets);
	RUN(a_ring_that_the_module_gives_up_is_told_and_the_driver_resets);
	RUN(a_driver_that_tries_again_and_again_is_told_of_once_a_second);
	RUN(a_queue_that_the_driver_left_out_is_its_own_fault);
	return 0;
}
