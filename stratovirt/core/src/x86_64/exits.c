/* Exits that only x86 has, and where a vCPU stood. */
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vcpu.h"

static void exit_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint32_t size = run->io.size;
	struct bus *ports = &vcpu->vm->arch.ports;

	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		uint64_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, size);
			bus_write(ports, run->io.port, size, value);
		} else {
			value = bus_read(ports, run->io.port, size);
			memcpy(data, &value, size);
		}
	}
}

bool arch_handle_exit(struct vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_IO:
		exit_io(vcpu);
		return true;
	case KVM_EXIT_HLT:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	case KVM_EXIT_SHUTDOWN:
		vcpu_guest_ended(vcpu->vm, SV_SHUTDOWN_TRIPLE_FAULT);
		return true;
	default:
		return false;
	}
}

/* Why an entry or an emulation failed, and at which instruction. */
void arch_describe(const struct vcpu *vcpu, struct sv_event *event)
{
	const struct kvm_run *run = vcpu->run;
	struct kvm_regs regs;

	if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		event->data[1] = run->fail_entry.hardware_entry_failure_reason;
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
		event->data[1] = run->internal.suberror;
		if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION &&
		    run->emulation_failure.ndata >= 3 &&
		    (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) {
			event->data[4] = run->emulation_failure.insn_size;
			memcpy(&event->data[5], run->emulation_failure.insn_bytes, 15);
		}
	}
	if (ioctl(vcpu->fd, SV_DESCRIBE_IOCTL, &regs) == 0)
		event->data[2] = regs.rip;
}
