; SPDX-License-Identifier: LGPL-2.1-or-later
;
; Self-modifying programs for smc-test: 32-bit code at BASE, CPL 0, flat segments.  Each ends with HLT
; and its result in EAX.  The table in front gives their names and offsets.

%define BASE 0x100000
%define at(label) (BASE + label - smc_programs)

section .note.GNU-stack noalloc noexec nowrite progbits
section .rodata
global smc_programs, smc_programs_end
bits 32

%macro program 2
  db %2
  times 44 - %strlen(%2) db 0
  dd %1 - smc_programs
%endmacro

smc_programs:
  program next, "next instruction"
  program itself, "instruction itself"
  program loops, "loop body"
  program rep_over, "rep stosb over what follows"
  program rep_itself, "rep movsb over itself"
  program beside, "data beside code"
  program beside_remap, "data beside code, another page"
  program across, "second page of an instruction"
  program alias, "through another address"
  program remap, "another page by INVLPG"
  program remap_cr3, "another page by CR3"
  program push_over, "push over what follows"
  program many, "many blocks"
  times 48 db 0

; The instruction after the store is in the same block.
next:
  mov byte [at (.patch) + 1], 7
.patch:
  mov eax, 1
  hlt

; The store overwrites its own bytes; it was fetched before.
itself:
  mov ecx, 0x90909090
.again:
  mov [at (.again)], ecx        ; 6 bytes: becomes 4 NOPs and 2 bytes of address
  mov eax, 7
  hlt

; 100 times another increment.
loops:
  xor eax, eax
  mov ecx, 100
.again:
  mov [at (.add) + 2], cl
.add:
  add eax, byte 0
  loop .again
  sub eax, 5050 - 7
  hlt

rep_over:
  mov edi, at (.patch)
  mov ecx, 4
  mov al, 0x40                  ; INC EAX
  rep stosb
.patch:
  hlt
  hlt
  hlt
  hlt
  sub eax, 0x44 - 7
  movzx eax, al
  hlt

; Overwrites the REP MOVSB by NOPs while it runs, then goes on behind it.
rep_itself:
  mov esi, at (.nops)
  mov edi, at (.rep) - 4
  mov ecx, 12
  jmp .rep
  times 8 nop
.rep:
  rep movsb
  times 6 nop
  mov eax, ecx                  ; the repeat was fetched anew after some items: ECX tells
  cmp eax, 12
  jae .wrong
  mov eax, 7
.wrong:
  hlt
.nops:
  times 16 nop

; A counter in the page of the loop, but on no line of it.
beside:
  mov ecx, 100000
.again:
  inc dword [at (.counter)]
  dec ecx
  jnz .again
  mov eax, [at (.counter)]
  sub eax, 100000 - 7
  hlt
  align 64
.counter:
  dd 0
  align 64

; Stores beside code on page 400000, which then becomes page 600000: what is known of the old one must go.
beside_remap:
  mov dword [0x400000], 0xc301b0
  mov dword [0x600800], 0
  mov ebx, 0x400000
  call ebx
  mov dword [0x400800], 1
  add dword [0x400800], 1
  mov ecx, [0x11000 + 0x600 * 4]
  xchg ecx, [0x11000 + 0x400 * 4]
  invlpg [0x400000]
  add dword [0x400800], 5
  mov [0x11000 + 0x400 * 4], ecx
  invlpg [0x400000]
  mov eax, [0x400800]           ; 2
  add eax, [0x600800]           ; 5
  hlt

; An ADD EAX, imm32 that ends on the next page, whose immediate there is changed.
across:
  mov ebx, BASE + 0x8000 - 3
  mov dword [ebx], 0x00000005
  mov dword [ebx + 4], 0xc300   ; 05 00 00 00 | 00 C3: ADD EAX, 0; RET
  xor eax, eax
  call ebx
  mov byte [ebx + 3], 1         ; now 0x10000
  call ebx
  sub eax, 0x40000
  mov byte [ebx + 3], 4
  call ebx
  sub eax, 0x10000 - 7
  hlt

; Pages 400000 and 500000 are the same memory.
alias:
  mov dword [0x400000], 0xc301b0 ; MOV AL, 1; RET
  mov ebx, 0x400000
  xor eax, eax
  call ebx
  mov byte [0x500001], 7
  call ebx
  hlt

; The linear page 400000 gets other memory (page tables at 11000).
remap:
  mov dword [0x400000], 0xc301b0
  mov dword [0x600000], 0xc307b0
  mov ebx, 0x400000
  xor eax, eax
  call ebx
  mov ecx, [0x11000 + 0x600 * 4]
  mov [0x11000 + 0x400 * 4], ecx
  invlpg [0x400000]
  call ebx
  hlt

remap_cr3:
  mov dword [0x400000], 0xc301b0
  mov dword [0x600000], 0xc307b0
  mov ebx, 0x400000
  xor eax, eax
  call ebx
  mov ecx, [0x11000 + 0x600 * 4]
  mov [0x11000 + 0x400 * 4], ecx
  mov ecx, cr3
  mov cr3, ecx
  call ebx
  hlt

; PUSH writes the next instruction.
push_over:
  mov edx, esp
  mov esp, at (.patch) + 5
  jmp .push
  align 16
.push:
  push dword 0x00000007
.patch:
  mov eax, 0x01010101
  mov esp, edx
  hlt

; A million blocks of one instruction: the cache must be emptied more than once.
many:
  mov edi, 0x800000
  mov ecx, 1000000
  mov ax, 0x00eb                ; JMP to the next
  rep stosw
  mov byte [edi], 0xc3
  mov ebx, 0x800000
  mov eax, 7
  call ebx
  hlt
smc_programs_end:
