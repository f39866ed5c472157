/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MUL, IMUL, DIV and IDIV by the host's instructions, with the guest's flags given first.  Division
 * errors are found before: the host never faults.
 */
#include "insn.h"

/* ---- AX = AL * r/m8; DX:AX = AX * r/m16; EDX:EAX = EAX * r/m32 ---- */

#define MULTIPLY(op)                                                                               \
  VMM_INLINE void do_##op##8(VmmVcpu * c, uint8_t b)                                               \
  {                                                                                                \
    uint32_t of = vmm_give_of (c), ax, flags = vmm_give_ax (c);                                    \
    asm(VMM_GIVE_FLAGS "movb %b[al], %%al\n\t" #op                                                 \
                       "b %[b]\n\tmovl %%eax, %[ax]\n\t" VMM_TAKE_FLAGS                            \
        : "+&a"(flags), [of] "+&q"(of), [ax] "=&r"(ax)                                             \
        : [b] "q"(b), [al] "q"(c->gpr[VMM_EAX])                                                    \
        : "cc");                                                                                   \
    vmm_set16 (c, VMM_EAX, (uint16_t) ax);                                                         \
    vmm_take_flags (c, flags);                                                                     \
  }                                                                                                \
  VMM_INLINE void do_##op##16(VmmVcpu * c, uint16_t b)                                             \
  {                                                                                                \
    uint32_t of = vmm_give_of (c), ax, flags = vmm_give_ax (c), dx;                                \
    asm(VMM_GIVE_FLAGS "movw %w[al], %%ax\n\t" #op                                                 \
                       "w %[b]\n\tmovl %%eax, %[ax]\n\t" VMM_TAKE_FLAGS                            \
        : "+&a"(flags), [of] "+&q"(of), [ax] "=&r"(ax), "=&d"(dx)                                  \
        : [b] "r"(b), [al] "r"(c->gpr[VMM_EAX])                                                    \
        : "cc");                                                                                   \
    vmm_set16 (c, VMM_EAX, (uint16_t) ax);                                                         \
    vmm_set16 (c, VMM_EDX, (uint16_t) dx);                                                         \
    vmm_take_flags (c, flags);                                                                     \
  }                                                                                                \
  VMM_INLINE void do_##op##32(VmmVcpu * c, uint32_t b)                                             \
  {                                                                                                \
    uint32_t of = vmm_give_of (c), ax, flags = vmm_give_ax (c), dx;                                \
    asm(VMM_GIVE_FLAGS "movl %[al], %%eax\n\t" #op                                                 \
                       "l %[b]\n\tmovl %%eax, %[ax]\n\t" VMM_TAKE_FLAGS                            \
        : "+&a"(flags), [of] "+&q"(of), [ax] "=&r"(ax), "=&d"(dx)                                  \
        : [b] "r"(b), [al] "r"(c->gpr[VMM_EAX])                                                    \
        : "cc");                                                                                   \
    c->gpr[VMM_EAX] = ax;                                                                          \
    c->gpr[VMM_EDX] = dx;                                                                          \
    vmm_take_flags (c, flags);                                                                     \
  }                                                                                                \
  MULTIPLY_FORM (op, 8)                                                                            \
  MULTIPLY_FORM (op, 16)                                                                           \
  MULTIPLY_FORM (op, 32)                                                                           \
  const VmmForms vmm_##op = { VMM_3 (op##_, ), VMM_3 (op##_, ), VMM_3 (op##_, ) };
#define MULTIPLY_FORM(op, bits)                                                                    \
  static void op##_##bits (VmmVcpu *c, const VmmInsn *i)                                           \
  {                                                                                                \
    do_##op##bits (c, vmm_load_rm##bits (c, i));                                                   \
  }
MULTIPLY (mul)
MULTIPLY (imul)

/* ---- IMUL with two and three operands ---- */

