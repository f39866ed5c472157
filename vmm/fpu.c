/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87: the instructions are executed by the host's own unit (host_ops.asm), on the guest's
 * registers.
 *
 * After Intel's Software Developer's Manual, volume 1 chapter 8 and volume 2, as a Pentium III:
 * FCMOV and FCOMI, no FISTTP.  Results are the host's: 64-bit hosts have the same unit, but the
 * last bits of the transcendental functions are those of its maker.
 *
 *  - fpu.h tells where the registers are.  vmm_fpu_sync is called before every exit to the host,
 *    which then finds a clean unit; a loop of guest code between exits costs one FXRSTOR and one
 *    FXSAVE.
 *  - The pointers (FIP, FCS, FDP, FDS, FOP) are the guest's and are kept here, never the host's.
 *    As on the P6 they are noted by every instruction that is not a control instruction.  FCS and
 *    FDS are real, though newer processors dropped them.
 *  - An instruction with an operand in memory touches the memory before it changes a register, so
 *    that it can be begun anew after a page fault.
 *  - With CR0.NE = 0 an unmasked exception asserts FERR# at the next waiting instruction, which
 *    then stands still until the interrupt is taken, or goes on while IGNNE# is asserted.
 *
 * FXSAVE and FXRSTOR move XMM registers only if CR4.OSFXSR is set, MXCSR always.
 */
#include "fpu.h"

static inline const uint8_t *
register_stub (const VmmInsn *i)
{
  return vmm_host_x87_register + (((i->opcode & 7u) << 6 | (i->modrm & 63u)) << 2);
}

static inline const uint8_t *
memory_stub (const VmmInsn *i)
{
  return vmm_host_x87_memory + (((i->opcode & 7u) << 3 | i->reg) << 2);
}

/* ---- Where the registers are ---- */

void
vmm_fpu_load (VmmVcpu *c)
{
  uint8_t *fx = c->fpu.fx;
  uint16_t fsw = fx_get16 (fx, FX_FSW), fcw = fx_get16 (fx, FX_FCW);
  c->fpu.fop = fx_get16 (fx, FX_FOP);
  c->fpu.fip = fx_get32 (fx, FX_FIP);
  c->fpu.fcs = fx_get16 (fx, FX_FCS);
  c->fpu.fdp = fx_get32 (fx, FX_FDP);
  c->fpu.fds = fx_get16 (fx, FX_FDS);
  c->fpu.held = (uint8_t) fx_pending (fx);
  fx_put16 (fx, FX_FSW, (uint16_t) (fsw & ~(FSW_ES | FSW_B | c->fpu.held)));
  c->fpu.masked = (fcw & FSW_EXCEPTIONS) == FSW_EXCEPTIONS && !c->fpu.held;
  vmm_host_fx_load (fx);
  c->fpu.live = true;
  vmm_fpu_ready_changed (c);
}

/* ES and B follow from the flags and their masks. */
static void
update_es (uint8_t *fx)
{
  uint16_t fsw = fx_get16 (fx, FX_FSW) & (uint16_t) ~(FSW_ES | FSW_B);
  if (fx_pending (fx))
    fsw |= FSW_ES | FSW_B;
  fx_put16 (fx, FX_FSW, fsw);
}

void
vmm_fpu_sync (VmmVcpu *c)
{
  if (!c->fpu.live)
    return;
  uint8_t host[512] __attribute__ ((aligned (64)));
  uint8_t *fx = c->fpu.fx;
  vmm_host_fx_store (host);
  memcpy (fx, host, FX_FTW + 1);
  memcpy (fx + FX_ST, host + FX_ST, FX_XMM - FX_ST);
  fx_put16 (fx, FX_FOP, (uint16_t) c->fpu.fop);
  fx_put32 (fx, FX_FIP, c->fpu.fip);
  fx_put16 (fx, FX_FCS, c->fpu.fcs);
  fx_put32 (fx, FX_FDP, c->fpu.fdp);
  fx_put16 (fx, FX_FDS, c->fpu.fds);
  fx_put16 (fx, FX_FSW, fx_get16 (fx, FX_FSW) | c->fpu.held);
  update_es (fx);
  c->fpu.live = c->fpu_ready = false;
}

unsigned
vmm_fpu_leave_slow (VmmVcpu *c)
{
  uint16_t fsw;
  __asm__ volatile("fnstsw %0" : "=a"(fsw));
  if (!(fsw & FSW_ES) && !c->fpu.held)
    return 0;
  vmm_fpu_sync (c);
  return fsw & FSW_ES ? fsw & ~fx_get16 (c->fpu.fx, FX_FCW) & FSW_EXCEPTIONS : 0;
}

/* ---- Errors ---- */

static void
set_ferr (VmmVcpu *c, bool level)
{
  if (c->fpu.ferr == level)
    return;
  c->fpu.ferr = level;
  if (c->config.ferr)
    c->config.ferr (c->config.opaque, level);
}

void
vmm_fpu_update_ferr (VmmVcpu *c)
{
  if (VMM_UNLIKELY (c->fpu.ferr) && (c->fpu.live || !fx_pending (c->fpu.fx)))
    set_ferr (c, false);
}

void
vmm_fpu_error (VmmVcpu *c)
{
  if (c->cr0 & CR0_NE)
    vmm_raise (c, EX_MF);
  set_ferr (c, true);
  if (c->fpu.ignne)
    return;
  /* Stand still: the instruction is begun anew until an interrupt comes first.  The time slice is
     given back each time. */
  vmm_vcpu_kick (c);
  vmm_restart (c);
}

/* ---- Instructions on registers ---- */

static inline void
note (VmmVcpu *c, const VmmInsn *i)
{
  c->fpu.fip = c->eip;
  c->fpu.fcs = c->seg[VMM_CS].selector;
  c->fpu.fop = (uint16_t) ((i->opcode & 7) << 8 | i->modrm);
}

static inline void
note_operand (VmmVcpu *c, const VmmInsn *i, uint32_t ea)
{
  note (c, i);
  c->fpu.fdp = ea;
  c->fpu.fds = c->seg[i->segment].selector;
}

static VMM_HOT void
fpu_register (VmmVcpu *c, const VmmInsn *i)
{
  fpu_check (c);
  fpu_enter (c);
  note (c, i);
  ((VmmHostStub) register_stub (i)) ();
  fpu_leave (c);
}

static void
fcmov (VmmVcpu *c, const VmmInsn *i)
{
  fpu_check (c);
  fpu_enter (c);
  note (c, i);
  const uint8_t *stub = vmm_host_fcmov + (((i->opcode - 0xdau) << 5 | (i->modrm & 31u)) << 3);
  ((void (*) (uint32_t)) stub) (c->eflags);
  fpu_leave (c);
}

static void
fcomi (VmmVcpu *c, const VmmInsn *i)
{
  fpu_check (c);
  fpu_enter (c);
  note (c, i);
  const uint8_t *stub = vmm_host_fcomi + (((i->opcode == 0xdfu) << 4 | (i->modrm - 0xe8u)) << 3);
  uint32_t flags = ((uint32_t (*) (void)) stub) ();
  fpu_leave (c);
  c->eflags = (c->eflags & ~FL_ARITH) | (flags >> 8 & (FL_ARITH & 0xff)) | (flags & 1) * FL_OF;
}

/* ---- Instructions on memory ---- */

static inline uint32_t
operand_linear (VmmVcpu *c, const VmmInsn *i, uint32_t ea, unsigned size, unsigned can)
{
  if (size == 10)
    return fpu_linear80 (c, i->segment, ea, can);
  return fpu_linear (c, i->segment, ea, size, size, can);
}

static inline void
load_operand (VmmVcpu *c, const VmmInsn *i, unsigned size)
{
  uint8_t operand[16] __attribute__ ((aligned (16)));
  fpu_check (c);
  uint32_t ea = vmm_ea (c, i);
  uint32_t linear = operand_linear (c, i, ea, size, VMM_CAN_READ);
  fpu_read (c, linear, operand, size);
  fpu_enter (c);
  note_operand (c, i, ea);
  ((VmmHostMemoryStub) memory_stub (i)) (operand);
  fpu_leave (c);
}

/* An unmasked exception that suppresses a store comes before whatever that store would fault with.
   Where both are possible the instruction is tried first; returns whether that ended it. */
static bool
store_suppressed (VmmVcpu *c, const VmmInsn *i, uint32_t ea)
{
  uint8_t operand[16] __attribute__ ((aligned (16))), host[512] __attribute__ ((aligned (64)));
  vmm_fpu_sync (c);
  if (!(~fx_get16 (c->fpu.fx, FX_FCW) & FSW_EXCEPTIONS) || fx_pending (c->fpu.fx))
    return false;
  vmm_fpu_load (c);
  ((VmmHostMemoryStub) memory_stub (i)) (operand);
  uint16_t fsw;
  __asm__ volatile("fnstsw %0" : "=a"(fsw));
  if (fsw & ~fx_get16 (c->fpu.fx, FX_FCW) & FSW_EXCEPTIONS & ~FSW_PE)
    {
      note_operand (c, i, ea);
      fpu_leave (c);
      return true;
    }
  vmm_host_fx_store (host); /* not wanted: c->fpu.fx is as before */
  c->fpu.live = c->fpu_ready = false;
  return false;
}

static inline void
store_operand (VmmVcpu *c, const VmmInsn *i, unsigned size)
{
  uint8_t operand[16] __attribute__ ((aligned (16)));
  fpu_check (c);
  uint32_t ea = vmm_ea (c, i), linear = c->seg[i->segment].base + ea;
  if (VMM_UNLIKELY (!fpu_linear_ok (c, i->segment, ea, size, VMM_CAN_WRITE)
                    || !fpu_writable (c, linear, size)))
    {
      if (store_suppressed (c, i, ea))
        return;
      linear = operand_linear (c, i, ea, size, VMM_CAN_WRITE);
      vmm_probe_write (c, linear, size, c->user);
    }
  fpu_enter (c);
  note_operand (c, i, ea);
  ((VmmHostMemoryStub) memory_stub (i)) (operand);
  /* An unmasked exception keeps the operand from being stored, but for an inexact result, which is
     found out afterwards. */
  if (!(fpu_leave (c) & ~FSW_PE))
    fpu_write (c, linear, operand, size);
}

#define OPERAND_HANDLERS(size, bytes)                                                              \
  static VMM_HOT void load_m##size (VmmVcpu *c, const VmmInsn *i) { load_operand (c, i, bytes); }  \
  static VMM_HOT void store_m##size (VmmVcpu *c, const VmmInsn *i) { store_operand (c, i, bytes); }
OPERAND_HANDLERS (16, 2)
OPERAND_HANDLERS (32, 4)
OPERAND_HANDLERS (64, 8)
OPERAND_HANDLERS (80, 10)
#undef OPERAND_HANDLERS

/* ---- Control instructions: they leave the pointers alone ---- */

/* The ones that do not wait. */
static inline void
control_check (VmmVcpu *c)
{
  if (VMM_UNLIKELY (c->cr0 & (CR0_EM | CR0_TS)))
    vmm_raise (c, EX_NM);
}

