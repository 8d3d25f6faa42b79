/* The ABI between Python and the C core; gcc reads it through api.h, cffi reads the same text. What only one
 * architecture has is in the arch_abi.h of its room.
 *
 * Every call returns 0 or a positive value on success and -errno on failure, and sets no global state.
 *   [setup]  before the first vCPU starts     [any] at any time, from the control thread
 * fds are duplicated by the core; the caller keeps and closes its own. Pointers passed in are not kept after
 * return, guest memory (sv_mem_add) excepted. Handles are opaque and live until sv_vm_destroy.
 */
#define SV_ABI_VERSION 6

struct sv_vm;
struct sv_iothread;
struct sv_virtio;

/* What threads of the core tell Python: a ring of these behind one eventfd. */
struct sv_event {
	uint32_t kind;
	uint32_t source; /* vCPU index or device id, by kind */
	uint64_t data[7];
};

#define SV_EVENT_SHUTDOWN 1 /* source: vCPU; data[0]: SV_SHUTDOWN_* */
#define SV_EVENT_VCPU_FAILED                                                                                 \
	2 /* source: vCPU; data: exit reason, detail, program counter, errno, up to 15 code bytes in 5..6 */
/* source: device; data[0]: queue, data[1]: why (enum virtq_error), data[2]: times before that were not told
 */
#define SV_EVENT_DEVICE_BROKEN 3
#define SV_QUEUE_OF_VHOST      0xffffffff /* as data[0]: the host's kernel does not say which */
#define SV_EVENT_IO_ERROR                                                                                    \
	4 /* source: device; data: errno, operation, sector, times before that were not told */
#define SV_EVENT_SERIAL_ROOM 5 /* the receiver of the serial port takes bytes again */
#define SV_EVENT_LOST        6 /* data[0]: events that did not fit */
/* Only after sv_trace(); source: device; data: SV_DRIVER_*, two words of it, and how many steps before were
 * not told: more than a few in ten seconds are only counted. */
#define SV_EVENT_DRIVER 7

#define SV_DRIVER_STATUS        1 /* the status now, and what was written */
#define SV_DRIVER_FEATURES      2 /* what is agreed, and what was offered */
#define SV_DRIVER_QUEUE_READY   3 /* number and size */
#define SV_DRIVER_QUEUE_REFUSED 4 /* the same */
#define SV_DRIVER_QUEUE_STOPPED 5 /* number */
#define SV_DRIVER_RESET         6 /* the status before */

#define SV_SHUTDOWN_POWEROFF     1 /* ACPI sleep control register */
#define SV_SHUTDOWN_RESET        2 /* ACPI reset register or keyboard controller */
#define SV_SHUTDOWN_TRIPLE_FAULT 3

int sv_abi_version(void);

/* [setup] vm_fd is KVM's; -1 makes a machine without KVM, for tests of devices. */
int sv_vm_create(int vm_fd, struct sv_vm **out);
/* Stops every thread, waits for I/O in flight, frees everything. */
void sv_vm_destroy(struct sv_vm *vm);

/* [setup] Tells the core where guest memory is; Python gives it to KVM. At most 8 regions, none overlapping.
 */
int sv_mem_add(struct sv_vm *vm, uint64_t gpa, uint64_t size, void *host);
/* [setup] Reads length bytes of the file at offset into guest memory; -ENODATA when the file ends before. */
int sv_mem_load(struct sv_vm *vm, uint64_t gpa, int fd, uint64_t offset, uint64_t length);
/* [setup] Copies bytes into guest memory. */
int sv_mem_write(struct sv_vm *vm, uint64_t gpa, const void *bytes, uint64_t length);

/* [setup] Takes a vCPU fd; returns its index. run_size is KVM_GET_VCPU_MMAP_SIZE. */
int sv_vcpu_add(struct sv_vm *vm, int vcpu_fd, uint64_t run_size);
/* Starts one thread for each vCPU; parked ones wait for sv_resume. */
int sv_vcpus_start(struct sv_vm *vm, int parked);
/* [any] Thread id of a vCPU, 0 before sv_vcpus_start. */
int sv_vcpu_tid(struct sv_vm *vm, int index);
/* [any] Asks every vCPU to park; sv_wait_parked says when they have: 0, or -ETIMEDOUT. */
int sv_pause(struct sv_vm *vm);
int sv_resume(struct sv_vm *vm);
int sv_wait_parked(struct sv_vm *vm, int milliseconds);
/* [any] Ends the vCPU threads and waits for them. */
int sv_vcpus_stop(struct sv_vm *vm);

