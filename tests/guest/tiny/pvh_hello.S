/* The smallest PVH guest: an ELF with the Xen note, entered in 32-bit protected mode without paging. It writes one
 * byte to the first serial port, then reads the port for ever, so that a benchmark can look at the process meanwhile.
 */
	.section .note.Xen, "a", @note
	.align 4
	.long 4, 4, 18 /* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.align 4
	.long _start

	.text
	.code32
	.globl _start
_start:
	movw $0x3f8, %dx
	movb $'!', %al
	outb %al, %dx
1:	hlt
	jmp 1b
