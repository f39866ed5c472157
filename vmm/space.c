/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Spaces: address spaces of the guest's that the host's MMU translates.
 *
 * A space is 4 GiB of the host's addresses for one value of CR3.  What a user program of the guest
 * may access lies in it at the guest's own linear address, page by page mapped from the file that
 * is the guest's RAM; the rest has no access.  GS has its base, so that
 *
 *   mov eax, gs:[ebx + 4]        (prefixes 65 67)
 *
 * is the guest's instruction as it stands: no table, no scratch registers, flags untouched.  Blocks
 * are translated so under VMM_KEY_SPACE, which is set while a space is current and CPL is 3.
 *
 * Life of an access to a page that is not there: SIGSEGV; the handler of the instruction executes
 * it, with all that may come of it (a walk that sets A and D, #PF, MMIO); then, if the page may be
 * used directly, it is mapped (vmm_space_fault).  After a #PF the handler of the instruction
 * executes it once more, since RF is set, so that it is the next access that traps and brings the
 * page.  If it may not - a device, a write to a page with decoded code - that instruction is
 * translated anew, to use the tables (VMM_HINT_TABLE).
 *
 * Spaces are caches of the page tables, as the access tables are.  A flush empties those; here it
 * compares: each page is looked up again in the guest's tables without setting anything, and what
 * would not be mapped so any more goes (vmm_spaces_flushed).  So a space lives through switches to
 * other address spaces and back, which a timer of the guest's may cause at any time.
 *
 * Jumps from page to page are linked while a space is current (vmm_space_link).  The pages that
 * they lead to are looked up again at each flush; if one has gone, or another space becomes
 * current, all such links are undone.
 *
 * A page costs some 10 us to map by a trap, 5 us without, and saves a nanosecond or two an access.
 * So only programs that run for long get a space: a program is sampled each time slice (a
 * millisecond), and after a number of samples has one, with the pages that it used last; sooner, if
 * its code was often found to run before, as with a program that is started again and again.  A trap
 * that comes some time after the one before has paid for itself.  One that comes sooner is a strike
 * against its instruction, whether it was the guest's page fault or brought a page; so is one that
 * brings a page after another was lost, however late it comes: memory is mapped, used a little and
 * unmapped again, and each time the same few instructions are the first there.  After VMM_STRIKES
 * an instruction uses the tables: so a loop that reads each page but once keeps to them, while the
 * rest of the program goes on.  A strike also takes credit from the program, as the loss of a page
 * does (fork); time gives some back.  Who has none left loses the space, and has to run four times
 * as long to get another.
 */
#include "engine.h"

#include <asm/prctl.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPACES 4u
#define SIZE ((size_t) 1 << 32)
#define GUARD ((size_t) 64 << 10) /* behind it: operands that begin below 4 GiB */
/* Each page can be two of the kernel's mappings, of which a process may have 65,530. */
#define PAGES_MAX 24000u

#define CREDIT_SAMPLE 6 /* more credit for each sample */
#define LOST_MAX 8u
#define LEVEL_MAX 5u
#define LINKS_MAX 16384u
#define TARGETS_MAX 1024u
#define HOT 256u
#define HOT_SAMPLES 48 /* whoever runs such code */
#define HOT_EARLIER 8u /* has its space so many times earlier */
#define WALKS 256u /* pages that are looked up again cost as much as one that is mapped */

static const VmmSpaceRules usual
    = { .samples = 24, .first = 256, .credit = 500, .worth_ns = 25000 };

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE 2u
#endif

typedef struct {
  uint32_t page, phys;
  uint32_t slot; /* in the file of RAM */
  bool write;
} Mapped;

struct VmmSpace {
  uint32_t cr3;
  bool known, on; /* cr3 is valid; it has been earned */
  bool large;     /* may have parts of large pages: they go together */
  unsigned level, samples;
  unsigned lost; /* pages, up to LOST_MAX, that no instruction had a strike for */
  int credit;
  uint64_t used;    /* when, by VmmSpaces.clock */
  uint64_t trapped; /* when, in ns */
  uint8_t *base;    /* NULL: not reserved yet */
  Mapped *pages;
  uint32_t count;
  uint16_t *index; /* by linear page: place in `pages` + 1 */
};

/* How often a page of code was found to run, by whatever program; `page` its frame. */
typedef struct {
  uint32_t page;
  int samples;
} Hot;

/* A page that jumps from other pages are linked to. */
typedef struct {
  uint32_t page, phys;
} Target;

struct VmmSpaces {
  VmmSpace list[SPACES];
  VmmSpace *linked;                      /* whose the links are, or NULL */
  uint32_t links[LINKS_MAX], link_count; /* sites in the code cache */
  Target targets[TARGETS_MAX];
  uint32_t target_count;
  Hot hot[HOT];
  uint64_t clock;
  uint32_t mapped; /* pages, of all */
  VmmSpaceRules rules;
  bool fsgsbase;
};

/* ---- GS ---- */

static void
set_gs (const VmmSpaces *spaces, uintptr_t base)
{
  if (spaces->fsgsbase)
    __asm__ volatile("wrgsbase %0" : : "r"(base));
  else
    syscall (SYS_arch_prctl, ARCH_SET_GS, base);
}

static uintptr_t
get_gs (const VmmSpaces *spaces)
{
  uintptr_t base = 0;
  if (spaces->fsgsbase)
    __asm__ volatile("rdgsbase %0" : "=r"(base));
  else
    syscall (SYS_arch_prctl, ARCH_GET_GS, &base);
  return base;
}

void
vmm_spaces_enter (VmmVcpu *c)
{
  if (!c->spaces)
    return;
  c->host_gs = get_gs (c->spaces);
  if (c->space)
    set_gs (c->spaces, (uintptr_t) c->space->base);
}

void
vmm_spaces_leave (VmmVcpu *c)
{
  if (c->spaces)
    set_gs (c->spaces, c->host_gs);
}

/* ---- Pages ---- */

static void
drop_all (VmmSpaces *spaces, VmmSpace *s)
{
  if (s->count == 0)
    return;
  mmap (s->base, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  for (uint32_t n = 0; n < s->count; n++)
    s->index[s->pages[n].page] = 0;
  spaces->mapped -= s->count;
  s->count = 0;
  s->large = false;
}

static uint8_t *
address_of (const VmmSpace *s, uint32_t page)
{
  return s->base + ((size_t) page << 12);
}

static void
drop_page (VmmSpaces *spaces, VmmSpace *s, uint32_t n)
{
  uint32_t page = s->pages[n].page;
  mmap (address_of (s, page), VMM_PAGE_SIZE, PROT_NONE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  s->index[page] = 0;
  s->pages[n] = s->pages[--s->count];
  if (n < s->count)
    s->index[s->pages[n].page] = (uint16_t) (n + 1);
  spaces->mapped--;
}

static bool
protect_page (VmmSpace *s, Mapped *m, bool write)
{
  if (mprotect (address_of (s, m->page), VMM_PAGE_SIZE, PROT_READ | (write ? PROT_WRITE : 0)) != 0)
    return false;
  m->write = write;
  return true;
}

/* Is the page still what it was mapped as?  If not it goes, or only its write permission. */
static void
look_again (VmmVcpu *c, VmmSpace *s, uint32_t n)
{
  Mapped *m = &s->pages[n];
  VmmPeek now;
  bool same = vmm_peek (c, m->page << 12, &now) && now.phys == m->phys && now.slot == m->slot;
  if (same && (now.write || !m->write))
    return;
  s->credit--;
  if (!same && s->lost < LOST_MAX)
    s->lost++;
  if (!same || !protect_page (s, m, false))
    drop_page (c->spaces, s, n);
}

static void
look_at_all (VmmVcpu *c, VmmSpace *s)
{
  for (uint32_t n = s->count; n-- > 0;)
    look_again (c, s, n);
  s->credit -= (int) (s->count / WALKS);
}

/* ---- Links to other pages ---- */

void
vmm_spaces_forget (VmmVcpu *c)
{
  if (!c->spaces)
    return;
  c->spaces->linked = NULL;
  c->spaces->link_count = c->spaces->target_count = 0;
}

static void
unlink_all (VmmVcpu *c)
{
  VmmSpaces *spaces = c->spaces;
  for (uint32_t n = 0; n < spaces->link_count; n++)
    {
      const VmmCode *code = vmm_code_at (c->engine, spaces->links[n]);
      for (unsigned k = 0; code && k < 2; k++)
        if (code->exits[k] == spaces->links[n])
          vmm_code_link (c->engine, spaces->links[n], code->stubs[k]);
    }
  vmm_spaces_forget (c);
}

static bool
add_target (VmmSpaces *spaces, uint32_t page, uint32_t phys)
{
  uint32_t n = spaces->target_count;
  while (n > 0 && spaces->targets[n - 1].page != page)
    n--;
  if (n > 0)
    return spaces->targets[n - 1].phys == phys;
  if (spaces->target_count == TARGETS_MAX)
    return false;
  spaces->targets[spaces->target_count++] = (Target){ page, phys };
  return true;
}

bool
vmm_space_link (VmmVcpu *c, const VmmBlock *from, const VmmBlock *to, uint32_t site)
{
  VmmSpaces *spaces = c->spaces;
  uint32_t page = to->eip >> 12, phys = to->address & ~0xfffu;
  if (!c->space || !(from->key & to->key & VMM_KEY_SPACE))
    return false;
  if (spaces->link_count == LINKS_MAX || !add_target (spaces, page, phys))
    {
      unlink_all (c);
      add_target (spaces, page, phys);
    }
  spaces->linked = c->space;
  spaces->links[spaces->link_count++] = site;
  return true;
}

/* Are the targets where they were?  For all pages, or one. */
static void
look_at_targets (VmmVcpu *c, const uint32_t *page)
{
  VmmSpaces *spaces = c->spaces;
  VmmPeek p;
  for (uint32_t n = 0; n < spaces->target_count; n++)
    {
      const Target *t = &spaces->targets[n];
      if ((page && *page != t->page) || (vmm_peek (c, t->page << 12, &p) && p.phys == t->phys))
        continue;
      unlink_all (c);
      return;
    }
}

/* ---- Which one is current ---- */

static void
make_current (VmmVcpu *c, VmmSpace *s)
{
  if (c->space == s)
    return;
  c->space = s;
  c->blocks->resync = true; /* the key is another one */
  c->stop_block = true;
  if (s)
    {
      if (c->spaces->linked && c->spaces->linked != s)
        unlink_all (c);
      s->used = ++c->spaces->clock;
      c->stat.space_switches++;
      set_gs (c->spaces, (uintptr_t) s->base);
    }
}

/* Spaces know user programs under paging, without data breakpoints. */
static bool
possible (const VmmVcpu *c)
{
  return (c->cr0 & CR0_PG) && !c->smm && !(c->dr[7] & 0xff);
}

static VmmSpace *
find (VmmSpaces *spaces, uint32_t cr3)
{
  for (unsigned n = 0; n < SPACES; n++)
    if (spaces->list[n].known && spaces->list[n].cr3 == cr3)
      return &spaces->list[n];
  return NULL;
}

static bool
always (const VmmVcpu *c)
{
  return c->config.stress & VMM_STRESS_SPACES;
}

/* The page of code that runs now. */
static Hot *
hot_code (VmmVcpu *c)
{
  uint32_t page = c->tables[1]->phys[(c->seg[VMM_CS].base + c->eip) >> 12] >> 12;
  Hot *hot = &c->spaces->hot[page % HOT];
  if (hot->page != page)
    *hot = (Hot){ page, 0 };
  return hot;
}

/* Back to the tables, if there is no credit left. */
static void
look_at_credit (VmmVcpu *c, VmmSpace *s)
{
  if (s->credit >= 0 || always (c))
    return;
  if (c->spaces->linked == s) /* flushes do not look at its targets from now on */
    unlink_all (c);
  drop_all (c->spaces, s);
  s->on = false;
  s->samples = 0;
  if (s->level < LEVEL_MAX)
    s->level++;
  memset (c->spaces->hot, 0, sizeof c->spaces->hot); /* one of those was not worth it */
  c->stat.space_losses++;
  if (c->space == s)
    make_current (c, NULL);
}

/* ---- Mapping ---- */

/* The space that was used longest ago, but for one; or NULL. */
static VmmSpace *
oldest (VmmSpaces *spaces, const VmmSpace *but, bool with_pages)
{
  VmmSpace *found = NULL;
  for (unsigned n = 0; n < SPACES; n++)
    {
      VmmSpace *s = &spaces->list[n];
      if (s != but && (s->count || !with_pages) && (!found || s->used < found->used))
        found = s;
    }
  return found;
}

/* Room for one page more: others go before the current one is refused. */
static bool
make_room (VmmSpaces *spaces, const VmmSpace *current)
{
  while (spaces->mapped >= PAGES_MAX)
    {
      VmmSpace *s = oldest (spaces, current, true);
      if (!s)
        return false;
      drop_all (spaces, s);
    }
  return true;
}

static bool
map_page (VmmVcpu *c, VmmSpace *s, uint32_t page, const VmmPeek *p)
{
  int protection = PROT_READ | (p->write ? PROT_WRITE : 0);
  if (!make_room (c->spaces, s)
      || mmap (address_of (s, page), VMM_PAGE_SIZE, protection,
               MAP_SHARED | MAP_FIXED | MAP_POPULATE, c->vm->ram_fd,
               (off_t) p->slot * 2 * VMM_PAGE_SIZE)
             == MAP_FAILED)
    return false;
  s->pages[s->count] = (Mapped){ page, p->phys, p->slot, p->write };
  s->index[page] = (uint16_t) ++s->count;
  s->large |= p->large;
  c->spaces->mapped++;
  return true;
}

/* True if the access would have been served now, had it come again. */
static bool
serve (VmmVcpu *c, VmmSpace *s, uint32_t page, bool write)
{
  VmmPeek p;
  uint32_t n = s->index[page];
  if (!vmm_peek (c, page << 12, &p) || (write && !p.write))
    return false;
  if (!n)
    return map_page (c, s, page, &p);
  Mapped *m = &s->pages[n - 1];
  if (m->slot != p.slot || m->phys != p.phys)
    {
      drop_page (c->spaces, s, n - 1);
      return map_page (c, s, page, &p);
    }
  return m->write == p.write || protect_page (s, m, p.write);
}

static void
strike (VmmInsn *insn)
{
  if (insn->hints >= VMM_HINT_STRIKE * VMM_STRIKES)
    insn->hints |= VMM_HINT_TABLE;
  else
    insn->hints += VMM_HINT_STRIKE;
}

void
vmm_space_trap (VmmVcpu *c, VmmInsn *insn)
{
  VmmSpace *s = c->space;
  if (c->space_trap == VMM_NO_TRAP || !s)
    return;
  uint64_t now = vmm_host_ns ();
  bool soon = now - s->trapped < c->spaces->rules.worth_ns;
  c->stat.space_faults++;
  if (soon || s->lost)
    {
      s->lost -= !soon;
      strike (insn);
      s->credit--;
      look_at_credit (c, s);
    }
  s->trapped = now;
}

void
vmm_space_fault (VmmVcpu *c, VmmInsn *insn)
{
  VmmSpace *s = c->space;
  uint64_t offset = c->space_trap;
  if (offset == VMM_NO_TRAP || !s)
    return;
  if (offset >= SIZE || !serve (c, s, (uint32_t) (offset >> 12), c->space_trap_write))
    insn->hints |= VMM_HINT_TABLE;
}

/* ---- Earning ---- */

static bool
reserve (VmmSpace *s)
{
  if (s->base)
    return true;
  void *p
      = mmap (NULL, SIZE + GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  void *index = mmap (NULL, VMM_PAGES * sizeof *s->index, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  s->pages = malloc (PAGES_MAX * sizeof *s->pages);
  if (p != MAP_FAILED && index != MAP_FAILED && s->pages)
    {
      madvise (p, SIZE, MADV_DONTDUMP);
      s->base = p;
      s->index = index;
      return true;
    }
  if (p != MAP_FAILED)
    munmap (p, SIZE + GUARD);
  if (index != MAP_FAILED)
    munmap (index, VMM_PAGES * sizeof *s->index);
  free (s->pages);
  s->pages = NULL;
  return false;
}

/* The pages that were looked up last are likely to be used again. */
static void
map_first (VmmVcpu *c, VmmSpace *s)
{
  const VmmTables *t = c->tables[1];
  uint32_t first = c->spaces->rules.first;
  uint32_t n = t->used_count > first ? t->used_count - first : 0;
  VmmPeek p;
  for (; n < t->used_count; n++)
    if (t->read[t->used[n]] != VMM_NO_ACCESS && !s->index[t->used[n]]
        && vmm_peek (c, t->used[n] << 12, &p))
      map_page (c, s, t->used[n], &p);
}

/* What a space begins with, and never has more than. */
static int
credit_of (const VmmVcpu *c, const VmmSpace *s)
{
  return (int) c->spaces->rules.credit << s->level;
}

static void
promote (VmmVcpu *c, VmmSpace *s)
{
  s->samples = 0;
  if (!reserve (s))
    return;
  s->on = true;
  s->credit = credit_of (c, s);
  s->lost = 0;
  c->stat.space_gains++;
  make_current (c, s);
  if (!always (c))
    map_first (c, s);
}

static VmmSpace *
sampled (VmmVcpu *c, uint32_t cr3)
{
  VmmSpaces *spaces = c->spaces;
  VmmSpace *s = find (spaces, cr3);
  if (!s)
    {
      s = oldest (spaces, NULL, false);
      if (spaces->linked == s)
        unlink_all (c);
      drop_all (spaces, s);
      s->cr3 = cr3;
      s->known = true;
      s->on = false;
      s->level = s->samples = 0;
    }
  s->used = ++spaces->clock;
  return s;
}

void
vmm_spaces_flushed (VmmVcpu *c)
{
  VmmSpace *s = NULL;
  if (!c->spaces)
    return;
  if (possible (c))
    s = always (c) ? sampled (c, c->cr3) : find (c->spaces, c->cr3);
  if (s && !s->on && always (c))
    promote (c, s);
  if (s && !s->on)
    s = NULL;
  if (s)
    look_at_all (c, s);
  if (s && c->spaces->linked == s)
    look_at_targets (c, NULL);
  make_current (c, s);
  if (s)
    look_at_credit (c, s);
}

void
vmm_space_flush_page (VmmVcpu *c, uint32_t linear)
{
  VmmSpace *s = c->space;
  if (!s)
    return;
  uint32_t page = linear >> 12, n = s->index[page];
  if (c->spaces->linked == s)
    look_at_targets (c, s->large ? NULL : &page);
  if (s->large)
    look_at_all (c, s);
  else if (n)
    look_again (c, s, n - 1);
}

void
vmm_spaces_protect (VmmVcpu *c, uint32_t page_address)
{
  for (unsigned k = 0; c->spaces && k < SPACES; k++)
    {
      VmmSpace *s = &c->spaces->list[k];
      for (uint32_t n = s->count; n-- > 0;)
        if (s->pages[n].phys == page_address && s->pages[n].write
            && !protect_page (s, &s->pages[n], false))
          drop_page (c->spaces, s, n);
    }
}

/* ---- Time ---- */

void
vmm_space_sample (VmmVcpu *c)
{
  if (!c->spaces || !c->user || !possible (c))
    return;
  VmmSpace *s = sampled (c, c->cr3);
  Hot *hot = hot_code (c);
  unsigned enough = c->spaces->rules.samples << 2 * s->level;
  if (hot->samples < HOT_SAMPLES)
    hot->samples++;
  else if (s->level == 0)
    enough /= HOT_EARLIER;
  if (s->on)
    {
      if (s->credit < credit_of (c, s))
        s->credit += CREDIT_SAMPLE;
    }
  else if (++s->samples >= enough)
    promote (c, s);
}

/* ---- Life ---- */

bool
vmm_spaces_new (VmmVcpu *c)
{
  if (!c->config.spaces || !c->engine)
    return true;
  c->spaces = calloc (1, sizeof *c->spaces);
  if (!c->spaces)
    return false;
  const VmmSpaceRules *rules = &c->config.space_rules;
  c->spaces->rules = (VmmSpaceRules){
    .samples = rules->samples ? rules->samples : usual.samples,
    .first = rules->first ? rules->first : usual.first,
    .credit = rules->credit ? rules->credit : usual.credit,
    .worth_ns = rules->worth_ns ? rules->worth_ns : usual.worth_ns,
  };
  c->spaces->fsgsbase = getauxval (AT_HWCAP2) & HWCAP2_FSGSBASE;
  return true;
}

void
vmm_spaces_free (VmmVcpu *c)
{
  for (unsigned n = 0; c->spaces && n < SPACES; n++)
    {
      VmmSpace *s = &c->spaces->list[n];
      if (!s->base)
        continue;
      munmap (s->base, SIZE + GUARD);
      munmap (s->index, VMM_PAGES * sizeof *s->index);
      free (s->pages);
    }
  free (c->spaces);
  c->spaces = NULL;
}

uint64_t
vmm_space_offset (const VmmVcpu *c, uintptr_t address)
{
  uint64_t offset = c->space ? address - (uintptr_t) c->space->base : VMM_NO_TRAP;
  return offset < SIZE + GUARD ? offset : VMM_NO_TRAP;
}
