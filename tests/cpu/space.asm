; SPDX-License-Identifier: LGPL-2.1-or-later
;
; The guest of space-test: a user program that has its pages changed under it, and the little kernel
; that does so.  32-bit code, flat segments, paging; physical and linear addresses are the same but
; for the pages X to X + 3FFFh, and HERE at times.
;
; There are four programs.  `user` runs ROUNDS times over the same steps, so that all of it is
; translated.  `loser` gains a space, links a jump in it, loses it by traps that come too soon, has
; the target mapped elsewhere, gains another space and jumps again.  `faulter` has page faults, one
; after the other, at one place; `mover` looks at a page that is another one each time.  Each step
; puts what it saw to [edi], and space-test compares.

%define BASE     0x8000
%define DATA     0x9000         ; of the kernel: CR2, error code, PTE that mends a fault
%define TABLE    0x11000        ; the page table of the space A, B's is at 13000
%define CR3_A    0x10000
%define CR3_B    0x12000
%define RESULTS  0x280000
%define X        0x300000       ; -> P; in B -> Q
%define Y        0x301000       ; -> Q
%define FROM     0x302000       ; jumps to
%define TO       0x303000       ; -> ONE; in B -> TWO
%define P        0x200000
%define Q        0x201000
%define ONE      0x202000       ; mov eax, 1 / ret
%define TWO      0x203000       ; mov eax, 2 / ret
%define NEW      0x340000       ; pages that nobody else uses
%define NEWS     128
%define HERE     0x304000       ; mov ebx, [esp] / ret
%define HERE_ECX 0x305000       ; mov ecx, [esp] / ret
%define HERE_NEAR (HERE - BASE + space_guest)
%define ROUNDS   30
%define LOSSES   3
%define FAULTS   200
%define SPIN     100000         ; instructions: space-test samples each thousand
%define at(label) (BASE + label - space_guest)

section .note.GNU-stack noalloc noexec nowrite progbits
section .rodata
global space_guest, space_guest_end
bits 32

%macro service 1
  mov eax, %1
  int 0x30
%endmacro

; PTE of a page, and what the processor is told: by INVLPG, by CR3, or nothing
%macro set_pte 3
  mov ebx, %1
  mov ecx, %2
  service 1
%ifidn %3, invlpg
  mov ebx, %1
  service 2
%elifidn %3, cr3
  mov ebx, CR3_A
  service 3
%endif
%endmacro

%macro get_pte 1
  mov ebx, %1
  service 4
%endmacro

; a fault is mended by this PTE
%macro mend 1
  mov ebx, %1
  service 5
%endmacro

%macro space_is 1
  mov ebx, %1
  service 3
%endmacro

space_guest:
  dd user - space_guest, kernel - space_guest, page_fault - space_guest
  dd loser - space_guest, faulter - space_guest, mover - space_guest

; ---- The kernel: EAX says what, EBX and ECX with what ----

kernel:
  dec eax
  jz .set
  dec eax
  jz .invalidate
  dec eax
  jz .load
  dec eax
  jz .get
  dec eax
  jz .mend
  dec eax
  jz .last
  out 0xe9, al
  jmp kernel
.set:
  shr ebx, 12
  mov [TABLE + ebx * 4], ecx
  iret
.invalidate:
  invlpg [ebx]
  iret
.load:
  mov cr3, ebx
  iret
.get:
  shr ebx, 12
  mov eax, [TABLE + ebx * 4]
  iret
.mend:
  mov [DATA + 8], ebx
  iret
.last:                          ; error code of the last fault, and what is not the page in CR2
  mov eax, [DATA + 4]
  iret

page_fault:
  push eax
  push ebx
  mov eax, [esp + 8]
  mov [DATA + 4], eax
  mov ebx, cr2
  mov [DATA], ebx
  mov eax, [DATA + 8]
  shr ebx, 12
  mov [TABLE + ebx * 4], eax
  mov ebx, cr2
  invlpg [ebx]
  pop ebx
  pop eax
  add esp, 4
  iret

; ---- The program ----

user:
  push ROUNDS
round:
  mov edi, RESULTS
  cld
  mov dword [Y], 'QQQQ'
  set_pte X, P | 7, invlpg
  mov dword [X], 'PPPP'

; another page, by INVLPG, by CR3, by another space
  mov eax, [X]
  stosd                         ; P
  set_pte X, Q | 7, invlpg
  mov eax, [X]
  stosd                         ; Q
  set_pte X, P | 7, cr3
  mov eax, [X]
  stosd                         ; P
  space_is CR3_B
  mov eax, [X]
  stosd                         ; Q
  space_is CR3_A
  mov eax, [X]
  stosd                         ; P

; A and D are set again when they were cleared
  set_pte X, P | 7, cr3
  mov ecx, [X]
  get_pte X
  and eax, 0x60
  stosd                         ; 20
  mov dword [X], 'PPPP'
  get_pte X
  and eax, 0x60
  stosd                         ; 60
  set_pte X, P | 7, invlpg
  add dword [X], 0
  get_pte X
  and eax, 0x60
  stosd                         ; 60

; rights: read-only, not present, the supervisor's
  mend P | 7
  set_pte X, P | 5, invlpg
  mov dword [X], 'RRRR'
  service 6
  stosd                         ; 7
  mov eax, [X]
  stosd                         ; R
  set_pte X, 0, cr3
  mov edx, [X]
  service 6
  stosd                         ; 4
  mov eax, edx
  stosd                         ; R
  set_pte X, P | 3, invlpg
  mov edx, [X]
  service 6
  stosd                         ; 5

; across the end of a page
  mov dword [X + 0xffc], 0x11223344
  mov dword [Y], 0x55667788
  mov eax, [X + 0xffe]
  stosd                         ; 77881122
  mov dword [X + 0xffd], 0xa1b2c3d4
  mov eax, [X + 0xffc]
  stosd                         ; b2c3d444
  mov eax, [Y]
  stosd                         ; 556677a1

; code that is written, on its page and by another name of it
  mov byte [X], 0xb8
  mov dword [X + 1], 1
  mov byte [X + 5], 0xc3
  mov ecx, 8
.again:
  mov eax, X
  call eax
  loop .again
  stosd                         ; 1
  mov dword [X + 1], 2
  mov eax, X
  call eax
  stosd                         ; 2
  set_pte Y, P | 7, invlpg
  mov dword [Y + 1], 3
  mov eax, X
  call eax
  stosd                         ; 3
  set_pte Y, Q | 7, invlpg

; a jump to another page, which goes elsewhere
  mov ecx, 8
.jumps:
  mov eax, FROM
  call eax
  loop .jumps
  stosd                         ; 1
  set_pte TO, TWO | 7, invlpg
  mov eax, FROM
  call eax
  stosd                         ; 2
  set_pte TO, ONE | 7, cr3
  mov eax, FROM
  call eax
  stosd                         ; 1
  space_is CR3_B
  mov eax, FROM
  call eax
  stosd                         ; 2
  space_is CR3_A
  mov eax, FROM
  call eax
  stosd                         ; 1
  mend TWO | 7
  set_pte TO, 0, invlpg
  mov eax, FROM
  call eax
  stosd                         ; 2
  set_pte TO, ONE | 7, invlpg

; a call that asks where it is, of a function that changes: by a write, by another page, by none.
; Each twice: the first one may trap.
  mov ebp, 8
.asks:
  call ask
  dec ebp
  jnz .asks
  stosd                         ; 10001
  mov byte [HERE + 1], 0x0c
  call ask
  call ask
  stosd                         ; 10100
  mov byte [HERE + 1], 0x1c
  call ask
  call ask
  stosd                         ; 10001
  set_pte HERE, HERE_ECX | 7, invlpg
  call ask
  call ask
  stosd                         ; 10100
  set_pte HERE, HERE | 7, cr3
  call ask
  call ask
  stosd                         ; 10001
  mend HERE | 7
  set_pte HERE, 0, invlpg
  call ask
  stosd                         ; 10001
  service 6
  stosd                         ; 4
  xor eax, eax
  stc
  call HERE_NEAR
  adc eax, 0
  stosd                         ; 1

  dec dword [esp]
  jnz round
  service 7
  jmp $

; Calls HERE.  EAX: bit 0 if EBX is where it was called, 8 if ECX, 16 if that is below the stack.
ask:
  xor ebx, ebx
  xor ecx, ecx
  call HERE_NEAR
.here:
  sub ebx, at(.here)
  sete al
  sub ecx, at(.here)
  sete ah
  movzx eax, ax
  cmp dword [esp - 4], at(.here)
  sete dl
  movzx edx, dl
  shl edx, 16
  or eax, edx
  ret

; ---- Spaces that are lost and gained ----

loser:
  mov edi, RESULTS
  cld
  mov ebp, LOSSES
.round:
  set_pte TO, ONE | 7, cr3
  mov ecx, SPIN
  loop $
  mov ecx, 8
.link:
  mov eax, FROM
  call eax
  loop .link
  stosd                         ; 1
%assign n 0
%rep NEWS
  mov eax, [NEW + n * 0x1000]
  %assign n n + 1
%endrep
  set_pte TO, TWO | 7, cr3
  mov ecx, SPIN
  loop $
  mov eax, FROM
  call eax
  stosd                         ; 2
  dec ebp
  jnz .round
  service 7
  jmp $

; ---- Faults, and pages that come and go ----

faulter:
  mov ecx, SPIN
  loop $
  mov ebp, FAULTS
  mend P | 7
.again:
  set_pte X, 0, invlpg
  mov eax, [X]
  dec ebp
  jnz .again
  mov edi, RESULTS
  cld
  stosd                         ; P
  service 7
  jmp $

mover:
  mov ecx, SPIN
  loop $
  mov ebp, FAULTS
.again:
  set_pte X, P | 7, invlpg
  mov esi, [X]
  set_pte X, Q | 7, invlpg
  mov edx, [X]
  dec ebp
  jnz .again
  mov edi, RESULTS
  cld
  mov eax, esi
  stosd                         ; P
  mov eax, edx
  stosd                         ; Q
  service 7
  jmp $
space_guest_end:
