/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Instructions on system state: they check what may be checked here (privilege, mode), fetch their
 * operands and call the system half.  After each of them the loop looks at everything anew.
 */
#include "block.h"
#include "insn.h"

void
vmm_op_ud (VmmVcpu *c, const VmmInsn *i)
{
  vmm_ud (c);
}

static inline void
need_cpl0 (VmmVcpu *c)
{
  if (c->cpl != 0)
    vmm_gp0 (c);
}

/* LAR, LLDT and their like do not exist outside protected mode. */
static inline void
need_protected (VmmVcpu *c)
{
  if (!vmm_protected (c))
    vmm_ud (c);
}

/* ---- Interrupt flag ---- */

/* May IF be written, or only VIF (VME, PVI)?  Raises #GP if neither. */
static bool
if_is_real (VmmVcpu *c)
{
  if (c->cpl <= vmm_iopl (c)) /* real mode: CPL 0; v86 mode: IOPL 3 */
    return true;
  bool helped = c->eflags & FL_VM ? c->cr4 & CR4_VME : (c->cr4 & CR4_PVI) && c->cpl == 3;
  if (!helped)
    vmm_gp0 (c);
  return false;
}

void
vmm_op_cli (VmmVcpu *c, const VmmInsn *i)
{
  c->eflags &= if_is_real (c) ? ~FL_IF : ~FL_VIF;
}

/* Interrupts wait for one more instruction if they were off. */
void
vmm_op_sti (VmmVcpu *c, const VmmInsn *i)
{
  if (if_is_real (c))
    {
      if (!(c->eflags & FL_IF))
        c->inhibit |= VMM_INHIBIT_STI;
      c->eflags |= FL_IF;
      return;
    }
  if (c->eflags & FL_VIP)
    vmm_gp0 (c);
  c->eflags |= FL_VIF;
}

void
vmm_op_hlt (VmmVcpu *c, const VmmInsn *i)
{
  need_cpl0 (c);
  vmm_halt (c, vmm_next_eip (c, i));
}

/* ---- IN and OUT ---- */

static void
in (VmmVcpu *c, uint16_t port, unsigned size)
{
  vmm_check_io (c, port, size);
  uint32_t v = vmm_io_in (c, port, size);
  if (size == 1)
    vmm_set8 (c, 0, (uint8_t) v);
  else if (size == 2)
    vmm_set16 (c, VMM_EAX, (uint16_t) v);
  else
    c->gpr[VMM_EAX] = v;
}

static void
out (VmmVcpu *c, uint16_t port, unsigned size)
{
  uint32_t v = c->gpr[VMM_EAX];
  vmm_check_io (c, port, size);
  vmm_io_out (c, port, size == 1 ? v & 0xff : size == 2 ? v & 0xffff : v, size);
}

static inline unsigned
io_size (const VmmInsn *i)
{
  return vmm_o16 (i) ? 2 : 4;
}

void
vmm_op_in8_i (VmmVcpu *c, const VmmInsn *i)
{
  in (c, (uint16_t) i->imm, 1);
}

void
vmm_op_in_i (VmmVcpu *c, const VmmInsn *i)
{
  in (c, (uint16_t) i->imm, io_size (i));
}

void
vmm_op_in8_dx (VmmVcpu *c, const VmmInsn *i)
{
  in (c, (uint16_t) c->gpr[VMM_EDX], 1);
}

void
vmm_op_in_dx (VmmVcpu *c, const VmmInsn *i)
{
  in (c, (uint16_t) c->gpr[VMM_EDX], io_size (i));
}

void
vmm_op_out8_i (VmmVcpu *c, const VmmInsn *i)
{
  out (c, (uint16_t) i->imm, 1);
}

void
vmm_op_out_i (VmmVcpu *c, const VmmInsn *i)
{
  out (c, (uint16_t) i->imm, io_size (i));
}

void
vmm_op_out8_dx (VmmVcpu *c, const VmmInsn *i)
{
  out (c, (uint16_t) c->gpr[VMM_EDX], 1);
}

void
vmm_op_out_dx (VmmVcpu *c, const VmmInsn *i)
{
  out (c, (uint16_t) c->gpr[VMM_EDX], io_size (i));
}

/* ---- Selectors ---- */

/* A selector in memory has 16 bits; in a register it is zero-extended to the operand size. */
static void
put_selector (VmmVcpu *c, const VmmInsn *i, uint16_t v)
{
  if (i->flags & VMM_INSN_MEM)
    vmm_store_mem16 (c, i, v);
  else if (vmm_o16 (i))
    vmm_set16 (c, i->rm, v);
  else
    c->gpr[i->rm] = v;
}

void
vmm_op_mov_rm_segment (VmmVcpu *c, const VmmInsn *i)
{
  put_selector (c, i, c->seg[i->reg].selector);
}

