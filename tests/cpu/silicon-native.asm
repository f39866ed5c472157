; SPDX-License-Identifier: LGPL-2.1-or-later
;
; From 64-bit code into a sequence of 32-bit code and back.
;
; The state is in the context page at CONTEXT (silicon.h), whose layout is the structure Context of
; silicon-native.c.  A sequence ends with a far jump to CONTEXT + RETURN, where silicon_return was
; copied to, because it must be below 4 GiB; a signal handler ends with silicon_abandon.
;
;   silicon_enter     a System V function; returns when the sequence is over
;   silicon_return    entered with the sequence's registers in 64-bit mode; stores them
;   silicon_abandon   makes silicon_enter return; from a signal handler
;   silicon_signal    the signal handler: makes EFLAGS harmless, goes to silicon_on_signal

bits 64
default rel

CONTEXT         equ 0x18000000
C_GPR           equ CONTEXT             ; EAX ECX EDX EBX ESP EBP ESI EDI
C_EFLAGS        equ CONTEXT + 32        ; 64 bits
C_FAR           equ CONTEXT + 40        ; offset 32, selector 16
C_DS            equ CONTEXT + 48
C_ES            equ CONTEXT + 50
C_SS            equ CONTEXT + 52
C_GS            equ CONTEXT + 54
C_HOST_RSP      equ CONTEXT + 56
C_HOST_RETURN   equ CONTEXT + 64
C_FX            equ CONTEXT + 512
C_STACK_TOP     equ CONTEXT + 4032

extern silicon_on_signal

global silicon_enter:function hidden
global silicon_return:data hidden
global silicon_return_end:data hidden
global silicon_abandon:function hidden
global silicon_signal:function hidden

section .text

silicon_enter:
        push    rbx
        push    rbp
        push    r12
        push    r13
        push    r14
        push    r15
        mov     [abs C_HOST_RSP], rsp
        lea     rax, [.back]
        mov     [abs C_HOST_RETURN], rax
        fxrstor [abs C_FX]
        mov     rsp, C_STACK_TOP
        push    qword [abs C_EFLAGS]
        mov     ds, [abs C_DS]
        mov     es, [abs C_ES]
        mov     gs, [abs C_GS]
        mov     eax, [abs C_GPR]
        mov     ecx, [abs C_GPR + 4]
        mov     edx, [abs C_GPR + 8]
        mov     ebx, [abs C_GPR + 12]
        mov     ebp, [abs C_GPR + 20]
        mov     esi, [abs C_GPR + 24]
        mov     edi, [abs C_GPR + 28]
        popfq
        mov     ss, [abs C_SS]
        mov     esp, [abs C_GPR + 16]
        jmp     far dword [abs C_FAR]
.back:
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbp
        pop     rbx
        ret

silicon_return:
        mov     [abs C_GPR], eax
        mov     [abs C_GPR + 4], ecx
        mov     [abs C_GPR + 8], edx
        mov     [abs C_GPR + 12], ebx
        mov     [abs C_GPR + 16], esp
        mov     [abs C_GPR + 20], ebp
        mov     [abs C_GPR + 24], esi
        mov     [abs C_GPR + 28], edi
        mov     [abs C_SS], ss
        mov     rsp, C_STACK_TOP
        pushfq
        pop     qword [abs C_EFLAGS]
        push    0x202
        popfq
        mov     eax, 0x2b
        mov     ss, eax
        mov     rsp, [abs C_HOST_RSP]
        fxsave  [abs C_FX]
        fninit
        mov     [abs C_DS], ds
        mov     [abs C_ES], es
        mov     [abs C_GS], gs
        mov     dword [abs C_FAR], 0x1f80
        ldmxcsr [abs C_FAR]
        jmp     [abs C_HOST_RETURN]
silicon_return_end:

silicon_abandon:
        mov     rsp, [abs C_HOST_RSP]
        push    0x202
        popfq
        jmp     [abs C_HOST_RETURN]

silicon_signal:
        push    0x202
        popfq
        jmp     silicon_on_signal

section .note.GNU-stack noalloc noexec nowrite progbits
