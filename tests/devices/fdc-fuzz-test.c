/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hostile drivers of the floppy controller: commands that are nearly right, with DMA or a byte at a
 * time, for disks of all formats, given up at any moment by resets, motors, changes of media and
 * errors of the host.  One of the twins is saved, loaded and swapped besides.  Whatever happens,
 *
 *   the twins behave alike, and at last have the same memory and disks
 *   a cylinder that no command has named for writing keeps its bytes; what was written well is
 * there what was read well is what the medium holds DMA touches no memory but what the channel was
 * programmed for after a reset the drive reads
 *
 * See fuzz.h for the environment.
 */
#include "fuzz.h"

#include <errno.h>

enum { DOR = 0x3f2, MSR = 0x3f4, DSR = 0x3f4, FIFO = 0x3f5, DIR_REG = 0x3f7, CCR = 0x3f7 };
enum { RQM = 0x80, DIO = 0x40, NDMA = 0x20, CB = 0x10 };
enum { TO_MEMORY = 0x46, FROM_MEMORY = 0x4a };

#define MS INT64_C (1000000)
#define MEMORY 0x4000u
#define ROOM 0x8000u
#define CHECKED 0x10000u

typedef struct {
  unsigned kib, cylinders, heads, sectors, code, rate;
} Format;

static const Format formats[] = {
  { 160, 40, 1, 8, 2, 2 },   { 360, 40, 2, 9, 2, 2 },   { 720, 80, 2, 9, 2, 2 },
  { 1200, 80, 2, 15, 2, 0 }, { 1232, 77, 2, 8, 3, 0 },  { 1440, 80, 2, 18, 2, 0 },
  { 1440, 80, 2, 18, 2, 0 }, { 1680, 80, 2, 21, 2, 0 }, { 2880, 80, 2, 36, 2, 3 },
};

typedef struct {
  const char *name;
  const Format *format;
  bool present, read_only;
  int error;
  size_t size;
  uint8_t *bytes[2], *shadow;
  bool unsure[80]; /* cylinders that a command may have changed */
} Disk;

static Disk disks[2];
static Twins twins;
static bool calm;         /* nothing has come between since the command began */
static bool quiet;        /* nothing comes between any more */
static bool pio;          /* SPECIFY said so */
static unsigned track[2]; /* where the heads ought to be */

/* ---- Machine ---- */

static void
make_disk (unsigned n)
{
  Disk *d = &disks[n];
  *d = (Disk){ .name = n ? "b" : "a",
               .format = &formats[roll (G_N_ELEMENTS (formats))],
               .present = true,
               .read_only = one_in (8) };
  d->size = d->format->kib * 1024;
  d->shadow = g_malloc (d->size);
  random_bytes (d->shadow, d->size);
  BOTH (&twins, i)
  {
    d->bytes[i] = g_memdup2 (d->shadow, d->size);
    tn_harness_add_block (twins.h[i], d->name, d->bytes[i], d->size, 512, d->read_only, true);
  }
}

static void
make_machine (void)
{
  const char *fast = one_in (2) ? "true" : "false", *any = one_in (4) ? "true" : "false";
  twins.device = "fdc";
  BOTH (&twins, i)
  twins.h[i] = tn_harness_new (1 << 20);
  make_disk (0);
  make_disk (1);
  BOTH (&twins, i)
  {
    tn_harness_add (twins.h[i], "dma", "dma", NULL);
    tn_harness_add (twins.h[i], "fdc", "fdc", "drive-a", "a", "drive-b", "b", "fast", fast,
                    "any-rate", any, NULL);
    tn_harness_start (twins.h[i]);
  }
}

static void
free_disks (void)
{
  for (unsigned n = 0; n < 2; n++)
    {
      g_free (disks[n].shadow);
      BOTH (&twins, i)
      g_free (disks[n].bytes[i]);
    }
}

static void
all_unsure (Disk *d)
{
  memset (d->unsure, true, sizeof d->unsure);
}

