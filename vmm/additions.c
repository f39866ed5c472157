/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The synthetic instructions 0F C7 C8 y1 y2 of Virtual PC's additions: opcodes that no processor
 * has, for guests that know that they run in a virtual machine.  Five bytes; #UD (and three bytes:
 * y1 and y2 are not fetched) unless VmmVcpuConfig.additions.  Names, encodings and what each stands
 * for are public: E. Traut, US patent 7,552,426 (2009); P. Ferrie, "Attacks on Virtual Machine
 * Emulators" (2007); the instruction lists of disassemblers.  Those do not tell operands: where an
 * instruction needs some that its model has in ModRM, they are chosen here.  See
 * additions/README.md.
 *
 *   y1 y2
 *   00 00  VMGETINFO  EDX:EAX = value of ECX; CF if there is none
 *   00 01  VMSETINFO  value of ECX = EDX:EAX; CF if there is none; CPL 0
 *   01 00  VMCPUID    CPUID
 *   01 01  VMHLT      HLT
 *   01 02  VMSPLAF    spin lock acquisition failed: gives the rest of the time slice away
 *   02 00  VMPUSHFD   PUSHFD
 *   02 01  VMPOPFD    POPFD
 *   02 02  VMCLI      CLI
 *   02 03  VMSTI      STI, shadow included
 *   02 04  VMIRETD    IRETD
 *   03 00  VMSGDT     SGDT [EAX]
 *   03 01  VMSIDT     SIDT [EAX]
 *   03 02  VMSLDT     SLDT EAX
 *   03 03  VMSTR      STR EAX
 *   04 00  VMSDTE     descriptor of selector ECX = EDX:EAX; CPL 0
 *
 * Operands have 32 bits in all modes, an operand-size or address-size prefix changes nothing; a
 * segment prefix counts for [EAX].  Privileges and faults are those of the model.  00 02 and 00 03
 * (VMDXDSBL, VMDXENBL) switched direct execution off and on; there is none here: #UD, as all
 * others.
 */
#include "block.h"

static void
getinfo (VmmVcpu *c, const VmmInsn *i)
{
  c->exit.address = i->imm; /* y1 is its low byte */
  c->exit.count = c->gpr[VMM_ECX];
  c->exit.value = c->gpr[VMM_EAX];
  c->exit.high = c->gpr[VMM_EDX];
  c->exit.done = false;
  vmm_leave (c, VMM_EXIT_ADDITIONS_CALL);
  c->eflags = (c->eflags & ~FL_CF) | (c->exit.done ? 0 : FL_CF);
  if (!c->exit.done || i->imm != VMM_CALL_GETINFO)
    return;
  c->gpr[VMM_EAX] = c->exit.value;
  c->gpr[VMM_EDX] = c->exit.high;
}

static void
setinfo (VmmVcpu *c, const VmmInsn *i)
{
  if (c->cpl != 0)
    vmm_gp0 (c);
  getinfo (c, i);
}

static void
splaf (VmmVcpu *c, const VmmInsn *i)
{
  c->exit.address = VMM_CALL_SPLAF;
  c->exit.count = c->exit.value = c->exit.high = 0;
  vmm_leave (c, VMM_EXIT_ADDITIONS_CALL);
}

/* The model's handler on an instruction that says: 32 bits, [EAX]. */
static void
store_at_eax (VmmVcpu *c, const VmmInsn *i, VmmHandler handler)
{
  VmmInsn model = *i;
  model.flags = VMM_INSN_MEM | (i->flags & VMM_INSN_END);
  model.base = VMM_EAX;
  handler (c, &model);
}

static void
sgdt (VmmVcpu *c, const VmmInsn *i)
{
  store_at_eax (c, i, vmm_op_sgdt);
}

static void
sidt (VmmVcpu *c, const VmmInsn *i)
{
  store_at_eax (c, i, vmm_op_sidt);
}

/* What a system would do with two MOVs: the descriptor is opened for writing as a whole, as kernel
   data.  The table's limit is checked as a segment load would. */
static void
sdte (VmmVcpu *c, const VmmInsn *i)
{
  uint16_t selector = (uint16_t) c->gpr[VMM_ECX];
  bool local = selector & 4;
  uint32_t at = selector & 0xfff8, base = local ? c->ldtr.base : c->gdt_base;
  if (c->cpl != 0)
    vmm_gp0 (c);
  if (local && (c->ldtr.selector & 0xfffc) == 0)
    vmm_raise_error (c, EX_GP, selector & 0xfffc);
  if (at + 7 > (local ? c->ldtr.limit : c->gdt_limit))
    vmm_raise_error (c, EX_GP, selector & 0xfffc);
  vmm_probe_write (c, base + at, 8, false);
  vmm_write_linear32 (c, base + at, c->gpr[VMM_EAX], false);
  vmm_write_linear32 (c, base + at + 4, c->gpr[VMM_EDX], false);
}

static const VmmHandler handlers[5][5] = {
  { getinfo, setinfo },
  { vmm_op_cpuid, vmm_op_hlt, splaf },
  { vmm_op_pushf, vmm_op_popf, vmm_op_cli, vmm_op_sti, vmm_op_iret },
  { sgdt, sidt, vmm_op_sldt, vmm_op_str },
  { sdte },
};

void
vmm_op_additions (VmmVcpu *c, const VmmInsn *i)
{
  unsigned y1 = i->imm & 0xff, y2 = i->imm >> 8;
  VmmHandler handler = y1 < 5 && y2 < 5 ? handlers[y1][y2] : NULL;
  if (!handler)
    vmm_ud (c);
  VmmInsn plain = *i; /* 32 bits; r/m is EAX: that is what SLDT and STR look at */
  plain.flags &= (uint8_t) ~(VMM_INSN_O16 | VMM_INSN_A16 | VMM_INSN_REP | VMM_INSN_REPNE);
  plain.rm = VMM_EAX;
  c->stat.synthetic++;
  handler (c, &plain);
}
