/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The silicon test: random sequences of Pentium III and SSE2 instructions on the processor of the
 * host and on ours, compared after each.  README.md tells how it works and which differences are
 * explained.
 *
 *   silicon [--seconds N | --instructions N] [--seed S] [--first BATCH] [--kinds LIST] [--length N]
 *           [--keep N] [--engine ENGINE]
 *
 * Without options it stops after 20 million instructions or 25 seconds, whatever comes first.
 *
 * A difference prints the sequence, what was and what should have been, and the options that repeat
 * it. Exit status 77 if the host lacks compatibility mode.
 */
#include "silicon.h"

#include "engine.h"

#include <Zydis/Zydis.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

const uint8_t rw_pages[RW_PAGES] = { 1, 2, 5 };

const LdtEntry ldt_entries[LDT_COUNT] = {
  [LDT_DATA] = { DATA, 0x7fff, .big = true },
  [LDT_ODD] = { DATA + 0x1000, 0x1ffb, .big = true },
  [LDT_RO] = { DATA, 0x7fff, .big = true, .readonly = true },
  [LDT_DOWN] = { DATA, 0x17ff, .big = true, .down = true },
  [LDT_STACK16] = { DATA, 0x7fff },
  [LDT_CODE16_0] = { CODE (0), 0xffff, .code = true },
  [LDT_CODE16_1] = { CODE (1), 0xffff, .code = true },
};

static const char *const kind_names[KINDS]
    = { "integer", "x87", "mmx", "sse", "sse2", "flow", "system" };

static struct {
  Options options;
  uint64_t instructions, first;
  double seconds; /* negative: no limit */
  unsigned keep; /* stop after so many differences */
  bool uncounted;
} settings = {
  .options = { .seed = 1, .kinds = (1u << KINDS) - 1, .length = MAX_INSNS },
  .instructions = 20000000,
  .seconds = 25,
  .keep = 1,
};

static struct {
  Batch *batch[2];
  uint8_t *code[2];
  uint64_t instructions, cases, faults, differences, vectors[32];
} run;

/* ---- Memory ---- */

typedef uint64_t Word __attribute__ ((aligned (1), may_alias));

static PLAIN uint32_t
sum (uint32_t s, const uint8_t *bytes)
{
  for (unsigned n = 0; n < LINE; n += 8)
    {
      uint64_t v = *(const Word *) (bytes + n);
      s = (uint32_t) ((s ^ v ^ v >> 32) * 0x9e3779b1u) + (s >> 7);
    }
  return s;
}

typedef uint64_t Vector __attribute__ ((vector_size (LINE / 2), aligned (1), may_alias));

static inline PLAIN bool
same_line (const uint8_t *a, const uint8_t *b)
{
  const Vector *v = (const Vector *) a, *w = (const Vector *) b;
  Vector d = (v[0] ^ w[0]) | (v[1] ^ w[1]);
  return !(d[0] | d[1] | d[2] | d[3]);
}

PLAIN void
memory_take (Result *r, uint8_t *const pages[RW_PAGES], const uint8_t *memory)
{
  r->lines = 0;
  r->checksum = 0;
  for (unsigned p = 0; p < RW_PAGES; p++)
    for (unsigned at = 0; at < 4096; at += LINE)
      {
        const uint8_t *was = memory + rw_pages[p] * 4096 + at;
        uint8_t *is = pages[p] + at;
        if (same_line (is, was))
          continue;
        uint32_t where = DATA + rw_pages[p] * 4096 + at;
        if (r->lines < MAX_LINES)
          {
            r->line[r->lines].where = where;
            copy_plain (r->line[r->lines].bytes, is, LINE);
          }
        r->lines++;
        r->checksum = sum (r->checksum ^ where, is);
        copy_plain (is, was, LINE);
      }
}

/* ---- Comparison ---- */