/* ---- What comes between ---- */

static void
set_medium (Disk *d, bool present, int error)
{
  d->present = present;
  d->error = error;
  twins_block (&twins, d->name, present, error);
}

static void
interfere (void)
{
  Disk *d = &disks[roll (2)];
  uint32_t value = g_rand_int (dice);
  if (quiet)
    return;
  calm = false;
  switch (roll (10))
    {
    case 0: twins_out (&twins, DOR, one_in (2) ? value : (value & 0x3f) | 0x0c, 1); break;
    case 1: twins_out (&twins, DSR, one_in (2) ? 0x80 : value, 1); break;
    case 2: twins_out (&twins, CCR, value, 1); break;
    case 3: twins_out (&twins, FIFO, value, 1); break;
    case 4: twins_in (&twins, FIFO, 1); break;
    case 5: set_medium (d, one_in (2), d->error); break;
    case 6: set_medium (d, d->present, one_in (2) ? 0 : PICK (EIO, EROFS, ENOMEDIUM)); break;
    case 7: twins_out (&twins, 0x0a, value & 7, 1); break;
    case 8: twins_step (&twins, one_in (8) ? 9000 * TN_NS_PER_S : roll (2000) * MS); break;
    default:
      if (one_in (8))
        twins_reset (&twins);
      break;
    }
}

static void
pass (int64_t most)
{
  if (!one_in (4))
    twins_settle (&twins);
  twins_step (&twins, one_in (8) ? roll (most) : most);
  if (one_in (60))
    twins_disturb (&twins);
  twins_line (&twins, "isa:6");
  if (one_in (80))
    interfere ();
}

/* ---- Commands ---- */

static uint8_t
state (void)
{
  return twins_in (&twins, MSR, 1);
}

/* False if the controller takes no command. */
static bool
send (const uint8_t *bytes, unsigned n)
{
  for (unsigned i = 0; i < n; i++)
    {
      if ((state () & (RQM | DIO)) != RQM)
        return false;
      twins_out (&twins, FIFO, bytes[i], 1);
      if (one_in (200))
        interfere ();
    }
  return true;
}

#define SEND(...) send ((const uint8_t[]){ __VA_ARGS__ }, sizeof (uint8_t[]){ __VA_ARGS__ })

/* What there is of a result; returns how many bytes. */
static unsigned
receive (uint8_t *bytes, unsigned most)
{
  unsigned n = 0;
  while (n < most && (state () & (RQM | DIO | NDMA)) == (RQM | DIO))
    bytes[n++] = twins_in (&twins, FIFO, 1);
  return n;
}

static void
sense (void)
{
  uint8_t result[10];
  for (unsigned n = 0; n < 5; n++)
    {
      SEND (0x08);
      if (receive (result, sizeof result) < 2)
        break;
    }
}

static void
program_dma (uint8_t mode, uint32_t address, uint32_t bytes)
{
  static const struct {
    uint16_t port;
    uint8_t shift;
    bool count;
  } order[]
      = { { 4, 0, false }, { 4, 8, false }, { 0x81, 16, false }, { 5, 0, true }, { 5, 8, true } };
  twins_out (&twins, 0x0a, 0x06, 1);
  twins_out (&twins, 0x0c, 0, 1);
  twins_out (&twins, 0x0b, mode, 1);
  for (unsigned n = 0; n < G_N_ELEMENTS (order); n++)
    twins_out (&twins, order[n].port, (order[n].count ? bytes - 1 : address) >> order[n].shift, 1);
  twins_out (&twins, 0x0a, 0x02, 1);
}