void
vmm_fwait (VmmVcpu *c, const VmmInsn *i)
{
  if ((c->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
    vmm_raise (c, EX_NM);
  fpu_check_pending (c);
}

static void
fldcw (VmmVcpu *c, const VmmInsn *i)
{
  uint16_t fcw;
  fpu_check (c);
  uint32_t linear = fpu_linear (c, i->segment, vmm_ea (c, i), 2, 2, VMM_CAN_READ);
  fpu_read (c, linear, &fcw, 2);
  fpu_enter (c);
  ((VmmHostMemoryStub) memory_stub (i)) (&fcw);
  c->fpu.masked = (fcw & FSW_EXCEPTIONS) == FSW_EXCEPTIONS && !c->fpu.held;
  vmm_fpu_ready_changed (c);
  fpu_leave (c);
  vmm_fpu_update_ferr (c);
}

/* The control or status word now, wherever it is. */
static uint16_t
control_word (VmmVcpu *c)
{
  uint16_t fcw;
  if (!c->fpu.live)
    return fx_get16 (c->fpu.fx, FX_FCW);
  __asm__ volatile("fnstcw %0" : "=m"(fcw));
  return fcw;
}

static uint16_t
status_word (VmmVcpu *c)
{
  uint16_t fsw;
  if (!c->fpu.live)
    return fx_get16 (c->fpu.fx, FX_FSW);
  __asm__ volatile("fnstsw %0" : "=a"(fsw));
  return fsw;
}

static void
fnstcw (VmmVcpu *c, const VmmInsn *i)
{
  control_check (c);
  vmm_write16 (c, i->segment, vmm_ea (c, i), control_word (c));
}

static void
fnstsw (VmmVcpu *c, const VmmInsn *i)
{
  control_check (c);
  vmm_write16 (c, i->segment, vmm_ea (c, i), status_word (c));
}

static void
fnstsw_ax (VmmVcpu *c, const VmmInsn *i)
{
  control_check (c);
  c->gpr[VMM_EAX] = (c->gpr[VMM_EAX] & 0xffff0000u) | status_word (c);
}

static void
fnclex (VmmVcpu *c, const VmmInsn *i)
{
  control_check (c);
  if (c->fpu.live)
    __asm__ volatile("fnclex");
  else
    fx_put16 (c->fpu.fx, FX_FSW, fx_get16 (c->fpu.fx, FX_FSW) & 0x7f00);
  vmm_fpu_update_ferr (c);
}

/* The 8087's and 80287's own instructions: nothing. */
static void
fneni (VmmVcpu *c, const VmmInsn *i)
{
  control_check (c);
}

/* The registers in an image stand in the order of the stack: another TOP is another order. */
static void
set_top (uint8_t *fx, unsigned top)
{
  uint8_t st[128];
  uint16_t fsw = fx_get16 (fx, FX_FSW);
  unsigned old = fsw >> FSW_TOP_SHIFT & 7;
  memcpy (st, fx + FX_ST, sizeof st);
  for (unsigned n = 0; n < 8; n++)
    memcpy (fx + FX_ST + 16 * n, st + 16 * ((top + n - old) & 7), 16);
  fx_put16 (fx, FX_FSW, (uint16_t) ((fsw & ~FSW_TOP) | top << FSW_TOP_SHIFT));
}

static void
init_image (uint8_t *fx)
{
  set_top (fx, 0);
  fx_put16 (fx, FX_FCW, 0x37f);
  fx_put16 (fx, FX_FSW, 0);
  memset (fx + FX_FTW, 0, FX_MXCSR - FX_FTW);
}

static void
fninit (VmmVcpu *c, const VmmInsn *i)
{
  control_check (c);
  vmm_fpu_sync (c);
  init_image (c->fpu.fx);
  vmm_fpu_update_ferr (c);
}

/* ---- The environment: FLDENV, FNSTENV, FRSTOR, FNSAVE ---- */

/* The full tag of an occupied register: valid, zero, special. */
static unsigned
register_tag (const uint8_t *st)
{
  uint64_t mantissa;
  uint16_t exponent;
  memcpy (&mantissa, st, 8);
  memcpy (&exponent, st + 8, 2);
  exponent &= 0x7fff;
  if (exponent == 0 && mantissa == 0)
    return 1;
  return exponent == 0 || exponent == 0x7fff || !(mantissa >> 63) ? 2 : 0;
}

static uint16_t
full_tags (const uint8_t *fx)
{
  unsigned top = fx_get16 (fx, FX_FSW) >> FSW_TOP_SHIFT & 7, tags = 0;
  for (unsigned p = 0; p < 8; p++)
    {
      unsigned tag = 3;
      if (fx[FX_FTW] >> p & 1)
        tag = register_tag (fx + FX_ST + 16 * ((p - top) & 7));
      tags |= tag << (2 * p);
    }
  return (uint16_t) tags;
}

/* Pointers are linear addresses in the formats of real and v86 mode. */
static inline bool
real_format (const VmmVcpu *c)
{
  return !(c->cr0 & CR0_PE) || (c->eflags & FL_VM);
}

static unsigned
store_environment (VmmVcpu *c, bool o16, uint8_t *to)
{
  const uint8_t *fx = c->fpu.fx;
  uint32_t fip = fx_get32 (fx, FX_FIP), fdp = fx_get32 (fx, FX_FDP);
  uint32_t fcs = fx_get16 (fx, FX_FCS), fds = fx_get16 (fx, FX_FDS);
  uint32_t fop = fx_get16 (fx, FX_FOP);
  uint32_t w[7]
      = { fx_get16 (fx, FX_FCW), fx_get16 (fx, FX_FSW), full_tags (fx), fip, fcs, fdp, fds };
  if (real_format (c))
    {
      fip += fcs << 4;
      fdp += fds << 4;
      w[3] = fip & 0xffff;
      w[4] = o16 ? (fip >> 4 & 0xf000) | fop : (fip >> 4 & 0x0ffff000) | fop;
      w[5] = fdp & 0xffff;
      w[6] = o16 ? fdp >> 4 & 0xf000 : fdp >> 4 & 0x0ffff000;
    }
  else if (!o16)
    w[4] |= fop << 16;
  if (o16)
    {
      for (unsigned n = 0; n < 7; n++)
        fx_put16 (to, 2 * n, (uint16_t) w[n]);
      return 14;
    }
  for (unsigned n = 0; n < 3; n++)
    w[n] |= 0xffff0000u;
  if (real_format (c))
    {
      w[3] |= 0xffff0000u;
      w[5] |= 0xffff0000u;
    }
  else
    w[6] |= 0xffff0000u;
  memcpy (to, w, 28);
  return 28;
}

static void
load_environment (VmmVcpu *c, bool o16, const uint8_t *from)
{
  uint8_t *fx = c->fpu.fx;
  uint32_t w[7];
  for (unsigned n = 0; n < 7; n++)
    w[n] = o16 ? fx_get16 (from, 2 * n) : fx_get32 (from, 4 * n);
  uint32_t fip = w[3], fcs = w[4] & 0xffff, fdp = w[5], fds = w[6] & 0xffff, fop = w[4] >> 16;
  if (real_format (c))
    {
      fop = w[4];
      fip = (w[3] & 0xffff) | (w[4] << 4 & 0xffff0000u);
      fdp = (w[5] & 0xffff) | (w[6] << 4 & 0xffff0000u);
      fcs = fds = 0;
    }
  unsigned tags = 0;
  for (unsigned p = 0; p < 8; p++)
    tags |= ((w[2] >> (2 * p) & 3) != 3) << p;
  set_top (fx, w[1] >> FSW_TOP_SHIFT & 7);
  fx_put16 (fx, FX_FCW, (uint16_t) ((w[0] & 0x1f3f) | 0x40));
  fx_put16 (fx, FX_FSW, (uint16_t) w[1]);
  fx[FX_FTW] = (uint8_t) tags;
  fx_put16 (fx, FX_FOP, fop & 0x7ff);
  fx_put32 (fx, FX_FIP, fip);
  fx_put16 (fx, FX_FCS, (uint16_t) fcs);
  fx_put32 (fx, FX_FDP, fdp);
  fx_put16 (fx, FX_FDS, (uint16_t) fds);
  update_es (fx);
}

static void
fldenv (VmmVcpu *c, const VmmInsn *i)
{
  uint8_t image[28];
  bool o16 = i->flags & VMM_INSN_O16;
  fpu_check (c);
  uint32_t linear
      = fpu_linear (c, i->segment, vmm_ea (c, i), o16 ? 14 : 28, o16 ? 2 : 4, VMM_CAN_READ);
  vmm_read_bytes (c, linear, image, o16 ? 14 : 28, c->user);
  vmm_fpu_sync (c);
  load_environment (c, o16, image);
  vmm_fpu_update_ferr (c);
}

static void
frstor (VmmVcpu *c, const VmmInsn *i)
{
  uint8_t image[108], *fx = c->fpu.fx;
  bool o16 = i->flags & VMM_INSN_O16;
  unsigned head = o16 ? 14 : 28;
  fpu_check (c);
  uint32_t linear = fpu_linear (c, i->segment, vmm_ea (c, i), head + 80, o16 ? 2 : 4, VMM_CAN_READ);
  vmm_read_bytes (c, linear, image, head + 80, c->user);
  vmm_fpu_sync (c);
  load_environment (c, o16, image);
  memset (fx + FX_ST, 0, FX_XMM - FX_ST);
  for (unsigned n = 0; n < 8; n++)
    memcpy (fx + FX_ST + 16 * n, image + head + 10 * n, 10);
  vmm_fpu_update_ferr (c);
}

static void
fnstenv (VmmVcpu *c, const VmmInsn *i)
{
  uint8_t image[28], *fx = c->fpu.fx;
  bool o16 = i->flags & VMM_INSN_O16;
  control_check (c);
  uint32_t linear
      = fpu_linear (c, i->segment, vmm_ea (c, i), o16 ? 14 : 28, o16 ? 2 : 4, VMM_CAN_WRITE);
  vmm_probe_write (c, linear, o16 ? 14 : 28, c->user);
  vmm_fpu_sync (c);
  unsigned size = store_environment (c, o16, image);
  fx_put16 (fx, FX_FCW, fx_get16 (fx, FX_FCW) | FSW_EXCEPTIONS);
  update_es (fx);
  vmm_fpu_update_ferr (c);
  vmm_write_bytes (c, linear, image, size, c->user);
}

static void
fnsave (VmmVcpu *c, const VmmInsn *i)
{
  uint8_t image[108], *fx = c->fpu.fx;
  bool o16 = i->flags & VMM_INSN_O16;
  unsigned size = o16 ? 94 : 108;
  control_check (c);
  uint32_t linear = fpu_linear (c, i->segment, vmm_ea (c, i), size, o16 ? 2 : 4, VMM_CAN_WRITE);
  vmm_probe_write (c, linear, size, c->user);
  vmm_fpu_sync (c);
  unsigned head = store_environment (c, o16, image);
  for (unsigned n = 0; n < 8; n++)
    memcpy (image + head + 10 * n, fx + FX_ST + 16 * n, 10);
  init_image (fx);
  vmm_fpu_update_ferr (c);
  vmm_write_bytes (c, linear, image, size, c->user);
}

/* ---- FXSAVE, FXRSTOR, images ---- */

static uint32_t
fx_linear (VmmVcpu *c, const VmmInsn *i, unsigned can)
{
  control_check (c);
  uint32_t linear = fpu_linear (c, i->segment, vmm_ea (c, i), 512, 1, can);
  if (linear & 15)
    {
      if (vmm_ac_on (c) && (linear & 3))
        vmm_alignment_check (c, linear, 4);
      vmm_gp0 (c);
    }
  return linear;
}

void
vmm_fpu_fxsave (VmmVcpu *c, const VmmInsn *i)
{
  uint8_t image[FX_XMM_END];
  uint32_t linear = fx_linear (c, i, VMM_CAN_WRITE);
  vmm_probe_write (c, linear, 512, c->user);
  vmm_fpu_sync (c);
  memcpy (image, c->fpu.fx, sizeof image);
  fx_put32 (image, FX_MASK, mxcsr_mask (c));
  vmm_write_bytes (c, linear, image, c->cr4 & CR4_OSFXSR ? FX_XMM_END : FX_XMM, c->user);
}

/* Takes the x87 part of an image written by who knows whom. */
static void
take_x87 (uint8_t *fx, const uint8_t *image)
{
  memset (fx, 0, FX_MXCSR);
  memset (fx + FX_ST, 0, FX_XMM - FX_ST);
  fx_put16 (fx, FX_FCW, (uint16_t) ((fx_get16 (image, FX_FCW) & 0x1f3f) | 0x40));
  fx_put16 (fx, FX_FSW, fx_get16 (image, FX_FSW));
  fx[FX_FTW] = image[FX_FTW];
  fx_put16 (fx, FX_FOP, fx_get16 (image, FX_FOP) & 0x7ff);
  fx_put32 (fx, FX_FIP, fx_get32 (image, FX_FIP));
  fx_put16 (fx, FX_FCS, fx_get16 (image, FX_FCS));
  fx_put32 (fx, FX_FDP, fx_get32 (image, FX_FDP));
  fx_put16 (fx, FX_FDS, fx_get16 (image, FX_FDS));
  for (unsigned n = 0; n < 8; n++)
    memcpy (fx + FX_ST + 16 * n, image + FX_ST + 16 * n, 10);
  update_es (fx);
}

void
vmm_fpu_fxrstor (VmmVcpu *c, const VmmInsn *i)
{
  uint8_t image[512], *fx = c->fpu.fx;
  uint32_t linear = fx_linear (c, i, VMM_CAN_READ);
  vmm_read_bytes (c, linear, image, 512, c->user);
  uint32_t mxcsr = fx_get32 (image, FX_MXCSR);
  if (mxcsr & ~mxcsr_mask (c))
    vmm_gp0 (c);
  vmm_fpu_sync (c);
  take_x87 (fx, image);
  fx_put32 (fx, FX_MXCSR, mxcsr);
  if (c->cr4 & CR4_OSFXSR)
    memcpy (fx + FX_XMM, image + FX_XMM, FX_XMM_END - FX_XMM);
  vmm_fpu_update_ferr (c);
}

const char *
vmm_fpu_check_image (const VmmVcpu *c, const uint8_t image[512])
{
  uint8_t fx[FX_XMM];
  uint32_t reserved = fx_get32 (image, FX_MXCSR) & ~mxcsr_mask (c);
  if (reserved == MXCSR_DAZ)
    return "MXCSR has denormals-are-zeros, which this processor without SSE2 has not";
  if (reserved)
    return "reserved bits of MXCSR";
  take_x87 (fx, image);
  if (fx_get16 (fx, FX_FCW) != fx_get16 (image, FX_FCW))
    return "reserved bits of the x87 control word";
  if (fx_get16 (fx, FX_FSW) != fx_get16 (image, FX_FSW))
    return "x87 status and control word contradict each other";
  return NULL;
}

void
vmm_fpu_set_image (VmmVcpu *c, const uint8_t image[512])
{
  uint8_t *fx = c->fpu.fx;
  vmm_fpu_sync (c);
  memset (fx, 0, sizeof c->fpu.fx);
  take_x87 (fx, image);
  fx_put32 (fx, FX_MXCSR, fx_get32 (image, FX_MXCSR));
  fx_put32 (fx, FX_MASK, mxcsr_mask (c));
  memcpy (fx + FX_XMM, image + FX_XMM, FX_XMM_END - FX_XMM);
}

void
vmm_fpu_reset (VmmVcpu *c, bool init)
{
  vmm_fpu_sync (c);
  if (init)
    return;
  memset (c->fpu.fx, 0, sizeof c->fpu.fx);
  fx_put16 (c->fpu.fx, FX_FCW, 0x40);
  c->fpu.fx[FX_FTW] = 0xff; /* all registers hold +0.0 */
  fx_put32 (c->fpu.fx, FX_MXCSR, MXCSR_RESET);
  fx_put32 (c->fpu.fx, FX_MASK, mxcsr_mask (c));
  set_ferr (c, false);
}

/* ---- Which instruction is which ---- */

/* ORDER: opcode, modrm.reg; what the operand in memory is */
static const VmmHandler memory_handlers[8][8] = {
  { load_m32, load_m32, load_m32, load_m32, load_m32, load_m32, load_m32, load_m32 },
  { load_m32, NULL, store_m32, store_m32, fldenv, fldcw, fnstenv, fnstcw },
  { load_m32, load_m32, load_m32, load_m32, load_m32, load_m32, load_m32, load_m32 },
  { load_m32, NULL, store_m32, store_m32, NULL, load_m80, NULL, store_m80 },
  { load_m64, load_m64, load_m64, load_m64, load_m64, load_m64, load_m64, load_m64 },
  { load_m64, NULL, store_m64, store_m64, frstor, NULL, fnsave, fnstsw },
  { load_m16, load_m16, load_m16, load_m16, load_m16, load_m16, load_m16, load_m16 },
  { load_m16, NULL, store_m16, store_m16, load_m80, load_m64, store_m80, store_m64 },
};

/* Bit n of [opcode][row]: does modrm C0 + 16 * row + n exist? */
static const uint16_t register_forms[8][4] = {
  { 0xffff, 0xffff, 0xffff, 0xffff },
  { 0xffff, 0xff01, 0x7f33, 0xffff }, /* D9: not D1-D7, E2, E3, E6, E7, EF */
  { 0xffff, 0xffff, 0x0200, 0x0000 }, /* DA: FCMOV, FUCOMPP */
  { 0xffff, 0xffff, 0xff1f, 0x00ff }, /* DB: not E5-E7, F8-FF */
  { 0xffff, 0xffff, 0xffff, 0xffff },
  { 0xffff, 0xffff, 0xffff, 0x0000 }, /* DD: not F0-FF */
  { 0xffff, 0x02ff, 0xffff, 0xffff }, /* DE: of D8-DF only FCOMPP */
  { 0xffff, 0xffff, 0xff01, 0x00ff }, /* DF: not E1-E7, F8-FF */
};

VmmHandler
vmm_fpu_handler (uint8_t opcode, uint8_t modrm)
{
  if (modrm < 0xc0)
    return memory_handlers[opcode & 7][modrm >> 3 & 7];
  if (!(register_forms[opcode & 7][modrm >> 4 & 3] >> (modrm & 15) & 1))
    return NULL;
  switch (opcode << 8 | modrm)
    {
    case 0xdbe0:
    case 0xdbe1:
    case 0xdbe4: return fneni;
    case 0xdbe2: return fnclex;
    case 0xdbe3: return fninit;
    case 0xdfe0: return fnstsw_ax;
    }
  if ((opcode == 0xda || opcode == 0xdb) && modrm < 0xe0)
    return fcmov;
  if ((opcode == 0xdb || opcode == 0xdf) && modrm >= 0xe8)
    return fcomi;
  return fpu_register;
}
