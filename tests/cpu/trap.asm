; SPDX-License-Identifier: LGPL-2.1-or-later
;
; Programs for trap-test: single step, breakpoints, interrupt shadows, as Intel SDM vol. 3 chapter 17
; has them.  32-bit code at BASE, CPL 0, flat segments; each ends with HLT and its result in EAX.
;
; Handlers: #DB counts in EBP and notes DR6 in ESI, flags at VARIABLE + 192; 40h (external) notes the return address in EBX;
; #UD and #DE note the flags they found in EBX and skip two bytes.

%define BASE 0x100000
%define VARIABLE 0x180000
%define at(label) (BASE + label - trap_programs)

section .note.GNU-stack noalloc noexec nowrite progbits
section .rodata
global trap_programs, trap_programs_end
bits 32

%macro program 3                ; entry, name, expected EAX
  db %2
  times 48 - %strlen(%2) db 0
  dd %1 - trap_programs, %3
%endmacro

trap_programs:
  dd debug - trap_programs, external - trap_programs, skip - trap_programs, plain - trap_programs
  program steps, "single steps", 8
  program over_ss, "no trap after MOV SS", 8
  program over_pop_ss, "no trap after POP SS", 8
  program over_int, "no trap after INT n nor within it", 5
  program each_rep, "a trap for each item of REP", 6
  program icebp, "ICEBP", 1
  program break_code, "code breakpoint, RF resumes", 3
  program break_rep, "code breakpoint on REP hits once", 1
  program break_data, "data breakpoint on writes", 2
  program break_read, "data breakpoint on reads and writes", 4
  program break_string, "data breakpoint in REP STOS", 1
  program break_ss, "data breakpoint waits for MOV SS", 1
  program fault_rf, "a fault pushes RF", 0x10000
  program trap_rf, "a trap does not", 0
  program shadow, "STI shadow", 1
  program shadow_twice, "STI with IF set has none", 0
  program shadow_ss, "MOV SS shadow", 1
  program popf_if, "POPF takes interrupts at once", 0
  program halted, "HLT ends by an interrupt", 1
  times 56 db 0

debug:
  inc ebp
  mov esi, dr6
  push eax
  xor eax, eax
  mov dr6, eax
  mov eax, [esp + 12]
  mov [VARIABLE + 192], eax     ; flags found
  pop eax
  test byte [VARIABLE + 64], 1  ; code breakpoints: set RF to go on
  jz .done
  or dword [esp + 8], 0x10000
.done:
  iret

external:
  mov ebx, [esp]
  mov dword [VARIABLE + 128], 1 ; tells the host to lower the line
  out 0x80, al
  iret

skip:
  mov ebx, [esp + 8]
  add dword [esp], 2
  iret

plain:
  nop
  nop
  iret

%macro trace_on 0
  xor ebp, ebp
  mov dword [VARIABLE + 64], 0
  pushfd
  or dword [esp], 0x100
  popfd
%endmacro
%macro trace_off 0              ; three steps
  pushfd
  and dword [esp], ~0x100
  popfd
%endmacro
%macro result 0
  mov eax, ebp
  hlt
%endmacro

steps:
  trace_on
  nop
  nop
  nop
  nop
  nop
  trace_off
  result

over_ss:
  mov ax, ss
  trace_on
  nop
  nop
  mov ss, ax                    ; no trap here
  nop
  nop
  nop
  trace_off
  result

over_pop_ss:
  trace_on
  nop
  push ss
  pop ss
  nop
  nop
  nop
  trace_off
  result

over_int:
  trace_on
  nop
  int 0x41
  nop
  trace_off
  result

each_rep:
  mov edi, VARIABLE
  mov ecx, 3
  trace_on
  rep stosb
  trace_off
  result

icebp:
  xor ebp, ebp
  mov dword [VARIABLE + 64], 0
  db 0xf1
  result

%macro breakpoints 2            ; address, DR7
  xor ebp, ebp
  mov eax, %1
  mov dr0, eax
  mov eax, %2
  mov dr7, eax
%endmacro

break_code:
  mov dword [VARIABLE + 64], 1
  breakpoints at (.here), 1
  mov ecx, 3
.loop:
  nop
.here:
  dec ecx
  jnz .loop
  result

break_rep:
  mov dword [VARIABLE + 64], 1
  breakpoints at (.here), 1
  mov edi, VARIABLE + 256
  mov ecx, 200
.here:
  rep stosd
  result

break_data:
  mov dword [VARIABLE + 64], 0
  breakpoints VARIABLE, 0x000d0001
  mov eax, [VARIABLE]
  mov [VARIABLE], eax
  mov [VARIABLE + 4], eax
  mov [VARIABLE + 3], al
  result

break_read:
  mov dword [VARIABLE + 64], 0
  breakpoints VARIABLE, 0x000f0001
  mov eax, [VARIABLE]
  mov [VARIABLE], eax
  mov al, [VARIABLE + 4]
  inc byte [VARIABLE + 3]
  mov al, [VARIABLE + 2]
  result

break_string:
  mov dword [VARIABLE + 64], 0
  breakpoints VARIABLE + 0x800, 0x000d0001
  mov edi, VARIABLE + 0x400
  mov ecx, 0x200
  rep stosd
  cmp edi, VARIABLE + 0xc00
  jne .wrong
  result
.wrong:
  hlt

break_ss:
  mov dword [VARIABLE + 64], 0
  mov word [VARIABLE], ss
  breakpoints VARIABLE, 0x00070001
  mov ss, [VARIABLE]
  mov edx, ebp                  ; still 0
  test edx, edx
  jnz .wrong
  result
.wrong:
  mov eax, -1
  hlt

fault_rf:
  ud2
  mov eax, ebx
  and eax, 0x10000
  hlt

trap_rf:
  trace_on
  nop
  trace_off
  mov eax, [VARIABLE + 192]
  and eax, 0x10000
  hlt

; The line is high; the host raises it at OUT 81h.
shadow:
  cli
  out 0x81, al
  sti
  nop
.after:
  nop
  xor eax, eax
  cmp ebx, at (.after)
  sete al
  hlt

shadow_twice:
  xor eax, eax
  mov ecx, 2
  sti
  nop
  cli
  out 0x81, al
  pushfd
  or dword [esp], 0x200
  popfd                         ; taken before the next instruction
.first:
  sti
  nop
  cmp ebx, at (.first)
  setne al
  hlt

shadow_ss:
  sti
  nop
  mov cx, ss
  mov edx, at (.go)
  cli
  out 0x81, al
  pushfd
  or dword [esp], 0x200
  jmp .go
  align 16
.go:
  xor eax, eax
  mov [VARIABLE + 512], esp
  lss esp, [at (.pointer)]      ; (LSS has no shadow)
  mov esp, [VARIABLE + 512]
  popfd
.taken:
  mov ss, cx
  nop
  cmp ebx, at (.taken)
  sete al
  hlt
.pointer:
  dd 0x70000
  dw 0x10

popf_if:
  cli
  out 0x81, al
  pushfd
  or dword [esp], 0x200
  popfd
.after:
  nop
  xor eax, eax
  cmp ebx, at (.after)
  setne al
  hlt

halted:
  xor eax, eax
  cli
  out 0x82, al                  ; the host raises the line when halted
  sti
  hlt
.after:
  cmp ebx, at (.after)
  sete al
  cli
  hlt
trap_programs_end:
