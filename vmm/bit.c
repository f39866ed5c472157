/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * BT, BTS, BTR, BTC, BSF and BSR.  With a register as bit offset and memory as bit string, the
 * offset is signed and reaches beyond the operand.  The bit tests change CF alone, as the silicon
 * does.
 */
#include "insn.h"

#define BT(v, mask) (v)
#define BTS(v, mask) ((v) | (mask))
#define BTR(v, mask) ((v) & ~(mask))
#define BTC(v, mask) ((v) ^ (mask))

/* The memory operand of the register form: the item that holds bit `bit`. */
static inline VmmInsn
bit_string_item (const VmmInsn *i, int32_t bit, unsigned bits)
{
  VmmInsn item = *i;
  item.disp += (uint32_t) ((bit >> (bits == 32 ? 5 : 4)) * (int) (bits / 8));
  return item;
}

#define TEST_SIZE(name, OP, bits, stype)                                                           \
  VMM_INLINE VmmType##bits do_##name##bits (VmmVcpu *c, VmmType##bits v, unsigned n)               \
  {                                                                                                \
    vmm_set_flags (c, FL_CF, (v >> n) & 1);                                                        \
    return (VmmType##bits) OP (v, (VmmType##bits) (1u << n));                                      \
  }                                                                                                \
  static void name##_rm##bits (VmmVcpu *c, const VmmInsn *i, unsigned n)                           \
  {                                                                                                \
    VmmRmw rmw;                                                                                    \
    VmmType##bits old, v;                                                                          \
    if (OP (0, 1) == OP (1, 1) - 1 && OP (0, 1) == 0) /* BT only reads */                          \
      {                                                                                            \
        do_##name##bits (c, vmm_load_mem##bits (c, i), n);                                         \
        return;                                                                                    \
      }                                                                                            \
    do                                                                                             \
      {                                                                                            \
        old = vmm_open_mem##bits (c, i, &rmw);                                                     \
        v = do_##name##bits (c, old, n);                                                           \
      }                                                                                            \
    while (!vmm_close_mem##bits (c, i, &rmw, old, v));                                             \
  }                                                                                                \
  static void name##_i##bits (VmmVcpu *c, const VmmInsn *i)                                        \
  {                                                                                                \
    vmm_set##bits (c, i->rm, do_##name##bits (c, vmm_get##bits (c, i->rm), i->imm &(bits - 1)));   \
  }                                                                                                \
  static void name##_i##bits##mem (VmmVcpu *c, const VmmInsn *i)                                   \
  {                                                                                                \
    name##_rm##bits (c, i, i->imm &(bits - 1));                                                    \
  }                                                                                                \
  static void name##_r##bits (VmmVcpu *c, const VmmInsn *i)                                        \
  {                                                                                                \
    unsigned n = vmm_get##bits (c, i->reg) & (bits - 1);                                           \
    vmm_set##bits (c, i->rm, do_##name##bits (c, vmm_get##bits (c, i->rm), n));                    \
  }                                                                                                \
  static void name##_r##bits##mem (VmmVcpu *c, const VmmInsn *i)                                   \
  {                                                                                                \
    int32_t bit = (stype) vmm_get##bits (c, i->reg);                                               \
    VmmInsn item = bit_string_item (i, bit, bits);                                                 \
    name##_rm##bits (c, &item, (unsigned) bit &(bits - 1));                                        \
  }
#define TEST(name, OP)                                                                             \
  TEST_SIZE (name, OP, 16, int16_t)                                                                \
  TEST_SIZE (name, OP, 32, int32_t)
TEST (bt, BT)
TEST (bts, BTS)
TEST (btr, BTR)
TEST (btc, BTC)

#define BIT_FORMS(name)                                                                            \
  {                                                                                                \
    { NULL, name##16, name##32 }, { NULL, name##16mem, name##32mem },                              \
    {                                                                                              \
      NULL, name##16mem, name##32mem                                                               \
    }                                                                                              \
  }
const VmmForms vmm_bit_r[4]
    = { BIT_FORMS (bt_r), BIT_FORMS (bts_r), BIT_FORMS (btr_r), BIT_FORMS (btc_r) };
const VmmForms vmm_bit_i[4]
    = { BIT_FORMS (bt_i), BIT_FORMS (bts_i), BIT_FORMS (btr_i), BIT_FORMS (btc_i) };

/* ---- Scans: a source of 0 leaves the destination, as the silicon does ---- */

#define SCAN_SIZE(op, bits, suffix)                                                                \
  static void op##_##bits (VmmVcpu *c, const VmmInsn *i)                                           \
  {                                                                                                \
    VmmType##bits v = vmm_load_rm##bits (c, i), r = vmm_get##bits (c, i->reg);                     \
    uint32_t of = vmm_give_of (c), ax = vmm_give_ax (c);                                           \
    asm(VMM_GIVE_FLAGS #op suffix " %[v], %[r]\n\t" VMM_TAKE_FLAGS                                 \
        : "+&a"(ax), [of] "+&q"(of), [r] "+&r"(r)                                                  \
        : [v] "r"(v)                                                                               \
        : "cc");                                                                                   \
    vmm_set##bits (c, i->reg, r);                                                                  \
    vmm_take_flags (c, ax);                                                                        \
  }
#define SCAN(op)                                                                                   \
  SCAN_SIZE (op, 16, "w")                                                                          \
  SCAN_SIZE (op, 32, "l")                                                                          \
  const VmmForms vmm_##op                                                                          \
      = { { NULL, op##_16, op##_32 }, { NULL, op##_16, op##_32 }, { NULL, op##_16, op##_32 } };
SCAN (bsf)
SCAN (bsr)
