/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where indirect jumps, and direct ones to other pages, go.
 *
 * Translated code jumps to an EIP by two loads: tables->jump[EIP >> 12] leads to the page of
 * targets of the code that this page means now, and that holds the host address for each of its
 * bytes.  What is not there leads to the resolver: both tables are never empty.
 *
 *   mov r9, [r12 + (r8d >> 12) * 8 + jump]     r9 = targets - page * 4096 * 4
 *   mov r9d, [r9 + r8 * 4]
 *   jmp r9
 *
 * So a link needs neither a comparison (flags stay) nor to be undone one by one: a TLB flush,
 * INVLPG or change of CR3 resets the words of the pages it concerns, a block that is dropped resets
 * its target.
 *
 * A page of targets belongs to a physical page as code at one EIP, in one mode (VmmJumpPage).  The
 * words of one VmmTables are all for one mode and CS; when code of another is entered they are
 * reset. Where CS does not begin at a page, EIP has no page of its own and these jumps are not
 * used.
 */
#include "engine.h"

#include <stddef.h>
#include <stdlib.h>

#define TARGETS 4096u
#define HASH 1024u

struct VmmJumpPage {
  VmmJumpPage *next; /* in its hash chain */
  VmmJumpPage *next_all;
  uint32_t frame, eip, base, key; /* eip: of its first byte */
  uint64_t end;
  uint32_t targets[TARGETS];
};

bool
vmm_jump_init (VmmEngine *engine)
{
  if (!engine->jump_hash)
    engine->jump_hash = calloc (HASH, sizeof *engine->jump_hash);
  if (!engine->no_targets)
    engine->no_targets = calloc (TARGETS, sizeof *engine->no_targets);
  return engine->jump_hash && engine->no_targets;
}

uint64_t
vmm_jump_bytes (const VmmEngine *engine)
{
  uint64_t n = 0;
  for (const VmmJumpPage *page = engine->jump_pages; page; page = page->next_all)
    n += sizeof *page;
  return n;
}

static void
free_pages (VmmEngine *engine)
{
  while (engine->jump_pages)
    {
      VmmJumpPage *page = engine->jump_pages;
      engine->jump_pages = page->next_all;
      free (page);
    }
}

void
vmm_jump_finish (VmmEngine *engine)
{
  free_pages (engine);
  free (engine->jump_hash);
  free (engine->no_targets);
  engine->jump_hash = NULL;
  engine->no_targets = NULL;
}

static void
fill_targets (const VmmEngine *engine, uint32_t *targets)
{
  uint32_t resolver = (uint32_t) (uintptr_t) engine->code + engine->indirect;
  for (unsigned i = 0; i < TARGETS; i++)
    targets[i] = resolver;
}

void
vmm_jump_reset (VmmVcpu *c)
{
  VmmEngine *engine = c->engine;
  for (unsigned user = 0; user < 2; user++)
    vmm_jump_flush (c, c->tables[user]);
  free_pages (engine);
  memset (engine->jump_hash, 0, HASH * sizeof *engine->jump_hash);
  fill_targets (engine, engine->no_targets);
  for (unsigned user = 0; user < 2; user++)
    c->tables[user]->no_targets = (uintptr_t) engine->no_targets;
}

void
vmm_jump_rebase (VmmEngine *engine, uint32_t by)
{
  for (VmmJumpPage *page = engine->jump_pages; page; page = page->next_all)
    for (unsigned i = 0; i < TARGETS; i++)
      page->targets[i] += by;
  for (unsigned i = 0; i < TARGETS; i++)
    engine->no_targets[i] += by;
}

static uint64_t
biased (const uint32_t *targets, uint32_t eip)
{
  return (uint64_t) (uintptr_t) targets - (uint64_t) (eip & ~0xfffu) * sizeof *targets;
}

/* Index of a linear page in t->jump. */
static uint32_t
jump_index (const VmmTables *t, uint32_t page)
{
  return (page - (t->jump_base >> 12)) & (VMM_PAGES - 1);
}