/* [any] The eventfd that becomes readable with events, and up to count of them. */
int sv_events_fd(struct sv_vm *vm);
int sv_events_take(struct sv_vm *vm, struct sv_event *out, int count);
/* [setup] Has the steps of drivers be told too, by SV_EVENT_DRIVER. */
void sv_trace(struct sv_vm *vm);

/* [setup] A thread that serves queues; name has at most 15 characters. */
int sv_iothread_create(struct sv_vm *vm, const char *name, struct sv_iothread **out);

#define SV_AIO_AUTO  0 /* io_uring where the host has it */
#define SV_AIO_SYNC  1
#define SV_AIO_URING 2

struct sv_blk_config {
	int fd;        /* -1 for a disk without an image; what describes one counts for nothing then */
	uint64_t size; /* bytes; only whole sectors of 512 are shown */
	int readonly;
	int discard;        /* the image can punch holes */
	uint32_t alignment; /* of buffers, offsets and lengths for O_DIRECT; 1 when any will do */
	int engine;         /* SV_AIO_* */
	char serial[21];
	/* What follows is the device's for good. */
	struct sv_iothread *iothread; /* NULL for the main I/O thread */
	uint32_t queues;              /* 1 to 16; 0 is 1 */
	uint32_t iops;                /* operations each second at most; 0 for no limit, here and below */
	uint32_t read_iops;
	uint32_t write_iops; /* flushes and discards count too */
	uint64_t bytes;      /* each second, read and written; counted in sectors */
	uint64_t read_bytes;
	uint64_t write_bytes;
	uint32_t
	    burst_ms; /* of the rates, saved up while the disk is idle; 0 for the least that works well */
};
/* [setup] A virtio-blk device; it is reached once sv_mmio_place has put it somewhere. */
int sv_blk_create(struct sv_vm *vm, const struct sv_blk_config *config, struct sv_virtio **out);
/* [setup] Puts a virtio device behind a virtio-mmio window of 0x200 bytes with an interrupt line. */
int sv_mmio_place(struct sv_vm *vm, struct sv_virtio *device, uint64_t base, uint32_t gsi);
/* [any] Once: from now on KVM itself passes on the notifications of all devices that are placed, which came
 * as register writes until then. Best when the vCPUs run: it takes a while, and nobody waits for it. */
int sv_mmio_hand_over(struct sv_vm *vm);
/* [any] The number that events carry for the device. */
int sv_virtio_id(struct sv_virtio *device);

/* [setup] What guest memory is made of: bytes of one host page, and whether others can map it too. Without
 * this call it is private memory of the host's usual pages. Before the devices are made. */
int sv_mem_kind(struct sv_vm *vm, uint64_t page_size, int shared);

#define SV_EVENT_BALLOON       24 /* source: device; the guest's memory changed: see sv_balloon_read */
#define SV_EVENT_BALLOON_KEPT  25 /* source: device; data[0]: errno of memory that the host refused; once */
#define SV_EVENT_BALLOON_WAITS 26 /* source: device; the guest wants a page that the host has not now */

#define SV_BALLOON_STATS 10 /* VIRTIO 1.2, 5.5.6.4: tags 0 to 9 */

struct sv_balloon_config {
	int deflate_on_oom;
	int reporting;                /* offer free page reporting */
	uint32_t stats_interval;      /* seconds between two questions for statistics; 0 for none unasked */
	struct sv_iothread *iothread; /* NULL for the main I/O thread */
};
struct sv_balloon_state {
	int active;           /* a driver serves the balloon */
	uint64_t actual;      /* bytes that the guest has */
	uint64_t stats_time;  /* seconds since 1970 when the guest told; 0 for never */
	uint32_t stats_known; /* bit n: stats[n] was told */
	uint64_t stats[SV_BALLOON_STATS];
};
/* [setup] A virtio-balloon device. */
int sv_balloon_create(struct sv_vm *vm, const struct sv_balloon_config *config, struct sv_virtio **out);
/* [any] Asks the guest to make do with so many bytes; more than there are means all. */
int sv_balloon_set_target(struct sv_virtio *device, uint64_t bytes);
/* [any] Reads what is known, without waiting; the next change is an SV_EVENT_BALLOON again. */
void sv_balloon_read(struct sv_virtio *device, struct sv_balloon_state *out);
/* [any] Asks the guest for newer statistics, without waiting. */
int sv_balloon_ask_stats(struct sv_virtio *device);
/* [any] Gives a disk without an image one; -EBUSY when it has one. A driver cannot learn that it is
 * read-only: its writes fail. An empty serial leaves the one that there is. */
