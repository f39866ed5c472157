/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the translator made, for people and their tools: profilers, debuggers, `tenon ctl block`.
 *
 * Nothing here is kept for them.  A translation is described anew, from the block and the table of
 * its instructions' offsets that traps need anyway, whenever somebody asks.
 */
#include "engine.h"

#include <stddef.h>

_Static_assert(VMM_TRANSLATION_INSNS >= VMM_BLOCK_INSNS, "a translation has all of a block");

/* Bytes of memory that the block was decoded from; they are still the same, or it would be gone. */
static bool
copy_guest (VmmVcpu *c, const VmmBlock *b, VmmTranslation *t)
{
  uint32_t at = b->address & 0xfff, first = 4096 - at < b->size ? 4096 - at : b->size;
  const uint8_t *page = vmm_code_bytes (c, b->address & ~0xfffu), *next = NULL;
  if (b->size > first && b->second != VMM_BLOCK_NO_PAGE)
    next = vmm_code_bytes (c, b->second);
  if (!page || b->size > sizeof t->guest || (b->size > first && !next))
    return false;
  memcpy (t->guest, page + at, first);
  if (next)
    memcpy (t->guest + first, next, b->size - first);
  return true;
}

static void
describe (VmmVcpu *c, const VmmCode *code, VmmTranslation *t)
{
  const VmmEngine *engine = c->engine;
  const VmmBlock *b = code->block;
  t->linear = b->base + b->eip;
  t->eip = b->eip;
  t->code32 = b->key & VMM_KEY_CODE32;
  t->count = b->count;
  t->code = engine->code + code->start;
  t->aside = engine->code + code->aside;
  t->straight = code->end - code->start;
  t->falls = code->falls;
  t->size = t->straight + code->aside_end - code->aside;
  for (unsigned n = 0; n < b->count; n++)
    {
      t->insns[n].length = b->insns[n].length;
      t->insns[n].offset = engine->offsets[code->insns + n];
    }
  t->guest_size = copy_guest (c, b, t) ? b->size : 0;
}

void
vmm_inspect (VmmVcpu *c, const VmmCode *code)
{
  VmmTranslation t;
  describe (c, code, &t);
  vmm_call (c);
  c->config.translated (c->config.opaque, c, &t);
}

/* Not dropped, and not translated anew since. */
static bool
is_current (const VmmCode *code)
{
  return code->block->size != VMM_BLOCK_DEAD && code->block->code == code->start;
}

bool
vmm_vcpu_translation (VmmVcpu *c, uint32_t linear, uint32_t *position, VmmTranslation *translation)
{
  const VmmEngine *engine = c->engine;
  while (engine && *position < engine->count)
    {
      const VmmCode *code = &engine->codes[(*position)++];
      const VmmBlock *b = code->block;
      if (!is_current (code) || linear - (b->base + b->eip) >= b->size)
        continue;
      describe (c, code, translation);
      return true;
    }
  return false;
}

bool
vmm_vcpu_code_linear (const VmmVcpu *c, const void *address, uint32_t *linear)
{
  const VmmEngine *engine = c->engine;
  uintptr_t at = (uintptr_t) address;
  if (!engine || !vmm_in_code (engine, at))
    return false;
  uint32_t offset = (uint32_t) (at - (uintptr_t) engine->code);
  const VmmCode *code = vmm_code_at (engine, offset);
  if (!code || code->start != offset || code->block->size == VMM_BLOCK_DEAD)
    return false;
  *linear = code->block->base + code->block->eip;
  return true;
}

/* ---- Memory that translated code refers to ---- */

typedef struct {
  size_t first, size;
  const char *name;
} Place;

#define MEMBER(type, member, text)                                                                 \
  {                                                                                                \
    offsetof (type, member), sizeof ((type *) 0)->member, text                                     \
  }
#define THUNK(n, text)                                                                             \
  {                                                                                                \
    offsetof (VmmVcpu, thunk) + (n) * sizeof (void *), sizeof (void *), text                       \
  }

static const Place tables[] = {
  MEMBER (VmmTables, read, "table of reads"),
  MEMBER (VmmTables, write, "table of writes"),
  MEMBER (VmmTables, jump, "table of jumps"),
  MEMBER (VmmTables, phys, "physical page"),
};

static const Place processor[] = {
  MEMBER (VmmVcpu, gpr, "general register"),
  MEMBER (VmmVcpu, eip, "EIP"),
  MEMBER (VmmVcpu, eflags, "EFLAGS"),
  MEMBER (VmmVcpu, attention, "attention"),
  MEMBER (VmmVcpu, tail, "tail"),
  THUNK (VMM_THUNK_SLOW, "by its handler"),
  THUNK (VMM_THUNK_MISS_READ, "fill the table of reads"),
  THUNK (VMM_THUNK_MISS_WRITE, "fill the table of writes"),
  THUNK (VMM_THUNK_TAIL, "by its handler, then on in its mode"),
  THUNK (VMM_THUNK_EXIT, "leave: next block"),
  THUNK (VMM_THUNK_INDIRECT, "leave: indirect jump"),
  THUNK (VMM_THUNK_BUDGET, "leave: end of the slice"),
  THUNK (VMM_THUNK_SEGMENT, "load a segment register"),
  THUNK (VMM_THUNK_VERIFY, "verify a selector"),
  THUNK (VMM_THUNK_XMM, "load the XMM registers"),
  MEMBER (VmmVcpu, left, "instructions left"),
  MEMBER (VmmVcpu, scratch_a, "scratch"),
  MEMBER (VmmVcpu, scratch_b, "scratch"),
  MEMBER (VmmVcpu, fpu_ready, "FPU ready"),
  MEMBER (VmmVcpu, xmm, "XMM registers loaded"),
  MEMBER (VmmVcpu, seg[VMM_ES], "ES"),
  MEMBER (VmmVcpu, seg[VMM_CS], "CS"),
  MEMBER (VmmVcpu, seg[VMM_SS], "SS"),
  MEMBER (VmmVcpu, seg[VMM_DS], "DS"),
  MEMBER (VmmVcpu, seg[VMM_FS], "FS"),
  MEMBER (VmmVcpu, seg[VMM_GS], "GS"),
  MEMBER (VmmVcpu, fpu, "FPU"),
};

static const char *
find (const Place *places, size_t count, uint64_t at)
{
  for (size_t n = 0; n < count; n++)
    if (at - places[n].first < places[n].size)
      return places[n].name;
  return NULL;
}

const char *
vmm_code_memory (unsigned host_register, int64_t distance)
{
  if (distance < 0)
    return NULL;
  switch (host_register)
    {
    case R_12: return find (tables, sizeof tables / sizeof tables[0], (uint64_t) distance);
    case R_13: return find (processor, sizeof processor / sizeof processor[0], (uint64_t) distance);
    default: return NULL;
    }
}
