/* What the common C needs to know about aarch64. No machine is built yet: what stands in this room is there
 * so that the core can be compiled, and a machine is checked, translated and shown. */
#ifndef SV_ARCH_H
#define SV_ARCH_H

#define SV_AUDIT_ARCH     AUDIT_ARCH_AARCH64
#define SV_DESCRIBE_IOCTL KVM_GET_ONE_REG /* what arch_describe will ask KVM: the program counter */

/* What a machine has beside that of every architecture: nothing. */
struct arch {
};

#endif