void
vmm_jump_forget (VmmVcpu *c, VmmTables *t, uint32_t page)
{
  if (!c->engine)
    return;
  uint32_t n = jump_index (t, page);
  vmm_tables_ready (t, n);
  t->jump[n] = biased ((const uint32_t *) t->no_targets, n << 12);
}

void
vmm_jump_flush (VmmVcpu *c, VmmTables *t)
{
  if (t->no_targets)
    for (uint32_t i = 0; i < t->used_count; i++)
      vmm_jump_forget (c, t, t->used[i]);
}

static VmmJumpPage **
chain_of (const VmmEngine *engine, uint32_t frame, uint32_t eip)
{
  return &engine->jump_hash[(frame ^ eip >> 12) & (HASH - 1)];
}

/* The page of targets of this physical page at this EIP in this mode, or NULL. */
static VmmJumpPage *
look_up (const VmmEngine *engine, uint32_t frame, uint32_t eip, uint32_t base, uint32_t key,
         uint64_t end)
{
  VmmJumpPage *page = *chain_of (engine, frame, eip);
  while (page
         && !(page->frame == frame && page->eip == eip && page->base == base && page->key == key
              && page->end == end))
    page = page->next;
  return page;
}

/* After a flush most pages come back where they were, and their code is known. */
void
vmm_jump_filled (VmmVcpu *c, VmmTables *t, uint32_t linear_page, uint32_t frame)
{
  if (!c->engine || (t->jump_base & 0xfff))
    return;
  uint32_t n = jump_index (t, linear_page);
  const VmmJumpPage *page
      = look_up (c->engine, frame, n << 12, t->jump_base, t->jump_key, t->jump_end);
  if (!page)
    return;
  vmm_tables_ready (t, n);
  t->jump[n] = biased (page->targets, n << 12);
}

static VmmJumpPage *
find_page (VmmVcpu *c, const VmmBlock *b)
{
  VmmEngine *engine = c->engine;
  uint32_t frame = b->address >> 12, eip = b->eip & ~0xfffu, base = c->seg[VMM_CS].base;
  VmmJumpPage *page = look_up (engine, frame, eip, base, b->key, b->code_end), **chain;
  if (page)
    return page;
  chain = chain_of (engine, frame, eip);
  page = malloc (sizeof *page);
  if (!page)
    return NULL;
  *page = (VmmJumpPage){ .next = *chain,
                         .next_all = engine->jump_pages,
                         .frame = frame,
                         .eip = eip,
                         .base = c->seg[VMM_CS].base,
                         .key = b->key,
                         .end = b->code_end };
  *chain = engine->jump_pages = page;
  fill_targets (engine, page->targets);
  return page;
}

void
vmm_jump_enter (VmmVcpu *c, VmmBlock *b)
{
  VmmTables *t = c->now;
  uint32_t base = c->seg[VMM_CS].base, linear = base + b->eip;
  /* Only what a flush would find. */
  if ((c->config.stress & VMM_STRESS_UNLINKED) || (base & 0xfff)
      || t->read[linear >> 12] == VMM_NO_ACCESS)
    return;
  VmmJumpPage *page = find_page (c, b);
  if (!page)
    return;
  uint32_t n = b->eip >> 12;
  vmm_tables_ready (t, n);
  t->jump[n] = biased (page->targets, b->eip);
  b->jump_page = page;
  vmm_jump_update (c, b, b->code);
}

void
vmm_jump_update (VmmVcpu *c, const VmmBlock *b, uint32_t offset)
{
  if (b->jump_page)
    b->jump_page->targets[b->eip & 0xfff] = (uint32_t) (uintptr_t) c->engine->code + offset;
}

void
vmm_jump_mode (VmmVcpu *c)
{
  VmmTables *t = c->now;
  uint32_t base = c->seg[VMM_CS].base;
  if (t->jump_key == c->blocks->key && t->jump_base == base && t->jump_end == c->blocks->code_end)
    return;
  vmm_jump_flush (c, t);
  t->jump_key = c->blocks->key;
  t->jump_base = base;
  t->jump_end = c->blocks->code_end;
}
