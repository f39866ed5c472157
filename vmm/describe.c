/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What each instruction is for the translator: by which template it is translated, what it does to
 * flags, registers and memory.  What is not told apart here is executed by its handler, which is
 * always right.
 *
 * Flags.  `writes` names those that have a new value whatever the operands are; flags that the
 * manual calls undefined count if the host's own instruction sets them, since it is that
 * instruction which is executed.  A shift by CL may leave all flags alone and so writes none.
 */
#include "translate.h"

#define CF FL_CF
#define ZF FL_ZF
#define OF FL_OF
#define ALL FL_ARITH
#define ALL_REGISTERS 0xffu

static unsigned
operand_size (const VmmInsn *i)
{
  return i->flags & VMM_INSN_O16 ? 2 : 4;
}

static bool
has_memory (const VmmInsn *i)
{
  return i->flags & VMM_INSN_MEM;
}

/* Bit of the register that a ModRM field names. */
static uint8_t
register_bit (unsigned field, unsigned size)
{
  return (uint8_t) (1u << (size == 1 ? field & 3 : field));
}

static unsigned
reg_field (const VmmInsn *i)
{
  return i->modrm >> 3 & 7;
}

/* Copied, with ModRM: memory as `memory` says; r/m is defined if it is a register and memory would
   be written; reg if to_reg. */
static Description
modrm (const VmmInsn *i, Template template, unsigned size, unsigned memory, bool to_reg,
       unsigned reads, unsigned writes)
{
  Description d = { .template = template,
                    .size = (uint8_t) size,
                    .msize = (uint8_t) size,
                    .reads = (uint16_t) reads,
                    .writes = (uint16_t) writes };
  if (has_memory (i))
    d.memory = (uint8_t) memory;
  else if (memory == M_WRITE)
    d.defines = register_bit (i->modrm & 7, size);
  if (to_reg)
    d.defines |= register_bit (reg_field (i), size);
  return d;
}

static Description
with_immediate (Description d, unsigned bytes)
{
  d.immediate = (uint8_t) bytes;
  return d;
}

static Description
defining (Description d, unsigned registers)
{
  d.defines |= (uint8_t) registers;
  return d;
}

static Description
simple (Template template, unsigned size, unsigned defines, unsigned reads, unsigned writes)
{
  return (Description){ .template = template,
                        .size = (uint8_t) size,
                        .defines = (uint8_t) defines,
                        .reads = (uint16_t) reads,
                        .writes = (uint16_t) writes };
}

/* May look at anything and write anything; sets no flag for sure. */
static const Description handler
    = { .template = T_HANDLER, .reads = ALL, .defines = ALL_REGISTERS };
/* The same, but for the arithmetic flags, which it leaves alone. */
static const Description handler_without_flags
    = { .template = T_HANDLER, .defines = ALL_REGISTERS };

/* Instructions that end their block because they may change what the next one is executed under,
   but seldom do: code goes on behind them if they did not (engine.c). */
static bool
is_soft (const VmmInsn *i)
{
  if (i->map)
    return i->opcode == 0x22 || i->opcode == 0x30 || i->opcode == 0xa1 || i->opcode == 0xa9
           || i->opcode == 0x01 || i->opcode == 0x00;
  switch (i->opcode)
    {
    case 0x07:
    case 0x17:
    case 0x1f:
    case 0x8e:
    case 0x9d:
    case 0xfa:
    case 0xfb: return true;
    default: return false;
    }
}

/* ADD OR ADC SBB AND SUB XOR CMP */
static unsigned
alu_reads (unsigned operation)
{
  return operation == VMM_ADC || operation == VMM_SBB ? CF : 0;
}

