; SPDX-License-Identifier: LGPL-2.1-or-later
;
; The programs of system-test.c.  They are data here: the test copies each into guest memory.
;
;   monitor   at 4000h: the handlers of protected mode.  Stub n is at 4000h + n * 16.
;   others    at 8000h, entered there; AT (label) is a label's guest address.
;
; A program keeps a log of pairs (tag, value) that the test compares with what it expects:
;   1000h + vector, error code (0 if none)     a fault, a trap or INT n; after 100Eh also
;   2000h, CR2                                  and after 1001h
;   3000h, DR6
;   anything below: LOG tag, value
; A fault continues at RESUME; INT 30h, and any fault in v86 mode, at KERNEL in ring 0.

%define LOG_POINTER 0x0ff0
%define RESUME      0x0ff4
%define KERNEL      0x0ff8

%macro PROGRAM 2
%define ORIGIN %2
%define FIRST guest_%1
        align   16
        global  guest_%1, guest_%1_end
guest_%1:
%endmacro

%define AT(label) ((label) - FIRST + ORIGIN)

; LOG tag, value: eax and ebx are lost
%macro LOG 2
        mov     eax, %2
        mov     ebx, [LOG_POINTER]
        mov     dword [ebx], %1
        mov     [ebx + 4], eax
        add     dword [LOG_POINTER], 8
%endmacro

; FAULT instruction: goes on after it, whatever happens
%macro FAULT 1+
        mov     dword [RESUME], AT (%%next)
        %1
%%next:
%endmacro

%macro SEGMENT 2
        mov     ax, %2
        mov     %1, ax
%endmacro

; Ring 3 at a label, with a stack at 7800h
%macro USER 1
        push    dword 0x23
        push    dword 0x7800
        push    dword 0x202
        push    dword 0x1b
        push    dword AT (%1)
        iretd
%endmacro

section .data

; ---- Handlers ----

PROGRAM monitor, 0x4000
bits 32
%assign n 0
%rep 64
        align   16
%if n != 8 && n != 10 && n != 11 && n != 12 && n != 13 && n != 14 && n != 17
        push    byte 0
%endif
        push    byte n
        jmp     near monitor_common
%assign n n + 1
%endrep
        align   16
monitor_common:                         ; vector, error, eip, cs, eflags ...
        pushad
        push    ds
        SEGMENT ds, 0x10
        mov     ebx, [LOG_POINTER]
        mov     eax, [esp + 36]
        lea     ecx, [eax + 0x1000]
        mov     [ebx], ecx
        mov     ecx, [esp + 40]
        mov     [ebx + 4], ecx
        add     ebx, 8
        cmp     eax, 14
        jne     .not_page
        mov     dword [ebx], 0x2000
        mov     ecx, cr2
        mov     [ebx + 4], ecx
        add     ebx, 8
.not_page:
        cmp     eax, 1
        jne     .not_debug
        mov     dword [ebx], 0x3000
        mov     ecx, dr6
        mov     [ebx + 4], ecx
        add     ebx, 8
        xor     ecx, ecx
        mov     dr6, ecx
        or      dword [esp + 52], 0x10000 ; RF
        mov     [LOG_POINTER], ebx
        jmp     .back
.not_debug:
        mov     [LOG_POINTER], ebx
        cmp     eax, 0x30
        je      .kernel
        test    dword [esp + 52], 0x20000
        jnz     .kernel
        cmp     eax, 0x20
        jae     .back
        mov     eax, [RESUME]
        mov     [esp + 44], eax
.back:
        pop     ds
        popad
        add     esp, 8
        iretd
.kernel:
        SEGMENT es, 0x10
        SEGMENT fs, 0x10
        SEGMENT gs, 0x10
        mov     esp, 0x7000
        jmp     [KERNEL]
guest_monitor_end:

; ---- Segments ----

PROGRAM segments, 0x8000
bits 32
        SEGMENT fs, 0x30                ; limit FFFh
        FAULT   mov eax, [fs:0x1000]
        FAULT   mov eax, [fs:0xffe]
        mov     eax, [fs:0xffc]
        mov     ax, 0x38
        FAULT   mov ds, ax
        FAULT   mov ss, ax
        mov     ax, 0x200
        FAULT   mov es, ax
        xor     ax, ax
        FAULT   mov ss, ax
        mov     gs, ax
        FAULT   mov eax, [gs:0]
        SEGMENT fs, 0x58                ; expand-down, above FFFh
        FAULT   mov eax, [fs:0xffd]
        mov     eax, [fs:0x1000]
        SEGMENT fs, 0x60                ; read-only
        FAULT   mov [fs:0], eax
        FAULT   mov [cs:0], eax
        FAULT   ud2
        FAULT   int 0x50                ; outside the IDT
        mov     cx, 0x38
        FAULT   lar eax, ecx
        LOG     1, 0x38
        lar     eax, ecx
        mov     edx, eax
        LOG     2, edx
        mov     ecx, 0x30
        lsl     edx, ecx
        LOG     3, edx
        mov     ecx, 0x10
        lsl     edx, ecx
        LOG     4, edx
        mov     ecx, 0x60
        verw    cx
        setz    dl
        verr    cx
        setz    dh
        and     edx, 0xffff
        LOG     5, edx
        LOG     6, esp
        FAULT   jmp 0x10:0              ; data
        FAULT   jmp 0x08:0xffffffff     ; inside the limit: the fetch runs out of the segment
        hlt
guest_segments_end:

; ---- Rings and call gates ----

PROGRAM rings, 0x8000
bits 32
        mov     dword [KERNEL], AT (rings_kernel)
        USER    rings_user
rings_kernel:
        LOG     0x20, esp
        hlt
rings_user:
        SEGMENT ds, 0x23
        SEGMENT es, 0x23
        FAULT   cli
        FAULT   mov eax, cr0
        FAULT   in al, 0x60
        FAULT   hlt
        mov     ax, 0x10
        FAULT   mov ds, ax
        FAULT   int 0x31                ; gate of privilege 0
        FAULT   call 0x08:0
        push    dword 0x11111111
        push    dword 0x22222222
        call    0x48:0                  ; two parameters
        mov     ax, es
        movzx   edx, ax
        SEGMENT es, 0x23
        LOG     0x10, edx
        LOG     0x11, esp
        in      al, 0x64                ; the bitmap allows it
        int     0x30
        align   16
rings_gate:                             ; 9000h
        times 0x1000 - ($ - FIRST) nop
        mov     ecx, [esp + 8]
        mov     edx, [esp + 12]
        SEGMENT ds, 0x10
        SEGMENT es, 0x10
        LOG     0x12, ecx
        LOG     0x13, edx
        mov     edx, [esp + 16]
        LOG     0x14, edx
        LOG     0x15, esp
        mov     ax, 0x23
        mov     ds, ax
        retf    8
guest_rings_end:

; ---- Paging: tables at 100000h, see system-test.c ----

PROGRAM paging, 0x8000
bits 32
        mov     dword [KERNEL], AT (paging_kernel)
        mov     eax, 0x100000
        mov     cr3, eax
        mov     eax, 0x10               ; PSE
        mov     cr4, eax
        mov     eax, cr0
        or      eax, 0x80010000         ; PG, WP
        mov     cr0, eax
        FAULT   mov eax, [0x200000]     ; not present
        FAULT   mov [0x201000], eax     ; read-only
        mov     eax, [0x201000]
        mov     ecx, 0x55667788
        FAULT   mov [0x203ffe], ecx     ; the second page is not present
        FAULT   add [0x203ffe], ecx
        movzx   edx, word [0x203ffe]
        LOG     0x30, edx
        FAULT   push dword [0x200000]
        LOG     0x31, esp
        mov     edx, [0x400004]         ; a large page
        LOG     0x32, edx
        FAULT   mov eax, [0x800000]     ; reserved bit in a large entry
        mov     edx, [0x205000]
        LOG     0x33, edx
        mov     eax, [0x101000 + 0x206 * 4]
        mov     [0x101000 + 0x205 * 4], eax
        invlpg  [0x205000]
        mov     edx, [0x205000]
        LOG     0x34, edx
        mov     eax, cr0
        and     eax, ~0x10000
        mov     cr0, eax
        mov     dword [0x201000], 0x77  ; WP off: allowed
        USER    paging_user
