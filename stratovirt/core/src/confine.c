/* Rights of the process and of its threads. Capabilities and no_new_privs are per thread: one that is made
 * begins with those of its maker (capabilities(7)). */
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sv.h"

int sv_confine_process(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* What a program that is executed could get back. Only who may change it has any use for that: EPERM is an
 * answer too, and EINVAL is that of the first number that the kernel has no capability for. */
static void empty_bounding_set(void)
{
	for (unsigned long capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0;)
		capability++;
}

int sv_confine_thread(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	/* Ambient ones go with the permitted ones. */
	return syscall(__NR_capset, &header, none) < 0 ? -errno : 0;
}

void sv_confine_threads(struct sv_vm *vm)
{
	empty_bounding_set();
	for (int kind = 0; kind < SV_SANDBOX_KINDS; kind++)
		vm->sandboxes[kind].no_capabilities = true;
}

int sv_confine_files(uint64_t most)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur > most)
		limit.rlim_cur = most;
	limit.rlim_max = limit.rlim_cur;
	return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}