#define IMUL_SIZE(bits, suffix)                                                                    \
  VMM_INLINE VmmType##bits do_imul2_##bits (VmmVcpu *c, VmmType##bits a, VmmType##bits b)          \
  {                                                                                                \
    uint32_t of = vmm_give_of (c), ax = vmm_give_ax (c);                                           \
    asm(VMM_GIVE_FLAGS "imul" suffix " %[b], %[a]\n\t" VMM_TAKE_FLAGS                              \
        : "+&a"(ax), [of] "+&q"(of), [a] "+r"(a)                                                   \
        : [b] "r"(b)                                                                               \
        : "cc");                                                                                   \
    vmm_take_flags (c, ax);                                                                        \
    return a;                                                                                      \
  }                                                                                                \
  VMM_GENERAL void imul_r_rm_##bits (VmmVcpu *c, const VmmInsn *i)                                 \
  {                                                                                                \
    VmmType##bits b = vmm_load_rm##bits (c, i);                                                    \
    vmm_set##bits (c, i->reg, do_imul2_##bits (c, vmm_get##bits (c, i->reg), b));                  \
  }                                                                                                \
  static void imul_r_rm_i_##bits (VmmVcpu *c, const VmmInsn *i)                                    \
  {                                                                                                \
    VmmType##bits b = vmm_load_rm##bits (c, i);                                                    \
    vmm_set##bits (c, i->reg, do_imul2_##bits (c, b, (VmmType##bits) i->imm));                     \
  }
IMUL_SIZE (16, "w")
IMUL_SIZE (32, "l")

static void
imul_r_r_32 (VmmVcpu *c, const VmmInsn *i)
{
  c->gpr[i->reg] = do_imul2_32 (c, c->gpr[i->reg], c->gpr[i->rm]);
}

static void
imul_r_rm_32flat (VmmVcpu *c, const VmmInsn *i)
{
  VMM_FLAT (p, VmmMem32, read, imul_r_rm_32)
  c->gpr[i->reg] = do_imul2_32 (c, c->gpr[i->reg], *p);
}

#define IMUL_FORMS(name)                                                                           \
  {                                                                                                \
    NULL, name##16, name##32                                                                       \
  }
const VmmForms vmm_imul_r_rm = { { NULL, imul_r_rm_16, imul_r_r_32 },
                                 { NULL, imul_r_rm_16, imul_r_rm_32 },
                                 { NULL, imul_r_rm_16, imul_r_rm_32flat } };
const VmmForms vmm_imul_r_rm_i
    = { IMUL_FORMS (imul_r_rm_i_), IMUL_FORMS (imul_r_rm_i_), IMUL_FORMS (imul_r_rm_i_) };

/* ---- Division.  #DE for a divisor of 0 and a quotient that does not fit. ---- */

#define DIVIDE_ASM(insn, suffix, lo, hi, b)                                                        \
  asm(VMM_GIVE_FLAGS "movl %[low], %%eax\n\t" insn suffix                                          \
                     " %[d]\n\tmovl %%eax, %[low]\n\t" VMM_TAKE_FLAGS                              \
      : "+&a"(flags), [of] "+&q"(of), [low] "+&r"(lo), "+d"(hi)                                    \
      : [d] "q"(b)                                                                                 \
      : "cc")

static void
div_8 (VmmVcpu *c, const VmmInsn *i)
{
  uint8_t b = vmm_load_rm8 (c, i);
  uint32_t low = c->gpr[VMM_EAX] & 0xffff, high = 0, of = vmm_give_of (c), flags = vmm_give_ax (c);
  if (low >> 8 >= b) /* a divisor of 0 too */
    vmm_raise (c, EX_DE);
  DIVIDE_ASM ("div", "b", low, high, b);
  vmm_set16 (c, VMM_EAX, (uint16_t) low);
  vmm_take_flags (c, flags);
}

