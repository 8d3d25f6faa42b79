/* Accesses of the guest that KVM leaves to user space. */
#include "vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

static void exit_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint32_t size = run->mmio.len;
	uint64_t value = 0;

	if (size > sizeof(value))
		return;
	/* Nobody answers there but the host, and it has no page. */
	if (guestmem_slice(&vcpu->vm->memory, run->mmio.phys_addr, 1)) {
		vcpu_failed(vcpu, EFAULT);
		return;
	}
	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, size);
		bus_write(&vcpu->vm->mmio, run->mmio.phys_addr, size, value);
	} else {
		value = bus_read(&vcpu->vm->mmio, run->mmio.phys_addr, size);
		memcpy(run->mmio.data, &value, size);
	}
}

void vcpu_handle_exit(struct vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_MMIO:
		exit_mmio(vcpu);
		break;
	case KVM_EXIT_INTR:
		break;
	default:
		if (!arch_handle_exit(vcpu))
			vcpu_failed(vcpu, 0);
		break;
	}
}