/* Uncounted, a fault may find arithmetic flags that nothing behind it would have looked at. */
static bool
ends_imprecisely (const Result *r)
{
  return settings.uncounted && r->vector != VECTOR_END && r->vector != 1 && r->vector != 3
         && r->vector != 4;
}

static const char *
compare (const Case *k, const Result *a, const Result *b)
{
  if (a->vector != b->vector)
    return "fault";
  if (a->eip != b->eip || a->cs != b->cs)
    return "EIP";
  if (a->error != b->error)
    return "error code";
  if (a->cr2 != b->cr2)
    return "CR2";
  if (memcmp (a->gpr, b->gpr, sizeof a->gpr))
    return "registers";
  if ((a->eflags ^ b->eflags) & ~(uint32_t) (ends_imprecisely (a) ? ARITHMETIC_FLAGS : 0))
    return "EFLAGS";
  if (a->ds != b->ds || a->es != b->es || a->ss != b->ss || a->gs != b->gs)
    return "segment registers";
  if (memcmp (a->fx, b->fx, 512))
    return "x87, MMX or SSE state";
  if (a->lines != b->lines || a->checksum != b->checksum)
    return "memory";
  if (k->images && memcmp (a->image, b->image, IMAGE_WINDOW))
    return "x87 image in memory";
  return NULL;
}

/* ---- Report ---- */

static void
print_code (const Case *k, unsigned area, const uint8_t *code, uint32_t eip)
{
  uint32_t base = k->start + (k->code16 ? 0 : CODE (area));
  ZydisMachineMode mode = k->code16 ? ZYDIS_MACHINE_MODE_LEGACY_16 : ZYDIS_MACHINE_MODE_LEGACY_32;
  code += k->start;
  unsigned end = k->offset[k->count];
  if (k->start + end > CODE_SIZE)
    end = CODE_SIZE - k->start;
  for (unsigned at = 0; at < end;)
    {
      ZydisDisassembledInstruction i;
      unsigned length = 1;
      const char *text = "?";
      if (ZYAN_SUCCESS (ZydisDisassembleIntel (mode, base + at, code + at, end - at, &i)))
        {
          length = i.info.length;
          text = i.text;
        }
      printf ("  %08x%c ", base + at, base + at == eip ? '*' : ' ');
      for (unsigned n = 0; n < 12; n++)
        printf (n < length ? "%02x" : "  ", n < length ? code[at + n] : 0);
      printf ("  %s\n", text);
      at += length;
    }
}

static void
print_line (const char *name, const uint8_t *a, const uint8_t *b, unsigned size)
{
  if (!memcmp (a, b, size))
    return;
  printf ("  %-9s host ", name);
  for (unsigned n = size; n--;)
    printf ("%02x", a[n]);
  printf ("\n  %-9s ours ", "");
  for (unsigned n = size; n--;)
    printf ("%02x", b[n]);
  printf ("\n");
}

static void
print_fx (const char *what, const uint8_t *a, const uint8_t *b)
{
  static const struct {
    const char *name;
    uint8_t at, size;
  } fields[]
      = { { "FCW", 0, 2 }, { "FSW", 2, 2 }, { "FTW", 4, 1 }, { "FIP", 8, 4 }, { "MXCSR", 24, 4 } };
  char name[16];
  printf ("%s", what);
  for (unsigned n = 0; n < sizeof fields / sizeof fields[0]; n++)
    print_line (fields[n].name, a + fields[n].at, b + fields[n].at, fields[n].size);
  for (unsigned n = 0; n < 16; n++)
    {
      snprintf (name, sizeof name, "%s%u", n < 8 ? "ST" : "XMM", n & 7);
      print_line (name, a + 32 + 16 * n, b + 32 + 16 * n, n < 8 ? 10 : 16);
    }
}

