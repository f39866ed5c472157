/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Decimal adjustments: DAA DAS AAA AAS AAM AAD.  64-bit mode does not have them, so they are
 * written in C.  Flags that are undefined follow what P6 processors give: OF is cleared by DAA,
 * DAS, AAA and AAS; AAA and AAS set SF, ZF and PF by the result in AL; AAM clears CF, AF and OF;
 * AAD gives the flags of its addition.
 */
#include "insn.h"

VMM_HOST_BINARY (add, 8, "b", "")

void
vmm_op_daa (VmmVcpu *c, const VmmInsn *i)
{
  uint8_t al = (uint8_t) c->gpr[VMM_EAX], old = al;
  uint32_t f = 0, was = c->eflags;
  if ((al & 15) > 9 || (was & FL_AF))
    {
      al = (uint8_t) (al + 6);
      f |= FL_AF;
    }
  if (old > 0x99 || (was & FL_CF))
    {
      al = (uint8_t) (al + 0x60);
      f |= FL_CF;
    }
  VMM_R8 (c, 0) = al;
  vmm_set_flags (c, FL_ARITH, f);
  vmm_set_szp (c, al);
}

void
vmm_op_das (VmmVcpu *c, const VmmInsn *i)
{
  uint8_t al = (uint8_t) c->gpr[VMM_EAX], old = al;
  uint32_t f = 0, was = c->eflags;
  if ((al & 15) > 9 || (was & FL_AF))
    {
      if (al < 6)
        f |= FL_CF;
      al = (uint8_t) (al - 6);
      f |= FL_AF;
    }
  if (old > 0x99 || (was & FL_CF))
    {
      al = (uint8_t) (al - 0x60);
      f |= FL_CF;
    }
  VMM_R8 (c, 0) = al;
  vmm_set_flags (c, FL_ARITH, f);
  vmm_set_szp (c, al);
}

static void
adjust_ascii (VmmVcpu *c, int direction)
{
  uint16_t ax = (uint16_t) c->gpr[VMM_EAX];
  uint32_t f = 0;
  if ((ax & 15) > 9 || (c->eflags & FL_AF))
    {
      ax = (uint16_t) (ax + direction * 0x106);
      f = FL_AF | FL_CF;
    }
  ax &= 0xff0f;
  vmm_set16 (c, VMM_EAX, ax);
  vmm_set_flags (c, FL_ARITH, f);
  vmm_set_szp (c, (uint8_t) ax);
}

void
vmm_op_aaa (VmmVcpu *c, const VmmInsn *i)
{
  adjust_ascii (c, 1);
}

void
vmm_op_aas (VmmVcpu *c, const VmmInsn *i)
{
  adjust_ascii (c, -1);
}

void
vmm_op_aam (VmmVcpu *c, const VmmInsn *i)
{
  uint8_t base = (uint8_t) i->imm, al = (uint8_t) c->gpr[VMM_EAX];
  if (base == 0)
    vmm_raise (c, EX_DE);
  vmm_set16 (c, VMM_EAX, (uint16_t) (al / base << 8 | al % base));
  vmm_set_flags (c, FL_ARITH, 0);
  vmm_set_szp (c, al % base);
}

void
vmm_op_aad (VmmVcpu *c, const VmmInsn *i)
{
  uint16_t ax = (uint16_t) c->gpr[VMM_EAX];
  vmm_set16 (c, VMM_EAX, do_add8 (c, (uint8_t) ax, (uint8_t) ((ax >> 8) * (uint8_t) i->imm)));
}