static Description
alu (const VmmInsn *i)
{
  unsigned operation = i->opcode >> 3, size = i->opcode & 1 ? operand_size (i) : 1;
  bool compares = operation == VMM_CMP;
  unsigned reads = alu_reads (operation);
  switch (i->opcode & 7)
    {
    case 0:
    case 1: return modrm (i, T_MODRM, size, compares ? M_READ : M_WRITE, false, reads, ALL);
    case 2:
    case 3: return modrm (i, T_MODRM, size, M_READ, !compares, reads, ALL);
    case 4:
    case 5:
      return with_immediate (simple (T_ACC, size, compares ? 0 : 1 << VMM_EAX, reads, ALL), size);
    default: return handler;
    }
}

static Description
group1 (const VmmInsn *i)
{
  unsigned operation = reg_field (i), size = i->opcode & 1 ? operand_size (i) : 1;
  Description d = modrm (i, T_DIGIT, size, operation == VMM_CMP ? M_READ : M_WRITE, false,
                         alu_reads (operation), ALL);
  return with_immediate (d, i->opcode == 0x81 ? size : 1);
}

/* ROL ROR RCL RCR SHL SHR SAL SAR.  OF after a rotate by more than one is undefined, and the
   handlers define it: `live` decides in translate.c whether that matters. */
static Description
shift (const VmmInsn *i)
{
  unsigned operation = reg_field (i), size = i->opcode & 1 ? operand_size (i) : 1;
  bool by_cl = (i->opcode & 0xfe) == 0xd2, rotate = operation < 4;
  unsigned reads = operation == 2 || operation == 3 ? CF : 0, writes = 0;
  if (!by_cl && (i->imm & 31))
    writes = rotate ? CF | OF : ALL;
  if (!by_cl && size < 4 && (i->imm & 31) > 8u * size && rotate)
    writes = 0;
  Description d = modrm (i, T_DIGIT, size, M_WRITE, false, reads, writes);
  return with_immediate (d, i->opcode < 0xd0 ? 1 : 0);
}

static Description
group3 (const VmmInsn *i)
{
  unsigned size = i->opcode & 1 ? operand_size (i) : 1;
  unsigned ax = 1 << VMM_EAX, ax_dx = size == 1 ? ax : ax | 1 << VMM_EDX;
  switch (reg_field (i))
    {
    case 0:
    case 1: return with_immediate (modrm (i, T_DIGIT, size, M_READ, false, 0, ALL), size);
    case 2: return modrm (i, T_DIGIT, size, M_WRITE, false, 0, 0);
    case 3: return modrm (i, T_DIGIT, size, M_WRITE, false, 0, ALL);
    case 4:
    case 5: return defining (modrm (i, T_DIGIT, size, M_READ, false, 0, ALL), ax_dx);
    default: return defining (modrm (i, T_DIGIT, size, M_READ, false, ALL, 0), ax_dx);
    }
}

/* INC DEC CALL CALLF JMP JMPF PUSH */
static Description
group45 (const VmmInsn *i)
{
  unsigned size = i->opcode & 1 ? operand_size (i) : 1;
  switch (reg_field (i))
    {
    case 0:
    case 1: return modrm (i, T_DIGIT, size, M_WRITE, false, 0, ALL & ~CF);
    case 2: return modrm (i, T_CALL_M, size, M_READ, false, 0, 0);
    case 4: return modrm (i, T_JMP_M, size, M_READ, false, 0, 0);
    case 6: return modrm (i, T_PUSH_M, size, M_READ, false, 0, 0);
    default: return handler;
    }
}

static unsigned
condition_reads (unsigned n)
{
  static const uint16_t flags[8]
      = { OF, CF, ZF, CF | ZF, FL_SF, FL_PF, FL_SF | OF, FL_SF | OF | ZF };
  return flags[n >> 1 & 7];
}

/* ---- x87 ---- */

/* Bytes of the operand, by opcode and reg; 0: by its handler. */
static const uint8_t fpu_bytes[8][8] = {
  { 4, 4, 4, 4, 4, 4, 4, 4 },   { 4, 0, 4, 4, 0, 2, 0, 2 },   { 4, 4, 4, 4, 4, 4, 4, 4 },
  { 4, 0, 4, 4, 0, 10, 0, 10 }, { 8, 8, 8, 8, 8, 8, 8, 8 },   { 8, 0, 8, 8, 0, 0, 0, 2 },
  { 2, 2, 2, 2, 2, 2, 2, 2 },   { 2, 0, 2, 2, 10, 8, 10, 8 },
};
/* Bit `reg` of [opcode & 7]: is it stored? */
static const uint8_t fpu_stores[8] = { 0, 0x8c, 0, 0x8c, 0, 0x8c, 0, 0xcc };

static Description
x87 (const VmmInsn *i)
{
  unsigned opcode = i->opcode & 7, reg = reg_field (i);
  Description d = { .template = T_FPU };
  if (has_memory (i))
    {
      d.template = i->opcode == 0xd9 && reg == 5 ? T_FLDCW : T_FPU_M;
      d.msize = fpu_bytes[opcode][reg];
      d.memory = fpu_stores[opcode] >> reg & 1 ? M_WRITE : M_READ;
      return d.msize ? d : handler;
    }
  switch (i->opcode << 8 | i->modrm)
    {
    case 0xdbe0:
    case 0xdbe1:
    case 0xdbe3:
    case 0xdbe4: return handler; /* FENI, FDISI, FINIT, FSETPM */
    case 0xdfe0: d.defines = 1 << VMM_EAX; break;
    }
  if ((i->opcode == 0xda || i->opcode == 0xdb) && i->modrm < 0xe0)
    d.reads = CF | ZF | FL_PF;
  else if ((i->opcode == 0xdb || i->opcode == 0xdf) && i->modrm >= 0xe8)
    d.writes = CF | ZF | FL_PF;
  return d;
}

/* ---- MMX ---- */

static Description
mmx_load (const VmmInsn *i, unsigned bytes)
{
  Description d = { .template = T_MMX };
  if (has_memory (i))
    {
      d.memory = M_READ;
      d.msize = (uint8_t) bytes;
    }
  return d;
}

static Description
mmx (const VmmInsn *i)
{
  Description d;
  if (i->flags & (VMM_INSN_66 | VMM_INSN_REP | VMM_INSN_REPNE))
    return handler;
  switch (i->opcode)
    {
    case 0x60 ... 0x62:
    case 0x6e: return mmx_load (i, 4);
    case 0x70: return with_immediate (mmx_load (i, 8), 1);
    case 0x71 ... 0x73: return with_immediate (mmx_load (i, 8), 1);
    case 0xc4: return with_immediate (mmx_load (i, 2), 1);
    case 0x7e:
      d = mmx_load (i, 4);
      d.memory = d.memory ? M_WRITE : M_NONE;
      return has_memory (i) ? d : defining (d, 1u << (i->modrm & 7));
    case 0x7f:
    case 0xe7:
      d = mmx_load (i, 8);
      d.memory = d.memory ? M_WRITE : M_NONE;
      return d;
    case 0xc5: return defining (with_immediate (mmx_load (i, 8), 1), 1u << reg_field (i));
    case 0xd7: return defining (mmx_load (i, 8), 1u << reg_field (i));
    case 0xf7: return handler;
    default: return mmx_load (i, 8);
    }
}

static bool
is_mmx (uint8_t opcode)
{
  return (opcode >= 0x60 && opcode <= 0x6b) || (opcode >= 0x6e && opcode <= 0x77) || opcode == 0x7e
         || opcode == 0x7f || opcode == 0xc4 || opcode == 0xc5
         || (opcode >= 0xd1 && opcode <= 0xfe && opcode != 0xd6 && opcode != 0xe6 && opcode != 0xf0
             && opcode != 0xd0);
}

/* ---- The maps ---- */

/* CMPS and SCAS.  Repeated no times they leave the flags. */
static Description
string_compare (const VmmInsn *i, unsigned size)
{
  Description d = handler_without_flags;
  if (i->flags & VMM_INSN_A16)
    return d;
  d.template = i->opcode >= 0xae ? T_SCAS : T_CMPS;
  d.size = (uint8_t) size;
  d.writes = i->flags & (VMM_INSN_REP | VMM_INSN_REPNE) ? 0 : ALL;
  return d;
}