static void
print_result (const char *who, const Result *r)
{
  static const char *const names[8] = { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi" };
  printf ("%s:", who);
  for (unsigned n = 0; n < 8; n++)
    printf (" %s %08x", names[n], r->gpr[n]);
  printf ("\n       eip %04x:%08x eflags %08x ds %04x es %04x ss %04x gs %04x, ", r->cs, r->eip,
          r->eflags, r->ds, r->es, r->ss, r->gs);
  if (r->vector == VECTOR_END)
    printf ("at the end");
  else
    printf ("fault %u error %x cr2 %08x", r->vector, r->error, r->cr2);
  printf (", %u lines of memory\n", r->lines);
}

static void
print_memory (const Case *k, const Result *a, const Result *b)
{
  unsigned n = 0, m = 0;
  while (n < a->lines && m < b->lines && n < MAX_LINES && m < MAX_LINES)
    {
      char name[16];
      bool same = a->line[n].where == b->line[m].where;
      bool only_a = a->line[n].where < b->line[m].where;
      snprintf (name, sizeof name, "%08x", only_a ? a->line[n].where : b->line[m].where);
      if (same)
        print_line (name, a->line[n].bytes, b->line[m].bytes, LINE);
      else
        printf ("  line %s changed by the %s only\n", name, only_a ? "host" : "guest");
      n += same || only_a;
      m += same || !only_a;
    }
  for (; n < a->lines && n < MAX_LINES; n++)
    printf ("  line %08x changed by the host only\n", a->line[n].where);
  for (; m < b->lines && m < MAX_LINES; m++)
    printf ("  line %08x changed by the guest only\n", b->line[m].where);
  for (n = 0; k->images && n < IMAGE_WINDOW; n++)
    if (a->image[n] != b->image[n])
      printf ("  %08x host %02x ours %02x\n", IMAGE_START + n, a->image[n], b->image[n]);
}

static void
report (Case *k, uint64_t batch, unsigned slot, unsigned area, const char *what,
        const Result *native, const Result *ours)
{
  Result start = { .eip = k->start, .eflags = k->eflags, .cs = k->cs, .ds = k->ds, .es = k->es,
                   .ss = k->ss, .gs = k->gs, .vector = VECTOR_END };
  memcpy (start.gpr, k->gpr, sizeof start.gpr);
  printf ("\n%s differs: --engine %s --seed %llu --first %llu --seconds 0, case %u\n", what,
          engine_name (), (unsigned long long) settings.options.seed, (unsigned long long) batch,
          slot);
  print_code (k, area, run.code[area], native->eip);
  print_result ("start", &start);
  print_result ("host ", native);
  print_result ("ours ", ours);
  uint8_t none[512];
  memcpy (none, k->fx, 512);
  printf ("  FCW %02x%02x FSW %02x%02x FTW %02x MXCSR %02x%02x\n", k->fx[1], k->fx[0], k->fx[3],
          k->fx[2], k->fx[4], k->fx[25], k->fx[24]);
  print_fx ("", native->fx, ours->fx);
  print_memory (k, native, ours);
  fflush (stdout);
}

/* ---- Running ---- */

static void
put_code (Batch *b, unsigned area, unsigned slot, unsigned count)
{
  silicon_emit (&b->cases[slot], slot, count, area, run.code[area]);
  ours_code (area, slot, run.code[area]);
}

static void
prepare (unsigned area, uint64_t number)
{
  Batch *b = run.batch[area];
  silicon_generate (b, &settings.options, number, area);
  for (unsigned n = 0; n < b->count; n++)
    put_code (b, area, n, b->cases[n].count);
}

static _Noreturn void
host_died (const Batch *b, uint64_t number)
{
  uint32_t n = b->current;
  printf ("the process on the host died in: --seed %llu --first %llu, case %u\n",
          (unsigned long long) settings.options.seed, (unsigned long long) number, n);
  Case *k = &run.batch[number & 1]->cases[n < BATCH ? n : 0];
  print_code (k, number & 1, run.code[number & 1], 0);
  exit (1);
}

/* Runs the first `count` instructions of the case only. */
static void
run_beginning (Batch *b, unsigned area, unsigned n, unsigned count, Result *ours)
{
  unsigned whole = b->cases[n].count;
  put_code (b, area, n, count);
  ours_run (b, area, n, ours);
  put_code (b, area, n, whole);
}

/* A fault of the host alone may be explained by the state that ours has behind the instruction. */
static void
stop_at_fault (Batch *b, unsigned area, unsigned n, Result *ours)
{
  const Case *k = &b->cases[n];
  unsigned count = silicon_passed_fault (k, &b->native[n], ours, area, run.code[area]);
  if (count)
    run_beginning (b, area, n, count, ours);
}

/* Flags of a comparison that was left between two rounds are explained by those before it. */
static void
look_before (Batch *b, unsigned area, unsigned n, const Result *ours)
{
  static Result before;
  const Case *k = &b->cases[n];
  unsigned count = silicon_comparison (k, &b->native[n], ours, area, run.code[area]);
  if (count == k->count)
    return;
  run_beginning (b, area, n, count, &before);
  silicon_explain_comparison (&b->native[n], ours, &before);
}

/* Twice: the second time the code has been decoded before. */
static const char *
run_case (Batch *b, unsigned area, unsigned n, Result *ours)
{
  const char *what = NULL;
  for (unsigned again = 0; again < 2 && !what; again++)
    {
      Case *k = &b->cases[n];
      ours_run (b, area, n, ours);
      stop_at_fault (b, area, n, ours);
      look_before (b, area, n, ours);
      silicon_explain (k, &b->native[n], ours, area, run.code[area]);
      what = compare (k, &b->native[n], ours);
    }
  return what;
}

/* Finds the shortest beginning of the sequence that shows a difference, and reports that. */
static void
shorten (Batch *b, uint64_t number, unsigned area, unsigned n)
{
  Case *k = &b->cases[n];
  unsigned whole = k->count;
  static Result ours;
  const char *what = NULL;
  for (unsigned count = 1; count <= whole && !what; count++)
    {
      bool alive = native_wait ();
      put_code (b, area, n, count);
      native_begin (area);
      if (!alive || !native_wait ())
        host_died (b, number);
      what = run_case (b, area, n, &ours);
    }
  report (k, number, n, area, what ? what : "once only: something", &b->native[n], &ours);
}

/* Instructions up to where the sequence ended.  (Branches may have left some out.) */
static unsigned
executed (const Case *k, const Result *r, unsigned area)
{
  uint32_t at = r->eip - k->start - (k->code16 ? 0 : CODE (area));
  unsigned n = 1;
  if (r->vector == VECTOR_END)
    return k->count;
  while (n < k->count && k->offset[n] <= at)
    n++;
  return n;
}

static void
check_batch (uint64_t number, unsigned area)
{
  static Result ours;
  Batch *b = run.batch[area];
  ours_prepare (b, area);
  for (unsigned n = 0; n < b->count; n++)
    {
      const char *what = run_case (b, area, n, &ours);
      uint32_t vector = b->native[n].vector;
      run.cases++;
      run.instructions += executed (&b->cases[n], &b->native[n], area);
      run.faults += vector != VECTOR_END;
      if (vector < 32)
        run.vectors[vector]++;
      if (!what)
        continue;
      if (run.differences++ >= settings.keep)
        continue;
      shorten (b, number, area, n);
    }
}

static double
now (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static bool
more (double start)
{
  if (run.differences >= settings.keep)
    return false;
  if (settings.instructions && run.instructions >= settings.instructions)
    return false;
  return settings.seconds < 0 || now () - start < settings.seconds;
}

static void
run_all (void)
{
  uint64_t number = settings.first;
  double start = now (), said = start;
  prepare (number & 1, number);
  native_begin (number & 1);
  for (bool go_on = true; go_on; number++)
    {
      if (!native_wait ())
        host_died (run.batch[number & 1], number);
      prepare (~number & 1, number + 1);
      go_on = more (start);
      if (go_on)
        native_begin (~number & 1);
      check_batch (number, number & 1);
      go_on = go_on && more (start);
      if (now () - said > 60)
        {
          said = now ();
          fprintf (stderr, "%.0f s: %llu instructions\n", said - start,
                   (unsigned long long) run.instructions);
        }
    }
  double seconds = now () - start;
  printf ("%llu instructions in %llu cases, %llu ended by faults, %llu differences; %.1f s, %.0f "
          "cases/s\n",
          (unsigned long long) run.instructions, (unsigned long long) run.cases,
          (unsigned long long) run.faults, (unsigned long long) run.differences, seconds,
          (double) run.cases / seconds);
  for (unsigned v = 0; v < 32; v++)
    if (run.vectors[v])
      printf ("  vector %u: %llu\n", v, (unsigned long long) run.vectors[v]);
}

/* Is the name one of those in the list, which are separated by commas? */
static bool
is_listed (const char *list, const char *name)
{
  size_t length = strlen (name);
  for (const char *at = list; (at = strstr (at, name)); at += length)
    if ((at == list || at[-1] == ',') && (!at[length] || at[length] == ','))
      return true;
  return false;
}

static unsigned
parse_kinds (const char *list)
{
  unsigned kinds = 0;
  for (unsigned n = 0; n < KINDS; n++)
    if (is_listed (list, kind_names[n]))
      kinds |= 1u << n;
  return kinds ? kinds : (1u << KINDS) - 1;
}

static void
parse (int argc, char **argv)
{
  static const struct option options[] = {
    { "seconds", 1, NULL, 't' }, { "instructions", 1, NULL, 'n' }, { "seed", 1, NULL, 's' },
    { "first", 1, NULL, 'f' },   { "kinds", 1, NULL, 'k' },        { "length", 1, NULL, 'l' },
    { "keep", 1, NULL, 'g' },    { "uncounted", 0, NULL, 'u' },    { NULL, 0, NULL, 0 },
  };
  for (int c; (c = getopt_long (argc, argv, "", options, NULL)) != -1;)
    switch (c)
      {
      case 't':
        settings.seconds = strtod (optarg, NULL);
        settings.instructions = 0;
        break;
      case 'n':
        settings.instructions = strtoull (optarg, NULL, 0);
        settings.seconds = -1;
        break;
      case 's':
        settings.options.seed = strtoull (optarg, NULL, 0);
        break;
      case 'f':
        settings.first = strtoull (optarg, NULL, 0);
        break;
      case 'k':
        settings.options.kinds = parse_kinds (optarg);
        break;
      case 'l':
        settings.options.length = (unsigned) strtoul (optarg, NULL, 0);
        if (settings.options.length < 1 || settings.options.length > MAX_INSNS)
          settings.options.length = MAX_INSNS;
        break;
      case 'g':
        settings.keep = (unsigned) strtoul (optarg, NULL, 0);
        break;
      case 'u':
        settings.uncounted = true;
        break;
      default:
        fprintf (stderr,
                 "usage: silicon [--seconds N | --instructions N] [--seed S] [--first BATCH]\n"
                 "  [--kinds integer,x87,mmx,sse,sse2,flow,system] [--length N] [--keep N]\n"
                 "  [--engine interpret|translate] [--uncounted]\n");
        exit (64);
      }
}

int
main (int argc, char **argv)
{
  engine_option (&argc, argv);
  parse (argc, argv);
  for (unsigned n = 0; n < 2; n++)
    {
      run.batch[n]
          = mmap (NULL, sizeof (Batch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
      if (run.batch[n] == MAP_FAILED)
        return 1;
    }
  const char *missing = native_start (run.batch, run.code);
  if (missing)
    {
      printf ("skipped: %s\n", missing);
      return 77;
    }
  ours_start (settings.uncounted);
  run_all ();
  ours_stop ();
  native_stop ();
  return run.differences ? 1 : 0;
}
