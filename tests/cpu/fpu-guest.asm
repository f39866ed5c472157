; SPDX-License-Identifier: LGPL-2.1-or-later
;
; Guest programs of fpu-test.c.  Each is loaded at 1000h and ends with HLT.  Data: 2000h a float,
; 2100h and 2140h environments, 2200h an FXSAVE image, 2400h and 2480h FSAVE images.

%macro program 1
global fpu_guest_%1:data hidden
global fpu_guest_%1_end:data hidden
align 16
fpu_guest_%1:
%endmacro
%macro program_end 1
fpu_guest_%1_end:
%endmacro

section .rodata

; Protected mode, 32 bits, flat.
bits 32
program protected
        fninit
        fld     dword [0x2000]
        fnstenv [0x2100]
        db      0x66
        fnstenv [0x2140]
        fxsave  [0x2200]
        fldpi
        fldenv  [0x2100]
        db      0x66
        fnsave  [0x2480]
        db      0x66
        frstor  [0x2480]
        fnsave  [0x2400]
        frstor  [0x2400]
        fstp    qword [0x2008]
        hlt
program_end protected

; Real mode; DS is 200h, so that 2000h is at offset 0.
bits 16
program real
        fninit
        fld     dword [0]
        fnstenv [0x100]
        db      0x66
        fnstenv [0x140]
        fxsave  [0x200]
        fldpi
        fldenv  [0x100]
        db      0x66
        fnsave  [0x480]
        db      0x66
        frstor  [0x480]
        fnsave  [0x400]
        frstor  [0x400]
        fstp    qword [8]
        hlt
program_end real

; Division by zero, unmasked.
bits 32
program divide
        fninit
        fldcw   [0x2010]
        fld1
        fldz
        fdivp   st1, st0
        fnstsw  ax
        mov     [0x2012], ax
.wait:  fwait
        mov     byte [0x2014], 1
        fnclex
        hlt
program_end divide

; The same, then a division that goes on with the error pending.
program ignored
        fninit
        fldcw   [0x2010]
        fld1
        fldz
        fdivp   st1, st0
        fld1
        fld1
        faddp   st1, st0
        fstp    dword [0x2018]
        fnstsw  ax
        mov     [0x2012], ax
        fninit
        hlt
program_end ignored

; Operands in a device.
program device
        fninit
        fld     qword [0x80000]
        fadd    dword [0x80008]
        fstp    qword [0x80010]
        movq    mm0, [0x80000]
        movq    [0x80018], mm0
        emms
        movups  xmm0, [0x80000]
        movups  [0x80020], xmm0
        hlt
program_end device

section .note.GNU-stack noalloc noexec nowrite progbits