/* MOVS, STOS and LODS. */
static Description
string (const VmmInsn *i, unsigned size)
{
  Description d = handler_without_flags;
  bool repeats = i->flags & (VMM_INSN_REP | VMM_INSN_REPNE), loads = i->opcode >= 0xac;
  if ((i->flags & VMM_INSN_A16) || (repeats && loads))
    return d;
  d.template = loads ? T_LODS : i->opcode >= 0xaa ? T_STOS : T_MOVS;
  d.size = (uint8_t) size;
  return d;
}

/* MOV to a segment register. */
static Description
load_segment (const VmmInsn *i)
{
  Description d = modrm (i, T_MOV_TO_S, 2, M_READ, false, 0, 0);
  d.size = (uint8_t) operand_size (i);
  return d;
}

static Description
one_byte (const VmmInsn *i)
{
  unsigned size = operand_size (i), byte = i->opcode & 1 ? size : 1;
  switch (i->opcode)
    {
    case 0x00 ... 0x05:
    case 0x08 ... 0x0d:
    case 0x10 ... 0x15:
    case 0x18 ... 0x1d:
    case 0x20 ... 0x25:
    case 0x28 ... 0x2d:
    case 0x30 ... 0x35:
    case 0x38 ... 0x3d: return alu (i);
    case 0x40 ... 0x4f: return simple (T_INC_DEC, size, 1u << (i->opcode & 7), 0, ALL & ~CF);
    case 0x50 ... 0x57: return simple (T_PUSH_R, size, 0, 0, 0);
    case 0x58 ... 0x5f: return simple (T_POP_R, size, 1u << (i->opcode & 7), 0, 0);
    case 0x68:
    case 0x6a: return simple (T_PUSH_I, size, 0, 0, 0);
    case 0x69: return with_immediate (modrm (i, T_MODRM, size, M_READ, true, 0, ALL), size);
    case 0x6b: return with_immediate (modrm (i, T_MODRM, size, M_READ, true, 0, ALL), 1);
    case 0x70 ... 0x7f: return simple (T_JCC, size, 0, condition_reads (i->opcode & 15), 0);
    case 0x80 ... 0x83: return group1 (i);
    case 0x84:
    case 0x85: return modrm (i, T_MODRM, byte, M_READ, false, 0, ALL);
    case 0x86:
    case 0x87: return modrm (i, T_MODRM, byte, M_WRITE, true, 0, 0);
    case 0x88:
    case 0x89: return modrm (i, T_MODRM, byte, M_WRITE, false, 0, 0);
    case 0x8a:
    case 0x8b: return modrm (i, T_MODRM, byte, M_READ, true, 0, 0);
    case 0x8d: return simple (T_LEA, size, 1u << reg_field (i), 0, 0);
    case 0x90: return simple (T_NOP, 4, 0, 0, 0);
    case 0x91 ... 0x97: return simple (T_XCHG_A, size, 1u | 1u << (i->opcode & 7), 0, 0);
    case 0x98: return simple (T_PLAIN, size, 1 << VMM_EAX, 0, 0);
    case 0x99: return simple (T_PLAIN, size, 1 << VMM_EDX, 0, 0);
    case 0x9b: return simple (T_FPU, 4, 0, 0, 0);
    case 0x9e: return simple (T_PLAIN, 4, 0, 0, ALL & ~OF);
    case 0x9f: return simple (T_PLAIN, 4, 1 << VMM_EAX, ALL & ~OF, 0);
    case 0xa0:
    case 0xa1:
    case 0xa2:
    case 0xa3:
      return (Description){ .template = T_MOFFS,
                            .size = (uint8_t) byte,
                            .msize = (uint8_t) byte,
                            .memory = i->opcode & 2 ? M_WRITE : M_READ,
                            .defines = i->opcode & 2 ? 0 : 1 << VMM_EAX };
    case 0xa8:
    case 0xa9: return with_immediate (simple (T_ACC, byte, 0, 0, ALL), byte);
    case 0xb0 ... 0xb7: return simple (T_MOV_RI, 1, 1u << (i->opcode & 3), 0, 0);
    case 0xb8 ... 0xbf: return simple (T_MOV_RI, size, 1u << (i->opcode & 7), 0, 0);
    case 0xc0:
    case 0xc1:
    case 0xd0 ... 0xd3: return shift (i);
    case 0xc2:
    case 0xc3: return simple (T_RET, size, 0, 0, 0);
    case 0xc6:
    case 0xc7: return with_immediate (modrm (i, T_DIGIT, byte, M_WRITE, false, 0, 0), byte);
    case 0xc9: return simple (T_LEAVE, size, 1 << VMM_EBP | 1 << VMM_ESP, 0, 0);
    case 0xd8 ... 0xdf: return x87 (i);
    case 0xe0 ... 0xe3: return simple (T_LOOP, size, 1 << VMM_ECX, i->opcode < 0xe2 ? ZF : 0, 0);
    case 0xe8: return simple (T_CALL, size, 0, 0, 0);
    case 0xe9:
    case 0xeb: return simple (T_JMP, size, 0, 0, 0);
    case 0xf5: return simple (T_PLAIN, 4, 0, CF, CF);
    case 0xf6:
    case 0xf7: return group3 (i);
    case 0xf8:
    case 0xf9: return simple (T_PLAIN, 4, 0, 0, CF);
    case 0xfe:
    case 0xff: return group45 (i);
    case 0xfc: return simple (T_CLD, 4, 0, 0, 0);
    case 0xa4:
    case 0xa5:
    case 0xaa ... 0xad: return string (i, byte);
    case 0xa6:
    case 0xa7:
    case 0xae:
    case 0xaf: return string_compare (i, byte);
    case 0x06:
    case 0x0e:
    case 0x16:
    case 0x1e: return simple (T_PUSH_S, size, 0, 0, 0);
    case 0x07:
    case 0x1f: return simple (T_POP_S, size, 1 << VMM_ESP, 0, 0);
      case 0x8c: {
        Description d = modrm (i, T_MOV_FROM_S, size, M_WRITE, false, 0, 0);
        d.msize = 2;
        return d;
      }
    case 0x8e: return i->reg == VMM_SS ? handler_without_flags : load_segment (i);
    case 0x9c: return simple (T_PUSHF, size, 0, ALL, 0);
    case 0x9d: return simple (T_POPF, size, 1 << VMM_ESP, 0, ALL);
    case 0xfa: return simple (T_CLI, 4, 0, 0, 0);
    case 0xfb: return simple (T_STI, 4, 0, 0, 0);
    case 0x17:
    case 0x60:
    case 0x61:
    case 0x6c ... 0x6f:
    case 0x8f:
    case 0xc8:
    case 0xd7:
    case 0xe4 ... 0xe7:
    case 0xec ... 0xef:
    case 0xfd: return handler_without_flags;
    default: return handler;
    }
}