int sv_blk_plug(struct sv_virtio *device, const struct sv_blk_config *config);
/* [any] Takes the image away once I/O in flight has ended; -ENODEV when there is none. */
int sv_blk_unplug(struct sv_virtio *device);

/* [any] Thread id of an I/O thread. */
int sv_iothread_tid(struct sv_iothread *iothread);

#define SV_MAP_SHARED      1
#define SV_MAP_NO_RESERVE  2 /* the host may have less than it promises */
#define SV_MAP_NO_DUMP     4 /* not in core files */
#define SV_MAP_TRANSPARENT 8 /* asks for transparent huge pages */

/* [setup] Maps memory for sv_mem_add at a multiple of 2 MiB, of a file or of nobody (-1); unmapped with the
 * machine. At most 8. */
int sv_mem_map(struct sv_vm *vm, int fd, uint64_t size, int flags, void **out);
/* [setup] Has the host find all pages of what was mapped now; -EFAULT or -ENOMEM when it has not enough. */
int sv_mem_populate(struct sv_vm *vm, int threads);
/* [any] The page size of a file on hugetlbfs, 0 for any other file. */
int64_t sv_huge_page_size(int fd);

/* The host's kernel (vhost), or a process (vhost-user), does not serve a device: its driver was told to reset
 * it. source: device; data[0]: errno, data[2]: times before that were not told. */
#define SV_EVENT_VHOST_FAILED 33

/* [setup] A virtio-vsock device that the host's kernel serves through an open /dev/vhost-vsock; -EADDRINUSE
 * when another guest of the host has the context id. */
int sv_vsock_vhost_create(struct sv_vm *vm, int vhost_fd, uint64_t guest_cid, struct sv_virtio **out);

#define SV_VSOCK_PATH_SIZE 97 /* leaves sockaddr_un room for an underscore, a port and the final NUL */

struct sv_vsock_config {
	uint64_t guest_cid;
	int listener; /* a Unix stream socket that listens and does not block: host programs connect to it */
	char path[SV_VSOCK_PATH_SIZE]; /* with _PORT behind it: where a guest's connections to the host go */
	struct sv_iothread *iothread;  /* NULL for the main I/O thread */
};
/* [setup] A virtio-vsock device whose streams end in Unix sockets of the host. */
int sv_vsock_create(struct sv_vm *vm, const struct sv_vsock_config *config, struct sv_virtio **out);
/* [any] Tells the driver of a vsock device of either kind that all its connections are gone, as after a
 * snapshot; -EINVAL for another device. */
int sv_vsock_transport_reset(struct sv_virtio *device);

#define SV_FS_TAG_SIZE 36

struct sv_fs_config {
	int connection; /* a Unix stream socket, connected to whoever serves the folder; duplicated */
	int memory_fd; /* the file that all guest memory is, from its start on; open as long as the machine */
	char tag[SV_FS_TAG_SIZE]; /* what the guest mounts it by */
};
/* [setup] A virtio-fs device that a process of the host serves by vhost-user; -EPIPE when it hangs up,
 * -ETIMEDOUT when it does not answer, -EPROTO, -EPROTONOSUPPORT or -EREMOTEIO when it answers wrongly, can
 * too little, or refuses. */
int sv_fs_create(struct sv_vm *vm, const struct sv_fs_config *config, struct sv_virtio **out);

/* A device's other end on the host failed, and is tried again. source: device; data[0]: errno, ENODATA for a
 * source of bytes that has ended. */
#define SV_EVENT_HOST_ERROR 16

/* [setup] A virtio-rng device; its bytes are read from fd, which does not block. At most bytes_per_sec of
 * them; 0 for no limit. */
struct sv_rng_config {
	int fd;
	uint32_t bytes_per_sec;
	struct sv_iothread *iothread; /* NULL for the main I/O thread */
};
int sv_rng_create(struct sv_vm *vm, const struct sv_rng_config *config, struct sv_virtio **out);

/* [setup] A virtio-console device; clients come to a Unix stream socket that listens and does not block. It
 * is served by an I/O thread; NULL for the main one. */
int sv_console_create(struct sv_vm *vm, int listener_fd, struct sv_iothread *iothread,
		      struct sv_virtio **out);
