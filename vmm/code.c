/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The code cache: where translated code lies, which instruction an address in it belongs to, and
 * how code that lies there is changed.
 *
 * The memory is a memfd that is mapped twice, executable and writable (W^X without a system call
 * for each change).  The executable mapping lies below 4 GiB, so that pages of targets (jump.c)
 * hold addresses of 32 bits.  Code refers to nothing by absolute address but what it reaches
 * through r12 and r13.
 *
 * The first half is for code that is often executed, the second for what is seldom: blocks lie
 * closer together that way, and the host's instruction cache holds twice as many.
 *
 * Code is only ever added, behind what is there.  A block that is dropped, or translated anew, gets
 * a jump over its first bytes: whoever is linked to it finds the new way.  When the room is used up
 * everything is forgotten at once.  A block's first five bytes are executed by nobody while this
 * happens: C code runs.
 */
#include "engine.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CODE_SIZE (32u << 20)
#define CODES_MAX (1u << 19)
#define OFFSETS_MAX (8u << 20)
#define LOWEST 0x10000000u
#define HIGHEST 0x70000000u
#define STEP 0x2000000u

/* ORDER: engine.asm */
_Static_assert(offsetof (VmmVcpu, gpr) == 0 && offsetof (VmmVcpu, eip) == 36
                   && offsetof (VmmVcpu, eflags) == 40 && offsetof (VmmVcpu, attention) == 44
                   && offsetof (VmmVcpu, alert) == 48 && offsetof (VmmVcpu, tail) == 52
                   && offsetof (VmmVcpu, frame) == 56 && offsetof (VmmVcpu, scratch_a) == 152
                   && offsetof (VmmVcpu, scratch_b) == 156 && offsetof (VmmVcpu, cr0) == 160
                   && offsetof (VmmVcpu, cr4) == 164 && offsetof (VmmVcpu, xmm) == 170
                   && offsetof (VmmVcpu, fpu.fx) == 192 && offsetof (VmmTables, jump) == 2 << 23,
               "engine.asm");

void vmm_thunk_slow (void);
void vmm_thunk_miss_read (void);
void vmm_thunk_miss_write (void);
void vmm_thunk_tail (void);
void vmm_thunk_exit (void);
void vmm_thunk_indirect (void);
void vmm_thunk_budget (void);
void vmm_thunk_segment (void);
void vmm_thunk_verify (void);
void vmm_thunk_xmm (void);

