/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VHD images whose writer is stopped at any moment: what was flushed is there, a sector that was
 * being written has its old or its new contents, and the image checks clean.
 *
 *   /disk-crash/kill/...   another process writes and is killed (SIGKILL) at a random time; its
 *                          system calls until then have taken effect
 *   /disk-crash/power/...  the power fails: of what was written after the last barrier of a file
 *                          (fdatasync) any subset of sectors is there.  This program stands between
 *                          the plugin and the system calls, and looks at such subsets before each
 *                          of these, as often as the dice say
 *
 *   TENON_CRASHES=n   kills and failures of power (default 300 each)
 *   TENON_SEED=n      seed (default: another one each time, if the number is given; else 1)
 */
#define _GNU_SOURCE
#include "block.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECTOR 512
#define SECTORS 8192 /* of the disk that is looked at: 4 MiB */
#define MAX_WRITES (1u << 18)
#define MAX_COUNT 300 /* sectors of a write */

static unsigned
crashes (void)
{
  const char *text = g_getenv ("TENON_CRASHES");

  return text ? strtoul (text, NULL, 0) : 300;
}

static uint32_t seed;

/* ---- What the disk may hold ----
 *
 * Writes have serial numbers.  A sector that was written holds the number of the write. */

typedef struct {
  uint32_t sector, count;
} Write;

typedef struct {
  uint32_t started; /* writes that were begun: 1 to this */
  uint32_t flushed; /* those up to this one were followed by a flush that is complete */
  uint32_t opened;  /* times that the writer came so far */
  uint32_t settled; /* what is in `known` */
  uint32_t known[SECTORS];
  Write writes[MAX_WRITES];
} Model;

static void
put_sector (uint8_t *bytes, uint32_t sector, uint32_t serial)
{
  uint32_t *words = (uint32_t *) bytes;

  for (unsigned n = 0; n < SECTOR / 4; n += 2)
    {
      words[n] = serial;
      words[n + 1] = serial ? sector + 1 : 0;
    }
}

/* The serial number that a sector holds; it must be whole. */
static uint32_t
get_sector (const uint8_t *bytes, uint32_t sector)
{
  uint8_t expected[SECTOR];
  uint32_t serial;

  memcpy (&serial, bytes, 4);
  put_sector (expected, sector, serial);
  if (memcmp (expected, bytes, SECTOR) != 0)
    g_error ("sector %u is not as any write left it", sector);
  return serial;
}

static bool
covers (const Write *w, uint32_t sector)
{
  return sector >= w->sector && sector - w->sector < w->count;
}

/* What the flushed writes leave; of those after them any may have reached a sector. */
static void
flushed_contents (const Model *m, uint32_t *contents)
{
  memcpy (contents, m->known, sizeof m->known);
  for (uint32_t n = m->settled + 1; n <= m->flushed; n++)
    for (uint32_t s = 0; s < m->writes[n].count; s++)
      contents[m->writes[n].sector + s] = n;
}

static void
check_sector (const Model *m, const uint32_t *flushed, uint32_t sector, uint32_t found)
{
  if (found == flushed[sector])
    return;
  if (found > m->flushed && found <= m->started && covers (&m->writes[found], sector))
    return;
  g_error ("sector %u holds write %u, expected %u, or a later one than the flush of %u", sector,
           found, flushed[sector], m->flushed);
}

/* Takes the disk as it is. */
static void
adopt_contents (Model *m, Back *b, uint32_t serial)
{
  uint8_t bytes[SECTOR];

  memset (m, 0, sizeof *m);
  for (uint32_t s = 0; s < SECTORS && b != NULL; s++)
    {
      back_read (b, (uint64_t) s * SECTOR, bytes, SECTOR);
      m->known[s] = get_sector (bytes, s);
    }
  m->settled = m->flushed = m->started = serial;
}

/* Reads the whole disk; `settle` goes on from what is there. */
static void
check_contents (Model *m, Back *b, bool settle)
{
  static uint8_t bytes[SECTORS * SECTOR];
  static uint32_t flushed[SECTORS];

  flushed_contents (m, flushed);
  back_read (b, 0, bytes, sizeof bytes);
  for (uint32_t s = 0; s < SECTORS; s++)
    {
      uint32_t found = get_sector (bytes + s * SECTOR, s);

      check_sector (m, flushed, s, found);
      if (settle)
        m->known[s] = found;
    }
  if (settle)
    m->settled = m->flushed = m->started;
}

