; SPDX-License-Identifier: LGPL-2.1-or-later
;
; Programs for paths-test: what the translator does without a handler, and where it must not.  Each
; begins in protected mode at privilege 0, with flat segments, and ends with HLT there.
;
; SUM is a checksum of all that a program NOTEs: values, and the vector, error code and flags of each
; fault, after which it goes on at [RESUME].  What it has to be was found with an interpreter that knew
; none of the short ways.  EAX at the end is what the program counted by itself.

%define BASE   0x8000
%define SUM    0x7000
%define RESUME 0x7004
%define KERNEL 0x7008           ; where INT 30h goes on, at privilege 0
%define STEPS  0x700c           ; #DB so far
%define GDT    0x1000
%define GDT2   0x1400
%define DATA   0x180000         ; dword n holds n
%define at(label) (BASE + label - path_programs)

section .note.GNU-stack noalloc noexec nowrite progbits
section .rodata
global path_programs, path_programs_end
bits 32

%macro program 4                ; entry, name, expected EAX and checksum
  db %2
  times 48 - %strlen(%2) db 0
  dd %1 - path_programs, %3, %4
%endmacro

; EAX and flags stay.
%macro NOTE 1
  push eax
  mov eax, %1
  call note
  pop eax
%endmacro

; Goes on behind it, whatever happens.
%macro FAULT 1+
  mov dword [RESUME], at (%%next)
  %1
%%next:
%endmacro

; To privilege 3, with these flags; and back by INT 30h.
%macro USER 2
  mov dword [KERNEL], at (%%back)
  push dword 0x23
  push dword 0x6000
  push dword %2
  push dword 0x1b
  push dword at (%1)
  iretd
%%back:
%endmacro

path_programs:
  dd fault_entry - path_programs
  program rewritten, "a descriptor changes between two loads", 40, 0x9363a276
  program moved, "another GDT", 40, 0xcb607390
  program nulls, "null selectors", 20, 0x93693218
  program rights, "selectors at two privileges", 20, 0x6fe908b0
  program aligned, "POPF turns alignment checks on", 20, 0xf33c8c14
  program flags, "POPF at privilege 0", 200, 0xe2fbffc8
  program user_flags, "POPF, CLI, STI at privilege 3", 200, 0xabceb3a2
  program verified, "VERR and VERW", 0x40, 0x87591580
  program returns, "IRET to outer levels and bad segments", 20, 0x0407e354
  program fast, "SYSENTER and SYSEXIT", 40, 0x0d7f0ab0
  program stepped, "single steps", 16 * 20, 0x0937a1e0
  program transfers, "far calls, jumps, interrupts", 60, 0x23037f58
  program paged, "loads of CR3, global pages, code elsewhere", 40, 0x05bda180
  program real, "real mode", 40, 0x7becb0f4
  program virtual, "v86 mode", 20, 0x2ab1d061
  times 60 db 0

; Each vector n: push error code if there is none; push n; jump here.
fault_entry:
  push ds
  push eax
  mov ax, 0x10
  mov ds, ax
  mov eax, [esp + 8]            ; vector
  call note
  cmp eax, 0x30
  je .kernel
  cmp eax, 1
  je .step
  mov eax, [esp + 12]           ; error
  call note
  mov eax, [esp + 24]           ; flags
  and eax, 0x3f7fd7 & ~0x8d5
  call note
  test dword [esp + 24], 0x20000
  jnz .kernel
  cmp dword [esp + 8], 0x20
  jae .back
  mov eax, [RESUME]
  mov [esp + 16], eax
.back:
  pop eax
  pop ds
  add esp, 8
  iretd
.step:
  inc dword [STEPS]
  mov eax, [esp + 16]           ; where
  call note
  mov eax, dr6
  call note
  xor eax, eax
  mov dr6, eax
  jmp .back
.kernel:
  mov ax, 0x10
  mov es, ax
  mov fs, ax
  mov gs, ax
  pop eax
  mov esp, 0x6800
  jmp [KERNEL]