paging_user:
        SEGMENT ds, 0x23
        mov     eax, [0x207000]         ; user, read-only
        FAULT   mov [0x207000], eax
        FAULT   mov eax, [0x203000]     ; supervisor
        FAULT   mov [0x203000], eax
        int     0x30
paging_kernel:
        hlt
guest_paging_end:

PROGRAM pae, 0x8000
bits 32
        mov     eax, 0x20               ; PAE
        mov     cr4, eax
        mov     eax, 0x110020           ; a table with a reserved bit
        mov     cr3, eax
        mov     ecx, cr0
        or      ecx, 0x80010000
        FAULT   mov cr0, ecx
        mov     eax, 0x110000
        mov     cr3, eax
        mov     cr0, ecx
        FAULT   mov eax, [0x200000]
        FAULT   mov eax, [0x201000]     ; bit 63
        mov     edx, [0x400008]         ; 2 MiB page
        LOG     0x40, edx
        FAULT   mov eax, [0x40000000]   ; no directory
        mov     dword [0x203000], 1
        FAULT   mov [0x203ffe], eax
        hlt
guest_pae_end:

; ---- Tasks ----

PROGRAM tasks, 0x8000
bits 32
        jmp     0x50:0                  ; task B, by JMP
        LOG     0x50, 0
        call    0x50:0                  ; task B goes on, by CALL
        LOG     0x51, 0
        pushfd
        pop     edx
        and     edx, 0x4000
        LOG     0x52, edx
        call    0x80:0                  ; by task gate
        int     0x32                    ; the same
        FAULT   jmp 0x28:0              ; busy: this one
        FAULT   jmp 0x38:0
        mov     eax, cr0
        and     eax, 8
        mov     edx, eax
        LOG     0x53, edx
        clts
        jmp     0x78:0                  ; 16-bit task
        LOG     0x54, ebp
        hlt
tasks_b:                                ; 8800h
        times 0x800 - ($ - FIRST) nop
        str     dx
        movzx   edx, dx
        LOG     0x60, edx
        LOG     0x61, ecx
        jmp     0x28:0
.again:
        pushfd
        pop     edx
        and     edx, 0x4000
        LOG     0x62, edx
        movzx   edx, word [0x3200]
        LOG     0x63, edx
        iretd
        jmp     .again
        times 0x900 - ($ - FIRST) nop
bits 16                                 ; 8900h
        mov     bp, 0x1234
        jmp     0x28:0
guest_tasks_end:

; ---- Virtual 8086 mode; the program for it is at 9000h, segment 0 ----

%macro V86 3                            ; entry, EFLAGS, where to come back to
        mov     dword [KERNEL], AT (%3)
        push    dword 0x7777            ; GS FS DS ES
        push    dword 0x6666
        push    dword 0
        push    dword 0
        push    dword 0                 ; SS:SP
        push    dword 0x7f00
        push    dword %2 | 0x20002
        push    dword 0
        push    dword AT (%1)
        iretd
%endmacro

PROGRAM v86, 0x8000
bits 32
        V86     v86_int, 0, .next1
.next1:
        V86     v86_iopl3, 0x3000, .next2
.next2:
        mov     eax, 1                  ; VME
        mov     cr4, eax
        V86     v86_vme, 0, .next3
.next3:
        V86     v86_pushf, 0x80000, .next4
.next4:
        V86     v86_map, 0, .next5
.next5:
        V86     v86_gs, 0, .next6
.next6:
        LOG     0x70, esp
        hlt
