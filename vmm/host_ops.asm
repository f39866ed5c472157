; SPDX-License-Identifier: LGPL-2.1-or-later
;
; The x87, MMX, SSE and SSE2 instructions of the host, each in a stub of its own, for fpu.c, mmx.c,
; sse.c and sse2.c.
;
; Register contract: a stub is a System V function.  rdi, rsi and rdx are its arguments, rax what it
; returns, xmm0 is scratch; nothing else is touched but what the instruction itself touches.
;   - x87 and MMX stubs work on the guest's registers, which are in the host's while c->fpu.live;
;     they never leave an unmasked exception to be found by another stub (fpu.h looks at FSW.ES).
;   - SSE stubs load MXCSR from [rdx] and store it back there; the caller restores the host's.
;
; Tables are indexed by encoding and have a fixed stride; encodings that no processor has are
; present in them, and are never called (the handler tables in C say which exist).

bits 64
default rel
section .text align=64

%macro table 1
align 64
global %1:function hidden
%1:
%endmacro

; ---- x87: registers, [(opcode & 7) * 64 + (modrm & 63)], stride 4
table vmm_host_x87_register
%assign op 0xd8
%rep 8
  %assign modrm 0xc0
  %rep 64
    align 4, nop
    db op, modrm
    ret
    %assign modrm modrm + 1
  %endrep
  %assign op op + 1
%endrep

; ---- x87: memory at rdi, [(opcode & 7) * 8 + reg], stride 4
table vmm_host_x87_memory
%assign op 0xd8
%rep 8
  %assign reg 0
  %rep 8
    align 4, nop
    db op, reg << 3 | 7
    ret
    %assign reg reg + 1
  %endrep
  %assign op op + 1
%endrep

; ---- FCMOVcc: edi is EFLAGS; [(opcode - DA) * 32 + (modrm & 31)], stride 8
table vmm_host_fcmov
%assign op 0xda
%rep 2
  %assign modrm 0xc0
  %rep 32
    align 8, nop
    mov eax, edi
    mov ah, al
    sahf
    db op, modrm
    ret
    %assign modrm modrm + 1
  %endrep
  %assign op op + 1
%endrep

; ---- FUCOMI, FCOMI (DB), FUCOMIP, FCOMIP (DF): ah = SF ZF AF PF CF, al = OF; [(opcode == DF) * 16
; + (modrm - E8)], stride 8
table vmm_host_fcomi
%assign op 0xdb
%rep 2
  %assign modrm 0xe8
  %rep 16
    align 8, nop
    db op, modrm
    lahf
    seto al
    ret
    %assign modrm modrm + 1
  %endrep
  %assign op op + 4
%endrep

; ---- MMX: 0F 60 .. 0F FF, [(opcode - 60) * 72 + n], stride 4; n: 0-63 registers (modrm & 63),
; 64-71 reg with memory at rdi
%macro mmx_stub 2
    align 4, nop
  %if (%1 >= 0x70 && %1 <= 0x73) || (%1 >= 0x78 && %1 <= 0x7d) || (%1 >= 0x80 && %1 <= 0xd0)
    ud2
    nop
  %else
    db 0x0f, %1, %2
  %endif
    ret
%endmacro

table vmm_host_mmx
%assign op 0x60
%rep 160
  %assign modrm 0xc0
  %rep 64
    mmx_stub op, modrm
    %assign modrm modrm + 1
  %endrep
  %assign reg 0
  %rep 8
    mmx_stub op, reg << 3 | 7
    %assign reg reg + 1
  %endrep
  %assign op op + 1
%endrep

; ---- SSE and SSE2, two operands: [rdi] = [rdi] op [rsi] under MXCSR [rdx].  Each opcode has four
; stubs, one for each mandatory prefix (ORDER: SseForm): none, 66, F3, F2.  Stride 32.
%macro sse_binary 1+
    align 32, nop
    ldmxcsr [rdx]
    movaps xmm0, [rdi]
    %1
    movaps [rdi], xmm0
    stmxcsr [rdx]
    ret
%endmacro
%macro sse_forms 1+
  sse_binary db 0x0f, %1
  sse_binary db 0x66, 0x0f, %1
  sse_binary db 0xf3, 0x0f, %1
  sse_binary db 0xf2, 0x0f, %1
%endmacro

; 0F 50 .. 0F 5F: [(opcode - 50) * 4 + form]
table vmm_host_sse
%assign op 0x50
%rep 16
  sse_forms op, 0x06
  %assign op op + 1
