; SPDX-License-Identifier: LGPL-2.1-or-later
;
; The world switch between C and translated code.
;
; Register contract of translated code:
;   eax ecx edx ebx ebp esi edi   the guest's registers of these names, zero-extended to 64 bits
;   r15d                          the guest's ESP, zero-extended
;   CF PF AF ZF SF OF             the guest's; DF is 0, the others are the host's own
;   r12   access tables of the current privilege (VmmTables)
;   r13   the processor (VmmVcpu)
;   r14   12, the count by which an address is shifted to its page
;   r10 r11  host pointers that a block keeps for itself
;   r8 r9    scratch; r8d is the target of an indirect jump
;   rsp   the host's stack, a multiple of 16; translated code pushes nothing
;   x87, MMX  the guest's while VmmVcpu.fpu.live
;   xmm0-7, MXCSR  the guest's while VmmVcpu.xmm is VMM_XMM_HOST
; Nothing else of the guest is in registers.  C functions get the guest's state in VmmVcpu.
;
; Restartable regions: between looking at `attention` and the jump to translated code a signal must
; not get lost.  The signal handler (trap.c) sends whoever is between vmm_region_*_start and _end
; back to the start; nothing there changes memory or rsp.

bits 64
default rel

; ORDER: VmmVcpu
GPR        equ 0
EIP        equ 36
EFLAGS     equ 40
ATTENTION  equ 44
ALERT      equ 48
TAIL       equ 52
FRAME      equ 56
SCRATCH_A  equ 152
SCRATCH_B  equ 156
CONTROL0   equ 160
CONTROL4   equ 164
XMM        equ 170
FX         equ 192
FX_MXCSR   equ FX + 24
FX_XMM     equ FX + 160

XMM_MEMORY equ 0
XMM_HOST   equ 1
XMM_AWAY   equ 2

FL_ARITH    equ 0x8d5
CR0_EM_TS   equ 0xc
CR4_OSFXSR  equ 0x200
MXCSR_RESET equ 0x1f80          ; what C expects; also: all exceptions masked
MXCSR_FLAGS equ 0x3f

; VmmBack
BACK_ATTENTION equ 0
BACK_RESUME    equ 1
BACK_TRAP      equ 2
BACK_EXIT      equ 3
BACK_INDIRECT  equ 4
BACK_BUDGET    equ 5

; ORDER: VmmTables
JUMP       equ 2 << 23

extern vmm_engine_slow
extern vmm_engine_miss
extern vmm_engine_tail
extern vmm_engine_segment
extern vmm_engine_verify

global vmm_enter:function hidden
global vmm_back_trap:function hidden
global vmm_thunk_slow:function hidden
global vmm_thunk_miss_read:function hidden
global vmm_thunk_miss_write:function hidden
global vmm_thunk_tail:function hidden
global vmm_thunk_exit:function hidden
global vmm_thunk_indirect:function hidden
global vmm_thunk_budget:function hidden
global vmm_thunk_segment:function hidden
global vmm_thunk_verify:function hidden
global vmm_thunk_xmm:function hidden
global vmm_region_enter_start:function hidden
global vmm_region_enter_end:function hidden
global vmm_region_resume_start:function hidden
global vmm_region_resume_end:function hidden
global vmm_region_jump_start:function hidden
global vmm_region_jump_end:function hidden
global vmm_region_segment_start:function hidden
global vmm_region_segment_end:function hidden
global vmm_region_verify_start:function hidden
global vmm_region_verify_end:function hidden
global vmm_region_xmm_start:function hidden
global vmm_region_xmm_end:function hidden

section .text

; Before C is called: XMM registers that are the host's go to VmmVcpu.  eax is lost, if there are.
%macro XMM_SPILL 0
        cmp     byte [r13 + XMM], XMM_HOST
        jne     %%done
        call    xmm_save
%%done:
%endmacro

; Before code goes on behind C: back they come.  r9 is lost.  To %1 if the guest may not use them any
; more.
%macro XMM_FILL 1
        cmp     byte [r13 + XMM], XMM_AWAY
        jne     %%done
        call    xmm_load
        jnz     %1
%%done:
%endmacro

; Guest registers and flags to VmmVcpu; eax, ecx, edx are lost.
%macro SPILL 0
        mov     [r13 + GPR + 0], eax
        mov     [r13 + GPR + 4], ecx
        mov     [r13 + GPR + 8], edx
        lahf
        seto    al
        mov     [r13 + GPR + 12], ebx
        mov     [r13 + GPR + 16], r15d
        mov     [r13 + GPR + 20], ebp
        mov     [r13 + GPR + 24], esi
        mov     [r13 + GPR + 28], edi
        movzx   ecx, ah
        movzx   eax, al
        shl     eax, 11
        or      ecx, eax
        mov     edx, [r13 + EFLAGS]
        and     edx, ~FL_ARITH
        and     ecx, FL_ARITH
        or      edx, ecx
        mov     [r13 + EFLAGS], edx
        XMM_SPILL
%endmacro

; And back.
%macro FILL 0
        mov     eax, [r13 + EFLAGS]
        mov     ecx, eax
        shr     ecx, 11
        and     ecx, 1
        mov     ah, al
        mov     al, cl
        add     al, 0x7f
        sahf
        mov     eax, [r13 + GPR + 0]
        mov     ecx, [r13 + GPR + 4]
        mov     edx, [r13 + GPR + 8]
        mov     ebx, [r13 + GPR + 12]
        mov     r15d, [r13 + GPR + 16]
        mov     ebp, [r13 + GPR + 20]
        mov     esi, [r13 + GPR + 24]
        mov     edi, [r13 + GPR + 28]
%endmacro

; VmmBack vmm_enter (VmmVcpu *c, VmmTables *tables, const uint8_t *code)
align 16
vmm_enter:
        push    rbx
        push    rbp
        push    r12
        push    r13
        push    r14
        push    r15
        sub     rsp, 8
        mov     r13, rdi
        mov     r12, rsi
        mov     r11, rdx
        mov     r14d, 12
        mov     [r13 + FRAME], rsp
        mov     byte [r13 + XMM], XMM_MEMORY
vmm_region_enter_start:
        mov     eax, [r13 + ATTENTION]
        test    eax, [r13 + ALERT]
        jnz     enter_attention
        FILL
        jmp     r11
vmm_region_enter_end:
enter_attention:
        mov     eax, BACK_ATTENTION
        jmp     back

vmm_back_trap:
        XMM_SPILL
        mov     eax, BACK_TRAP
        jmp     back

; Out of translated code: eax says why, the state is in VmmVcpu.
align 16
back:
        mov     rsp, [r13 + FRAME]
        add     rsp, 8
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbp
        pop     rbx
        ret

; jmp with the instruction in r8d and c->eip set: the last of its block, executed by its handler; on
; by the tables of targets, in the mode that it has left.
align 16
vmm_thunk_tail:
        SPILL
        mov     rdi, r13
        mov     esi, r8d
        call    vmm_engine_tail
        test    rax, rax
        jz      resume
        mov     r12, rax
        mov     byte [r13 + XMM], XMM_MEMORY
vmm_region_jump_start:
        mov     eax, [r13 + ATTENTION]
        test    eax, [r13 + ALERT]
        jnz     resume
        mov     r8d, [r13 + EIP]
        mov     r9d, r8d
        shr     r9d, 12
        mov     r9, [r12 + r9 * 8 + JUMP]
        mov     r9d, [r9 + r8 * 4]
        FILL
        jmp     r9
vmm_region_jump_end:

; jmp with the site in r8d and c->eip set.
align 16
vmm_thunk_exit:
        mov     [r13 + TAIL], r8d
        SPILL
        mov     eax, BACK_EXIT
        jmp     back

; jmp with the target in r8d.
align 16
vmm_thunk_indirect:
        mov     [r13 + EIP], r8d
        SPILL
        mov     eax, BACK_INDIRECT
        jmp     back

; jmp with c->eip set.
align 16
vmm_thunk_budget:
        SPILL
        mov     eax, BACK_BUDGET
        jmp     back

; call with the instruction in r8d and c->eip set: it is executed by its handler.  Returns behind it.
align 16
vmm_thunk_slow:
        SPILL
        push    r9
        push    r10
        push    r11
        mov     rdi, r13
        mov     esi, r8d
        call    vmm_engine_slow
        test    eax, eax
        jnz     resume
        XMM_FILL resume
        pop     r11
        pop     r10
        pop     r9
vmm_region_resume_start:
        mov     eax, [r13 + ATTENTION]
        test    eax, [r13 + ALERT]
        jnz     resume
        FILL
        ret
vmm_region_resume_end:
resume:
        XMM_SPILL                       ; they may have come back already
        mov     eax, BACK_RESUME
        jmp     back

; Stores the XMM registers and MXCSR; the host's MXCSR is what C expects, but for flags that nobody
; looks at.  eax is lost.
align 16
xmm_save:
        movaps  [r13 + FX_XMM + 0], xmm0
        movaps  [r13 + FX_XMM + 16], xmm1
        movaps  [r13 + FX_XMM + 32], xmm2
        movaps  [r13 + FX_XMM + 48], xmm3
        movaps  [r13 + FX_XMM + 64], xmm4
        movaps  [r13 + FX_XMM + 80], xmm5
        movaps  [r13 + FX_XMM + 96], xmm6
        movaps  [r13 + FX_XMM + 112], xmm7
        stmxcsr [r13 + FX_MXCSR]
        mov     eax, [r13 + FX_MXCSR]
        and     eax, ~MXCSR_FLAGS
        cmp     eax, MXCSR_RESET
        je      .done
        ldmxcsr [mxcsr_reset]
