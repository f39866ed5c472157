/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For tests of video BIOSes: a processor in real mode, 1 MiB of RAM, a ROM at C0000 that cannot be
 * written, and whatever cards stand on the fake bus.
 *
 *   RomMachine *m = rom_machine_new (harness, file);
 *   RomRegs r = { .ax = 0x0e41, .bx = 7 };
 *   rom_machine_int (m, 0x10, &r);
 *
 * Time passes by a microsecond with each access to a port.
 */
#pragma once

#include <tenon/harness.h>

typedef struct RomMachine RomMachine;
typedef struct {
  uint16_t ax, bx, cx, dx, si, di, bp, ds, es, flags;
} RomRegs;

/* The harness belongs to the machine from then on.  NULL: there is no such file. */
RomMachine *rom_machine_new (TnHarness *h, const char *rom);
void rom_machine_free (RomMachine *m);
TnHarness *rom_machine_harness (RomMachine *m);
/* How often somebody wrote to the ROM: a good BIOS never does. */
unsigned rom_machine_rom_writes (RomMachine *m);
/* Far call to the ROM's offset 3. */
void rom_machine_post (RomMachine *m);
void rom_machine_int (RomMachine *m, uint8_t vector, RomRegs *regs);
/* Far call, as to the window function of VBE. */
void rom_machine_far (RomMachine *m, uint16_t segment, uint16_t offset, RomRegs *regs);
/* Runs 32-bit code at a linear address with flat segments; it returns by RET. */
void rom_machine_near32 (RomMachine *m, uint32_t address, uint32_t *eax, uint32_t ebx, uint32_t ecx,
                         uint32_t *edx, uint32_t edi);
void rom_machine_read (RomMachine *m, uint32_t address, void *bytes, uint32_t size);
void rom_machine_write (RomMachine *m, uint32_t address, const void *bytes, uint32_t size);
uint8_t rom_machine_byte (RomMachine *m, uint32_t address);
uint16_t rom_machine_word (RomMachine *m, uint32_t address);
uint32_t rom_machine_dword (RomMachine *m, uint32_t address);