static void
bring_up (unsigned drive)
{
  uint8_t motor = 0x10 << drive | 0x0c | drive;
  pio = one_in (4);
  twins_out (&twins, 0xd6, 0xc0, 1);
  twins_out (&twins, 0xd4, 0x00, 1);
  twins_out (&twins, DOR, motor & ~0x04, 1);
  twins_out (&twins, DOR, motor, 1);
  twins_step (&twins, MS);
  sense ();
  SEND (0x03, 0xd0 | roll (16), 0x02 | pio);
  if (one_in (2))
    SEND (0x13, 0x00, one_in (2) ? 0x5a : roll (256), roll (4));
  twins_out (&twins, CCR, one_in (20) ? roll (4) : disks[drive].format->rate, 1);
  SEND (0x07, drive);
  twins_step (&twins, 600 * MS); /* 79 steps of up to 6 ms */
  sense ();
  track[drive] = 0;
}

static void
move_head (unsigned drive)
{
  unsigned to = roll (disks[drive].format->cylinders);
  if (one_in (8))
    to = roll (256);
  switch (roll (8))
    {
    case 0: SEND (0x07, drive); break;
    case 1: SEND (PICK (0x8f, 0xcf), drive, to); break;
    default: SEND (0x0f, drive | roll (2) << 2, to); break;
    }
  track[drive] = to;
  twins_step (&twins, roll (2) * 900 * MS);
  pass (900 * MS);
  if (!one_in (10))
    sense ();
}

/* Runs a command up to its result: waits, and takes or gives bytes if that is how it goes. */
static unsigned
run (const uint8_t *command, unsigned size, uint8_t *data, uint32_t room, uint32_t *moved,
     uint8_t result[10])
{
  *moved = 0;
  if (!send (command, size))
    return 0;
  for (unsigned n = 0; n < 40000; n++)
    {
      uint8_t now = state ();
      if ((now & (RQM | NDMA)) == (RQM | NDMA))
        {
          uint8_t *at = &data[*moved % room];
          if (now & DIO)
            *at = twins_in (&twins, FIFO, 1);
          else
            twins_out (&twins, FIFO, *at, 1);
          ++*moved;
          if (one_in (2000))
            interfere ();
          continue;
        }
      if (now & RQM)
        break;
      pass (n < 500 ? 5 * MS : 300 * MS);
      if (n > 1200)
        {
          calm = false; /* waits for an index that does not come */
          break;
        }
    }
  return receive (result, 10);
}

/* ---- Sectors ---- */

typedef struct {
  unsigned drive, cylinder, head, first, count;
  bool plain; /* on one track, as the disk is formatted, and the head is there */
  uint32_t bytes;
} Place;

static Place
choose (uint8_t command[9], bool write)
{
  Place p = { .drive = roll (2) };
  const Format *f = disks[p.drive].format;
  uint32_t size = 128u << f->code;
  p.cylinder = one_in (8) ? roll (f->cylinders) : MIN (track[p.drive], f->cylinders - 1);
  p.head = roll (f->heads);
  p.first = 1 + roll (f->sectors);
  p.count = 1 + roll (f->sectors - p.first + 1);
  p.bytes = p.count * size;
  p.plain = !one_in (4);
  command[0] = write ? 0x45 : 0x46;
  command[1] = p.head << 2 | p.drive;
  command[2] = p.cylinder;
  command[3] = p.head;
  command[4] = p.first;
  command[5] = f->code;
  command[6] = pio ? p.first + p.count - 1 : f->sectors;
  command[7] = 0x1b;
  command[8] = 0xff;
  if (p.plain)
    return p;
  command[0] = write ? PICK (0x45, 0xc5, 0x49, 0xc9)
                     : PICK (0x46, 0xe6, 0xc6, 0x4c, 0x6c, 0x42, 0x56, 0xd6, 0x51, 0x59, 0x5d);
  if (one_in (2))
    command[roll (9)] = roll (256);
  if (one_in (2))
    command[1 + roll (8)] ^= 1 << roll (8);
  if ((command[0] & 0x1f) == 0x0d || (command[0] & 0x1f) == 0x05 || (command[0] & 0x1f) == 0x09)
    p.plain = false;
  return p;
}

static uint8_t *
at (const Place *p, uint8_t *bytes)
{
  const Format *f = disks[p->drive].format;
  return bytes
         + (((p->cylinder * f->heads + p->head) * f->sectors + p->first - 1) << (7 + f->code));
}

/* Commands write to the cylinder that they name, on either side, or to none. */
static void
may_write (uint8_t drive, uint8_t cylinder)
{
  if (drive < 2 && cylinder < 80)
    disks[drive].unsure[cylinder] = true;
}

static uint8_t *
copy_of_ram (void)
{
  uint8_t *ram = g_malloc (CHECKED);
  twins_mem_read (&twins, 0, ram, CHECKED);
  return ram;
}

static void
check_memory (const uint8_t *before, uint32_t bytes)
{
  g_autofree uint8_t *after = copy_of_ram ();
  memcpy (after + MEMORY, before + MEMORY, bytes);
  g_assert_cmpint (memcmp (after, before, CHECKED), ==, 0);
}

static void
transfer (void)
{
  uint8_t command[9], result[10], data[ROOM];
  bool write = one_in (2);
  Place p = choose (command, write);
  uint8_t code = command[0] & 0x1f, drive = command[1] & 3;
  uint32_t moved, bytes = one_in (6) ? 1 + roll (ROOM) : p.bytes;
  bool good;
  Disk *d = &disks[p.drive];
  g_autofree uint8_t *before = NULL;
  write = code == 0x05 || code == 0x09;
  bool scan = code == 0x11 || code == 0x19 || code == 0x1d;
  random_bytes (data, sizeof data);
  if (scan && one_in (2))
    memcpy (data, at (&p, d->shadow), p.bytes);
  twins_mem_write (&twins, MEMORY, data, sizeof data);
  program_dma (write || scan ? FROM_MEMORY : TO_MEMORY, MEMORY, bytes);
  before = copy_of_ram ();
  if (write)
    may_write (drive, command[2]);
  calm = d->present && !d->error;
  good = run (command, 9, data, ROOM, &moved, result) == 7;
  if (!calm)
    return;
  check_memory (before, write || scan ? 0 : bytes);
  /* Without DMA a command ends at the end of the track, which is an error. */
  good = good && p.plain
         && (pio ? (result[0] & 0xc0) == 0x40 && result[1] == 0x80 && !result[2] && moved == p.bytes
                 : !(result[0] & 0xc0) && !result[1] && !result[2] && bytes == p.bytes);
  if (!good)
    return;
  if (write)
    {
      g_assert_cmpmem (at (&p, d->bytes[0]), p.bytes, data, p.bytes);
      memcpy (at (&p, d->shadow), data, p.bytes);
      return;
    }
  if (!pio)
    twins_mem_read (&twins, MEMORY, data, p.bytes);
  if (!d->unsure[p.cylinder])
    g_assert_cmpmem (data, p.bytes, at (&p, d->shadow), p.bytes);
  else
    g_assert_cmpmem (data, p.bytes, at (&p, d->bytes[0]), p.bytes);
}

static void
format (void)
{
  Place p = { .drive = roll (2) };
  const Format *f = disks[p.drive].format;
  uint8_t ids[256], result[10], command[6];
  uint32_t moved;
  p.cylinder = MIN (track[p.drive], f->cylinders - 1);
  p.head = roll (f->heads);
  for (unsigned n = 0; n < 64; n++)
    {
      ids[4 * n] = p.cylinder;
      ids[4 * n + 1] = p.head;
      ids[4 * n + 2] = n % f->sectors + 1;
      ids[4 * n + 3] = f->code;
    }
  for (unsigned n = one_in (3) ? roll (4) : 0; n > 0; n--)
    ids[4 * roll (64) + 1 + roll (3)] = roll (256); /* the cylinder stays */
  command[0] = one_in (20) ? 0x0d : 0x4d;
  command[1] = p.head << 2 | p.drive;
  command[2] = f->code;
  command[3] = one_in (4) ? roll (256) : f->sectors;
  command[4] = 0x54;
  command[5] = roll (256);
  twins_mem_write (&twins, MEMORY, ids, sizeof ids);
  program_dma (FROM_MEMORY, MEMORY, one_in (6) ? 1 + roll (255) : 4 * f->sectors);
  may_write (p.drive, p.cylinder);
  run (command, 6, ids, sizeof ids, &moved, result);
}