/* MOV SS holds off interrupts and traps for one instruction. */
void
vmm_op_mov_segment_rm (VmmVcpu *c, const VmmInsn *i)
{
  vmm_load_segment (c, i->reg, vmm_load_rm16 (c, i));
  if (i->reg == VMM_SS)
    c->inhibit |= VMM_INHIBIT_SS;
}

/* Memory is opened for writing only if the selector is adjusted. */
void
vmm_op_arpl (VmmVcpu *c, const VmmInsn *i)
{
  need_protected (c);
  uint16_t rpl = vmm_get16 (c, i->reg) & 3, v = vmm_load_rm16 (c, i);
  bool adjust = (v & 3) < rpl;
  if (adjust)
    {
      v = (uint16_t) ((v & ~3) | rpl);
      if (i->flags & VMM_INSN_MEM)
        vmm_store_mem16 (c, i, v);
      else
        vmm_set16 (c, i->rm, v);
    }
  vmm_set_flags (c, FL_ZF, adjust ? FL_ZF : 0);
}

void
vmm_op_sldt (VmmVcpu *c, const VmmInsn *i)
{
  need_protected (c);
  put_selector (c, i, c->ldtr.selector);
}

void
vmm_op_str (VmmVcpu *c, const VmmInsn *i)
{
  need_protected (c);
  put_selector (c, i, c->tr.selector);
}

void
vmm_op_lldt (VmmVcpu *c, const VmmInsn *i)
{
  need_protected (c);
  need_cpl0 (c);
  vmm_lldt (c, vmm_load_rm16 (c, i));
}

void
vmm_op_ltr (VmmVcpu *c, const VmmInsn *i)
{
  need_protected (c);
  need_cpl0 (c);
  vmm_ltr (c, vmm_load_rm16 (c, i));
}

static void
verify (VmmVcpu *c, const VmmInsn *i, bool write)
{
  need_protected (c);
  bool ok = vmm_verify (c, vmm_load_rm16 (c, i), write);
  vmm_set_flags (c, FL_ZF, ok ? FL_ZF : 0);
}

void
vmm_op_verr (VmmVcpu *c, const VmmInsn *i)
{
  verify (c, i, false);
}

void
vmm_op_verw (VmmVcpu *c, const VmmInsn *i)
{
  verify (c, i, true);
}

static void
load_attribute (VmmVcpu *c, const VmmInsn *i, bool (*get) (VmmVcpu *, uint16_t, uint32_t *))
{
  uint32_t v;
  need_protected (c);
  bool ok = get (c, vmm_load_rm16 (c, i), &v);
  vmm_set_flags (c, FL_ZF, ok ? FL_ZF : 0);
  if (ok && vmm_o16 (i))
    vmm_set16 (c, i->reg, (uint16_t) v);
  else if (ok)
    c->gpr[i->reg] = v;
}

void
vmm_op_lar (VmmVcpu *c, const VmmInsn *i)
{
  load_attribute (c, i, vmm_lar);
}

void
vmm_op_lsl (VmmVcpu *c, const VmmInsn *i)
{
  load_attribute (c, i, vmm_lsl);
}

/* ---- Descriptor-table registers: limit, then base ---- */

/* The base is stored whole even with a 16-bit operand size, as processors since the 386 do. */
static void
store_table (VmmVcpu *c, const VmmInsn *i, uint32_t base, uint32_t limit)
{
  uint32_t ea = vmm_ea (c, i), next = (ea + 2) & vmm_address_mask (i);
  uint32_t first = vmm_linear (c, i->segment, ea, 2, VMM_CAN_WRITE);
  uint32_t second = vmm_linear (c, i->segment, next, 4, VMM_CAN_WRITE);
  vmm_probe_write (c, second, 4, c->user);
  vmm_write_linear16 (c, first, (uint16_t) limit, c->user);
  vmm_write_linear32 (c, second, base, c->user);
}

static void
load_table (VmmVcpu *c, const VmmInsn *i, uint32_t *base, uint32_t *limit)
{
  uint32_t ea = vmm_ea (c, i);
  need_cpl0 (c);
  uint16_t l = vmm_read16 (c, i->segment, ea);
  uint32_t b = vmm_read32 (c, i->segment, (ea + 2) & vmm_address_mask (i));
  *limit = l;
  *base = vmm_o16 (i) ? b & 0xffffff : b;
}

void
vmm_op_sgdt (VmmVcpu *c, const VmmInsn *i)
{
  store_table (c, i, c->gdt_base, c->gdt_limit);
}

void
vmm_op_sidt (VmmVcpu *c, const VmmInsn *i)
{
  store_table (c, i, c->idt_base, c->idt_limit);
}

void
vmm_op_lgdt (VmmVcpu *c, const VmmInsn *i)
{
  load_table (c, i, &c->gdt_base, &c->gdt_limit);
}