note:
  pushfd
  push edx
  mov edx, [SUM]
  imul edx, edx, 0x1000193
  add edx, eax
  mov [SUM], edx
  pop edx
  popfd
  ret

; edx = the next random number; ecx is its state
%macro RANDOM 0
  imul ecx, ecx, 1664525
  add ecx, 1013904223
  mov edx, ecx
  shr edx, 3
  xor edx, ecx
%endmacro

; ---- Segments ----

; 30h: DATA, limit FFFh, and its base and rights change in memory between loads.
rewritten:
  xor esi, esi
.again:
  mov ax, 0x30
  FAULT mov fs, ax
  NOTE [fs:0]
  add word [GDT + 0x32], 0x10
  FAULT mov fs, ax
  NOTE [fs:0]
  mov ds, ax                    ; the same selector in DS, which is not flat
  mov edi, [4]
  mov ax, 0x10
  mov ds, ax
  NOTE edi
  and byte [GDT + 0x35], ~1     ; accessed: to be set again
  mov ax, 0x30
  mov fs, ax
  movzx edi, byte [GDT + 0x35]
  NOTE edi
  mov eax, esi
  and eax, 7
  cmp eax, 3
  jne .present
  and byte [GDT + 0x35], ~0x80  ; not present
  mov ax, 0x30
  FAULT mov fs, ax
  NOTE [fs:0]                   ; still the old one
  or byte [GDT + 0x35], 0x80
.present:
  cmp eax, 5
  jne .limit
  mov word [GDT + 0x30], 3
  mov ax, 0x30
  mov gs, ax
  FAULT mov edi, [gs:4]
  mov word [GDT + 0x30], 0xfff
  FAULT mov edi, [gs:4]         ; the register has not heard of it
  mov gs, ax
  FAULT mov edi, [gs:4]
.limit:
  cmp eax, 6
  jne .type
  xor byte [GDT + 0x35], 8      ; code that may be read
  mov ax, 0x30
  FAULT mov fs, ax
  FAULT mov [fs:8], eax
  xor byte [GDT + 0x35], 8
.type:
  push fs
  pop gs
  push dword 0x30
  pop es
  mov edi, [es:8]
  NOTE edi
  push ds
  pop es
  inc esi
  cmp esi, 40
  jne .again
  mov eax, esi
  hlt

moved:
  xor esi, esi
.again:
  lgdt [at (.two)]
  mov ax, 0x30
  mov fs, ax
  NOTE [fs:0]
  lgdt [at (.one)]
  mov fs, ax
  NOTE [fs:0]
  lgdt [at (.short)]
  FAULT mov fs, ax
  NOTE [fs:0]
  verr ax
  pushfd
  pop edi
  and edi, 0x40
  NOTE edi
  lgdt [at (.one)]
  inc esi
  cmp esi, 40
  jne .again
  mov eax, esi
  hlt
.one: dw 0xff
  dd GDT
.two: dw 0xff
  dd GDT2
.short: dw 0x36
  dd GDT

nulls:
  xor esi, esi
.again:
  mov eax, esi
  and eax, 3
  mov fs, ax
  FAULT mov edi, [fs:0]
  mov edi, fs
  NOTE edi
  push eax
  pop gs
  mov edi, gs
  NOTE edi
  mov edx, 0x10
  mov ds, ax
  mov edi, ds
  mov ds, edx
  NOTE edi
  mov es, ax
  mov [0x7040], es
  movzx edi, word [0x7040]
  NOTE edi
  FAULT stosb
  FAULT mov ss, ax
  push edx
  pop es
  mov ax, 0x34                  ; LDT: there is none
  FAULT mov fs, ax
  mov ax, 0x3f0                 ; beyond the limit
  FAULT mov fs, ax
  mov ax, 8                     ; code
  FAULT mov es, ax
  mov es, dx
  inc esi
  cmp esi, 20
  jne .again
  mov eax, esi
  hlt

; What privilege 0 has loaded is not for privilege 3.
rights:
  xor esi, esi
.again:
  mov ax, 0x10
  mov fs, ax
  mov gs, ax
  mov ax, 0x20
  mov es, ax
  USER .user, 2
  inc esi
  cmp esi, 20
  jne .again
  mov eax, esi
  hlt
.user:
  mov ax, 0x23
  mov ds, ax
  mov edi, fs                   ; null, by IRET
  NOTE edi
  mov ax, 0x10
  FAULT mov fs, ax
  FAULT mov gs, ax
  mov ax, 0x20
  FAULT mov es, ax
  mov edi, es
  NOTE edi
  mov ax, 0x30
  FAULT mov es, ax
  mov ax, 0x5b                  ; privilege 3
  FAULT mov fs, ax
  mov edi, [fs:4]
  NOTE edi
  int 0x30

; ---- Flags ----

aligned:
  xor esi, esi
  mov eax, cr0
  or eax, 0x40000               ; AM
  mov cr0, eax
.again:
  USER .user, 0x3002
  inc esi
  cmp esi, 20
  jne .again
  mov eax, esi
  hlt
.user:
  mov ax, 0x23
  mov ds, ax
  mov es, ax
  FAULT mov edi, [0x7041]
  mov ebp, esi                  ; on every other time: the same code runs without
  and ebp, 1
  shl ebp, 18
  or ebp, 0x3002
  push ebp
  popfd
  FAULT mov edi, [0x7041]
  push dword 0x3002
  popfd
  FAULT mov edi, [0x7042]
  int 0x30

; All but TF, VM and RF.
%macro POP_RANDOM 0
  RANDOM
  and edx, ~0x30100
  push edx
  popfd
  pushfd
  pop edi
  push dword 2
  popfd
  NOTE edi
  RANDOM
  and dx, ~0x100
  push dx
  popfw
  pushfw
  pop di
  pushfd
  pop ebx
  push dword 2
  popfd
  NOTE edi
  NOTE ebx
%endmacro

flags:
  xor esi, esi
  mov ecx, 20040101
.again:
  POP_RANDOM
  sti
  nop
  pushfd
  cli
  pushfd
  pop edi
  pop ebx
  NOTE edi
  NOTE ebx
  mov eax, -1
  add eax, 1
  sti                           ; arithmetic flags live on
  cli
  pushfd
  pop edi
  NOTE edi
  setc al
  adc eax, 0
  NOTE eax
  inc esi
  cmp esi, 200
  jne .again
  mov eax, esi
  hlt

user_flags:
  xor esi, esi
  mov ecx, 20040102
.again:
  mov ebp, esi
  and ebp, 3
  shl ebp, 12
  or ebp, 2
  mov eax, cr4
  and eax, ~2
  test esi, 4
  jz .pvi
  or eax, 2                     ; PVI
.pvi:
  mov cr4, eax
  USER .user, ebp
  inc esi
  cmp esi, 200
  jne .again
  mov eax, esi
  hlt
.user:
  mov ax, 0x23
  mov ds, ax
  mov es, ax
  POP_RANDOM
  FAULT cli
  pushfd
  pop edi
  NOTE edi
  FAULT sti
  pushfd
  pop edi
  NOTE edi
  int 0x30

verified:
  xor esi, esi
.again:
  call .all
  USER .user, 2
  inc esi
  cmp esi, 0x40
  jne .again
  mov eax, esi
  hlt
.user:
  mov ax, 0x23
  mov ds, ax
  call .all
  int 0x30
.all:
  xor ebx, ebx
.each:
  mov [0x7040], ebx
  mov eax, ebx
  stc
  verr ax
  pushfd
  pop edi
  NOTE edi
  cmp esi, 0x20
  verw [0x7040]
  pushfd
  pop edi
  NOTE edi
  add ebx, 3
  cmp ebx, 0x80
  jb .each
  ret

; ---- Far transfers ----

%macro FRAME 5                  ; SS ESP EFLAGS CS EIP
  push dword %1
  push dword %2
  push dword %3
  push dword %4
  push dword %5
%endmacro

returns:
  xor esi, esi
.again:
  mov ebp, esp
  FRAME 0, 0x6000, 2, 0x1b, at (.user)
  FAULT iretd
  mov esp, ebp
  FRAME 0x20, 0x6000, 2, 0x1b, at (.user) ; RPL
  FAULT iretd
  mov esp, ebp
  FRAME 0x13, 0x6000, 2, 0x1b, at (.user) ; DPL
  FAULT iretd
  mov esp, ebp
  FRAME 0x4b, 0x6000, 2, 0x1b, at (.user) ; not present
  FAULT iretd
  mov esp, ebp
  FRAME 0x23, 0x6000, 2, 0x1a, at (.user)
  FAULT iretd
  mov esp, ebp
  FRAME 0x23, 0x6000, 2, 0, at (.user)
  FAULT iretd
  mov esp, ebp
  FRAME 0x23, 0x6000, 2, 0x13, at (.user) ; data
  FAULT iretd
  mov esp, ebp
  push dword 0x4002             ; NT: to the task of the link, which is none
  popfd
  FAULT iretd
  push dword 2
  popfd
  mov esp, ebp
  FRAME 0x23, 0x6000, 0x3f0202 & ~0x30000, 0x1b, at (.user)
  mov dword [KERNEL], at (.kernel)
  iretd
.user:
  mov ax, ds
  movzx edi, ax                 ; null: it was of privilege 0
  mov ax, 0x23
  mov ds, ax
  NOTE edi
  pushfd
  pop edi
  NOTE edi
  push dword 2
  popfd
  FRAME 0x23, 0x6000, 2, 8, at (.user)
  FAULT iretd                   ; inwards
  FRAME 0x23, 0x6000, 0x7202, 0x1b, at (.same)
  iretd
.same:
  pushfd
  pop edi
  NOTE edi
  mov edi, esp
  NOTE edi
  int 0x30
.kernel:
  inc esi
  cmp esi, 20
  jne .again
  mov eax, esi
  hlt

%macro MSR 2
  mov ecx, %1
  mov eax, %2
  xor edx, edx
  wrmsr
%endmacro

fast:
  xor esi, esi
  MSR 0x175, 0x5800
  MSR 0x176, at (.kernel)
.again:
  MSR 0x174, 8
  mov ebp, esi
  and ebp, 3
  shl ebp, 12
  or ebp, 0x202
  USER .user, ebp
  MSR 0x174, 0
  FAULT sysenter
  FAULT sysexit
  inc esi
  cmp esi, 40
  jne .again
  mov eax, esi
  hlt
.user:
  mov ax, 0x23
  mov ds, ax
  FAULT sysexit                 ; not at privilege 3
  mov ecx, esp
  mov edx, at (.back)
  cmp esi, 7
  sysenter
  ud2
.kernel:
  pushfd
  pop edi
  NOTE edi
  NOTE esp
  mov ebx, cs
  NOTE ebx
  mov ebx, ss
  NOTE ebx
  test esi, 1
  jz .exit
  sti
.exit:
  cmp esi, 9
  sysexit
  ud2
.back:
  pushfd
  pop edi
  NOTE edi
  NOTE esp
  mov ebx, cs
  NOTE ebx
  mov ebx, ss
  NOTE ebx
  int 0x30

; TF over each of them; DR6 and the place are noted by the handler.
stepped:
  xor esi, esi
  mov dword [STEPS], 0
  MSR 0x174, 8
  MSR 0x175, 0x5800
  MSR 0x176, at (.kernel)
