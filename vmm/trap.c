/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Host signals, and the memory that is made by them.
 *
 *   SIGSEGV  in the tables: words that were never looked at; made, and on.
 *            in translated code: an access whose table said VMM_NO_ACCESS.
 *   SIGBUS   in the window: a hole, so an access crossed its page (or relied on an earlier one to a
 *            page that it has left).  A page of RAM that is not there (discarded) is brought back.
 *   SIGFPE   DIV and IDIV.
 *   SIGURG   a kick: translated code is to come back at its block's end.  The default of this
 * signal is to be ignored, so that a late one harms nobody.
 *
 * After a fault in translated code the registers are as before the instruction (translate.c sees to
 * that); they go to VmmVcpu, and C executes the instruction by its handler, which knows how to
 * cross pages and raise the guest's faults.  Faults elsewhere go to whoever handled them before.
 *
 * Signal handlers belong to the process, and find the processor through a variable of the thread:
 * the two things here that are not in VmmVcpu.
 */
#include "engine.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define CHUNK 512u /* pages whose words lie in one page of the host */
#define ALT_STACK (64u << 10)

#define REGION(name) extern const uint8_t vmm_region_##name##_start[], vmm_region_##name##_end[]
REGION (enter);
REGION (resume);
REGION (jump);
REGION (segment);
REGION (verify);
REGION (xmm);
#undef REGION
/* engine.asm's regions, between looking at `attention` and translated code. */
static const struct {
  const uint8_t *start, *end;
} regions[] = {
  { vmm_region_enter_start, vmm_region_enter_end },
  { vmm_region_resume_start, vmm_region_resume_end },
  { vmm_region_jump_start, vmm_region_jump_end },
  { vmm_region_segment_start, vmm_region_segment_end },
  { vmm_region_verify_start, vmm_region_verify_end },
  { vmm_region_xmm_start, vmm_region_xmm_end },
};
void vmm_back_trap (void);

static __thread VmmVcpu *running __attribute__ ((tls_model ("initial-exec")));
static pthread_once_t installed = PTHREAD_ONCE_INIT;
static pthread_key_t alt_stack;
static bool works;
static struct sigaction before[4];
static const int signals[4] = { SIGSEGV, SIGBUS, SIGFPE, SIGURG };

/* ---- Tables ---- */

VmmTables *
vmm_tables_new (void)
{
  VmmTables *t = mmap (NULL, sizeof *t, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (t == MAP_FAILED)
    return NULL;
  madvise (t, sizeof *t, MADV_NOHUGEPAGE);
  if (mprotect (t, offsetof (VmmTables, phys), PROT_NONE) != 0)
    {
      munmap (t, sizeof *t);
      return NULL;
    }
  return t;
}

void
vmm_tables_free (VmmTables *t)
{
  if (t)
    munmap (t, sizeof *t);
}

void
vmm_tables_ready (VmmTables *t, uint32_t page)
{
  uint32_t chunk = page / CHUNK, first = chunk * CHUNK;
  if (t->ready[chunk / 64] >> (chunk % 64) & 1)
    return;
  uint64_t *words[3] = { t->read + first, t->write + first, t->jump + first };
  for (unsigned n = 0; n < 3; n++)
    mprotect (words[n], CHUNK * sizeof **words, PROT_READ | PROT_WRITE);
  for (uint32_t i = 0; i < CHUNK; i++)
    {
      words[0][i] = words[1][i] = VMM_NO_ACCESS;
      words[2][i] = t->no_targets - ((uint64_t) (first + i) << 12) * sizeof (uint32_t);
    }
  t->ready[chunk / 64] |= 1ull << (chunk % 64);
}

VmmTables *
vmm_tables_copy (const VmmTables *t)
{
  const size_t rest = offsetof (VmmTables, used_count);
  VmmTables *copy = vmm_tables_new ();
  if (!copy)
    return NULL;
  copy->no_targets = t->no_targets;
  for (uint32_t page = 0; page < VMM_PAGES; page += CHUNK)
    if (t->ready[page / CHUNK / 64] >> (page / CHUNK % 64) & 1)
      {
        vmm_tables_ready (copy, page);
        memcpy (copy->read + page, t->read + page, CHUNK * sizeof *t->read);
        memcpy (copy->write + page, t->write + page, CHUNK * sizeof *t->write);
        memcpy (copy->jump + page, t->jump + page, CHUNK * sizeof *t->jump);
      }
  for (uint32_t n = 0; n < t->used_count; n++)
    {
      uint32_t page = copy->used[n] = t->used[n];
      copy->phys[page] = t->phys[page];
      copy->flags[page] = t->flags[page];
    }
  memcpy ((uint8_t *) copy + rest, (const uint8_t *) t + rest, sizeof *t - rest);
  return copy;
}

/* A word that was never looked at? */
static bool
table_trap (VmmVcpu *c, uintptr_t address)
{
  for (unsigned user = 0; user < 2; user++)
    {
      VmmTables *t = c->tables[user];
      uintptr_t offset = address - (uintptr_t) t;
      if (offset >= offsetof (VmmTables, phys))
        continue;
      uint32_t page = (uint32_t) (offset / sizeof *t->read) % VMM_PAGES, chunk = page / CHUNK;
      if (t->ready[chunk / 64] >> (chunk % 64) & 1)
        return false;
      vmm_tables_ready (t, page);
      return true;
    }
  return false;
}

/* ---- Faults ---- */

static void
save_registers (VmmVcpu *c, const greg_t *r)
{
  static const uint8_t from[8]
      = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_R15, REG_RBP, REG_RSI, REG_RDI };
  for (unsigned n = 0; n < 8; n++)
    c->gpr[n] = (uint32_t) r[from[n]];
  c->eflags = (c->eflags & ~FL_ARITH) | ((uint32_t) r[REG_EFL] & FL_ARITH);
}

