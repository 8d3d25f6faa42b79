/* KVM's structures and requests of x86 that Python fills; gcc supplies layout and numbers. */
#define KVM_GET_SUPPORTED_CPUID ...
#define KVM_SET_TSS_ADDR        ...
#define KVM_CREATE_IRQCHIP      ...
#define KVM_CREATE_PIT2         ...
#define KVM_SET_REGS            ...
#define KVM_GET_SREGS           ...
#define KVM_SET_SREGS           ...
#define KVM_SET_CPUID2          ...
#define KVM_SET_MSRS            ...
#define KVM_GET_LAPIC           ...
#define KVM_SET_LAPIC           ...

#define KVM_PIT_SPEAKER_DUMMY ...

struct kvm_pit_config {
	uint32_t flags;
	...;
};

struct kvm_regs {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
	...;
};

struct kvm_segment {
	uint64_t base;
	uint32_t limit;
	uint16_t selector;
	uint8_t type, present, dpl, db, s, l, g, avl, unusable;
	...;
};

struct kvm_dtable {
	uint64_t base;
	uint16_t limit;
	...;
};

struct kvm_sregs {
	struct kvm_segment cs, ds, es, fs, gs, ss, tr, ldt;
	struct kvm_dtable gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base;
	...;
};

struct kvm_cpuid_entry2 {
	uint32_t function, index, flags, eax, ebx, ecx, edx;
	...;
};

struct kvm_cpuid2 {
	uint32_t nent;
	struct kvm_cpuid_entry2 entries[];
	...;
};

struct kvm_msr_entry {
	uint32_t index;
	uint64_t data;
	...;
};

struct kvm_msrs {
	uint32_t nmsrs;
	struct kvm_msr_entry entries[];
	...;
};

struct kvm_lapic_state {
	char regs[...];
	...;
};
