; SPDX-License-Identifier: LGPL-2.1-or-later
;
; The guest of io-bench: a ROM of 64 KiB that times accesses to devices with the time stamp counter,
; which counts ns of virtual time.  For each kernel it prints "NAME NS COUNT" to the test card's text
; port: NS for COUNT accesses, the loop around them included ("loop" is the loop alone).

bits 16
org 0

%define COUNT 100000
%define TEXT  0xe8
%define EXIT  0xf4

; KERNEL name, instructions of one access (they may use ax, dx, si, di and ds, es)
%macro KERNEL 2+
        mov     ecx, COUNT / 10         ; warms up
%%warm: %2
        dec     ecx
        jnz     %%warm
        push    dx
        call    start_time
        mov     ecx, COUNT
        align   16
%%time: %2
        dec     ecx
        jnz     %%time
        call    stop_time
        pop     dx
        mov     si, %%name
        call    report
        jmp     %%end
%%name: db      %1, 0
%%end:
%endmacro

begin:
        xor     ax, ax
        mov     ss, ax
        mov     sp, 0x7c00
        mov     ax, 0xa000
        mov     ds, ax
        mov     es, ax
        mov     dx, 0x3da
        in      al, dx
        mov     dx, 0x3ce               ; the window at A0000h
        mov     ax, 0x0506
        out     dx, ax
        mov     dx, 0x3c4               ; all planes
        mov     ax, 0x0f02
        out     dx, ax

        KERNEL  "loop", nop
        KERNEL  "in-pit-40", in al, 0x40
        KERNEL  "in-pic-21", in al, 0x21
        mov     dx, 0x3da
        KERNEL  "in-vga-3da", in al, dx
        KERNEL  "in-kbc-64", in al, 0x64
        KERNEL  "in-cmos-71", in al, 0x71
        KERNEL  "out-post-80", out 0x80, al
        mov     dx, 0x3c9
        KERNEL  "out-dac-3c9", out dx, al
        mov     dx, 0x402
        mov     al, 0
        KERNEL  "out-debug-402", out dx, al
        KERNEL  "read-vga-a0000", mov al, [0]
        KERNEL  "write-vga-a0000", mov [0], al
        mov     dx, EXIT
        xor     eax, eax
        out     dx, eax
        hlt

start_time:
        rdtsc
        mov     ebx, eax
        mov     ebp, edx
        pop     cx
        pop     dx
        push    dx
        push    cx
        mov     al, 0
        ret

stop_time:
        rdtsc
        sub     eax, ebx
        sbb     edx, ebp
        mov     ebx, eax                ; less than 4 s
        ret

; prints [cs:si], ebx and COUNT
report:
        mov     dx, TEXT
.name:  mov     al, [cs:si]
        inc     si
        test    al, al
        jz      .value
        out     dx, al
        jmp     .name
.value: mov     al, ' '
        out     dx, al
        mov     eax, ebx
        call    decimal
        mov     al, ' '
        out     TEXT, al
        mov     eax, COUNT
        call    decimal
        mov     al, 10
        out     TEXT, al
        ret

decimal:
        mov     ebx, 10
        xor     cx, cx
.next:  xor     edx, edx
        div     ebx
        push    dx
        inc     cx
        test    eax, eax
        jnz     .next
.out:   pop     ax
        add     al, '0'
        out     TEXT, al
        loop    .out
        ret

        times   0xfff0 - ($ - $$) db 0
        jmp     0xf000:begin
        times   0x10000 - ($ - $$) db 0