void
vmm_op_lidt (VmmVcpu *c, const VmmInsn *i)
{
  load_table (c, i, &c->idt_base, &c->idt_limit);
}

/* ---- Control and debug registers ---- */

void
vmm_op_smsw (VmmVcpu *c, const VmmInsn *i)
{
  if (i->flags & VMM_INSN_MEM)
    vmm_store_mem16 (c, i, (uint16_t) c->cr0);
  else if (vmm_o16 (i))
    vmm_set16 (c, i->rm, (uint16_t) c->cr0);
  else
    c->gpr[i->rm] = c->cr0;
}

/* LMSW can set PE, not clear it. */
void
vmm_op_lmsw (VmmVcpu *c, const VmmInsn *i)
{
  need_cpl0 (c);
  uint32_t v = vmm_load_rm16 (c, i) & (CR0_PE | CR0_MP | CR0_EM | CR0_TS);
  vmm_set_cr0 (c, (c->cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | v);
}

void
vmm_op_clts (VmmVcpu *c, const VmmInsn *i)
{
  need_cpl0 (c);
  c->cr0 &= ~CR0_TS;
  vmm_fpu_ready_changed (c);
}

void
vmm_op_invd (VmmVcpu *c, const VmmInsn *i)
{
  need_cpl0 (c); /* no caches to write back */
}

/* The address is taken as it is, whatever the segment's limit. */
void
vmm_op_invlpg (VmmVcpu *c, const VmmInsn *i)
{
  need_cpl0 (c);
  vmm_tlb_flush_page (c, c->seg[i->segment].base + vmm_ea (c, i));
  vmm_blocks_remapped (c);
}

void
vmm_op_mov_r_cr (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t v = 0;
  need_cpl0 (c);
  switch (i->reg)
    {
    case 0: v = c->cr0; break;
    case 2: v = c->cr2; break;
    case 3: v = c->cr3; break;
    case 4: v = c->cr4; break;
    default: vmm_ud (c);
    }
  c->gpr[i->rm] = v;
}

void
vmm_op_mov_cr_r (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t v = c->gpr[i->rm];
  need_cpl0 (c);
  switch (i->reg)
    {
    case 0: vmm_set_cr0 (c, v); break;
    case 2: c->cr2 = v; break;
    case 3: vmm_set_cr3 (c, v); break;
    case 4: vmm_set_cr4 (c, v); break;
    default: vmm_ud (c);
    }
}

void
vmm_op_mov_r_dr (VmmVcpu *c, const VmmInsn *i)
{
  need_cpl0 (c);
  c->gpr[i->rm] = vmm_read_dr (c, i->reg);
}

void
vmm_op_mov_dr_r (VmmVcpu *c, const VmmInsn *i)
{
  need_cpl0 (c);
  vmm_write_dr (c, i->reg, c->gpr[i->rm]);
}

/* ---- Model-specific registers, counters, identification ---- */

static void
put_edx_eax (VmmVcpu *c, uint64_t v)
{
  c->gpr[VMM_EAX] = (uint32_t) v;
  c->gpr[VMM_EDX] = (uint32_t) (v >> 32);
}

void
vmm_op_wrmsr (VmmVcpu *c, const VmmInsn *i)
{
  need_cpl0 (c);
  vmm_write_msr (c, c->gpr[VMM_ECX], (uint64_t) c->gpr[VMM_EDX] << 32 | c->gpr[VMM_EAX]);
}

void
vmm_op_rdmsr (VmmVcpu *c, const VmmInsn *i)
{
  need_cpl0 (c);
  put_edx_eax (c, vmm_read_msr (c, c->gpr[VMM_ECX]));
}

void
vmm_op_rdtsc (VmmVcpu *c, const VmmInsn *i)
{
  if ((c->cr4 & CR4_TSD) && c->cpl != 0)
    vmm_gp0 (c);
  put_edx_eax (c, vmm_tsc (c));
}

/* Two counters that never count. */
void
vmm_op_rdpmc (VmmVcpu *c, const VmmInsn *i)
{
  if ((!(c->cr4 & CR4_PCE) && c->cpl != 0) || c->gpr[VMM_ECX] > 1)
    vmm_gp0 (c);
  put_edx_eax (c, 0);
}

void
vmm_op_cpuid (VmmVcpu *c, const VmmInsn *i)
{
  vmm_cpuid (c);
}

void
vmm_op_sysenter (VmmVcpu *c, const VmmInsn *i)
{
  vmm_sysenter (c);
}

void
vmm_op_sysexit (VmmVcpu *c, const VmmInsn *i)
{
  vmm_sysexit (c);
}

void
vmm_op_rsm (VmmVcpu *c, const VmmInsn *i)
{
  vmm_rsm (c);
}
