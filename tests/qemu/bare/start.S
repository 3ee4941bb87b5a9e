# Where QEMU's -kernel begins: 64-bit mode, nothing enabled, no stack.
        .section .note.GNU-stack, "", @progbits
        .section .start, "ax"
        .globl  start
start:  larl    %r15, stack_end - 160   # the frame that the ABI asks a caller for
        brasl   %r14, main
        .globl  stop
stop:   stap    4(%r15)                 # the machine's only CPU: QEMU ends when it stops
        lh      %r3, 4(%r15)
again:  sigp    %r0, %r3, 5
        j       again

        .bss
        .balign 8
        .skip   32768
stack_end:
