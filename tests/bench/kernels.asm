; SPDX-License-Identifier: LGPL-2.1-or-later
;
; Loops of user code for interpreter-bench, as one image that runs at KERNEL_BASE.  Each runs for ever.
; The table in front: name (12 characters), offset of the entry.  Data: 1 MiB at DATA, stack below STACK.

%define KERNEL_BASE 0x100000
%define DATA 0x200000

section .note.GNU-stack noalloc noexec nowrite progbits
section .rodata
global bench_kernels, bench_kernels_end
bits 32

%macro kernel 2
  db %2
  times 12 - %strlen(%2) db 0
  dd %1 - bench_kernels
%endmacro

bench_kernels:
  kernel alu, "alu"
  kernel hash, "hash"
  kernel sum, "sum"
  kernel sort, "sort"
  kernel fib, "calls"
  kernel bytes, "bytes"
  kernel crc, "crc"
  kernel chase, "chase"
  kernel switch, "switch"
  kernel rep_strings, "rep"
  dd 0, 0, 0, 0

%define at(label) (KERNEL_BASE + label - bench_kernels)

; Register arithmetic, as a generator of random numbers does it.
alu:
  mov eax, 12345
  mov ebx, 67890
.loop:
  mov ecx, eax
  shl ecx, 13
  xor eax, ecx
  mov ecx, eax
  shr ecx, 17
  xor eax, ecx
  mov ecx, eax
  shl ecx, 5
  xor eax, ecx
  add ebx, eax
  lea edx, [ebx + eax * 4 + 7]
  sub edx, ecx
  test edx, 1
  jz .loop
  add ebx, 3
  jmp .loop

; Steps of a hash: rotates, adds, a table of constants in memory.
hash:
  mov esi, DATA
  xor edi, edi
.loop:
  mov eax, ebx
  and eax, ecx
  mov ebp, ebx
  not ebp
  and ebp, edx
  or eax, ebp
  add eax, [esi + edi * 4]
  add eax, 0x5a827999
  rol eax, 7
  add eax, ebx
  mov ebx, ecx
  mov ecx, edx
  mov edx, eax
  inc edi
  and edi, 1023
  jmp .loop

; Reads and writes an array.
sum:
  mov esi, DATA
  mov ecx, 4096
.loop:
  mov eax, [esi]
  add edx, eax
  add eax, ecx
  mov [esi + 4], eax
  add esi, 8
  dec ecx
  jnz .loop
  jmp sum

; Insertion sort of 64 words, filled anew each time.
sort:
  mov edi, DATA
  mov ecx, 64
  mov eax, 1
.fill:
  imul eax, eax, 1103515245
  add eax, 12345
  mov [edi], eax
  add edi, 4
  dec ecx
  jnz .fill
  mov esi, 1
.outer:
  mov eax, [DATA + esi * 4]
  mov edi, esi
.inner:
  mov edx, [DATA + edi * 4 - 4]
  cmp edx, eax
  jle .place
  mov [DATA + edi * 4], edx
  dec edi
  jnz .inner
.place:
  mov [DATA + edi * 4], eax
  inc esi
  cmp esi, 64
  jb .outer
  jmp sort

; Recursive calls with a frame, as compilers made them.
fib:
  push dword 12
  call .fib
  add esp, 4
  jmp fib
.fib:
  push ebp
  mov ebp, esp
  push ebx
  mov ebx, [ebp + 8]
  cmp ebx, 2
  jb .leaf
  lea eax, [ebx - 1]
  push eax
  call .fib
  add esp, 4
  push eax
  lea eax, [ebx - 2]
  push eax
  call .fib
  add esp, 4
  pop edx
  add eax, edx
  jmp .done
.leaf:
  mov eax, ebx
.done:
  mov ebx, [ebp - 4]
  leave
  ret

; Copies a string of bytes and looks at each.
bytes:
  mov edi, DATA
  mov ecx, 255
.fill:
  mov [edi], cl
  inc edi
  dec ecx
  jnz .fill
  mov byte [edi], 0
.again:
  mov esi, DATA
  mov edi, DATA + 0x1000
.loop:
  mov al, [esi]
  inc esi
  cmp al, 'a'
  jb .store
  cmp al, 'z'
  ja .store
  sub al, 32
.store:
  mov [edi], al
  inc edi
  test al, al
  jnz .loop
  jmp .again

; CRC with a table of 256 words.
crc:
  mov esi, DATA
  mov ecx, 65536
  mov eax, -1
.loop:
  movzx edx, byte [esi]
  movzx ebx, al
  xor edx, ebx
  shr eax, 8
  xor eax, [DATA + 0x80000 + edx * 4]
  inc esi
  dec ecx
  jnz .loop
  jmp crc

; A linked list of 4096 nodes over 256 KiB.
chase:
  mov edi, DATA
  mov ecx, 4095
.fill:
  lea eax, [edi + 64]
  mov [edi], eax
  mov edi, eax
  dec ecx
  jnz .fill
  mov dword [edi], 0
.again:
  mov eax, DATA
.loop:
  add edx, [eax + 4]
  mov eax, [eax]
  test eax, eax
  jnz .loop
  jmp .again

; A byte-code interpreter: indirect jumps.
switch:
  xor eax, eax
.start:
  mov esi, at (.program)
.next:
  movzx edx, byte [esi]
  inc esi
  jmp [edx * 4 + at (.table)]
.add:
  add eax, 3
  jmp .next
.twice:
  add eax, eax
  jmp .next
.dec:
  dec eax
  jmp .next
.xor:
  xor eax, 0x55
  jmp .next
.table:
  dd at (.add), at (.twice), at (.dec), at (.xor), at (.start)
.program:
  db 0, 1, 2, 0, 3, 1, 1, 2, 0, 3, 3, 2, 1, 0, 0, 4

; Repeated string instructions, 256 bytes each.
rep_strings:
  mov esi, DATA
  mov edi, DATA + 0x10000
  mov ecx, 64
  rep movsd
  mov ecx, 256
  mov edi, DATA + 0x20000
  mov al, 7
  rep stosb
  mov ecx, 256
  mov edi, DATA + 0x20000
  mov al, 9
  repne scasb
  jmp rep_strings
bench_kernels_end:
