/* Accesses of the guest that KVM leaves to user space. */
#include "vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

static void exit_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint32_t size = run->io.size;

	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		uint64_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, size);
			bus_write(&vcpu->vm->ports, run->io.port, size, value);
		} else {
			value = bus_read(&vcpu->vm->ports, run->io.port, size);
			memcpy(data, &value, size);
		}
	}
}

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
	case KVM_EXIT_IO:
		exit_io(vcpu);
		break;
	case KVM_EXIT_MMIO:
		exit_mmio(vcpu);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_HLT:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case KVM_EXIT_SHUTDOWN:
		vcpu_guest_ended(vcpu->vm, SV_SHUTDOWN_TRIPLE_FAULT);
		break;
	default:
		vcpu_failed(vcpu, 0);
		break;
	}
}
