#include "vcpu.h"

/* Exits that not every architecture has: none can come, since no machine is built. */
bool arch_handle_exit(struct vcpu *vcpu)
{
	(void)vcpu;
	return false;
}

void arch_describe(const struct vcpu *vcpu, struct sv_event *event)
{
	(void)vcpu;
	(void)event;
}
