; SPDX-License-Identifier: LGPL-2.1-or-later
;
; From 64-bit code into a sequence of 32-bit code and back.
;
; The state is in silicon_context, whose layout is the structure Context of silicon-native.c.  A
; sequence ends with a far jump to the page RETURN (silicon.h) below 4 GiB, where silicon_return was
; copied to, with the address of the context in two places; a signal handler ends with
; silicon_abandon.
;
;   silicon_enter     a System V function; returns when the sequence is over
;   silicon_return    entered with the sequence's registers in 64-bit mode; stores them
;   silicon_abandon   makes silicon_enter return; from a signal handler
;   silicon_signal    the signal handler: makes EFLAGS harmless, goes to silicon_on_signal

bits 64
default rel

; ORDER: Context
C_GPR           equ 0           ; EAX ECX EDX EBX ESP EBP ESI EDI
C_EFLAGS        equ 32          ; 64 bits
C_FAR           equ 40          ; offset 32, selector 16
C_DS            equ 48
C_ES            equ 50
C_SS            equ 52
C_GS            equ 54
C_HOST_RSP      equ 56
C_HOST_RETURN   equ 64
C_MXCSR         equ 72
C_FX            equ 512

extern silicon_on_signal
extern silicon_context

global silicon_enter:function hidden
global silicon_return:data hidden
global silicon_return_address1:data hidden
global silicon_return_address2:data hidden
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
        mov     [silicon_context + C_HOST_RSP], rsp
        lea     rax, [.back]
        mov     [silicon_context + C_HOST_RETURN], rax
        fxrstor [silicon_context + C_FX]
        push    qword [silicon_context + C_EFLAGS]
        mov     ds, [silicon_context + C_DS]
        mov     es, [silicon_context + C_ES]
        mov     gs, [silicon_context + C_GS]
        mov     eax, [silicon_context + C_GPR]
        mov     ecx, [silicon_context + C_GPR + 4]
        mov     edx, [silicon_context + C_GPR + 8]
        mov     ebx, [silicon_context + C_GPR + 12]
        mov     ebp, [silicon_context + C_GPR + 20]
        mov     esi, [silicon_context + C_GPR + 24]
        mov     edi, [silicon_context + C_GPR + 28]
        popfq
        mov     ss, [silicon_context + C_SS]
        mov     esp, [silicon_context + C_GPR + 16]
        jmp     far dword [silicon_context + C_FAR]
.back:
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbp
        pop     rbx
        ret

silicon_return:
        db      0xa3                    ; mov [silicon_context], eax
silicon_return_address1:
        dq      0
        db      0x48, 0xb8              ; mov rax, silicon_context
silicon_return_address2:
        dq      0
        mov     [rax + C_GPR + 4], ecx
        mov     [rax + C_GPR + 8], edx
        mov     [rax + C_GPR + 12], ebx
        mov     [rax + C_GPR + 16], esp
        mov     [rax + C_GPR + 20], ebp
        mov     [rax + C_GPR + 24], esi
        mov     [rax + C_GPR + 28], edi
        mov     [rax + C_SS], ss
        mov     rsp, [rax + C_HOST_RSP]
        pushfq
        pop     qword [rax + C_EFLAGS]
        push    0x202
        popfq
        mov     ecx, 0x2b
        mov     ss, ecx
        fxsave  [rax + C_FX]
        fninit
        mov     [rax + C_DS], ds
        mov     [rax + C_ES], es
        mov     [rax + C_GS], gs
        mov     dword [rax + C_MXCSR], 0x1f80
        ldmxcsr [rax + C_MXCSR]
        jmp     [rax + C_HOST_RETURN]
silicon_return_end:

silicon_abandon:
        mov     rsp, [silicon_context + C_HOST_RSP]
        push    0x202
        popfq
        jmp     [silicon_context + C_HOST_RETURN]

silicon_signal:
        push    0x202
        popfq
        jmp     silicon_on_signal

section .note.GNU-stack noalloc noexec nowrite progbits