/* What the next translation of this instruction does differently. */
static uint8_t
lesson (const VmmInsn *insn, int sig, uintptr_t address)
{
  if (sig == SIGFPE)
    return 0;
  if (sig == SIGSEGV && address == 0) /* no address at all: VMM_NO_ACCESS */
    return VMM_HINT_LOOK;
  return insn->hints & VMM_HINT_ALONE ? VMM_HINT_CROSS : VMM_HINT_ALONE;
}

static bool
code_trap (VmmVcpu *c, int sig, uintptr_t address, greg_t *r)
{
  VmmEngine *engine = c->engine;
  uint32_t offset = (uint32_t) ((uintptr_t) r[REG_RIP] - (uintptr_t) engine->code);
  VmmCode *code = vmm_code_at (engine, offset);
  if (!code)
    return false;
  VmmBlock *b = code->block;
  unsigned n = vmm_code_insn (engine, code, offset);
  VmmInsn *insn = &b->insns[n];
  save_registers (c, r);
  c->eip = b->eip;
  for (unsigned i = 0; i < n; i++)
    c->eip += b->insns[i].length;
  c->tail = vmm_insn_offset (c, insn);
  c->space_trap = sig == SIGFPE ? VMM_NO_TRAP : vmm_space_offset (c, address);
  c->space_trap_write = r[REG_ERR] & 2;
  uint8_t more = c->space_trap == VMM_NO_TRAP ? lesson (insn, sig, address) : 0;
  if (c->space_trap != VMM_NO_TRAP && (insn->hints & VMM_HINT_TABLE))
    engine->again = b; /* learnt when it trapped before */
  if (more & ~insn->hints)
    {
      insn->hints |= more;
      engine->again = b;
    }
  c->stat.traps++;
  r[REG_RIP] = (greg_t) (uintptr_t) vmm_back_trap;
  return true;
}

static void
pass_on (int n, siginfo_t *info, void *context)
{
  const struct sigaction *old = &before[n];
  if (old->sa_flags & SA_SIGINFO)
    old->sa_sigaction (signals[n], info, context);
  else if (old->sa_handler == SIG_DFL)
    {
      if (signals[n] == SIGURG)
        return;
      sigaction (signals[n], old, NULL); /* the fault comes again, and ends the process */
    }
  else if (old->sa_handler != SIG_IGN)
    old->sa_handler (signals[n]);
}

static void
on_fault (int sig, siginfo_t *info, void *context)
{
  ucontext_t *u = context;
  greg_t *r = u->uc_mcontext.gregs;
  VmmVcpu *c = running;
  uintptr_t address = (uintptr_t) info->si_addr;
  if (c && info->si_code > 0)
    {
      if (sig == SIGSEGV && address && table_trap (c, address))
        {
          c->stat.table_traps++;
          return;
        }
      if (sig == SIGBUS && vmm_vm_window_repair (c->vm, address))
        {
          c->stat.window_repairs++;
          return;
        }
      if (c->engine && vmm_in_code (c->engine, (uintptr_t) r[REG_RIP])
          && code_trap (c, sig, address, r))
        return;
    }
  pass_on (sig == SIGSEGV ? 0 : sig == SIGBUS ? 1 : 2, info, context);
}

