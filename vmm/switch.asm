; SPDX-License-Identifier: LGPL-2.1-or-later
;
; The co-routine's switch of stacks.
;
; void vmm_switch (void **save, void *load)
;   Parks the caller: its callee-saved registers, MXCSR and x87 control word go onto its own stack,
;   whose pointer is stored to *save.  Takes up whoever was parked at `load`, to whom the call
;   of vmm_switch that parked it returns.  Caller-saved registers are lost, as in any call.
;
;   The parked frame, from the pointer upwards:
;     0 mxcsr, 4 x87 control word, 8 r15, 16 r14, 24 r13, 32 r12, 40 rbx, 48 rbp, 56 return address
;   exit.c builds one by hand to start a co-routine (FRAME in exit.c agrees with this).
;
; void vmm_switch_start (void)
;   The return address of that first frame: calls r12 (rdi = r13) on a stack that is aligned; the
;   function never returns.

bits 64
default rel

global vmm_switch:function hidden
global vmm_switch_start:function hidden

section .text

align 16
vmm_switch:
        push    rbp
        push    rbx
        push    r12
        push    r13
        push    r14
        push    r15
        sub     rsp, 8
        stmxcsr [rsp]
        fnstcw  [rsp + 4]
        mov     [rdi], rsp
        mov     rsp, rsi
        ldmxcsr [rsp]
        fldcw   [rsp + 4]
        add     rsp, 8
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbx
        pop     rbp
        ret

align 16
vmm_switch_start:
        xor     ebp, ebp
        mov     rdi, r13
        call    r12
        ud2

section .note.GNU-stack noalloc noexec nowrite progbits
