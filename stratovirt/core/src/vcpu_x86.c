#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vcpu.h"

/* Why an entry or an emulation failed, and at which instruction. */
void vcpu_describe(const struct vcpu *vcpu, struct sv_event *event)
{
	const struct kvm_run *run = vcpu->run;
	struct kvm_regs regs;

	event->data[0] = run->exit_reason;
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
	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) == 0)
		event->data[2] = regs.rip;
}