.done:
        mov     byte [r13 + XMM], XMM_AWAY
        ret

; Loads them if SSE instructions may simply be executed: CR0.EM and TS are clear, CR4.OSFXSR is set,
; all exceptions are masked.  ZF says so.  r9 is lost.
align 16
xmm_load:
        test    byte [r13 + CONTROL0], CR0_EM_TS
        jnz     .no
        mov     r9d, [r13 + CONTROL4]
        not     r9d
        test    r9d, CR4_OSFXSR
        jnz     .no
        mov     r9d, [r13 + FX_MXCSR]
        not     r9d
        test    r9d, MXCSR_RESET
        jnz     .no
        movaps  xmm0, [r13 + FX_XMM + 0]
        movaps  xmm1, [r13 + FX_XMM + 16]
        movaps  xmm2, [r13 + FX_XMM + 32]
        movaps  xmm3, [r13 + FX_XMM + 48]
        movaps  xmm4, [r13 + FX_XMM + 64]
        movaps  xmm5, [r13 + FX_XMM + 80]
        movaps  xmm6, [r13 + FX_XMM + 96]
        movaps  xmm7, [r13 + FX_XMM + 112]
        ldmxcsr [r13 + FX_MXCSR]
        mov     byte [r13 + XMM], XMM_HOST
.no:
        ret

; EAX and the flags, as vmm_thunk_xmm has set them aside.
%macro FLAGS_BACK 0
        mov     eax, [r13 + SCRATCH_B]
        add     al, 0x7f
        sahf
        mov     eax, [r13 + SCRATCH_A]
%endmacro

; call with the SSE instruction in r8d and c->eip set: VmmVcpu.xmm was not VMM_XMM_HOST.  Returns when
; it is.  If that cannot be, the instruction is executed by its handler, which raises what is to be
; raised, and code is left: what follows relies on the registers.
align 16
vmm_thunk_xmm:
        mov     [r13 + SCRATCH_A], eax
        lahf
        seto    al
        mov     [r13 + SCRATCH_B], eax
        call    xmm_load
        jnz     xmm_by_handler
vmm_region_xmm_start:
        mov     r9d, [r13 + ATTENTION]
        test    r9d, [r13 + ALERT]
        jnz     xmm_by_handler
        FLAGS_BACK
        ret
vmm_region_xmm_end:
xmm_by_handler:
        FLAGS_BACK
        SPILL
        sub     rsp, 8                  ; a multiple of 16
        mov     rdi, r13
        mov     esi, r8d
        call    vmm_engine_slow
        jmp     resume

; A C function that answers at once, of r8d and r9d; the answer is in r8d.  Flags are lost, what else
; is the guest's stays where it is: nothing of it is looked at.  If it says %2 the instruction is
; executed by its handler, and so it is if there is an alert: a kick may have come while C was
; running.  What was done is then done again.
%macro ASK 2
        push    rax
        push    rcx
        push    rdx
        push    rsi
        push    rdi
        push    r10
        push    r11
        XMM_SPILL
        mov     rdi, r13
        mov     esi, r8d
        mov     edx, r9d
        call    vmm_engine_%1
        mov     r8d, eax
        pop     r11
        pop     r10
        pop     rdi
        pop     rsi
        pop     rdx
        pop     rcx
        pop     rax
        XMM_FILL %%alert
vmm_region_%1_start:
        mov     r9d, [r13 + ATTENTION]
        test    r9d, [r13 + ALERT]
        jnz     %%alert
        cmp     r8d, %2
        ret
vmm_region_%1_end:
%%alert:
        mov     r8d, %2
        cmp     r8d, r8d
        ret
%endmacro

; call with the selector in r8d and the segment register's number in r9d.  ZF: by the handler.
align 16
vmm_thunk_segment:
        ASK     segment, 0

; call with the selector in r8d and 1 in r9d for writing.  r8d = 0 or 1; ZF: by the handler.
align 16
vmm_thunk_verify:
        ASK     verify, 2

; call with the linear address in r8d, the instruction in r9d and c->eip set.  Returns with r9 the
; delta of the page; or five bytes further on, if C has executed the instruction.
align 16
vmm_thunk_miss_read:
        SPILL
        xor     ecx, ecx
        jmp     miss
align 16
vmm_thunk_miss_write:
        SPILL
        mov     ecx, 1
miss:
        push    r8
        push    r10
        push    r11
        mov     rdi, r13
        mov     esi, r8d
        mov     edx, r9d
        call    vmm_engine_miss
        cmp     rax, 1
        je      resume
        XMM_FILL resume
        pop     r11
        pop     r10
        pop     r8
        mov     r9, rax
        test    rax, rax
        jnz     vmm_region_resume_start
        add     qword [rsp], 5
        jmp     vmm_region_resume_start

section .rodata
align 4
mxcsr_reset:
        dd      MXCSR_RESET

section .note.GNU-stack noalloc noexec nowrite progbits
