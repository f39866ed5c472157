; SPDX-License-Identifier: LGPL-2.1-or-later
;
; Self-modifying programs for smc-test, and returns that do not go where their calls came from: 32-bit
; code at BASE, CPL 0, flat segments.  Each ends with HLT and its result in EAX.  The table in front
; gives their names and offsets.

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
  program ret_changed, "return address changed by the callee"
  program ret_pop, "calls without returns"
  program ret_push, "returns without calls"
  program ret_switch, "returns on another stack"
  program ret_deep, "100,000 calls deep"
  program ret_flags, "flags across a return"
  program ret_rewritten, "return to code that was rewritten"
  program ret_remapped, "return to a page that was remapped"
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

; The callee goes back to the first, the second or the third place in turn.
ret_changed:
  xor eax, eax
  mov ecx, 3000
.again:
  call .callee
  add eax, 1
  jmp .next
  add eax, 100                  ; 5 bytes behind where the call ends
  jmp .next
  align 16
.callee:
  test ecx, 1
  jz .as_it_is
  add dword [esp], 5
.as_it_is:
  ret
  align 16
.next:
  dec ecx
  jnz .again
  sub eax, 1500 * 101 - 7
  hlt

; CALL to learn EIP, more often than any stack of returns is deep.
ret_pop:
  mov edx, esp
  mov ecx, 20000
.again:
  call .here
.here:
  pop eax
  call .there                   ; and those whose addresses stay on the stack
.there:
  dec ecx
  jnz .again
  sub edx, esp
  sub edx, 20000 * 4
  sub eax, at (.here) - 7
  add eax, edx
  lea esp, [esp + 20000 * 4]
  hlt

; PUSH and RET as a jump.
ret_push:
  mov ecx, 20000
  xor eax, eax
.again:
  push dword at (.odd)
  test ecx, 1
  jnz .go
  mov dword [esp], at (.even)
.go:
  ret
  hlt
.odd:
  inc eax
.even:
  inc eax
  dec ecx
  jnz .again
  sub eax, 30000 - 7
  hlt

; Two programs that give the processor to each other by changing ESP.
ret_switch:
  xor eax, eax
  mov ebx, 0x70000 - 4          ; where the other one's stack is
  mov dword [ebx], at (.other)
  mov ecx, 5000
.again:
  call .deeper
  dec ecx
  jnz .again
  sub eax, 14998 - 7
  hlt
.deeper:
  call .switch
  inc eax
  ret
.other:
  call .switch
  add eax, 2
  jmp .other
.switch:
  xchg esp, ebx
  ret

ret_deep:
  mov ecx, 100000
  xor eax, eax
  call .deeper
  sub eax, 100000 - 7
  hlt
.deeper:
  dec ecx
  jz .out
  call .deeper
.out:
  inc eax
  ret

; The carry is the callee's answer, also where it goes back to another place.
ret_flags:
  xor eax, eax
  mov ecx, 1000
.again:
  clc
  call .callee
  adc eax, 0
  jmp .next
  adc eax, 2                    ; 3 bytes and a JMP of 2 behind
.next:
  dec ecx
  jnz .again
  sub eax, 500 + 500 * 3 - 7
  hlt
.callee:
  test ecx, 1
  jz .carry
  add dword [esp], 5
.carry:
  stc
  ret

; The callee writes what comes behind the call.
ret_rewritten:
  xor eax, eax
  mov ecx, 200
.again:
  mov edx, ecx
  and edx, 1
  call .callee
.patch:
  add eax, byte 0
  dec ecx
  jnz .again
  sub eax, 100 - 7
  hlt
.callee:
  mov [at (.patch) + 2], dl
  ret

; On pages 400000 and 600000: CALL EBX; MOV AL, 1 or 7; JMP ESI.  The callee makes the first the second.
ret_remapped:
  mov dword [0x400000], 0x01b0d3ff
  mov dword [0x400004], 0x90e6ff
  mov dword [0x600000], 0x07b0d3ff
  mov dword [0x600004], 0x90e6ff
  xor eax, eax
  mov ebx, at (.nothing)
  mov esi, at (.back)
  mov edi, 100
.again:
  mov ecx, 0x400000
  jmp ecx
.back:
  dec edi
  jnz .again
  mov ebx, at (.callee)
  mov esi, at (.end)
  jmp ecx
.callee:
  mov ecx, [0x11000 + 0x600 * 4]
  mov [0x11000 + 0x400 * 4], ecx
  invlpg [0x400000]
.nothing:
  ret
.end:
  hlt
smc_programs_end:
