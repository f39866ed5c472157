; SPDX-License-Identifier: LGPL-2.1-or-later
;
; The guest of io-test: a ROM of 64 KiB in real mode that looks at what it may see of fast and posted
; accesses.  It prints "NAME ok" or "NAME FAILED" to the test card's text port.

%include "synthetic.inc"

bits 16
org 0

%define TEXT 0xe8
%define EXIT 0xf4

%macro OUTB 2
        mov     dx, %1
        mov     al, %2
        out     dx, al
%endmacro

%macro OUTW 2
        mov     dx, %1
        mov     ax, %2
        out     dx, ax
%endmacro

; TEST name, label: the label returns with ZF if it passed
%macro TEST 2
        call    %2
        mov     si, %%good
        je      %%end
        mov     si, %%bad
        jmp     %%end
%%good: db      %1, " ok", 10, 0
%%bad:  db      %1, " FAILED", 10, 0
%%end:  call    print
%endmacro

begin:
        cld
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        TEST    "palette", palette
        TEST    "planes", planes
        TEST    "window", window
        TEST    "a20", a20
        TEST    "interrupts", interrupts
        TEST    "disk", disk
        TEST    "additions", additions
        mov     si, done
        call    print
.wait:  mov     ecx, 50000              ; the host looks at the counters meanwhile
.spin:  in      al, 0x61
        loop    .spin
        jmp     .wait
done:   db      "done", 10, 0

print:  mov     dx, TEXT
.next:  mov     al, [cs:si]
        inc     si
        test    al, al
        jz      .end
        out     dx, al
        jmp     .next
.end:   ret

; ---- Posted OUTs, three times as many as the ring has room for, then read back ----

palette:
        mov     bl, 3
.round: OUTB    0x3c8, 0
        mov     dx, 0x3c9
        mov     cx, 768
.write: mov     al, cl
        add     al, bl
        and     al, 0x3f
        out     dx, al
        loop    .write
        dec     bl
        jnz     .round
        OUTB    0x3c7, 0
        mov     dx, 0x3c9
        mov     cx, 768
.read:  in      al, dx
        mov     ah, cl
        inc     ah
        and     ah, 0x3f
        cmp     al, ah
        loope   .read
        ret

; ---- Posted OUTs that say where posted writes to memory go ----

graphics:
        OUTB    0x3c2, 0x63             ; the memory answers
        OUTW    0x3c4, 0x0604           ; planes one by one, all memory
        OUTW    0x3ce, 0x0001           ; no set/reset
        OUTW    0x3ce, 0x0003           ; no function
        OUTW    0x3ce, 0x0005           ; write mode 0, read mode 0
        OUTW    0x3ce, 0x0506           ; graphics at A0000h
        OUTW    0x3ce, 0xff08           ; all bits
        OUTW    0x3c4, 0x0f02           ; all planes
        ret

planes: call    graphics
        push    word 0xa000
        pop     es
        mov     di, 100
        mov     cx, 4
        mov     bl, 0x11
        mov     ah, 1
.write: push    ax
        mov     al, 2
        mov     dx, 0x3c4
        out     dx, ax                  ; map mask
        mov     [es:di], bl
        pop     ax
        shl     bl, 1
        shl     ah, 1
        loop    .write
        mov     bl, 0x11
        mov     cx, 4
        mov     ah, 0
.read:  mov     al, 4
        mov     dx, 0x3ce
        out     dx, ax                  ; read map
        cmp     [es:di], bl
        jne     .end
        shl     bl, 1
        inc     ah
        loop    .read
        cmp     al, al
.end:   push    word 0
        pop     es
        ret

; ---- 64 KiB of posted writes to memory, in 16 and 32 bits ----

window: call    graphics
        push    word 0xa000
        pop     es
        xor     di, di
.write: mov     eax, edi
        imul    eax, eax, 0x9e3779b1
        mov     [es:di], eax
        mov     [es:di + 4], ax
        shr     eax, 16
        mov     [es:di + 6], ax
        add     di, 8
        jnz     .write
.read:  movzx   edi, di
        mov     eax, edi
        imul    eax, eax, 0x9e3779b1
        cmp     [es:di], eax
        jne     .end
        cmp     [es:di + 4], eax
        jne     .end
        add     di, 8
        jnz     .read
        cmp     al, al
.end:   push    word 0
        pop     es
        ret

; ---- The next instruction sees what a fast OUT did to A20 ----

kbc_ready:
        in      al, 0x64
        test    al, 2
        jnz     kbc_ready
        ret

set_a20:                                ; bl: the keyboard controller's output port
        call    kbc_ready
        OUTB    0x64, 0xd1
        call    kbc_ready
        mov     ax, 0xffff
        mov     es, ax
        mov     al, bl
        out     0x60, al
        mov     eax, [es:0x510]         ; 100500h, or 500h
        ret

a20:    mov     bl, 0xdf
        call    set_a20
        mov     dword [0x500], 0x12345678
        mov     dword [es:0x510], 0x9abcdef0
        mov     bl, 0xdd
        call    set_a20
        push    eax
        mov     bl, 0xdf
        call    set_a20
        pop     ecx
        push    word 0
        pop     es
        cmp     ecx, 0x12345678
        jne     .end
        cmp     eax, 0x9abcdef0
.end:   ret

; ---- Interrupts arrive while the guest does nothing but fast accesses, and are acknowledged ----

interrupts:
        mov     word [0x20 * 4], tick
        mov     word [0x20 * 4 + 2], cs
        mov     dword [0x600], 0
        OUTB    0x20, 0x11
        OUTB    0x21, 0x20
        OUTB    0x21, 0x04
        OUTB    0x21, 0x01
        OUTB    0x21, 0xfe
        OUTB    0x43, 0x34
        OUTB    0x40, 0xa9              ; 1193: 1 kHz
        OUTB    0x40, 0x04
        rdtsc
        mov     edi, eax
        sti
.spin:  in      al, 0x61
        rdtsc
        sub     eax, edi
        cmp     eax, 2000000000         ; ns
        ja      .end
        cmp     dword [0x600], 100
        jb      .spin
        cli
        cmp     eax, 60000000           ; 100 ms, less what was caught up at the start
        jb      .end
        OUTB    0x21, 0xff
        cmp     al, al
.end:   cli
        ret

tick:   push    ax
        inc     dword [0x600]
        mov     al, 0x20
        out     0x20, al
        pop     ax
        iret

; ---- REP INSW and OUTSW: 16 sectors from block 0, back to block 16 ----

pci:    mov     eax, ebx                ; ebx: address, ecx: value of 32 bits
        mov     dx, 0xcf8
        out     dx, eax                 ; posted
        mov     eax, ecx
        mov     dx, 0xcfc
        out     dx, eax                 ; leaves the guest
        ret

command:                                ; al: command, bl: first sector
        mov     bh, al
        mov     dx, 0x3f6
        mov     al, 2                   ; no interrupts
        out     dx, al
        OUTB    0x1f6, 0xe0
        OUTB    0x1f2, 16
        OUTB    0x1f3, bl
        OUTB    0x1f4, 0
        OUTB    0x1f5, 0
        OUTB    0x1f7, bh
        ret

ready:  mov     dx, 0x1f7
.again: in      al, dx
        test    al, 0x80
        jnz     .again
        and     al, 0x09
        ret

disk:   mov     ebx, 0x80003940
        mov     ecx, 0x80008000         ; IDETIM: both channels answer
        call    pci
        mov     ebx, 0x80003904
        mov     ecx, 5
        call    pci
        mov     al, 0x20
        mov     bl, 0
        call    command
        mov     di, 0x1000
        mov     bp, 16
.in:    call    ready
        cmp     al, 8
        jne     .end
        mov     dx, 0x1f0
        mov     cx, 256
        rep     insw
        dec     bp
        jnz     .in
        mov     al, 0x30
        mov     bl, 16
        call    command
        mov     si, 0x1000
        mov     bp, 16
.out:   call    ready
        cmp     al, 8
        jne     .end
        mov     dx, 0x1f0
        mov     cx, 256
        rep     outsw
        dec     bp
        jnz     .out
        call    ready
        cmp     al, 0
        jne     .end
        cmp     di, 0x3000
.end:   ret

; ---- The machine answers the additions ----

additions:
        mov     word [6 * 4], .invalid
        mov     word [6 * 4 + 2], cs
        mov     bp, sp
        xor     ecx, ecx
        vmgetinfo
        jc      .failed
        cmp     eax, INFO_SIGNATURE
        jne     .end
        mov     ecx, INFO_RAM
        vmgetinfo
        cmp     eax, 4 << 20
        jne     .end
        mov     ecx, INFO_VIRTUAL_TIME
        vmgetinfo
        jc      .failed
        mov     esi, eax
        mov     edi, edx
        vmsplaf
        vmgetinfo
        sub     eax, esi
        sbb     edx, edi
        jc      .failed                 ; time went back
        cmp     edx, 0
        jne     .end
        mov     ecx, 0x12345
        mov     eax, 0x1111
        vmgetinfo
        jnc     .failed
        cmp     eax, 0x1111
.end:   ret
.invalid:
        mov     sp, bp
.failed:
        or      sp, sp                  ; ZF = 0
        ret

        times   0xfff0 - ($ - $$) db 0
        jmp     0xf000:begin
        times   0x10000 - ($ - $$) db 0