static void *
reserve (size_t size)
{
  void *p = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

/* Executable, below 4 GiB. */
static uint8_t *
map_low (int fd, size_t size)
{
  for (uintptr_t at = LOWEST; at < HIGHEST; at += STEP)
    {
      void *p = mmap ((void *) at, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE,
                      fd, 0);
      if (p == (void *) at)
        return p;
      if (p != MAP_FAILED)
        munmap (p, size);
    }
  return NULL;
}

static bool
map_code (VmmEngine *engine, uint32_t size)
{
  int fd = memfd_create ("tenon-code", MFD_CLOEXEC);
  if (fd < 0)
    return false;
  if (ftruncate (fd, size) == 0)
    {
      void *p = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      engine->writable = p == MAP_FAILED ? NULL : p;
      engine->code = map_low (fd, size);
      engine->size = size;
    }
  close (fd);
  return engine->code && engine->writable;
}

bool
vmm_code_move (VmmEngine *engine)
{
  for (uintptr_t at = LOWEST; at < HIGHEST; at += STEP)
    {
      void *to = (void *) at, *p;
      p = mmap (to, engine->size, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
      if (p != to)
        {
          if (p != MAP_FAILED)
            munmap (p, engine->size);
          continue;
        }
      if (mremap (engine->code, engine->size, engine->size, MREMAP_MAYMOVE | MREMAP_FIXED, to)
          != to)
        return false;
      vmm_jump_rebase (engine, (uint32_t) (at - (uintptr_t) engine->code));
      engine->code = to;
      return true;
    }
  return false;
}

static void
set_thunks (VmmVcpu *c)
{
  c->thunk[VMM_THUNK_SLOW] = vmm_thunk_slow;
  c->thunk[VMM_THUNK_MISS_READ] = vmm_thunk_miss_read;
  c->thunk[VMM_THUNK_MISS_WRITE] = vmm_thunk_miss_write;
  c->thunk[VMM_THUNK_TAIL] = vmm_thunk_tail;
  c->thunk[VMM_THUNK_EXIT] = vmm_thunk_exit;
  c->thunk[VMM_THUNK_INDIRECT] = vmm_thunk_indirect;
  c->thunk[VMM_THUNK_BUDGET] = vmm_thunk_budget;
  c->thunk[VMM_THUNK_SEGMENT] = vmm_thunk_segment;
  c->thunk[VMM_THUNK_VERIFY] = vmm_thunk_verify;
  c->thunk[VMM_THUNK_XMM] = vmm_thunk_xmm;
}

VmmEngine *
vmm_engine_new (VmmVcpu *c, const char **error)
{
  VmmEngine *engine = calloc (1, sizeof *engine);
  *error = "out of memory";
  if (!engine)
    return NULL;
  engine->bmi2 = __builtin_cpu_supports ("bmi2") && !c->config.plain_host;
  engine->holes = c->vm->holes && !c->config.plain_host;
  engine->counted = c->config.counted;
  engine->precise = c->config.counted || c->config.precise_flags;
  engine->heat = c->config.heat;
  engine->codes = reserve (CODES_MAX * sizeof *engine->codes);
  engine->offsets = reserve (OFFSETS_MAX * sizeof *engine->offsets);
  uint32_t size = c->config.code_cache ? c->config.code_cache : CODE_SIZE;
  if (size < 2 * VMM_CODE_MAX + 8192)
    size = 2 * VMM_CODE_MAX + 8192;
  if (engine->codes && engine->offsets && vmm_jump_init (engine))
    {
      *error = "cannot map the code cache below 4 GiB";
      if (map_code (engine, (size + 4095) & ~4095u))
        {
          set_thunks (c);
          *error = NULL;
          return engine;
        }
    }
  vmm_engine_free (engine);
  return NULL;
}

static void
release (void *p, size_t size)
{
  if (p)
    munmap (p, size);
}

void
vmm_engine_free (VmmEngine *engine)
{
  if (!engine)
    return;
  release (engine->code, engine->size);
  release (engine->writable, engine->size);
  release (engine->codes, CODES_MAX * sizeof *engine->codes);
  release (engine->offsets, OFFSETS_MAX * sizeof *engine->offsets);
  vmm_jump_finish (engine);
  free (engine);
}

/* ---- What every code needs ---- */

static EmitMem
thunk (unsigned n)
{
  return emit_at (R_13, (int32_t) (offsetof (VmmVcpu, thunk) + n * sizeof (void *)));
}

/* A jump through c->thunk[n]. */
static void
emit_thunk_jump (Emit *e, unsigned n)
{
  emit_rm (e, 0, 0xff, 4, thunk (n));
}

/* `gone`: c->eip is set, nothing is to be linked.  `indirect`: the target is in r8d. */
static void
emit_common (VmmEngine *engine)
{
  Emit e = { engine->writable, engine->writable + 4096, false };
  engine->gone = 0;
  emit_mov_ri (&e, R_8, 0);
  emit_thunk_jump (&e, VMM_THUNK_EXIT);
  engine->indirect = (uint32_t) (e.at - engine->writable);
  emit_thunk_jump (&e, VMM_THUNK_INDIRECT);
  engine->used = (uint32_t) (e.at - engine->writable + 15) & ~15u;
  engine->aside = engine->aside_used = engine->size / 2;
}

void
vmm_engine_flush (VmmVcpu *c)
{
  VmmEngine *engine = c->engine;
  if (!engine)
    return;
  engine->count = engine->offsets_used = engine->patches = 0;
  emit_common (engine);
  vmm_spaces_forget (c);
  vmm_jump_reset (c);
  c->stat.code_flushes++;
  if (c->config.forgotten)
    c->config.forgotten (c->config.opaque);
}

uint32_t
vmm_code_used (const VmmEngine *engine)
{
  return engine->used + engine->aside_used - engine->aside;
}

uint64_t
vmm_engine_bytes (const VmmVcpu *c)
{
  const VmmEngine *engine = c->engine;
  if (!engine)
    return 0;
  uint64_t chunks = 0;
  for (unsigned user = 0; user < 2; user++)
    for (unsigned n = 0; n < sizeof c->tables[user]->ready / sizeof (uint64_t); n++)
      chunks += (unsigned) __builtin_popcountll (c->tables[user]->ready[n]);
  return vmm_code_used (engine) + engine->count * sizeof *engine->codes
         + engine->offsets_used * sizeof *engine->offsets + chunks * 3 * 4096
         + c->blocks->arena_used + vmm_jump_bytes (engine);
}

/* ---- Which code is this? ---- */

VmmCode *
vmm_code_at (const VmmEngine *engine, uint32_t offset)
{
  uint32_t low = 0, high = engine->count;
  bool aside = offset >= engine->aside;
  while (low < high)
    {
      uint32_t middle = low + (high - low) / 2;
      const VmmCode *code = &engine->codes[middle];
      if ((aside ? code->aside_end : code->end) <= offset)
        low = middle + 1;
      else
        high = middle;
    }
  if (low == engine->count
      || offset < (aside ? engine->codes[low].aside : engine->codes[low].start))
    return NULL;
  return &engine->codes[low];
}

unsigned
vmm_code_insn (const VmmEngine *engine, const VmmCode *code, uint32_t offset)
{
  const uint16_t *offsets = engine->offsets + code->insns;
  unsigned n = 0;
  while (n + 1u < code->block->count && code->start + offsets[n + 1] <= offset)
    n++;
  return n;
}

/* ---- Changes ---- */

void
vmm_code_link (VmmEngine *engine, uint32_t site, uint32_t target)
{
  emit_target (engine->writable + site, engine->writable + target);
}

bool
vmm_code_room (const VmmEngine *engine, unsigned blocks)
{
  return engine->used + blocks * VMM_CODE_MAX <= engine->aside
         && engine->aside_used + blocks * VMM_CODE_MAX <= engine->size
         && engine->count + blocks <= CODES_MAX
         && engine->offsets_used + blocks * VMM_BLOCK_INSNS <= OFFSETS_MAX;
}

void
vmm_code_redirect (VmmEngine *engine, uint32_t start, uint32_t target)
{
  engine->writable[start] = 0xe9;
  vmm_code_link (engine, start + 1, target);
}

void
vmm_code_drop (VmmVcpu *c, VmmBlock *b)
{
  VmmEngine *engine = c->engine;
  if (!engine || !b->code)
    return;
  vmm_code_restore (engine); /* C runs: whoever goes back to code looks for alerts */
  vmm_code_redirect (engine, b->code, vmm_code_at (engine, b->code)->aside);
  vmm_jump_update (c, b, engine->indirect);
  b->code = 0;
}

/* At `site` there is a jump to `target` for the moment. */
static void
patch (VmmEngine *engine, uint32_t site, uint32_t target)
{
  unsigned n = 0;
  while (n < engine->patches && engine->patched[n].at != site)
    n++;
  if (n < engine->patches || n == sizeof engine->patched / sizeof engine->patched[0])
    return;
  engine->patches++;
  engine->patched[n].at = site;
  memcpy (engine->patched[n].bytes, engine->writable + site, VMM_JUMP_SIZE);
  vmm_code_redirect (engine, site, target);
}

uint32_t
vmm_code_interrupt (VmmEngine *engine, uint32_t offset)
{
  uint32_t back = offset;
  VmmCode *code = vmm_code_at (engine, offset);
  if (!code)
    return offset;
  for (unsigned n = 0; n < 2; n++)
    if (code->exits[n])
      vmm_code_link (engine, code->exits[n], code->stubs[n]);
  for (unsigned n = 0; n < 2; n++)
    {
      uint32_t site = code->indirect[n];
      if (!site)
        continue;
      patch (engine, site, engine->indirect);
      if (offset > site && offset < site + VMM_INDIRECT_SIZE)
        back = site;
    }
  if (code->falls)
    patch (engine, code[1].start, code[1].aside);
  return back;
}

void
vmm_code_restore (VmmEngine *engine)
{
  while (engine->patches)
    {
      unsigned n = --engine->patches;
      memcpy (engine->writable + engine->patched[n].at, engine->patched[n].bytes,
              VMM_JUMP_SIZE);
    }
}