static void
one_write (Model *m, Back *b, GRand *rand)
{
  static uint8_t bytes[MAX_COUNT * SECTOR];
  uint32_t serial = m->started + 1;
  unsigned most = g_rand_int_range (rand, 0, 20) ? 16 : MAX_COUNT;
  Write w = { .count = g_rand_int_range (rand, 1, most + 1) };

  w.sector = g_rand_int_range (rand, 0, SECTORS - w.count + 1);
  for (uint32_t n = 0; n < w.count; n++)
    put_sector (bytes + n * SECTOR, w.sector + n, serial);
  m->writes[serial] = w;
  __atomic_store_n (&m->started, serial, __ATOMIC_SEQ_CST);
  back_write (b, (uint64_t) w.sector * SECTOR, bytes, w.count * SECTOR);
}

static void
one_flush (Model *m, Back *b)
{
  uint32_t upto = m->started;

  back_flush (b);
  __atomic_store_n (&m->flushed, upto, __ATOMIC_SEQ_CST);
}

/* ---- Images ---- */

typedef struct {
  const char *type;
  uint32_t block_size;
} Kind;

static const Kind kinds[] = {
  { "dynamic", 2 << 20 },       { "dynamic", 64 << 10 },  { "differencing", 2 << 20 },
  { "differencing", 64 << 10 }, { "differencing", 4096 }, { "fixed", 0 },
};

typedef struct {
  char *dir, *base, *path;
  Back lib;
  GRand *rand;
  Model *model;
} Fixture;

static void
make_image (Fixture *f, const char *path, const Kind *kind, const char *parent)
{
  TnImageSpec spec = { .path = path,
                       .size = SECTORS * SECTOR,
                       .type = kind->type,
                       .parent = parent,
                       .block_size = kind->block_size,
                       .exact = true };
  GError *error = NULL;

  if (parent != NULL)
    spec.size = 0;
  f->lib.image->create (&spec, &error);
  g_assert_no_error (error);
}

static void
open_image (Back *b, const char *path, const char *parent)
{
  back_open (b, "disk-vhd",
             (const char *[]){ "file", path, "parent-time", "ignore", parent ? "parent" : NULL,
                               parent, NULL });
}

static void
set_up (Fixture *f, const void *data)
{
  static const Kind base = { "dynamic", 64 << 10 };
  const Kind *kind = data;
  Back b;

  /* In memory if possible: no kill or failure needs a real disk, and there are more of them so. */
  f->dir = g_strdup ("/dev/shm/disk-crash-XXXXXX");
  if (g_mkdtemp (f->dir) == NULL)
    {
      g_free (f->dir);
      f->dir = g_dir_make_tmp ("disk-crash-XXXXXX", NULL);
    }
  f->path = g_build_filename (f->dir, "disk.vhd", NULL);
  f->rand = g_rand_new_with_seed (seed);
  f->model = mmap (NULL, sizeof (Model), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  back_load (&f->lib, "disk-vhd");
  if (strcmp (kind->type, "differencing") == 0)
    {
      f->base = g_build_filename (f->dir, "base.vhd", NULL);
      make_image (f, f->base, &base, NULL);
      open_image (&b, f->base, NULL);
      for (unsigned n = 0; n < 100; n++)
        one_write (f->model, &b, f->rand);
      one_flush (f->model, &b);
      check_contents (f->model, &b, true);
      back_close (&b);
    }
  make_image (f, f->path, kind, f->base);
}

static void
tear_down (Fixture *f, const void *data)
{
  back_close (&f->lib);
  munmap (f->model, sizeof (Model));
  g_unlink (f->path);
  if (f->base != NULL)
    g_unlink (f->base);
  g_rmdir (f->dir);
  g_rand_free (f->rand);
  g_free (f->base);
  g_free (f->path);
  g_free (f->dir);
}

/* A new image; the parent stays. */
static void
begin_again (Fixture *f, const Kind *kind)
{
  Back b;

  g_unlink (f->path);
  if (f->base != NULL)
    {
      open_image (&b, f->base, NULL);
      adopt_contents (f->model, &b, 200);
      back_close (&b);
    }
  else
    adopt_contents (f->model, NULL, 0);
  make_image (f, f->path, kind, f->base);
}

static void
check_clean (Fixture *f, const char *path)
{
  Found found = { { 0 } };

  if (!image_check (f->lib.image, path, false, &found) || found.count[TN_IMAGE_DAMAGE] != 0)
    g_error ("the image %s", found.text);
  g_free (found.text);
}

/* ---- Kills ---- */

static void G_GNUC_NORETURN
write_for_ever (Fixture *f, uint32_t child_seed)
{
  GRand *rand = g_rand_new_with_seed (child_seed);
  Back b;

  open_image (&b, f->path, NULL);
  while (f->model->started < MAX_WRITES - 2)
    {
      one_write (f->model, &b, rand);
      f->model->opened++;
      if (g_rand_int_range (rand, 0, 12) == 0)
        one_flush (f->model, &b);
      if (g_rand_int_range (rand, 0, 400) == 0) /* the end of a machine is a moment, too */
        {
          back_close (&b);
          open_image (&b, f->path, NULL);
        }
    }
  for (;;) /* the kill is late */
    pause ();
}

static void
test_kill (Fixture *f, const void *data)
{
  unsigned rounds = crashes () / 3, late = 0;

  for (unsigned n = 0; n < rounds; n++)
    {
      uint32_t child_seed = g_rand_int (f->rand), before = f->model->opened;
      int delay = g_rand_int_range (f->rand, 0, 12000), status;
      pid_t child = fork ();
      Back b;

      g_assert_cmpint (child, >=, 0);
      if (child == 0)
        write_for_ever (f, child_seed);
      /* Most in the midst of the work, some while it begins. */
      while (n % 8 != 0 && __atomic_load_n (&f->model->opened, __ATOMIC_SEQ_CST) == before
             && waitpid (child, &status, WNOHANG) == 0)
        g_usleep (200);
      g_usleep (delay);
      kill (child, SIGKILL);
      g_assert_cmpint (waitpid (child, &status, 0), ==, child);
      g_assert_true (WIFSIGNALED (status) && WTERMSIG (status) == SIGKILL);
      late += f->model->started > f->model->flushed;
      check_clean (f, f->path);
      open_image (&b, f->path, NULL);
      check_contents (f->model, &b, true);
      back_close (&b);
      check_clean (f, f->path);
      /* Blocks that are all there make no new ones: begin again. */
      if (n % 16 == 15 || f->model->started > MAX_WRITES / 2)
        begin_again (f, data);
    }
  g_test_message ("%u writes in the last run, %u kills with unflushed ones", f->model->started,
                  late);
}

/* ---- Power: between the plugin and the system ---- */

typedef struct {
  bool truncation;
  uint64_t offset, size;
  uint8_t *bytes;
} Operation;

/* A file as it is on the disk, and what may or may not have reached it. */
typedef struct {
  ino_t inode;
  const char *path;
  GByteArray *durable;
  GPtrArray *pending; /* Operation */
} Recorded;

static struct {
  bool on;
  Recorded files[2];
  unsigned n_files;
  unsigned points; /* left */
  unsigned odds;   /* one in so many calls */
  Fixture *fixture;
} power;

static Recorded *
recorded (int fd)
{
  struct stat st;

  if (!power.on || fstat (fd, &st) != 0)
    return NULL;
  for (unsigned n = 0; n < power.n_files; n++)
    if (power.files[n].inode == st.st_ino)
      return &power.files[n];
  return NULL;
}

static void
operation_free (void *data)
{
  g_free (((Operation *) data)->bytes);
  g_free (data);
}

static void
grow_to (GByteArray *file, uint64_t size)
{
  uint64_t before = file->len;

  if (size <= before)
    return;
  g_byte_array_set_size (file, size);
  memset (file->data + before, 0, size - before);
}

/* Percent: of the sectors of a write that reach the file. */
static void
apply (GByteArray *file, const Operation *o, GRand *rand, unsigned percent)
{
  if (o->truncation)
    {
      if (g_rand_int_range (rand, 0, 100) >= (int) percent)
        return;
      grow_to (file, o->offset);
      g_byte_array_set_size (file, o->offset);
      return;
    }
  for (uint64_t at = 0, count; at < o->size; at += count)
    {
      count = MIN (o->size - at, SECTOR - (o->offset + at) % SECTOR);
      if (g_rand_int_range (rand, 0, 100) >= (int) percent)
        continue;
      grow_to (file, o->offset + at + count);
      memcpy (file->data + o->offset + at, o->bytes + at, count);
    }
}

static void
note (Recorded *r, bool truncation, uint64_t offset, const void *bytes, uint64_t size)
{
  Operation *o = g_new0 (Operation, 1);

  *o = (Operation){ truncation, offset, size, g_memdup2 (bytes, size) };
  g_ptr_array_add (r->pending, o);
}

static void
make_durable (Recorded *r, GRand *rand)
{
  for (unsigned n = 0; n < r->pending->len; n++)
    apply (r->durable, r->pending->pdata[n], rand, 100);
  g_ptr_array_set_size (r->pending, 0);
}

static void
write_out (const char *path, const GByteArray *file)
{
  int fd = open (path, O_RDWR | O_CREAT | O_TRUNC, 0600);

  g_assert_cmpint (ftruncate (fd, file->len), ==, 0);
  for (size_t at = 0; at < file->len; at += 4096)
    {
      size_t count = MIN (4096, file->len - at);
      const uint8_t *p = file->data + at;

      if (p[0] != 0 || memcmp (p, p + 1, count - 1) != 0)
        g_assert_cmpint (pwrite (fd, p, count, at), ==, (ssize_t) count);
    }
  close (fd);
}

/* The file as a failure of power may leave it, under another name. */
static char *
wreck (const Recorded *r, GRand *rand, unsigned percent)
{
  GByteArray *file = g_byte_array_sized_new (r->durable->len + 4096);
  char *path = g_strconcat (r->path, ".wreck", NULL);

  g_byte_array_append (file, r->durable->data, r->durable->len);
  for (unsigned n = 0; n < r->pending->len; n++)
    apply (file, r->pending->pdata[n], rand, percent);
  write_out (path, file);
  g_byte_array_unref (file);
  return path;
}

static void
fail_power (Fixture *f, unsigned percent)
{
  char *paths[2] = { NULL };
  const char *parent = f->base;
  Back b;

  for (unsigned n = 0; n < power.n_files; n++)
    {
      paths[n] = wreck (&power.files[n], f->rand, percent);
      check_clean (f, paths[n]);
    }
  if (paths[1] != NULL)
    parent = paths[1];
  open_image (&b, paths[0], parent);
  check_contents (f->model, &b, false);
  back_close (&b);
  for (unsigned n = 0; n < power.n_files; n++)
    {
      check_clean (f, paths[n]);
      g_unlink (paths[n]);
      g_free (paths[n]);
    }
}

static void
maybe_fail_power (void)
{
  Fixture *f = power.fixture;
  static const unsigned percents[] = { 0, 100, 50, 10, 90 };

  if (power.points == 0 || g_rand_int_range (f->rand, 0, power.odds) != 0)
    return;
  power.on = false;
  power.points--;
  fail_power (f, percents[power.points % G_N_ELEMENTS (percents)]);
  power.on = true;
}

/* These come before those of the C library for the plugin, too. */
#define SHIM __attribute__ ((visibility ("default")))

SHIM ssize_t
pwrite (int fd, const void *bytes, size_t size, off_t offset)
{
  Recorded *r = recorded (fd);
  ssize_t done;

  if (r != NULL)
    maybe_fail_power ();
  done = syscall (SYS_pwrite64, fd, bytes, size, offset);
  if (r != NULL && done > 0)
    note (r, false, offset, bytes, done);
  return done;
}

SHIM ssize_t
pwrite64 (int fd, const void *bytes, size_t size, off_t offset)
{
  return pwrite (fd, bytes, size, offset);
}

SHIM int
ftruncate (int fd, off_t size)
{
  Recorded *r = recorded (fd);

  if (r != NULL)
    {
      maybe_fail_power ();
      note (r, true, size, NULL, 0);
    }
  return syscall (SYS_ftruncate, fd, size);
}

SHIM int
ftruncate64 (int fd, off_t size)
{
  return ftruncate (fd, size);
}

/* No real one: the page cache is what the model replaces. */
SHIM int
fdatasync (int fd)
{
  Recorded *r = recorded (fd);

  if (r == NULL)
    return syscall (SYS_fdatasync, fd);
  maybe_fail_power ();
  make_durable (r, power.fixture->rand);
  return 0;
}

SHIM int
fsync (int fd)
{
  return fdatasync (fd);
}

SHIM int
fallocate (int fd, int mode, off_t offset, off_t size)
{
  g_assert_null (recorded (fd)); /* not done to VHDs */
  return syscall (SYS_fallocate, fd, mode, offset, size);
}

static void
record (const char *path)
{
  Recorded *r = &power.files[power.n_files++];
  struct stat st;
  char *bytes;
  gsize size;

  g_assert_cmpint (stat (path, &st), ==, 0);
  g_assert_true (g_file_get_contents (path, &bytes, &size, NULL));
  *r = (Recorded){ .inode = st.st_ino, .path = path };
  r->durable = g_byte_array_new_take ((guint8 *) bytes, size);
  r->pending = g_ptr_array_new_with_free_func (operation_free);
}

static void
power_start (Fixture *f, unsigned odds)
{
  power.fixture = f;
  power.odds = odds;
  power.on = true;
}

static void
power_stop (void)
{
  for (unsigned n = 0; n < power.n_files; n++)
    {
      g_byte_array_unref (power.files[n].durable);
      g_ptr_array_unref (power.files[n].pending);
    }
  power.on = false;
  power.n_files = 0;
}

static void
settle (Fixture *f)
{
  Back b;

  power.on = false;
  open_image (&b, f->path, NULL);
  check_contents (f->model, &b, true);
  back_close (&b);
}

static void
test_power (Fixture *f, const void *data)
{
  Back b;

  power.points = crashes () / 3;
  while (power.points > 0)
    {
      record (f->path);
      power_start (f, 12);
      open_image (&b, f->path, NULL);
      for (unsigned n = 0; n < 150 && f->model->started < MAX_WRITES - 2; n++)
        {
          one_write (f->model, &b, f->rand);
          if (g_rand_int_range (f->rand, 0, 15) == 0)
            one_flush (f->model, &b);
        }
      /* The close flushes; until it is over, nobody was promised anything. */
      back_close (&b);
      power_stop ();
      settle (f);
      if (f->model->started > MAX_WRITES / 2 || g_rand_int_range (f->rand, 0, 3) == 0)
        begin_again (f, data);
    }
}

static void
finish_commit (Fixture *f, Back *b)
{
  TnImageMonitor monitor = { .progress = image_progress };
  GError *error = NULL;

  b->image->commit (b->self, &monitor, &error);
  g_assert_no_error (error);
}

/* While changes go into the parent, the two together hold the same at every moment. */
static void
test_commit (Fixture *f, const void *data)
{
  Back b;

  power.points = crashes () / 3;
  while (power.points > 0 && f->model->started < MAX_WRITES - 100)
    {
      open_image (&b, f->path, NULL);
      for (unsigned n = 0; n < 60; n++)
        one_write (f->model, &b, f->rand);
      one_flush (f->model, &b);
      back_close (&b);
      record (f->path);
      record (f->base);
      power_start (f, 30);
      open_image (&b, f->path, NULL);
      finish_commit (f, &b);
      back_close (&b);
      power_stop ();
      settle (f);
    }
}

int
main (int argc, char **argv)
{
  const char *text = g_getenv ("TENON_SEED");

  g_test_init (&argc, &argv, NULL);
  seed = text                         ? strtoul (text, NULL, 0)
         : g_getenv ("TENON_CRASHES") ? g_random_int ()
                                      : 1; /* make check does the same each time */
  g_test_message ("TENON_SEED=%u", seed);
  for (unsigned n = 0; n < G_N_ELEMENTS (kinds); n++)
    {
      g_autofree char *kill_name
          = g_strdup_printf ("/disk-crash/kill/%s-%u", kinds[n].type, kinds[n].block_size >> 10);
      g_autofree char *power_name
          = g_strdup_printf ("/disk-crash/power/%s-%u", kinds[n].type, kinds[n].block_size >> 10);
      g_autofree char *commit_name
          = g_strdup_printf ("/disk-crash/commit/%s-%u", kinds[n].type, kinds[n].block_size >> 10);

      g_test_add (kill_name, Fixture, &kinds[n], set_up, test_kill, tear_down);
      g_test_add (power_name, Fixture, &kinds[n], set_up, test_power, tear_down);
      if (strcmp (kinds[n].type, "differencing") == 0)
        g_test_add (commit_name, Fixture, &kinds[n], set_up, test_commit, tear_down);
    }
  return g_test_run ();
}