bits 16
v86_int:
        mov     ax, 0x1234
        mov     [0x500], ax
        int     0x21                    ; IOPL 0: #GP
v86_iopl3:
        cli
        int     0x22                    ; through its gate, of privilege 3
v86_vme:
        xor     cx, cx
        int     0x21                    ; redirected: 0000:9000
        mov     [0x508], cx
        sti                             ; sets VIF
        pushf
        pop     word [0x50a]
        cli
        pushf
        pop     word [0x50c]
        mov     ax, 0x7000
        push    ax
        popf                            ; NT, IOPL do not matter
        int3                            ; never redirected
v86_pushf:
        int     0x21
        hlt
v86_map:
        int     0x23                    ; its bit is set: #GP
v86_gs:
        mov     ax, gs
        mov     [0x50e], ax
        mov     bx, 0xffff
        mov     ax, [bx]                ; beyond FFFFh: #GP(0)
        times 0x1000 - ($ - FIRST) nop
        inc     cx                      ; 9000h: the program's own handler of 21h
        push    bp
        mov     bp, sp
        mov     ax, [bp + 6]
        mov     [0x506], ax
        pop     bp
        iret
guest_v86_end:

; ---- Debug registers ----

PROGRAM debug, 0x8000
bits 32
        pushfd                          ; single step over one instruction
        or      dword [esp], 0x100
        popfd
        nop
        pushfd
        and     dword [esp], ~0x100
        popfd
        LOG     0x80, 0
        mov     eax, 0x500              ; data: four bytes, writes
        mov     dr0, eax
        mov     eax, 0x502              ; data: one byte, reads and writes
        mov     dr1, eax
        mov     eax, AT (.code)
        mov     dr2, eax
        mov     eax, 0x60
        mov     dr3, eax
        mov     eax, 8                  ; DE
        mov     cr4, eax
        mov     eax, 0x003d0455 | 2 << 28
        mov     dr7, eax
        mov     eax, [0x500]            ; touches 502h
        mov     byte [0x501], 1
        mov     byte [0x504], 1         ; neither
        mov     eax, [0x4fc]
.code:  nop
        in      al, 0x60
        mov     ax, ss
        mov     ss, ax                  ; holds the trap off ...
        mov     byte [0x500], 2         ; ... no longer than this
        xor     eax, eax
        mov     dr7, eax
        FAULT   mov eax, dr4            ; DE: #UD
        mov     eax, 0x2400             ; GD
        mov     dr7, eax
        mov     eax, dr0
        LOG     0x81, 0
        hlt
guest_debug_end:

; ---- Real mode ----

PROGRAM real, 0x8000
bits 16
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        in      al, 0x60
        mov     [0x500], al
        mov     dx, 0x71
        in      eax, dx
        mov     [0x504], eax
        mov     dx, 0xe9
        mov     al, 'x'
        out     dx, al
        mov     di, 0x600               ; block input, in pieces
        mov     cx, 5
        mov     dx, 0x170
        rep insw
        mov     [0x508], cx
        mov     [0x50a], di
        mov     si, 0x600
        mov     cx, 10
        mov     dx, 0xe9
        rep outsb
        int     0x40
        mov     word [0x50c], 1
        xor     cx, cx
        div     cl                      ; #DE: the handler of vector 0 skips it
        sti
        hlt                             ; the interrupt's handler increments 50Eh
        mov     word [0x510], 1
        cli
        hlt
        times 0x100 - ($ - FIRST) nop
        inc     word [0x512]            ; 8100h: INT 40h
        iret
        times 0x110 - ($ - FIRST) nop
        push    bp                      ; 8110h: #DE
        mov     bp, sp
        add     word [bp + 2], 2
        pop     bp
        inc     word [0x514]
        iret
        times 0x120 - ($ - FIRST) nop
        inc     word [0x50e]            ; 8120h: the interrupt
        iret
guest_real_end:

; MMIO: dwords across its borders
PROGRAM mmio, 0x8000
bits 32
        mov     eax, [0xe0000001]
        mov     [0xe0000ffe], eax
        mov     esi, 0xe0000010
        mov     edi, 0x600
        mov     ecx, 4
        rep movsd
        add     dword [0xe0000020], 5
        hlt
guest_mmio_end:

; System management: at 38000h first, moves to A0000h; then at A8000h
PROGRAM smi, 0x8000
bits 16
        mov     dword [cs:0xfef8], 0xa0000
        inc     dword [0x520]
        mov     eax, cr0
        mov     [0x528], eax
        rsm
guest_smi_end:

PROGRAM smi_moved, 0x8000
bits 16
        inc     dword [0x524]
        mov     eax, [cs:0xfefc]
        mov     [0x52c], eax
        mov     dword [dword 0x110000], 0x5a5a ; A20 is not masked here
        rsm
guest_smi_moved_end:

PROGRAM sleeper, 0x8000
bits 32
.loop:
        inc     dword [0x530]
        hlt
        jmp     .loop
guest_sleeper_end:

PROGRAM spin, 0x8000
bits 32
        xor     ecx, ecx
.loop:
        inc     ecx
        mov     [0x110000], ecx
        out     0x92, al
        jmp     .loop
guest_spin_end:

; Gates 6, 13 and 20h are not present
PROGRAM doubles, 0x8000
bits 32
        xor     ax, ax
        mov     fs, ax
        FAULT   ud2                     ; #NP, with EXT
        FAULT   int 0x20                ; #NP, without
        FAULT   mov eax, [fs:0]         ; #GP, then #NP: #DF
        FAULT   mov eax, [fs:0]
        hlt
guest_doubles_end:

; SYSENTER and SYSEXIT; alignment
PROGRAM fast, 0x8000
bits 32
        mov     dword [KERNEL], AT (.done)
        FAULT   sysenter                ; no target yet
        mov     ecx, 0x174
        mov     eax, 0x08
        xor     edx, edx
        wrmsr
        inc     ecx
        mov     eax, 0x6800
        wrmsr
        inc     ecx
        mov     eax, AT (.entry)
        wrmsr
        mov     eax, cr0
        or      eax, 0x40000            ; AM
        mov     cr0, eax
        mov     eax, [0x501]            ; ring 0: no check
        USER    .user
.user:  SEGMENT ds, 0x23
        FAULT   sysexit
        sysenter
.back:  mov     edx, cs
        LOG     0x92, edx
        mov     edx, ss
        LOG     0x93, edx
        LOG     0x94, esp
        pushfd
        or      dword [esp], 0x40000    ; AC
        popfd
        mov     eax, [0x504]
        FAULT   mov eax, [0x501]
        FAULT   mov [0x503], ax
        mov     al, [0x503]
        int     0x30
.entry: SEGMENT ds, 0x10
        mov     edx, cs
        LOG     0x90, edx
        LOG     0x91, esp
        SEGMENT ds, 0x23
        mov     edx, AT (.back)
        mov     ecx, 0x7700
        sysexit
.done:  hlt
guest_fast_end:

; Ring 3 with paging; tables as for `paging`
PROGRAM user_spin, 0x8000
bits 32
        mov     eax, 0x100000
        mov     cr3, eax
        mov     eax, 0x90               ; PSE, PGE
        mov     cr4, eax
        mov     eax, cr0
        or      eax, 0x80010000
        mov     cr0, eax
        USER    .user
.user:  SEGMENT ds, 0x23
        mov     edx, 0x55aa
.loop:  inc     edx
        jmp     .loop
guest_user_spin_end:

; NMIs: the handler counts and says how often it was entered before its IRET
PROGRAM nmi, 0x8000
bits 16
        inc     word [0x550]
        out     0x92, al                ; the next one comes here
        out     0x92, al
        mov     ax, [0x550]
        mov     [0x552], ax
        iret
guest_nmi_end:

PROGRAM triple, 0x8000
bits 32
        lidt    [0x540]
        ud2
guest_triple_end:

section .note.GNU-stack noalloc noexec nowrite progbits
