; SPDX-License-Identifier: LGPL-2.1-or-later
;
; TNINFO.COM, for DOS on a 386 or better: what the machine says of itself.
;
;   TNINFO          prints version, memory, clock and frequencies
;   TNINFO /OFF     switches the machine off
;   TNINFO /RESET   resets it
;
; Errorlevel 1: there are no additions; 2: the words are not understood.  The processor's answer to an
; invalid opcode, INT 6, is caught meanwhile: that is how their absence shows.

%include "synthetic.inc"

bits 16
org 0x100

begin:
        cld
        mov     ax, 0x3506              ; the handler of INT 6 now
        int     0x21
        mov     [old_handler], bx
        mov     [old_handler + 2], es
        mov     ax, 0x2506
        mov     dx, no_additions
        int     0x21
        mov     [old_sp], sp
        push    cs
        pop     es

        xor     ecx, ecx
        vmgetinfo
        jc      no_identity
        cmp     eax, INFO_SIGNATURE
        jne     no_identity
        call    restore
        call    words
        cmp     al, 'o'
        je      off
        cmp     al, 'r'
        je      reset
        test    al, al
        jnz     usage
        call    show
        mov     ax, 0x4c00
        int     0x21

; #UD with its frame on the stack, which is thrown away
no_additions:
        mov     ax, cs
        mov     ds, ax
        mov     es, ax
        mov     sp, [old_sp]
        sti
no_identity:
        call    restore
        mov     dx, text_none
        mov     al, 1
quit:   push    ax
        mov     ah, 9
        int     0x21
        pop     ax
        mov     ah, 0x4c
        int     0x21

usage:  mov     dx, text_usage
        mov     al, 2
        jmp     quit

off:    mov     eax, POWER_OFF
        jmp     power
reset:  mov     eax, POWER_RESET
power:  xor     edx, edx
        mov     ecx, INFO_POWER
        vmsetinfo
        mov     dx, text_refused        ; nobody comes here otherwise
        mov     al, 2
        jmp     quit

restore:
        push    ds
        lds     dx, [old_handler]
        mov     ax, 0x2506
        int     0x21
        pop     ds
        ret

; The command line: al = 'o', 'r', 0 (none) or '?'
words:  mov     si, 0x81
.skip:  lodsb
        cmp     al, ' '
        je      .skip
        cmp     al, 13
        je      .none
        cmp     al, '/'
        jne     .what
        lodsb
        or      al, 0x20
        ret
.none:  xor     al, al
        ret
.what:  mov     al, '?'
        ret

; ---- What there is to show ----

show:   mov     dx, text_version
        call    print
        mov     ecx, INFO_VERSION
        vmgetinfo
        push    eax
        shr     eax, 16
        and     eax, 0xff
        call    decimal
        mov     dl, '.'
        call    put
        pop     eax
        push    eax
        shr     eax, 8
        and     eax, 0xff
        call    decimal
        mov     dl, '.'
        call    put
        pop     eax
        and     eax, 0xff
        call    decimal

        mov     dx, text_memory
        call    print
        mov     ecx, INFO_RAM
        vmgetinfo
        shrd    eax, edx, 20
        call    decimal

        mov     dx, text_tsc
        call    print
        mov     ecx, INFO_TSC_HZ
        vmgetinfo
        mov     ebx, 1000000
        div     ebx
        call    decimal

        mov     dx, text_clock
        call    print
        mov     ecx, INFO_WALL_CLOCK
        vmgetinfo                       ; us: seconds fit into 32 bits until 2106
        mov     ebx, 1000000
        div     ebx
        call    decimal

        mov     dx, text_up
        call    print
        mov     ecx, INFO_VIRTUAL_TIME
        vmgetinfo
        mov     ebx, 1000000000
        div     ebx
        call    decimal
        mov     dx, text_end

print:  mov     ah, 9
        int     0x21
        ret

put:    mov     ah, 2
        int     0x21
        ret

; eax in decimal
decimal:
        mov     ebx, 10
        xor     cx, cx
.next:  xor     edx, edx
        div     ebx
        push    dx
        inc     cx
        test    eax, eax
        jnz     .next
.out:   pop     dx
        add     dl, '0'
        call    put
        loop    .out
        ret

text_none:    db "This machine has no additions.", 13, 10, '$'
text_usage:   db "TNINFO [/OFF | /RESET]", 13, 10, '$'
text_refused: db "The machine refused.", 13, 10, '$'
text_version: db "Tenon $"
text_memory:  db 13, 10, "MiB of memory: $"
text_tsc:     db 13, 10, "MHz of the time stamp counter: $"
text_clock:   db 13, 10, "seconds since 1970: $"
text_up:      db 13, 10, "seconds since power on: $"
text_end:     db 13, 10, '$'

old_handler:  dd 0
old_sp:       dw 0
