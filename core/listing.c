/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One translated block as text: guest instructions to the left, host instructions to the right.
 * Zydis knows their names; the VMM knows what the memory is that the host's refer to.
 *
 *   c0101234  add eax, [esi+0x04]              +000  lea r8d, [rsi+0x04]
 *                                              +004  shrx r9d, r8d, r14d
 *                                              +009  mov r9, [r12+r9*8]        ; table of reads
 *                                              +00d  test r9, r9
 *                                              +010  jz +03a
 *                                              +012  add eax, [r9+r8*1]
 *
 * Host addresses are relative to the block's code; a jump to another block has that block's name.
 */
#include "listing.h"

#include <Zydis/Zydis.h>
#include <tenon/device.h>

#define GUEST_COLUMNS 44
#define HOST_COLUMNS 36
#define MAX_LENGTH 15 /* of an instruction */

typedef struct {
  ZydisDecoder decoder;
  ZydisFormatter formatter;
  ZydisDecodedInstruction insn;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
} Disassembler;

static void
start (Disassembler *d, ZydisMachineMode mode, ZydisStackWidth width)
{
  ZydisDecoderInit (&d->decoder, mode, width);
  ZydisFormatterInit (&d->formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  ZydisFormatterSetProperty (&d->formatter, ZYDIS_FORMATTER_PROP_FORCE_SEGMENT, ZYAN_FALSE);
  ZydisFormatterSetProperty (&d->formatter, ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE,
                             ZYDIS_PADDING_DISABLED);
}

static bool
decode (Disassembler *d, const uint8_t *bytes, size_t size)
{
  return ZYAN_SUCCESS (ZydisDecoderDecodeFull (&d->decoder, bytes, size, &d->insn, d->operands));
}

static void
format (Disassembler *d, uint64_t address, GString *out)
{
  char text[160];

  if (ZYAN_SUCCESS (ZydisFormatterFormatInstruction (&d->formatter, &d->insn, d->operands,
                                                     d->insn.operand_count_visible, text,
                                                     sizeof text, address, NULL)))
    g_string_append (out, text);
}

static void
pad (GString *out, size_t from, unsigned columns)
{
  while (out->len - from < columns)
    g_string_append_c (out, ' ');
}

void
tn_listing_guest (const VmmTranslation *t, unsigned n, uint32_t at, GString *out)
{
  Disassembler d;

  if (t->code32)
    start (&d, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
  else
    start (&d, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
  if (at + t->insns[n].length > t->guest_size)
    g_string_append (out, "(memory that is no longer there)");
  else if (decode (&d, t->guest + at, t->insns[n].length) && d.insn.length == t->insns[n].length)
    format (&d, t->eip + at, out);
  else /* synthetic ones, for instance */
    for (unsigned i = 0; i < t->insns[n].length; i++)
      g_string_append_printf (out, "%s%#04x", i ? ", " : "db ", t->guest[at + i]);
}

/* ---- The host's ---- */

static const char *
memory_note (const Disassembler *d)
{
  for (unsigned i = 0; i < d->insn.operand_count_visible; i++)
    {
      const ZydisDecodedOperand *o = &d->operands[i];
      const char *note;

      if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.base < ZYDIS_REGISTER_RAX
          || o->mem.base > ZYDIS_REGISTER_R15)
        continue;
      note = vmm_code_memory (o->mem.base - ZYDIS_REGISTER_RAX,
                              o->mem.disp.has_displacement ? o->mem.disp.value : 0);
      if (note)
        return note;
    }
  return NULL;
}

/* What is seldom executed counts as if it came behind the rest. */
static const uint8_t *
host_at (const VmmTranslation *t, uint32_t at)
{
  return at < t->straight ? (const uint8_t *) t->code + at
                          : (const uint8_t *) t->aside + (at - t->straight);
}

static gboolean
offset_of (const VmmTranslation *t, const uint8_t *host, uint32_t *at)
{
  uintptr_t straight = (uintptr_t) host - (uintptr_t) t->code;
  uintptr_t aside = (uintptr_t) host - (uintptr_t) t->aside;

  *at = straight < t->straight ? straight : t->straight + aside;
  return straight < t->straight || aside < t->size - t->straight;
}

/* Jumps: to within the block, to the start of this or another one, or to what all blocks share. */
static bool
branch (const VmmVcpu *cpu, const VmmTranslation *t, const Disassembler *d, uint32_t at,
        GString *out)
{
  const ZydisDecodedOperand *o = &d->operands[0];
  const uint8_t *target;
  uint32_t offset, linear;

  if (d->insn.operand_count_visible != 1 || o->type != ZYDIS_OPERAND_TYPE_IMMEDIATE
      || !o->imm.is_relative)
    return false;
  target = host_at (t, at) + d->insn.length + o->imm.value.s;
  g_string_append_printf (out, "%s ", ZydisMnemonicGetString (d->insn.mnemonic));
  if (offset_of (t, target, &offset) && offset > 0)
    g_string_append_printf (out, "+%03x", offset);
  else if (vmm_vcpu_code_linear (cpu, target, &linear))
    g_string_append_printf (out, "guest_%08x", linear);
  else
    g_string_append_printf (out, "%p", target);
  return true;
}

/* Appends one instruction of the host and returns its length. */
static uint32_t
host_insn (const VmmVcpu *cpu, const VmmTranslation *t, Disassembler *d, uint32_t at, uint32_t end,
           GString *out)
{
  const uint8_t *code = host_at (t, at);
  size_t from = out->len;
  const char *note;

  g_string_append_printf (out, "+%03x  ", at);
  if (!decode (d, code, MIN (end - at, MAX_LENGTH)))
    {
      g_string_append_printf (out, "db %#04x", code[0]);
      return 1;
    }
  if (!branch (cpu, t, d, at, out))
    format (d, (uintptr_t) code, out);
  if ((note = memory_note (d)))
    {
      pad (out, from, HOST_COLUMNS);
      g_string_append_printf (out, " ; %s", note);
    }
  return d->insn.length;
}

/* The host's code from `at` to `end`; the first line is begun already. */
static void
host_code (const VmmVcpu *cpu, const VmmTranslation *t, Disassembler *d, uint32_t at, uint32_t end,
           GString *out, size_t line)
{
  if (at >= end)
    g_string_append_c (out, '\n');
  while (at < end)
    {
      pad (out, line, GUEST_COLUMNS);
      at += host_insn (cpu, t, d, at, end, out);
      g_string_append_c (out, '\n');
      line = out->len;
    }
}

void
tn_listing (const VmmVcpu *cpu, const VmmTranslation *t, GString *out)
{
  Disassembler host;
  uint32_t at = 0, behind;

  start (&host, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  g_string_append_printf (out,
                          "block %08x: %u instructions of %d bits in %u bytes; %u bytes of host "
                          "code at %p\n",
                          t->linear, t->count, t->code32 ? 32 : 16, t->guest_size, t->size,
                          t->code);
  if (t->insns[0].offset > 0)
    host_code (cpu, t, &host, 0, t->insns[0].offset, out, out->len);
  for (unsigned n = 0; n < t->count; n++)
    {
      uint32_t end = n + 1 < t->count ? t->insns[n + 1].offset : t->straight;
      size_t line = out->len;

      g_string_append_printf (out, "%08x  ", t->linear + at);
      tn_listing_guest (t, n, at, out);
      if (out->len - line >= GUEST_COLUMNS)
        g_string_append_c (out, ' ');
      host_code (cpu, t, &host, t->insns[n].offset, end, out, line);
      at += t->insns[n].length;
    }
  if (t->falls && vmm_vcpu_code_linear (cpu, t->code + t->straight, &behind))
    g_string_append_printf (out, "%*s+%03x  is guest_%08x\n", GUEST_COLUMNS, "", t->straight,
                            behind);
  if (t->straight < t->size)
    {
      g_string_append (out, "seldom executed:\n");
      host_code (cpu, t, &host, t->straight, t->size, out, out->len);
    }
}

gboolean
tn_listing_address (const char *text, uint32_t *address, GError **error)
{
  const char *digits = g_ascii_strncasecmp (text, "0x", 2) == 0 ? text + 2 : text;
  guint64 value;

  if (!g_ascii_string_to_unsigned (digits, 16, 0, UINT32_MAX, &value, NULL))
    {
      g_set_error (error, TN_ERROR, TN_ERROR_CONFIG,
                   "expected an address of 32 bits in hexadecimal, found \"%.64s\"", text);
      return FALSE;
    }
  *address = value;
  return TRUE;
}
