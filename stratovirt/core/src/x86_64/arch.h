/* What the common C needs to know about x86_64. */
#ifndef SV_ARCH_H
#define SV_ARCH_H

#include "bus.h"

#define SV_AUDIT_ARCH     AUDIT_ARCH_X86_64
#define SV_DESCRIBE_IOCTL KVM_GET_REGS /* what arch_describe asks KVM: a filter lets nothing else through */

/* What a machine has beside that of every architecture. */
struct arch {
	struct bus ports; /* the I/O ports, an address space of their own */
};

#endif