static void
div_16 (VmmVcpu *c, const VmmInsn *i)
{
  uint16_t b = vmm_load_rm16 (c, i);
  uint32_t low = c->gpr[VMM_EAX] & 0xffff, high = c->gpr[VMM_EDX] & 0xffff;
  uint32_t of = vmm_give_of (c), flags = vmm_give_ax (c);
  if (high >= b)
    vmm_raise (c, EX_DE);
  DIVIDE_ASM ("div", "w", low, high, b);
  vmm_set16 (c, VMM_EAX, (uint16_t) low);
  vmm_set16 (c, VMM_EDX, (uint16_t) high);
  vmm_take_flags (c, flags);
}

static void
div_32 (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t b = vmm_load_rm32 (c, i);
  uint32_t low = c->gpr[VMM_EAX], high = c->gpr[VMM_EDX];
  uint32_t of = vmm_give_of (c), flags = vmm_give_ax (c);
  if (high >= b)
    vmm_raise (c, EX_DE);
  DIVIDE_ASM ("div", "l", low, high, b);
  c->gpr[VMM_EAX] = low;
  c->gpr[VMM_EDX] = high;
  vmm_take_flags (c, flags);
}

static void
idiv_8 (VmmVcpu *c, const VmmInsn *i)
{
  uint8_t b = vmm_load_rm8 (c, i);
  uint32_t low = c->gpr[VMM_EAX] & 0xffff, high = 0, of = vmm_give_of (c), flags = vmm_give_ax (c);
  if (b == 0)
    vmm_raise (c, EX_DE);
  int32_t quotient = (int16_t) low / (int8_t) b;
  if (quotient != (int8_t) quotient)
    vmm_raise (c, EX_DE);
  DIVIDE_ASM ("idiv", "b", low, high, b);
  vmm_set16 (c, VMM_EAX, (uint16_t) low);
  vmm_take_flags (c, flags);
}

static void
idiv_16 (VmmVcpu *c, const VmmInsn *i)
{
  uint16_t b = vmm_load_rm16 (c, i);
  uint32_t low = c->gpr[VMM_EAX] & 0xffff, high = c->gpr[VMM_EDX] & 0xffff;
  uint32_t of = vmm_give_of (c), flags = vmm_give_ax (c);
  if (b == 0)
    vmm_raise (c, EX_DE);
  int64_t quotient = (int64_t) (int32_t) (high << 16 | low) / (int16_t) b;
  if (quotient != (int16_t) quotient)
    vmm_raise (c, EX_DE);
  DIVIDE_ASM ("idiv", "w", low, high, b);
  vmm_set16 (c, VMM_EAX, (uint16_t) low);
  vmm_set16 (c, VMM_EDX, (uint16_t) high);
  vmm_take_flags (c, flags);
}

static void
idiv_32 (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t b = vmm_load_rm32 (c, i);
  uint32_t low = c->gpr[VMM_EAX], high = c->gpr[VMM_EDX];
  uint32_t of = vmm_give_of (c), flags = vmm_give_ax (c);
  int64_t dividend = (int64_t) ((uint64_t) high << 32 | low);
  /* The least dividend by -1 overflows C as well. */
  if (b == 0 || (b == 0xffffffffu && dividend == INT64_MIN))
    vmm_raise (c, EX_DE);
  int64_t quotient = dividend / (int32_t) b;
  if (quotient != (int32_t) quotient)
    vmm_raise (c, EX_DE);
  DIVIDE_ASM ("idiv", "l", low, high, b);
  c->gpr[VMM_EAX] = low;
  c->gpr[VMM_EDX] = high;
  vmm_take_flags (c, flags);
}

const VmmForms vmm_div = { VMM_3 (div_, ), VMM_3 (div_, ), VMM_3 (div_, ) };
const VmmForms vmm_idiv = { VMM_3 (idiv_, ), VMM_3 (idiv_, ), VMM_3 (idiv_, ) };
