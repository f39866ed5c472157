; SPDX-License-Identifier: LGPL-2.1-or-later
;
; The guest of int13-test: a boot sector that writes to the first hard disk by INT 13h, one block at a
; time and several at once, reads everything back, and prints to COM1 "int13 FAILED WRONG", how many
; calls failed and how many blocks were wrong.  Then it switches the machine off.

bits 16
org 0x7c00

%define ROUNDS 128
%define BLOCKS 3                        ; each round writes one block, then as many
%define PORT 0x3f8
%define BUFFER 0x8000

begin:
        cld
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        mov     al, 3                   ; characters of 8 bits
        mov     dx, PORT + 3
        out     dx, al

write:  mov     word [packet.count], 1
        call    fill
        mov     ah, 0x43
        call    transfer
        mov     word [packet.count], BLOCKS
        call    fill
        mov     ah, 0x43
        call    transfer
        cmp     word [packet.block], ROUNDS * (BLOCKS + 1)
        jb      write

        mov     word [packet.count], 1
        mov     word [packet.block], 0
read:   mov     di, BUFFER
        mov     cx, 256
        xor     ax, ax
        rep     stosw
        mov     bp, [packet.block]
        mov     ah, 0x42
        call    transfer
        mov     di, BUFFER
        mov     cx, 256
        mov     ax, bp
.next:  scasw
        jne     .wrong
        add     ax, 0x101
        loop    .next
        jmp     .right
.wrong: inc     word [wrong]
.right: cmp     word [packet.block], ROUNDS * (BLOCKS + 1)
        jb      read

        mov     si, text
        call    print
        mov     ax, [failed]
        call    print_word
        mov     ax, [wrong]
        call    print_word
        mov     al, 10
        call    print_char
        mov     si, shutdown
        mov     dx, 0x8900
        mov     cx, 8
        rep     outsb
        cli
        hlt

; Each word of a block depends on the block's number.
fill:   mov     di, BUFFER
        mov     bx, [packet.block]
        mov     dx, [packet.count]
.block: mov     ax, bx
        mov     cx, 256
.word:  stosw
        add     ax, 0x101
        loop    .word
        inc     bx
        dec     dx
        jnz     .block
        ret

; AH = 42h, 43h; goes on to the next block
transfer:
        xor     al, al
        mov     dl, 0x80
        mov     si, packet
        mov     bx, [packet.count]
        int     0x13
        jnc     .done
        inc     word [failed]
.done:  mov     [packet.count], bx
        add     [packet.block], bx
        ret

print:  lodsb
        test    al, al
        jz      .end
        call    print_char
        jmp     print
.end:   ret

; " " and AX in hexadecimal
print_word:
        mov     cx, 4
        push    ax
        mov     al, ' '
        call    print_char
        pop     ax
.digit: rol     ax, 4
        push    ax
        and     al, 15
        cmp     al, 10
        sbb     al, 0x69
        das
        call    print_char
        pop     ax
        loop    .digit
        ret

print_char:
        mov     ah, al
        mov     dx, PORT + 5
.wait:  in      al, dx
        test    al, 0x20
        jz      .wait
        mov     dx, PORT
        mov     al, ah
        out     dx, al
        mov     dx, PORT + 5
.sent:  in      al, dx                  ; all of it, before the machine is switched off
        test    al, 0x40
        jz      .sent
        ret

text:     db    "int13", 0
shutdown: db    "Shutdown"
failed:   dw    0
wrong:    dw    0

align 4
packet: dw      16
.count: dw      0
        dw      BUFFER, 0
.block: dd      0, 0

        times   510 - ($ - $$) db 0
        dw      0xaa55