/* [any] Tells the guest how large the window at the other end is; 0 by 0 for one that is not known. */
int sv_console_resize(struct sv_virtio *device, uint16_t cols, uint16_t rows);

/* virtio-net */
#define SV_NET_MAX_PAIRS 16

#define SV_EVENT_NET_FAILED 32 /* source: device; data[0]: errno, data[1]: SV_NET_* */
#define SV_NET_TAP_LOST     1  /* the tap is gone: the link is down until sv_net_plug */

/* What is behind a network card: one descriptor for each pair of queues. It is nonblocking, keeps frames
 * apart (a tap, or a socket of datagrams or packets) and has a virtio_net_hdr_v1 of 12 bytes before each
 * frame. */
struct sv_net_backend {
	int count; /* of descriptors, 0 to SV_NET_MAX_PAIRS; with 0 the link is down */
	int fds[SV_NET_MAX_PAIRS];
	int vhost; /* the host's kernel serves the queues: vhost_fds[n] goes with fds[n] */
	int vhost_fds[SV_NET_MAX_PAIRS];
};

struct sv_net_config {
	int has_mac; /* otherwise none is offered: the guest makes its own */
	uint8_t mac[6];
	int pairs;         /* of queues, 1 to SV_NET_MAX_PAIRS; from 2 on there is a control queue */
	uint32_t offloads; /* TUN_F_* that the descriptors can be told to do */
	struct sv_net_backend backend;
	struct sv_iothread *iothread; /* NULL for the main I/O thread */
};
/* [setup] A virtio-net device. -ENOTSUP when vhost lacks what a driver is offered. */
int sv_net_create(struct sv_vm *vm, const struct sv_net_config *config, struct sv_virtio **out);
/* [any] Gives a card another backend, of at most as many descriptors as it has pairs, and the link goes up. A
 * card that was made with vhost has one for each pair, and its modules go on with them. -EINVAL when the new
 * one cannot do the offloads that the driver was promised, and -ENOTSUP when it comes with modules; the card
 * is as it was then. What a module refuses leaves the card without a backend. */
int sv_net_plug(struct sv_virtio *device, const struct sv_net_backend *backend);
/* [any] Takes the backend away: the link goes down, and its descriptors are closed on return. */
int sv_net_unplug(struct sv_virtio *device);

/* Filters of system calls (seccomp(2)). A program is an array of struct sock_filter, each as one number of 64
 * bits; Python makes them. A forbidden call ends the process with status 128 + SIGSYS at once, after a line
 * about it. */
#define SV_SANDBOX_VCPU     0
#define SV_SANDBOX_IOTHREAD 1
#define SV_SANDBOX_KINDS    2

/* The number of a system call on this architecture, or -ENOSYS when there is none of this name. */
int sv_syscall_number(const char *name);
/* Prepares the process: no call ever gives it more rights, and what a filter stops is told. -EINVAL or
 * -ENOSYS when the host has no filters. Before the first thread. */
int sv_sandbox_prepare(void);
/* [setup] Threads of the kind that are made from here on begin with the program. */
int sv_sandbox_set(struct sv_vm *vm, int kind, const uint64_t *program, int count);
/* [any] Filters the calling thread. */
int sv_sandbox_enter(const uint64_t *program, int count);
/* [any] Where the line of a process that a signal ends at once goes too, beside stderr, in JSON or not; -1
 * for nowhere. The caller keeps it open. `offset` is that of local time from UTC, in seconds. From the
 * control thread, of the process that serves. */
void sv_last_words(int fd, int json, int offset);
/* [any] Makes the io_uring that an image will be served by that is put in later, when no thread can make one
 * any more; -errno where the host has none, which is no failure: such an image is served without. From the
 * control thread, and before its filter. */
int sv_blk_prepare(struct sv_virtio *device);

/* [any] No program that this process or one of its threads to come executes ever has more rights. */
int sv_confine_process(void);
/* [setup] Threads that are made from here on begin by giving up all capabilities, and no program that they or
 * the caller execute gets one back. From the control thread. */
void sv_confine_threads(struct sv_vm *vm);
/* [setup] Waits for the I/O threads to begin; -errno of one that could not be confined, and does not serve.
 */
int sv_iothreads_ready(struct sv_vm *vm);
/* [any] The calling thread gives up all capabilities. */
int sv_confine_thread(void);
/* [any] No descriptor gets a number of `most` or more from here on; a limit that is lower stays. */
int sv_confine_files(uint64_t most);