static void
small_command (void)
{
  static const struct {
    uint8_t code, parameters;
  } kinds[] = { { 0x04, 1 }, { 0x0e, 0 }, { 0x10, 0 }, { 0x12, 1 }, { 0x13, 3 }, { 0x14, 0 },
                { 0x94, 0 }, { 0x03, 2 }, { 0x08, 0 }, { 0x4a, 1 }, { 0x0a, 1 }, { 0x18, 0 } };
  unsigned kind = roll (G_N_ELEMENTS (kinds));
  uint8_t command[4], result[10], none[1];
  uint32_t moved;
  random_bytes (command, sizeof command);
  command[0] = kinds[kind].code;
  if (command[0] == 0x03)
    pio = command[2] & 1;
  run (command, 1 + kinds[kind].parameters, none, 1, &moved, result);
}

static void
one_command (void)
{
  switch (roll (12))
    {
    case 0: bring_up (roll (2)); break;
    case 1 ... 3: move_head (roll (2)); break;
    case 4: format (); break;
    case 5: small_command (); break;
    default: transfer (); break;
    }
  for (unsigned n = one_in (10) ? roll (6) : 0; n > 0; n--)
    {
      interfere ();
      pass (MS);
    }
}

/* ---- At last ---- */

static void
check_works (void)
{
  Disk *d = &disks[0];
  uint8_t command[] = { 0x46, 0, 0, 0, 1, d->format->code, d->format->sectors, 0x1b, 0xff };
  uint8_t result[10], data[1024];
  uint32_t size = 128u << d->format->code, moved;
  for (unsigned n = 0; n < 2; n++)
    set_medium (&disks[n], true, 0);
  twins_settle (&twins);
  twins_reset (&twins);
  quiet = true;
  for (unsigned n = 0; n < 2; n++) /* a first one may end before track 0 */
    bring_up (0);
  if (pio)
    SEND (0x03, 0xd0, 0x02);
  pio = false;
  twins_out (&twins, CCR, d->format->rate, 1);
  program_dma (TO_MEMORY, MEMORY, size);
  g_assert_cmpuint (run (command, sizeof command, data, sizeof data, &moved, result), ==, 7);
  g_assert_cmphex (result[0] & ~0x20, ==, 0);
  g_assert_cmphex (result[1], ==, 0);
  twins_mem_read (&twins, MEMORY, data, size);
  g_assert_cmpmem (data, size, d->bytes[0], size);
}

static void
check_disk (const Disk *d)
{
  const Format *f = d->format;
  size_t cylinder = (size_t) f->heads * f->sectors << (7 + f->code);
  g_assert_cmpint (memcmp (d->bytes[0], d->bytes[1], d->size), ==, 0);
  for (unsigned c = 0; c < f->cylinders; c++)
    if (!d->unsure[c])
      g_assert_cmpint (memcmp (d->bytes[0] + c * cylinder, d->shadow + c * cylinder, cylinder), ==,
                       0);
}

static void
one (void)
{
  bool tampering = one_in (4);
  quiet = pio = false;
  track[0] = track[1] = 0;
  make_machine ();
  bring_up (0);
  for (unsigned n = 30 + roll (60); n > 0; n--)
    {
      one_command ();
      if (one_in (16))
        twins_compare (&twins);
      if (!tampering || !one_in (8))
        continue;
      twins_tamper (&twins); /* it may write anywhere */
      all_unsure (&disks[0]);
      all_unsure (&disks[1]);
    }
  check_works ();
  check_disk (&disks[0]);
  check_disk (&disks[1]);
  twins_free (&twins);
  free_disks ();
}

int
main (int argc, char **argv)
{
  return fuzz_main (argc, argv, "/fdc-fuzz", one);
}
