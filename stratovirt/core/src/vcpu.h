/* vCPU threads: run, answer exits, park, end. */
#ifndef SV_VCPU_H
#define SV_VCPU_H

#include "sv.h"

/* The guest has ended itself: says so once, and holds every vCPU. Called on a vCPU thread. */
void vcpu_guest_ended(struct sv_vm *vm, uint64_t cause);
/* Answers the exit that KVM_RUN returned with. */
void vcpu_handle_exit(struct vcpu *vcpu);
/* The vCPU cannot go on, for the errno or the exit's reason: says so, and holds every one. */
void vcpu_failed(struct vcpu *vcpu, int error);
/* Holds every vCPU without waiting for it; pause_lock not held. */
void vcpus_hold(struct sv_vm *vm);

/* The architecture's room answers an exit that not every one has; false when it does not know it. */
bool arch_handle_exit(struct vcpu *vcpu);
/* And fills the event of a failure with why, as the exit tells, and where the vCPU stood. */
void arch_describe(const struct vcpu *vcpu, struct sv_event *event);

#endif