static Description
two_bytes (const VmmInsn *i)
{
  unsigned size = operand_size (i), byte = i->opcode & 1 ? size : 1;
  Description d;
  if (vmm_describe_sse (i, &d))
    return d;
  switch (i->opcode)
    {
    case 0x18 ... 0x1f: return simple (T_NOP, 4, 0, 0, 0);
    case 0x40 ... 0x4f:
      return modrm (i, T_MODRM, size, M_READ, true, condition_reads (i->opcode & 15), 0);
    case 0x80 ... 0x8f: return simple (T_JCC, size, 0, condition_reads (i->opcode & 15), 0);
    case 0x90 ... 0x9f:
      return modrm (i, T_DIGIT, 1, M_WRITE, false, condition_reads (i->opcode & 15), 0);
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb: /* a bit string in memory is not one operand */
      return has_memory (i)
                 ? handler
                 : modrm (i, T_MODRM, size, i->opcode == 0xa3 ? M_READ : M_WRITE, false, 0, CF);
    case 0xa4:
    case 0xac:
      return with_immediate (modrm (i, T_MODRM, size, M_WRITE, false, 0,
                                    (i->imm & 31) && (i->imm & 31) <= 8u * size ? ALL : 0),
                             1);
    case 0xa5:
    case 0xad: return modrm (i, T_MODRM, size, M_WRITE, false, 0, 0);
    case 0xae: return i->modrm >= 0xe8 ? simple (T_FENCE, 4, 0, 0, 0) : handler_without_flags;
    case 0xaf: return modrm (i, T_MODRM, size, M_READ, true, 0, ALL);
    case 0xb0:
    case 0xb1: return defining (modrm (i, T_MODRM, byte, M_WRITE, false, 0, ALL), 1 << VMM_EAX);
    case 0xb6:
    case 0xb7:
    case 0xbe:
    case 0xbf:
      d = modrm (i, T_MODRM, size, M_READ, true, 0, 0);
      d.msize = i->opcode & 1 ? 2 : 1;
      return d;
    case 0xba:
      return with_immediate (
          modrm (i, T_DIGIT, size, reg_field (i) == 4 ? M_READ : M_WRITE, false, 0, CF), 1);
    case 0xbc:
    case 0xbd: return modrm (i, T_MODRM, size, M_READ, true, 0, ZF);
    case 0xc0:
    case 0xc1: return modrm (i, T_MODRM, byte, M_WRITE, true, 0, ALL);
    case 0xc3: return modrm (i, T_MODRM, 4, M_WRITE, false, 0, 0); /* MOVNTI */
    case 0xc7:
      d = modrm (i, T_DIGIT, 4, M_WRITE, false, 0, ZF);
      d.msize = 8;
      return has_memory (i) ? defining (d, 1 << VMM_EAX | 1 << VMM_EDX) : handler;
    case 0xc8 ... 0xcf:
      return size == 4 ? simple (T_BSWAP, 4, 1u << (i->opcode & 7), 0, 0) : handler;
    case 0x00:
      if (reg_field (i) != 4 && reg_field (i) != 5)
        return handler;
      return modrm (i, T_VERIFY, 2, M_READ, false, 0, ZF);
    case 0xa0:
    case 0xa8: return simple (T_PUSH_S, size, 0, 0, 0);
    case 0xa1:
    case 0xa9: return simple (T_POP_S, size, 1 << VMM_ESP, 0, 0);
    case 0x01:
    case 0x06:
    case 0x20 ... 0x23:
    case 0x30 ... 0x33:
    case 0xa2: return handler_without_flags;
    default: return is_mmx (i->opcode) ? mmx (i) : handler;
    }
}

Description
vmm_describe (const VmmInsn *i, bool last, bool sync)
{
  if (i->handler == vmm_op_ud || (last && sync && !is_soft (i)))
    return (Description){ .template = T_TAIL, .reads = ALL, .defines = ALL_REGISTERS };
  Description d = i->map ? two_bytes (i) : one_byte (i);
  /* A memory operand of a register form that is not one. */
  if (i->flags & VMM_INSN_LOCK && d.template != T_MODRM && d.template != T_DIGIT)
    return handler;
  return d;
}

bool
vmm_has_high_byte (const VmmInsn *i, const Description *d)
{
  return d->template == T_MODRM && d->size == 1 && has_memory (i) && reg_field (i) >= 4;
}

bool
vmm_stores_high_byte (const VmmInsn *i)
{
  return !i->map
         && (i->opcode == 0x84 || i->opcode == 0x88 || (i->opcode < 0x40 && !(i->opcode & 2)));
}

bool
vmm_loads_high_byte (const VmmInsn *i)
{
  return !i->map && (i->opcode == 0x8a || (i->opcode < 0x40 && (i->opcode & 2)));
}