.again:
  mov dx, 0x30
  mov bx, 0x10
  push dword 0x2
  push dword 0x102
  popfd
  mov fs, dx                    ; 1
  push fs                       ; 2
  pop gs                        ; 3
  mov edi, gs                   ; 4
  mov es, bx                    ; 5
  cli                           ; 6
  sti                           ; 7
  pushfd                        ; 8
  pop edi                       ; 9
  verr bx                       ; 10
  int 0x42                      ; none: it clears TF, and IRET sets it again ...
  nop                           ; 11
  popfd                         ; 12: TF was set when it began
  cli
  push dword 0x3102
  popfd
  nop                           ; 13
  sysenter                      ; 14: TF stays
.back:
  hlt
.kernel:
  push dword 2                  ; 15
  popfd                         ; 16
  add esp, 0
  mov esp, 0x6800
  mov eax, [STEPS]
  NOTE eax
  mov dword [RESUME], at (.next)
  ud2
.next:
  mov esp, 0x6800
  inc esi
  cmp esi, 20
  jne .again
  mov eax, [STEPS]
  hlt

transfers:
  xor esi, esi
.again:
  mov edi, esp
  call 0x08:at (.procedure)
  NOTE edi
  jmp 0x08:at (.there)
.procedure:
  mov edi, [esp + 4]
  NOTE edi
  retf
.there:
  push dword 8
  push dword at (.returned)
  retf
.returned:
  int 0x42
  FAULT int3
  stc
  int 0x42
  setc al
  movzx edi, al
  NOTE edi
  call dword far [at (.pointer)]
  jmp dword far [at (.pointer2)]
.pointer:
  dd at (.procedure)
  dw 8
.pointer2:
  dd at (.last)
  dw 8
.last:
  FAULT call 0x10:0
  FAULT call 0x48:0
  FAULT jmp 0x33:0
  NOTE esp
  inc esi
  cmp esi, 60
  jne .again
  mov eax, esi
  hlt

; ---- Address spaces ----

%macro SPACE 1
  mov eax, %1
  mov cr3, eax
%endmacro

; 200000h is other code in each of two spaces, 202000h the same; 201000h is data: global, not, again.
paged:
  mov edi, 0x101000             ; all as it is, in the first space
  mov eax, 3
  mov ecx, 1024
.fill:
  stosd
  add eax, 0x1000
  loop .fill
  mov esi, 0x101000
  mov edi, 0x103000             ; and in the second
  mov ecx, 1024
  rep movsd
  mov dword [0x100000], 0x101003
  mov dword [0x102000], 0x103003
  mov dword [0x101000 + 0x200 * 4], 0x210003
  mov dword [0x103000 + 0x200 * 4], 0x211003
  mov dword [0x210000], 0x000001b8 ; mov eax, 1; ret
  mov word [0x210004], 0xc300
  mov dword [0x211000], 0x000002b8
  mov word [0x211004], 0xc300
  mov dword [0x202000], 0x000003b8
  mov word [0x202004], 0xc300
  mov dword [0x213000], 0x213
  mov dword [0x214000], 0x214
  mov dword [0x215000], 0x215
  SPACE 0x100000
  mov eax, 0x80                 ; PGE
  mov cr4, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  xor esi, esi
.again:
  mov ebp, 0x200000
  mov ebx, 0x202000
  SPACE 0x102000
  mov edx, [ebp + 8]            ; read before it is executed
  call ebp
  NOTE eax
  call ebx
  NOTE eax
  SPACE 0x100000
  mov edx, [ebp + 8]
  call ebp
  NOTE eax
  call ebx
  NOTE eax
  mov dword [0x101000 + 0x201 * 4], 0x213103
  invlpg [0x201000]
  NOTE [0x201000]
  SPACE 0x100000
  NOTE [0x201000]
  mov dword [0x101000 + 0x201 * 4], 0x214003 ; no longer global
  invlpg [0x201000]
  NOTE [0x201000]
  mov dword [0x101000 + 0x201 * 4], 0x215003
  SPACE 0x100000
  NOTE [0x201000]
  mov dword [0x101000 + 0x201 * 4], 0x213103
  invlpg [0x201000]
  NOTE [0x201000]
  mov dword [0x101000 + 0x201 * 4], 0x214103
  SPACE 0x100000                ; may stay ...
  xor eax, eax
  mov cr4, eax                  ; ... but not over this
  NOTE [0x201000]
  mov eax, 0x80
  mov cr4, eax
  mov dword [0x101000 + 0x200 * 4], 0x211003 ; the other code, in this space
  SPACE 0x100000
  call ebp
  NOTE eax
  mov dword [0x101000 + 0x200 * 4], 0x210003
  invlpg [0x200000]
  call ebp
  NOTE eax
  inc esi
  cmp esi, 40
  jne .again
  mov eax, cr0
  and eax, 0x7fffffff
  mov cr0, eax
  mov eax, esi
  hlt

; ---- Real mode ----

real:
  mov ax, 0x30
  mov fs, ax                    ; keeps its limit of FFFh
  mov gs, bx
  lidt [at (.vectors)]
  jmp 0x38:at (.sixteen)
.vectors: dw 0x3ff
  dd 0
bits 16
.sixteen:
  mov ax, 0x40                  ; 64 KiB of 16 bits
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov eax, cr0
  and al, ~1
  mov cr0, eax
  jmp 0:at (.real)
.real:
  xor ax, ax
  mov ss, ax
  mov ds, ax
  mov sp, 0x5f00
  xor esi, esi
  mov ecx, 20040103
.again:
  RANDOM
  mov es, dx
  mov ax, es
  mov di, ax
  call .note
  push es
  pop fs
  mov ax, fs
  call .note
  mov eax, esi
  shl eax, 4
  mov ds, ax
  mov bx, [0x100]
  push cs
  pop ds
  mov ax, bx
  call .note
  RANDOM
  and dx, 0xefff & ~0x100
  push dx
  popf
  pushf
  pop ax
  call .note
  sti
  pushf
  cli
  pushf
  pop ax
  call .note
  pop ax
  call .note
  call 0:at (.procedure)
  int 0x43
  inc si
  cmp si, 40
  jne .again
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp dword 0x08:at (.protected)
.procedure:
  mov bp, sp
  mov ax, [bp]
  call .note
  retf
.note:
  push edx
  pushf
  mov edx, [SUM]
  imul edx, edx, 0x1000193
  movzx eax, ax
  add edx, eax
  mov [SUM], edx
  popf
  pop edx
  ret
real_interrupt:                 ; INT 43h
  push ax
  mov ax, 0x43
  call real.note
  pop ax
  iret
bits 32
real.protected:
  mov ax, 0x10
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov esp, 0x6800
  mov eax, esi
  hlt

; ---- v86 mode ----

virtual:
  xor esi, esi
.again:
  mov dword [KERNEL], at (.next)
  mov eax, esi
  and eax, 3
  shl eax, 12
  or eax, 0x20002
  push dword 0x100              ; GS FS DS ES
  push dword 0x200
  push dword 0
  push dword 0
  push dword 0                  ; SS:SP
  push dword 0x5f00
  push eax
  push dword 0
  push dword at (.virtual)
  iretd
.next:
  inc esi
  cmp esi, 20
  jne .again
  mov eax, esi
  hlt
bits 16
.virtual:
  mov ax, gs
  call real.note
  mov ax, 0x123
  mov es, ax
  push es
  pop fs
  mov bx, [fs:0x10]
  mov ax, bx
  call real_note_plain
  pushf                         ; #GP unless IOPL is 3
  pop ax
  call real.note
  push word 0x3202
  popf
  cli
  sti
  int 0x30
real_note_plain:                ; without PUSHF
  mov edx, [SUM]
  imul edx, edx, 0x1000193
  movzx eax, ax
  add edx, eax
  mov [SUM], edx
  ret
path_programs_end:

global path_real_interrupt
path_real_interrupt equ real_interrupt