%endrep

; CMPPS and its like: [predicate * 4 + form]
table vmm_host_cmp
%assign predicate 0
%rep 8
  sse_forms 0xc2, 0x06, predicate
  %assign predicate predicate + 1
%endrep

; Conversions to XMM that are not in the table above.  CVTPI2PD is CVTDQ2PD, which leaves the MMX
; registers alone.  Stride 32.  ORDER: conversions
table vmm_host_convert
  sse_binary cvtpi2ps xmm0, [rsi]
  sse_binary cvtsi2ss xmm0, dword [rsi]
  sse_binary cvtsi2sd xmm0, dword [rsi]
  sse_binary cvtdq2pd xmm0, [rsi]
  sse_binary cvttpd2dq xmm0, [rsi]
  sse_binary cvtpd2dq xmm0, [rsi]

; Conversions to integers: rax = result of [rsi], 16 bytes readable.  Pairs are made by CVTPS2DQ and
; CVTPD2DQ, which do the same and leave the MMX registers alone.  Stride 32.  ORDER: integers
%macro sse_integer 2+
    align 32, nop
    ldmxcsr [rdx]
    %2
    %1
    stmxcsr [rdx]
    ret
%endmacro
table vmm_host_integer
  sse_integer {nop}, cvtss2si eax, [rsi]
  sse_integer {nop}, cvttss2si eax, [rsi]
  sse_integer {movq rax, xmm0}, cvtps2dq xmm0, [rsi]
  sse_integer {movq rax, xmm0}, cvttps2dq xmm0, [rsi]
  sse_integer {nop}, cvtsd2si eax, [rsi]
  sse_integer {nop}, cvttsd2si eax, [rsi]
  sse_integer {movq rax, xmm0}, cvtpd2dq xmm0, [rsi]
  sse_integer {movq rax, xmm0}, cvttpd2dq xmm0, [rsi]

; UCOMISS, COMISS, UCOMISD, COMISD of [rdi] with [rsi]: ah = SF ZF AF PF CF, al = OF; stride 32
table vmm_host_comis
%macro sse_compare 1+
    align 32, nop
    ldmxcsr [rdx]
    movaps xmm0, [rdi]
    %1
    lahf
    seto al
    stmxcsr [rdx]
    ret
%endmacro
  sse_compare ucomiss xmm0, [rsi]
  sse_compare comiss xmm0, [rsi]
  sse_compare ucomisd xmm0, [rsi]
  sse_compare comisd xmm0, [rsi]

; ---- SSE2, integers: [rdi] = [rdi] op [rsi]; 66 0F 60 .. 66 0F FF, [opcode - 60], stride 16
%macro packed_stub 1
    align 16, nop
  %if (%1 >= 0x70 && %1 <= 0x73) || (%1 >= 0x77 && %1 <= 0xd0)
    ud2
  %else
    movdqa xmm0, [rdi]
    db 0x66, 0x0f, %1, 0x06
    movdqa [rdi], xmm0
  %endif
    ret
%endmacro
table vmm_host_packed
%assign op 0x60
%rep 160
  packed_stub op
  %assign op op + 1
%endrep

; ---- uint16_t (const double *a, const double *b, const uint16_t *control): the x87 status word
; after a op b; 58 .. 5E as in SSE, [opcode - 58], stride 16.  The unit is clean before and after.
%macro exactness_stub 1
    align 16, nop
    fldcw [rdx]
    fld qword [rdi]
    fld qword [rsi]
    %1
    fnstsw ax
    fninit
    ret
%endmacro
table vmm_host_exactness
  exactness_stub faddp
  exactness_stub fmulp
  exactness_stub nop
  exactness_stub nop
  exactness_stub fsubp
  exactness_stub nop
  exactness_stub fdivp

; ---- void vmm_host_fx_load (const void *fx): FXRSTOR of the x87 part; MXCSR stays the host's.  The
; XMM registers are lost, as in any call.
table vmm_host_fx_load
  stmxcsr [rsp - 4]
  fxrstor [rdi]
  ldmxcsr [rsp - 4]
  ret

; ---- void vmm_host_fx_store (void *fx): FXSAVE, then a clean x87 unit
table vmm_host_fx_store
  fxsave [rdi]
  fninit
  ret

section .note.GNU-stack noalloc noexec nowrite progbits
