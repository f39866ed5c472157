; SPDX-License-Identifier: LGPL-2.1-or-later
;
; The programs of calls-test.c, in real mode at 0000:8000.  Each ends with HLT; ports and memory are
; what the test's callbacks make of them.

%macro PROGRAM 1
        global  calls_%1, calls_%1_end
        align   16
calls_%1:
%endmacro

section .data

bits 16

; values and sizes
        PROGRAM values
        in      al, 0x10
        mov     bl, al
        in      ax, 0x12
        mov     si, ax
        in      eax, 0x14
        mov     edi, eax
        mov     eax, 0x44332211
        out     0x20, al
        out     0x22, ax
        out     0x24, eax
        out     0x30, al                ; declined
        in      al, 0x30                ; declined
        mov     bh, al
        hlt
calls_values_end:

; the page at 9000h is another one after OUT 40h, and that after INTR is taken at once
        PROGRAM map
        mov     al, 1
        mov     bl, [0x9000]
        out     0x40, al
        mov     bh, [0x9000]
        mov     byte [0x9001], 0x77
        mov     cl, [0x9001]
        hlt
calls_map_end:

        PROGRAM interrupt
        mov     word [0x20 * 4], handler - calls_interrupt + 0x8000
        mov     word [0x20 * 4 + 2], 0
        sti
        nop
        mov     dx, 0x41
        out     dx, al                  ; INTR rises
        mov     bl, 1                   ; not yet
        hlt
handler:
        mov     bh, bl
        hlt
calls_interrupt_end:

; REP with callbacks that move at most 5 items, and change the map after the second block
        PROGRAM strings
        cld
        mov     cx, 12
        mov     dx, 0x50
        mov     di, 0x9000
        rep     insw
        mov     si, 0x9000
        mov     cx, 12
        mov     dx, 0x52
        rep     outsw
        hlt
calls_strings_end:

; MMIO at A000h: each read gives the next byte; reading A00Ah moves the page of the destination
        PROGRAM mmio
        cld
        mov     si, 0xa008
        mov     di, 0x9000
        mov     cx, 4
        rep     movsb
        mov     ax, [0xa010]
        mov     [0xa020], ax
        mov     eax, [0xa010]
        mov     [0xa0ff], eax           ; declined
        hlt
calls_mmio_end:

; x87 and MMX stay as they are
        PROGRAM fpu
        fninit
        mov     word [0x7000], 0x0f7f   ; round to zero
        fldcw   [0x7000]
        fldpi
        fld1
        in      al, 0x10
        out     0x20, al
        mov     al, [0xa000]
        fadd    st0, st1
        fistp   dword [0x7004]          ; 4
        fnstcw  [0x7002]
        fnstenv [0x7010]
        mov     word [0x7060], 0x5aa5
        movq    mm3, [0x7060]
        in      al, 0x10
        movq    [0x7068], mm3
        emms
        hlt
calls_fpu_end:

section .note.GNU-stack noalloc noexec nowrite progbits