/* ---- Kicks ---- */

static void
on_kick (int sig, siginfo_t *info, void *context)
{
  ucontext_t *u = context;
  greg_t *rip = &u->uc_mcontext.gregs[REG_RIP];
  uintptr_t at = (uintptr_t) *rip;
  VmmVcpu *c = running;
  if (!c)
    {
      pass_on (3, info, context);
      return;
    }
  if (info->si_code == SI_TIMER)
    atomic_fetch_or (&c->attention, ATT_KICK);
  if (!c->engine || !(atomic_load (&c->attention) & c->alert))
    return;
  c->stat.kicks++;
  for (unsigned n = 0; n < sizeof regions / sizeof regions[0]; n++)
    if (at >= (uintptr_t) regions[n].start && at < (uintptr_t) regions[n].end)
      *rip = (greg_t) (uintptr_t) regions[n].start;
  if (vmm_in_code (c->engine, at))
    {
      uint32_t offset = (uint32_t) (at - (uintptr_t) c->engine->code);
      *rip = (greg_t) ((uintptr_t) c->engine->code + vmm_code_interrupt (c->engine, offset));
    }
}

void
vmm_attention (VmmVcpu *c, uint32_t bits)
{
  uint32_t old = atomic_fetch_or (&c->attention, bits);
  if ((old & bits) != bits && c->engine && running != c && atomic_load (&c->engine->in_code))
    syscall (SYS_tgkill, getpid (), c->engine->thread, SIGURG);
}

/* ---- Installation ---- */

static void
free_alt_stack (void *p)
{
  stack_t none = { .ss_flags = SS_DISABLE };
  sigaltstack (&none, NULL);
  munmap (p, ALT_STACK);
}

static void
install (void)
{
  works = pthread_key_create (&alt_stack, free_alt_stack) == 0;
  for (unsigned n = 0; n < 4; n++)
    {
      struct sigaction action = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };
      action.sa_sigaction = signals[n] == SIGURG ? on_kick : on_fault;
      sigemptyset (&action.sa_mask);
      works = works && sigaction (signals[n], &action, &before[n]) == 0;
    }
}

bool
vmm_traps_install (void)
{
  pthread_once (&installed, install);
  return works;
}

/* A thread that runs guest code has a stack for signals. */
static void
ensure_alt_stack (void)
{
  stack_t now;
  if (sigaltstack (NULL, &now) != 0 || !(now.ss_flags & SS_DISABLE))
    return;
  void *p = mmap (NULL, ALT_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stack_t mine = { .ss_sp = p, .ss_size = ALT_STACK };
  if (p == MAP_FAILED)
    return;
  if (sigaltstack (&mine, NULL) != 0 || pthread_setspecific (alt_stack, p) != 0)
    munmap (p, ALT_STACK);
}

void
vmm_vcpu_pace (VmmVcpu *c, uint32_t us)
{
  struct itimerspec spec = { .it_interval = { us / 1000000, us % 1000000 * 1000L } };
  spec.it_value = spec.it_interval;
  if (!c->pacing)
    {
      struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGURG };
      event._sigev_un._tid = (int) syscall (SYS_gettid);
      if (us == 0 || timer_create (CLOCK_MONOTONIC, &event, &c->pace) != 0)
        return;
      c->pacing = true;
    }
  timer_settime (c->pace, 0, &spec, NULL);
}

void
vmm_pace_end (VmmVcpu *c)
{
  if (c->pacing)
    timer_delete (c->pace);
  c->pacing = false;
}

VmmVcpu *
vmm_traps_enter (VmmVcpu *c)
{
  VmmVcpu *old = running;
  if (c->thread_seen != pthread_self ())
    {
      c->thread_seen = pthread_self ();
      ensure_alt_stack ();
      if (c->engine)
        c->engine->thread = (int) syscall (SYS_gettid);
    }
  running = c;
  vmm_spaces_enter (c);
  return old;
}

void
vmm_traps_leave (VmmVcpu *old)
{
  vmm_spaces_leave (running);
  running = old;
}
